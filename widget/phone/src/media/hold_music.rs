//! What a party hears that is on hold: the tenant's file, else a melody of the phone's own. Either is one `AudioBuffer`,
//! which a loop repeats without a gap.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, CallSnapshot, CallState, HoldState};
use bitcall_wire::config;
use web_sys::AudioBuffer;

use super::decoding::SAMPLE_RATE;
use super::sound_file::SoundFile;
use crate::tones::{patterns, synthesizer};

pub struct HoldMusic {
    is_enabled: bool,
    /// Calls whose far end is to hear music.
    due: RefCell<Vec<CallId>>,
    file: Option<Rc<SoundFile>>,
    melody: RefCell<Option<AudioBuffer>>,
}

impl HoldMusic {
    pub fn new(settings: config::HoldMusic) -> Rc<HoldMusic> {
        Rc::new(HoldMusic {
            is_enabled: settings.enabled,
            due: RefCell::default(),
            file: settings.url.map(SoundFile::new),
            melody: RefCell::default(),
        })
    }

    pub fn apply_snapshot(&self, snapshot: &AgentSnapshot, page: &str) {
        let due = snapshot.calls.iter().filter(|call| self.is_enabled && is_due(call, page));
        *self.due.borrow_mut() = due.map(|call| call.id.clone()).collect();
    }

    pub fn is_due(&self, call: &str) -> bool {
        self.due.borrow().iter().any(|due| due == call)
    }

    /// What to play in a loop. `None` where the browser renders no sound.
    pub async fn buffer(&self) -> Option<AudioBuffer> {
        if let Some(file) = &self.file
            && let Some(sound) = file.sound().await
        {
            return Some(sound);
        }
        let melody = self.melody.borrow().clone();
        if melody.is_some() {
            return melody;
        }
        let melody = synthesizer::render(&patterns::hold_melody(), SAMPLE_RATE).await.ok();
        self.melody.borrow_mut().clone_from(&melody);
        melody
    }
}

/// This page has the call on hold, and the far end, as far as is known, listens.
fn is_due(call: &CallSnapshot, page: &str) -> bool {
    call.state == CallState::Active
        && call.page.as_deref() == Some(page)
        && call.hold != HoldState::None
        && !call.remote_held
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::test_call;

    fn held(change: impl Fn(&mut CallSnapshot)) -> bool {
        let mut call = test_call::call("1", CallState::Active);
        (call.page, call.hold) = (Some("here".to_owned()), HoldState::Held);
        change(&mut call);
        is_due(&call, "here")
    }

    #[test]
    fn a_party_on_hold_hears_music_from_the_wish_until_the_resume_is_agreed() {
        for hold in [HoldState::Holding, HoldState::Held, HoldState::HeldHere, HoldState::Resuming] {
            assert!(held(|call| call.hold = hold), "{hold:?}");
        }
        assert!(!held(|call| call.hold = HoldState::None));
    }

    #[test]
    fn a_party_that_has_us_on_hold_hears_none() {
        assert!(!held(|call| call.remote_held = true));
    }

    #[test]
    fn only_the_page_of_the_call_plays() {
        assert!(!held(|call| call.page = Some("elsewhere".to_owned())));
    }
}
