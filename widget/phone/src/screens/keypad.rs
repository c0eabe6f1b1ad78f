//! Twelve keys, as on every phone since 1963.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sycamore::prelude::*;
use sycamore::web::events;
use sycamore::web::tags::*;

use super::elements::OnPress;
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
    ('*', ""),
    ('0', "+"),
    ('#', ""),
];

/// How long a key is held down to mean its second sign.
const LONG_PRESS_MS: i32 = 450;

/// `press` gets the key; held down, 0 is `+` where that makes sense.
pub fn keypad(plus: bool, press: impl Fn(char) + Clone + 'static) -> View {
    div()
        .class("keypad")
        .attr("role", "group")
        .attr("aria-label", "Keys")
        // Numbers run from left to right in every script.
        .attr("dir", "ltr")
        .children(
            KEYS.iter()
                .map(|(digit, letters)| key(*digit, letters, plus && *digit == '0', press.clone()))
                .collect::<Vec<View>>(),
        )
        .into()
}

fn key(digit: char, letters: &'static str, plus: bool, press: impl Fn(char) + Clone + 'static) -> View {
    let name = match digit {
        '*' => "Star".to_owned(),
        '#' => "Hash".to_owned(),
        digit => digit.to_string(),
    };
    let shown = if digit == '*' { '∗' } else { digit };
    let letters = if digit == '0' && !plus { "" } else { letters };
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
    if !plus {
        return key.into();
    }
    let down = {
        let long_press = Rc::clone(&long_press);
        move |_| {
            long_press.done.set(false);
            let (fired, press) = (Rc::clone(&long_press), press.clone());
            *long_press.timer.borrow_mut() = Some(BrowserTimer::after(LONG_PRESS_MS, move || {
                fired.done.set(true);
                press('+');
            }));
        }
    };
    let (up, away) = (Rc::clone(&long_press), long_press);
    key.on(events::pointerdown, down)
        .on(events::pointerup, move |_| drop(up.timer.take()))
        .on(events::pointerleave, move |_| drop(away.timer.take()))
        .into()
}

/// A key that is down.
#[derive(Default)]
struct LongPress {
    timer: RefCell<Option<BrowserTimer>>,
    /// The long press has had its effect: the click that follows is none.
    done: Cell<bool>,
}
