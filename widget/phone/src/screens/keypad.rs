//! The keypad with twelve keys.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sycamore::prelude::*;
use sycamore::web::events;

use super::elements::*;
use crate::browser::BrowserTimer;

const KEYS: [(char, &str); 12] = [
    ('1', ""),
    ('2', "ABC"),
    ('3', "DEF"),
    ('4', "GHI"),
    ('5', "JKL"),
    ('6', "MNO"),
    ('7', "PQRS"),
    ('8', "TUV"),
    ('9', "WXYZ"),
    ('*', ","),
    ('0', "+"),
    ('#', ";"),
];

/// A key of the dialer that is held this long enters its second character.
const LONG_PRESS_MS: i32 = 450;

/// `press` receives the key. In the dialer, holding 0 enters `+`, holding the star a pause, and holding the hash a wait.
pub fn keypad(dials: bool, press: impl Fn(char) + Clone + 'static) -> View {
    div()
        .class("keypad")
        .attr("role", "group")
        .attr("aria-label", "Keys")
        // Numbers are written from left to right in every script.
        .attr("dir", "ltr")
        .children(KEYS.iter().map(|(digit, letters)| key(*digit, letters, dials, press.clone())).collect::<Vec<View>>())
        .into()
}

fn key(digit: char, letters: &'static str, dials: bool, press: impl Fn(char) + Clone + 'static) -> View {
    let name = match digit {
        '*' => "Star".to_owned(),
        '#' => "Hash".to_owned(),
        digit => digit.to_string(),
    };
    let shown = if digit == '*' { '∗' } else { digit };
    let second = match digit {
        '0' => Some('+'),
        '*' => Some(','),
        '#' => Some(';'),
        _ => None,
    };
    let letters = if second.is_some() && !dials { "" } else { letters };
    let long_press = Rc::new(LongPress::default());
    let key = button()
        .class(if digit.is_ascii_digit() { "key" } else { "key sign" })
        .r#type("button")
        .attr("aria-label", name)
        .children((
            span().class("key-digit").children(shown.to_string()),
            span().class("key-letters").attr("aria-hidden", "true").children(letters),
        ));
    let click = {
        let (long_press, press) = (Rc::clone(&long_press), press.clone());
        move || {
            if !long_press.done.replace(false) {
                press(digit);
            }
        }
    };
    let key = key.on_press(click);
    let Some(second) = second.filter(|_| dials) else {
        return key.into();
    };
    let down = {
        let long_press = Rc::clone(&long_press);
        move |_| {
            long_press.done.set(false);
            let (fired, press) = (Rc::clone(&long_press), press.clone());
            *long_press.timer.borrow_mut() = Some(BrowserTimer::after(LONG_PRESS_MS, move || {
                fired.done.set(true);
                press(second);
            }));
        }
    };
    let (up, away) = (Rc::clone(&long_press), long_press);
    key.on(events::pointerdown, down)
        .on(events::pointerup, move |_| drop(up.timer.take()))
        .on(events::pointerleave, move |_| drop(away.timer.take()))
        .into()
}

/// The state of a long press.
#[derive(Default)]
struct LongPress {
    timer: RefCell<Option<BrowserTimer>>,
    /// The long press has entered its character: the following click is ignored.
    done: Cell<bool>,
}
