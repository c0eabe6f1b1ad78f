//! The dialer: number field, keypad and call button.

use sycamore::prelude::*;
use sycamore::web::{bind, events};

use super::elements::*;
use super::keypad::keypad;
use super::secondary;
use crate::caller_ids::PRIVATE;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::recents::RecentCall;
use crate::selector::selector;
use crate::time;
use crate::ui::{CallerIdAction, Ui, UserAction};

/// Element id of the number field.
pub const NUMBER_ELEMENT_ID: &str = "number";

pub fn dialer(ui: Ui) -> View {
    form()
        .class("dialer")
        .attr("novalidate", "")
        .on(events::submit, move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            ui.dispatch(UserAction::Call);
        })
        .children((
            dynamic(move || ui.ended.get_clone().map(|call| ended(ui, call)).unwrap_or_default()),
            number_field(ui),
            identity(ui),
            keypad(true, move |digit| ui.dispatch(UserAction::Type(digit))),
            button().class("call-button").r#type("submit").children((icon(Icon::Phone), span().children("Call"))),
        ))
        .into()
}

pub fn number_field(ui: Ui) -> View {
    let empty = selector(move || ui.number.with(String::is_empty));
    let size = selector(move || match ui.number.with(|number| number.chars().count()) {
        0..=13 => "l",
        14..=18 => "m",
        _ => "s",
    });
    let error = selector(move || ui.number_error.get_clone());
    div()
        .class("number")
        .children((
            div().class("number-row").children((
                input()
                    .class("number-input")
                    .id(NUMBER_ELEMENT_ID)
                    .r#type("tel")
                    .attr("dir", "ltr")
                    .attr("inputmode", "tel")
                    .attr("enterkeyhint", "go")
                    .attr("autocomplete", "off")
                    .attr("spellcheck", "false")
                    .attr("aria-label", "Phone number")
                    .attr("aria-describedby", "number-error")
                    .attr("placeholder", "Enter a number")
                    .attr("data-size", move || size.get())
                    .attr("aria-invalid", move || error.with(Option::is_some).then_some("true"))
                    .attr("value", ui.number.get_clone_untracked())
                    .bind(bind::value, ui.number)
                    .on(events::input, move |_| ui.number_error.set(None)),
                dynamic(move || {
                    if empty.get() {
                        return View::new();
                    }
                    button()
                        .class("icon-button backspace")
                        .r#type("button")
                        .attr("aria-label", "Delete last digit")
                        .on_press(move || ui.dispatch(UserAction::Backspace))
                        .children(icon(Icon::Backspace))
                        .into()
                }),
            )),
            p().class("error")
                .id("number-error")
                .attr("role", "alert")
                .children(dynamic(move || error.get_clone().unwrap_or_default())),
        ))
        .into()
}

/// What the other side sees of who calls.
fn identity(ui: Ui) -> View {
    let shown = selector(move || match &*ui.caller_ids.with(|ids| ids.chosen.clone()) {
        "" => ui.signed_in_as.with(|who| who.as_ref().map(|who| who.username.clone()).unwrap_or_default()),
        PRIVATE => "Private".to_owned(),
        id => format_number(id),
    });
    div()
        .class("identity")
        .children((
            button()
                .class("identity-button")
                .id("identity")
                .r#type("button")
                .attr("aria-labelledby", "identity-label")
                .attr("aria-describedby", "identity-name")
                .attr("aria-expanded", move || if ui.identity_open.get() { "true" } else { "false" })
                .attr("aria-controls", "identity-card")
                .on_press(move || {
                    let open = ui.identity_open.get_untracked();
                    ui.identity_open.set(!open);
                    // Another tab may have chosen another one.
                    ui.dispatch(UserAction::CallerId(CallerIdAction::Load));
                })
                .children((
                    span().id("identity-label").children("Calling as"),
                    b().id("identity-name").attr("dir", "auto").children(dynamic(move || shown.get_clone())),
                    icon(Icon::ChevronDown),
                )),
            dynamic(move || {
                if ui.identity_open.get() { secondary::draw(ui, move |part| (part.identity)(ui)) } else { View::new() }
            }),
        ))
        .into()
}

fn next_action(ui: Ui, action: UserAction, title: &str) -> View {
    let label = if matches!(action, UserAction::EditNumber(_)) { "Edit" } else { "Call back" };
    button()
        .class("text-button")
        .r#type("button")
        .attr("aria-label", format!("{label} {title}"))
        .on_press(move || ui.dispatch(action.clone()))
        .children(label)
        .into()
}

/// Card of the call that has just ended: reason, duration, and a button to call back or to correct the number.
fn ended(ui: Ui, call: RecentCall) -> View {
    let shown = format_number(&call.number);
    let title = call.name.clone().unwrap_or_else(|| shown.clone());
    let text = match (call.missed, call.answered) {
        (true, _) => "Missed call".to_owned(),
        (_, true) => format!("{} · {}", call.cause, time::format_timer(call.seconds)),
        _ => call.cause.clone(),
    };
    div()
        .class("ended")
        .children((
            div().class("ended-text").children((b().children(title.clone()), small().children(text))),
            match call.next_action() {
                Some(action) => next_action(ui, action, &title),
                None => View::new(),
            },
            button()
                .class("icon-button")
                .r#type("button")
                .attr("aria-label", "Dismiss")
                .on_press(move || ui.dispatch(UserAction::DismissEnded))
                .children(icon(Icon::Close)),
        ))
        .into()
}
