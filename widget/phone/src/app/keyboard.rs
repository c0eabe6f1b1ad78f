//! Keyboard and outside clicks: digits dial or are sent, Enter calls, Escape closes; a click beside the open
//! identity card closes it.

use std::rc::{Rc, Weak};

use wasm_bindgen::JsCast;
use web_sys::{Element, KeyboardEvent};

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
    vec![keys, beside]
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
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let tag = target.map(|target| target.tag_name()).unwrap_or_default();
    // Keys that are typed into a field belong to the field.
    if matches!(tag.as_str(), "INPUT" | "SELECT" | "TEXTAREA") {
        return;
    }
    let ui = app.ui;
    let usable = ui.screen.with_untracked(|screen| *screen == Screen::Phone)
        && ui.tab.get_untracked() != Tab::Settings
        && ui.snapshot.with_untracked(|snapshot| incoming_call(snapshot).is_none());
    if !usable {
        return;
    }
    // With the transfer open, the keys are for its number field.
    let call = ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).map(|call| call.id.clone()));
    let call = call.filter(|_| !ui.transfer_open.get_untracked());
    let action = match (key.as_str(), single_char(&key), call) {
        (_, Some(digit @ ('0'..='9' | '*' | '#')), Some(call)) => {
            ui.keypad_open.set(true);
            UserAction::Digit(call, digit)
        }
        (_, Some(digit @ ('0'..='9' | '*' | '#' | '+')), None) => UserAction::Type(digit),
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
