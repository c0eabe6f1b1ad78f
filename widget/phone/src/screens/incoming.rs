//! The incoming call: a dialog over everything, answered with one tap.

use bitcall_wire::agent_protocol::{CallId, OtherCalls};
use sycamore::prelude::*;

use super::call::{diverted_from, subtitle, title};
use super::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::ui::{Ui, UserAction, is_engaged};

/// Element id of the dialog, to set the focus.
pub const INCOMING_ELEMENT_ID: &str = "incoming";

pub fn incoming(ui: Ui, id: &CallId) -> View {
    let call = ui.call(id);
    let who = selector(move || {
        call.with(|call| {
            call.as_ref()
                .map(|call| (title(call), subtitle(call), call.display_name.clone(), diverted_from(call)))
                .unwrap_or_default()
        })
    });
    let others =
        selector(move || ui.snapshot.with(|snapshot| snapshot.calls.iter().filter(|call| is_engaged(call)).count()));
    let id = id.clone();
    div()
        .class("incoming")
        .id(INCOMING_ELEMENT_ID)
        .attr("role", "dialog")
        .attr("aria-modal", "true")
        .attr("aria-labelledby", "incoming-kind incoming-name")
        .attr("tabindex", "-1")
        .children((
            p().class("incoming-kind").id("incoming-kind").children(dynamic(move || match others.get() {
                0 => "Incoming call".to_owned(),
                n => format!("Incoming · {} call", ordinal(n + 1)),
            })),
            dynamic(move || {
                let (title, subtitle, name, diverted_from) = who.get_clone();
                let line = |text: Option<String>| match text {
                    Some(text) => p().class("person-number").children(bdi().children(text)).into(),
                    None => View::new(),
                };
                div().class("person ringing").children((
                    avatar(name.as_deref()),
                    h1().class(if title.chars().count() > 26 { "person-name long" } else { "person-name" })
                        .id("incoming-name")
                        .children(bdi().children(title)),
                    line(subtitle),
                    line(diverted_from),
                ))
            }),
            dynamic(move || if others.get() == 0 { answers(ui, &id) } else { busy_answers(ui, &id) }),
        ))
        .into()
}

fn answers(ui: Ui, id: &CallId) -> View {
    let (decline, answer) = (id.clone(), id.clone());
    div()
        .class("answers")
        .children((
            round("Decline", "round negative", Icon::PhoneOff, move || {
                ui.dispatch(UserAction::Decline(decline.clone()));
            }),
            round("Answer", "round positive", Icon::Phone, move || {
                ui.dispatch(UserAction::Answer(answer.clone(), OtherCalls::Hold));
            }),
        ))
        .into()
}

/// With another active call, the buttons say what happens to it.
fn busy_answers(ui: Ui, id: &CallId) -> View {
    let (hold, end, decline) = (id.clone(), id.clone(), id.clone());
    div()
        .class("answers stacked")
        .children((
            wide("Hold & Answer", "wide positive", Icon::Pause, move || {
                ui.dispatch(UserAction::Answer(hold.clone(), OtherCalls::Hold));
            }),
            wide("End & Answer", "wide plain", Icon::Phone, move || {
                ui.dispatch(UserAction::Answer(end.clone(), OtherCalls::End));
            }),
            wide("Decline", "wide negative", Icon::PhoneOff, move || {
                ui.dispatch(UserAction::Decline(decline.clone()));
            }),
        ))
        .into()
}

fn round(name: &'static str, class: &'static str, drawing: Icon, press: impl Fn() + 'static) -> View {
    button()
        .class(class)
        .r#type("button")
        .on_press(press)
        .children((span().class("round-disc").children(icon(drawing)), span().children(name)))
        .into()
}

fn wide(name: &'static str, class: &'static str, drawing: Icon, press: impl Fn() + 'static) -> View {
    button().class(class).r#type("button").on_press(press).children((icon(drawing), span().children(name))).into()
}

fn ordinal(n: usize) -> String {
    match n {
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        n => format!("{n}th"),
    }
}
