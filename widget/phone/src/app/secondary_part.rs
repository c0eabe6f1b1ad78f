//! Loads the part of the module that is not needed at first.

use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

use super::App;
use crate::browser;
use crate::page;
use crate::screens;
use crate::ui::{LoadFailure, SecondaryPart};

impl App {
    /// After the sign-in, so that it is there before it is asked for.
    pub(super) fn load_secondary_part_when_idle(self: &Rc<Self>) {
        let app = Rc::clone(self);
        browser::when_idle(move || {
            if matches!(app.ui.secondary.get_untracked(), SecondaryPart::NotLoaded) {
                app.load_secondary_part();
            }
        });
    }

    /// Now. After a failure it is tried again.
    pub(super) fn load_secondary_part(&self) {
        let part = self.ui.secondary;
        if matches!(part.get_untracked(), SecondaryPart::Loading | SecondaryPart::Loaded(_)) {
            return;
        }
        part.set(SecondaryPart::Loading);
        spawn_local(async move {
            let loaded = match screens::load_secondary().await {
                Ok(screens) => SecondaryPart::Loaded(screens),
                Err(_) => SecondaryPart::Failed(failure().await),
            };
            part.set(loaded);
        });
    }
}

/// The loader does not say why it failed, but the file's address does.
async fn failure() -> LoadFailure {
    const NOT_FOUND: u16 = 404;
    match page::status_of(&page::data_attribute("secondary")).await {
        Some(NOT_FOUND) => LoadFailure::Replaced,
        _ => LoadFailure::Unreachable,
    }
}
