//! The part of the module that is loaded when the phone is idle after the sign-in, or when somebody needs it: whatever
//! is not signing in, ringing, talking or hanging up. build/parts.rs cuts it out of the module.
//!
//! To put a thing into the part, give [`Secondary`] a function of it and name that in [`load`]. All that only such
//! functions reach is in the part, with its texts and icons. The main part must reach it in no other way: then it is a
//! piece of the main part, silently.
//!
//! - A screen is drawn by [`crate::screens::secondary::draw`], which says what happens while the part is not there.
//! - Its styles are in css/secondary, of which each file is named in [`STYLES`].
//! - A [`UserAction`] of such a screen goes through [`App::pass_to_secondary`] to [`crate::app::secondary::handle`].
//! - Whatever else needs the part goes through [`when_loaded`], which is instant once it is there.

use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{CallId, CallSnapshot};
use sycamore::web::View;
use wasm_bindgen_futures::spawn_local;
use wasm_split_helpers::{SplitLoaderError, wasm_split};

use crate::app::call_reports::CallsToReport;
use crate::app::{self, App};
use crate::media::{self, OutgoingAudio, PreparedAnswer};
use crate::page;
use crate::recordings::{self, RecordingContext, RecordingService};
use crate::screens;
use crate::selector::Selector;
use crate::ui::{Ui, UserAction};

pub const STYLES: &str = concat!(
    include_str!("../css/secondary/20-call.css"),
    include_str!("../css/secondary/30-messages.css"),
    include_str!("../css/secondary/40-identity.css"),
    include_str!("../css/secondary/50-meter.css"),
    include_str!("../css/secondary/50-transfer.css"),
    include_str!("../css/secondary/60-lists.css"),
    include_str!("../css/secondary/70-clips.css"),
    include_str!("../css/secondary/80-conference.css"),
    include_str!("../css/secondary/80-recordings.css"),
);

/// What the part can do.
#[derive(Clone, Copy)]
pub struct Secondary {
    /// Before anything is drawn.
    pub adopt_styles: fn(),
    pub recents: fn(Ui) -> View,
    pub settings: fn(Ui) -> View,
    pub conference: fn(Ui) -> View,
    pub identity: fn(Ui) -> View,
    pub clips: fn(Ui, &CallId) -> View,
    pub messages: fn(Ui) -> View,
    pub transfer: fn(Ui, &CallId) -> View,
    /// About the displayed call.
    pub question: fn(Ui, Selector<Option<CallSnapshot>>, &CallId) -> View,
    pub(crate) recordings: fn(RecordingContext) -> Rc<dyn RecordingService>,
    pub handle: fn(&Rc<App>, UserAction),
    pub(crate) report_calls: fn(&App, CallsToReport),
    /// `asked_at`: by the page's monotonic clock.
    pub(crate) auto_answer: fn(&Rc<App>, CallId, u64),
    pub(crate) make_answer: fn(Rc<media::MediaShared>, &Rc<PreparedAnswer>),
    pub(crate) start_hold_music: fn(Weak<OutgoingAudio>),
    pub(crate) update_conference: fn(&Rc<media::MediaShared>),
}

/// The part's only entrance.
#[wasm_split(secondary, fallible)]
#[allow(clippy::unnecessary_wraps)] // the macro asks for a `Result`
pub fn load() -> Result<Secondary, SplitLoaderError> {
    Ok(Secondary {
        adopt_styles: || page::adopt_styles(STYLES),
        recents: screens::recents::recents,
        settings: screens::settings::settings,
        conference: screens::conference::conference,
        identity: screens::identity::identity,
        clips: screens::clips::clips_in_call,
        messages: screens::messages::messages,
        transfer: screens::transfer::transfer,
        question: screens::question::question,
        recordings: recordings::service::start,
        handle: app::secondary::handle,
        report_calls: app::call_reports::report,
        auto_answer: app::auto_answer::auto_answer,
        make_answer: media::make_answer,
        start_hold_music: media::start_hold_music,
        update_conference: media::update_conference,
    })
}

/// Calls `then` as soon as the part is there; never where it cannot be had.
pub fn when_loaded(then: impl FnOnce(Secondary) + 'static) {
    call_when_loaded(Box::new(then));
}

fn call_when_loaded(then: Box<dyn FnOnce(Secondary)>) {
    spawn_local(async move {
        if let Ok(part) = load().await {
            then(part);
        }
    });
}
