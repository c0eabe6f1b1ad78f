//! The screens that are not needed to sign in, ring, talk and hang up. They are a part of the module of its own
//! (build/parts.rs), which is loaded when the phone is idle, or when one of them is opened.

use sycamore::prelude::*;
use wasm_split_helpers::{SplitLoaderError, wasm_split};

use super::elements::*;
use super::{recents, settings, start};
use crate::icons::{Icon, icon};
use crate::ui::{LoadFailure, SecondaryPart, SecondaryScreens, Ui, UserAction};

/// The part's only entrance. What else of it the main part reaches becomes a piece of the main part, silently.
#[wasm_split(secondary, fallible)]
#[allow(clippy::unnecessary_wraps)] // the macro asks for a `Result`
pub fn load() -> Result<SecondaryScreens, SplitLoaderError> {
    Ok(SecondaryScreens { recents: recents::recents, settings: settings::settings })
}

/// One of its screens, or why there is none yet.
pub fn draw(ui: Ui, screen: fn(SecondaryScreens) -> fn(Ui) -> View) -> View {
    dynamic(move || match ui.secondary.get() {
        SecondaryPart::Loaded(screens) => screen(screens)(ui),
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
        SecondaryPart::NotLoaded | SecondaryPart::Loading => div().class("empty").attr("aria-busy", "true").into(),
    })
}

fn notice(heading: &'static str, text: &'static str, remedy: View) -> View {
    div()
        .class("empty")
        .attr("role", "alert")
        .children((icon(Icon::Alert), h2().children(heading), p().children(text), remedy))
        .into()
}
