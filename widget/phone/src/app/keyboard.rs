//! Keyboard and outside clicks: digits dial or are sent, Enter calls, Escape closes; a click beside the open
//! identity card closes it.

use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::CallId;
use wasm_bindgen::JsCast;
use web_sys::{ClipboardEvent, Element, Event, KeyboardEvent};

use super::App;
use crate::browser::EventListener;
use crate::page;
use crate::ui::{Screen, Tab, UserAction, focused_call, incoming_call};

pub fn listen(app: &Rc<App>) -> Vec<EventListener> {
    let Some(document) = page::document() else { return Vec::new() };
    let ui = app.ui;
    let app = Rc::downgrade(app);
    let keys = EventListener::new(&document, "keydown", {
        let app = Weak::clone(&app);
        move |event| {
            if let (Some(app), Some(event)) = (app.upgrade(), event.dyn_ref::<KeyboardEvent>()) {
                app.prepare_for_call();
                handle_key(&app, event);
            }
        }
    });
    let pasted = EventListener::new(&document, "paste", {
        let app = Weak::clone(&app);
        move |event| {
            if let (Some(app), Some(event)) = (app.upgrade(), event.dyn_ref::<ClipboardEvent>()) {
                handle_paste(&app, event);
            }
        }
    });
    let beside = EventListener::new(&document, "pointerdown", move |event| {
        if let Some(app) = app.upgrade() {
            app.prepare_for_call();
        }
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let inside = target.and_then(|target| target.closest(".identity").ok().flatten()).is_some();
        if !inside && ui.identity_open.get_untracked() {
            ui.identity_open.set(false);
        }
    });
    vec![keys, beside, pasted]
}

/// Digits that are pasted into the keypad of a call.
fn handle_paste(app: &Rc<App>, event: &ClipboardEvent) {
    let text = event.clipboard_data().and_then(|data| data.get_data("text").ok());
    if let (Some(text), Some(call)) = (text, displayed_call(app))
        && !is_for_field(&tag_of_target(event))
        && is_usable(app)
        && app.ui.keypad_open.get_untracked()
    {
        event.prevent_default();
        app.handle_action(UserAction::Digits(call, text));
    }
}

/// The keys of the phone are not for something else.
fn is_usable(app: &App) -> bool {
    let ui = app.ui;
    ui.screen.with_untracked(|screen| *screen == Screen::Phone)
        && ui.tab.get_untracked() != Tab::Settings
        && ui.snapshot.with_untracked(|snapshot| incoming_call(snapshot).is_none())
}

/// The call that gets keys. With the transfer open, they are for its number field.
fn displayed_call(app: &App) -> Option<CallId> {
    let call = app.ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).map(|call| call.id.clone()));
    call.filter(|_| !app.ui.transfer_open.get_untracked())
}

fn tag_of_target(event: &Event) -> String {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.map(|target| target.tag_name()).unwrap_or_default()
}

/// Keys that are typed into a field belong to the field.
fn is_for_field(tag: &str) -> bool {
    matches!(tag, "INPUT" | "SELECT" | "TEXTAREA")
}

fn handle_key(app: &Rc<App>, event: &KeyboardEvent) {
    if event.is_composing() || event.ctrl_key() || event.meta_key() || event.alt_key() || event.default_prevented() {
        return;
    }
    let key = event.key();
    if key == "Escape" {
        app.handle_action(UserAction::Escape);
        return;
    }
    let tag = tag_of_target(event);
    if is_for_field(&tag) || !is_usable(app) {
        return;
    }
    let action = match (key.as_str(), single_char(&key), displayed_call(app)) {
        (_, Some('0'..='9' | '*' | '#'), Some(call)) => {
            app.ui.keypad_open.set(true);
            UserAction::Digits(call, key)
        }
        (_, Some(digit @ ('0'..='9' | '*' | '#' | '+' | ',' | ';')), None) => UserAction::Type(digit),
        ("Backspace", _, None) => UserAction::Backspace,
        // On a button or link, Enter activates that element.
        ("Enter", _, None) if tag != "BUTTON" && tag != "A" => UserAction::Call,
        _ => return,
    };
    event.prevent_default();
    app.handle_action(action);
}

fn single_char(key: &str) -> Option<char> {
    let mut chars = key.chars();
    chars.next().filter(|_| chars.next().is_none())
}
