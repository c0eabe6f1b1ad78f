//! Twelve keys, as on every phone since 1963.

use sycamore::prelude::*;
use sycamore::web::events;
use sycamore::web::tags::*;

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

/// `press` gets the key.
pub fn keypad(press: impl Fn(char) + Clone + 'static) -> View {
    div()
        .class("keypad")
        .attr("role", "group")
        .attr("aria-label", "Keys")
        // Numbers run from left to right in every script.
        .attr("dir", "ltr")
        .children(KEYS.iter().map(|(digit, letters)| key(*digit, letters, press.clone())).collect::<Vec<View>>())
        .into()
}

fn key(digit: char, letters: &'static str, press: impl Fn(char) + 'static) -> View {
    let name = match digit {
        '*' => "Star".to_owned(),
        '#' => "Hash".to_owned(),
        digit => digit.to_string(),
    };
    let shown = if digit == '*' { '∗' } else { digit };
    button()
        .class(if digit.is_ascii_digit() { "key" } else { "key sign" })
        .r#type("button")
        .attr("aria-label", name)
        .on(events::click, move |_| press(digit))
        .children((
            span().class("key-digit").children(shown.to_string()),
            span().class("key-letters").attr("aria-hidden", "true").children(letters),
        ))
        .into()
}
