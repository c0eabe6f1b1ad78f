//! The phone by keyboard: digits dial or are sent, Enter calls, Escape closes. And a press beside what is open closes it.

use std::rc::{Rc, Weak};

use wasm_bindgen::JsCast;
use web_sys::{Element, KeyboardEvent};

use super::App;
use crate::browser::Listener;
use crate::page;
use crate::ui::{Act, Stage, Tab, focused, incoming};

pub fn listen(app: &Rc<App>) -> Vec<Listener> {
    let Some(document) = page::document() else { return Vec::new() };
    let ui = app.ui;
    let app = Rc::downgrade(app);
    let keys = Listener::new(&document, "keydown", {
        let app = Weak::clone(&app);
        move |event| {
            if let (Some(app), Some(event)) = (app.upgrade(), event.dyn_ref::<KeyboardEvent>()) {
                app.expect_call();
                press(&app, event);
            }
        }
    });
    let beside = Listener::new(&document, "pointerdown", move |event| {
        if let Some(app) = app.upgrade() {
            app.expect_call();
        }
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let inside = target.and_then(|target| target.closest(".identity").ok().flatten()).is_some();
        if !inside && ui.identity_open.get_untracked() {
            ui.identity_open.set(false);
        }
    });
    vec![keys, beside]
}

fn press(app: &Rc<App>, event: &KeyboardEvent) {
    if event.is_composing() || event.ctrl_key() || event.meta_key() || event.alt_key() || event.default_prevented() {
        return;
    }
    let key = event.key();
    if key == "Escape" {
        app.act(Act::Escape);
        return;
    }
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let tag = target.map(|target| target.tag_name()).unwrap_or_default();
    // What is typed into a field belongs to it.
    if matches!(tag.as_str(), "INPUT" | "SELECT" | "TEXTAREA") {
        return;
    }
    let ui = app.ui;
    let usable = ui.stage.with_untracked(|stage| *stage == Stage::Phone)
        && ui.tab.get_untracked() != Tab::Settings
        && ui.snapshot.with_untracked(|snapshot| incoming(snapshot).is_none());
    if !usable {
        return;
    }
    let call = ui.snapshot.with_untracked(|snapshot| focused(snapshot).map(|call| call.id.clone()));
    let act = match (key.as_str(), single(&key), call) {
        (_, Some(digit @ ('0'..='9' | '*' | '#')), Some(call)) => {
            ui.keypad_open.set(true);
            Act::Digit(call, digit)
        }
        (_, Some(digit @ ('0'..='9' | '*' | '#' | '+')), None) => Act::Type(digit),
        ("Backspace", _, None) => Act::Backspace,
        // On a button, Enter presses that button.
        ("Enter", _, None) if tag != "BUTTON" && tag != "A" => Act::Call,
        _ => return,
    };
    event.prevent_default();
    app.act(act);
}

fn single(key: &str) -> Option<char> {
    let mut chars = key.chars();
    chars.next().filter(|_| chars.next().is_none())
}
