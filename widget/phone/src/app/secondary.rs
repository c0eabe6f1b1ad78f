//! The part of the module that is not needed at first ([`crate::secondary`]): loads it, and hands it its actions.

use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

use super::App;
use crate::browser;
use crate::page;
use crate::secondary;
use crate::ui::{CallerIdAction, LoadFailure, SecondaryPart, UserAction};

/// The actions that the part carries out.
pub fn handle(app: &Rc<App>, action: UserAction) {
    match action {
        UserAction::RetryMicrophone => app.retry_microphone(),
        UserAction::SetTheme(theme) => app.choose_theme(theme),
        UserAction::ChooseMicrophone(id) => app.choose_microphone(id),
        UserAction::ChooseSpeaker(id) => app.choose_speaker(id),
        UserAction::Clip(action) => app.handle_clip_action(action),
        UserAction::CallerId(action) => app.handle_caller_id_action(action),
        UserAction::Message(action) => app.handle_message_action(action),
        UserAction::Conference(action) => app.handle_conference_action(action),
        transfer_action => app.handle_transfer_action(transfer_action),
    }
}

impl App {
    /// Has the part carry out an action, as soon as it is there.
    pub fn pass_to_secondary(self: &Rc<Self>, action: UserAction) {
        if let SecondaryPart::Loaded(part) = self.ui.secondary.get_untracked() {
            return (part.handle)(self, action);
        }
        self.load_secondary_part();
        let app = Rc::clone(self);
        secondary::when_loaded(move |part| (part.handle)(&app, action));
    }

    /// After the sign-in, so that it is there before it is asked for. It also tells with which caller ID the person calls.
    pub(super) fn load_secondary_part_when_idle(self: &Rc<Self>) {
        let app = Rc::clone(self);
        browser::when_idle(move || app.pass_to_secondary(UserAction::CallerId(CallerIdAction::Load)));
    }

    /// Now. After a failure it is tried again.
    pub(super) fn load_secondary_part(self: &Rc<Self>) {
        let part = self.ui.secondary;
        if matches!(part.get_untracked(), SecondaryPart::Loading | SecondaryPart::Loaded(_)) {
            return;
        }
        part.set(SecondaryPart::Loading);
        let app = Rc::clone(self);
        spawn_local(async move {
            let loaded = match secondary::load().await {
                Ok(loaded) => {
                    (loaded.adopt_styles)();
                    SecondaryPart::Loaded(loaded)
                }
                Err(_) => SecondaryPart::Failed(failure().await),
            };
            part.set(loaded);
            match loaded {
                SecondaryPart::Loaded(part) => app.begin_recordings(part),
                SecondaryPart::Failed(why) => app.no_recordings(why),
                SecondaryPart::NotLoaded | SecondaryPart::Loading => {}
            }
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
