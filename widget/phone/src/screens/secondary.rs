//! The place of a screen that is in the part of the module that is loaded later ([`crate::secondary`]).

use sycamore::prelude::*;

use super::elements::*;
use super::start;
use crate::icons::{Icon, icon};
use crate::secondary::Secondary;
use crate::ui::{LoadFailure, SecondaryPart, Ui, UserAction};

/// The screen that `draw` makes with the part, or why there is none yet.
pub fn draw(ui: Ui, draw: impl Fn(Secondary) -> View + 'static) -> View {
    dynamic(move || match ui.secondary.get() {
        SecondaryPart::Loaded(part) => draw(part),
        absent => absence(ui, absent),
    })
}

fn absence(ui: Ui, part: SecondaryPart) -> View {
    match part {
        SecondaryPart::Failed(LoadFailure::Replaced) => notice(
            "The phone was updated",
            "This page still has the version from before. Reload the phone to go on; a call is not lost.",
            button().r#type("button").class("primary").on_press(start::reload).children("Reload the phone").into(),
        ),
        SecondaryPart::Failed(LoadFailure::Unreachable) => notice(
            "This did not load",
            "The phone's server did not answer. Check the connection; calls go on.",
            button()
                .r#type("button")
                .class("primary")
                .on_press(move || ui.dispatch(UserAction::LoadSecondaryPart))
                .children("Try again")
                .into(),
        ),
        _ => div().class("empty").attr("aria-busy", "true").into(),
    }
}

fn notice(heading: &'static str, text: &'static str, remedy: View) -> View {
    div()
        .class("empty")
        .attr("role", "alert")
        .children((icon(Icon::Alert), h2().children(heading), p().children(text), remedy))
        .into()
}
