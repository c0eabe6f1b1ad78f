//! One voice: at most one call has an open microphone and an audible loudspeaker.
//!
//! After every event this is the only place that decides which call it is:
//! 1. Of the answered calls without a wish for hold, the one that the person selected last talks. The others
//!    are put on hold, which closes their voice at once, whatever the far end says about it.
//! 2. Without such a call, the outgoing call that the person selected last has the voice, for early media.
//! 3. A voice opens only when no other is open. Calls of one page change together in one snapshot; a page
//!    that loses the voice to another page confirms it first ([`ToAgent::Silenced`]).
//!
//! [`ToAgent::Silenced`]: bitcall_wire::agent_protocol::ToAgent::Silenced

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::HoldState;

use super::CallList;
use crate::call::{Call, Owner, Phase, Voice};

/// A page that does not confirm that it has closed a call's voice is taken to be gone.
const SILENCED_TIMEOUT_MS: u64 = 1_000;

impl CallList {
    pub(super) fn reconcile(&mut self, now: Millis) {
        let talking = self.latest(Call::wants_to_talk);
        for (index, call) in self.calls.iter_mut().enumerate() {
            if Some(index) != talking && call.is_active() {
                call.want_held(true);
            }
        }
        let speaker = match talking {
            Some(index) => Some(index).filter(|index| self.calls.get(*index).is_some_and(may_speak)),
            None => self.latest(|call| matches!(call.phase, Phase::Dialing(_)) && may_speak(call)),
        };
        let page =
            speaker.and_then(|index| self.calls.get(index)).and_then(|call| call.owner.page()).map(str::to_owned);
        for (index, call) in self.calls.iter_mut().enumerate() {
            if Some(index) == speaker {
                continue;
            }
            let is_attached = call.owner.page().is_some_and(|name| self.pages.by_name(name).is_some());
            let must_confirm =
                page.is_some() && !call.is_ended() && is_attached && call.owner.page() != page.as_deref();
            call.voice = match call.voice {
                Voice::Open if must_confirm => Voice::Closing { until: now.plus(SILENCED_TIMEOUT_MS) },
                Voice::Closing { until } if must_confirm && now < until => Voice::Closing { until },
                Voice::Open | Voice::Closing { .. } | Voice::Closed => Voice::Closed,
            };
        }
        let is_waiting = self.calls.iter().any(|call| matches!(call.voice, Voice::Closing { .. }));
        if let Some(call) = speaker.and_then(|index| self.calls.get_mut(index)) {
            call.voice = match call.voice {
                Voice::Open => Voice::Open,
                Voice::Closed | Voice::Closing { .. } if is_waiting => Voice::Closed,
                Voice::Closed | Voice::Closing { .. } => Voice::Open,
            };
        }
    }

    /// The page has closed microphone and loudspeaker of the call.
    pub(super) fn silenced(&mut self, index: usize) {
        if let Some(call) = self.calls.get_mut(index)
            && matches!(call.voice, Voice::Closing { .. })
        {
            call.voice = Voice::Closed;
        }
    }

    /// The call of these that the person selected last.
    pub(super) fn latest(&self, is_meant: impl Fn(&Call) -> bool) -> Option<usize> {
        let meant = self.calls.iter().enumerate().filter(|(_, call)| is_meant(call));
        meant.max_by_key(|(_, call)| call.focus).map(|(index, _)| index)
    }
}

/// A page has the call, and the far end does not believe it to be on hold.
fn may_speak(call: &Call) -> bool {
    matches!(call.owner, Owner::Page(_)) && call.hold_state() == HoldState::None
}
