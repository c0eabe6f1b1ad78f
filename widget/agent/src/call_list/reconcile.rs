//! One voice: at most one call has an open microphone and an audible loudspeaker, a conference excepted.
//!
//! After every event this is the only place that decides which call it is:
//! 1. Of the answered calls without a wish for hold, the one that the person selected last talks, together with those
//!    that are in conference with it. The others are put on hold, which closes their voice at once, whatever the far
//!    end says about it.
//! 2. Without such a call, the outgoing call that the person selected last has the voice, for early media.
//! 3. A voice opens only when no other is open. Calls of one page change together in one snapshot; a page
//!    that loses the voice to another page confirms it first ([`ToAgent::Silenced`]).
//!
//! [`ToAgent::Silenced`]: bitcall_wire::agent_protocol::ToAgent::Silenced

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::HoldState;

use super::CallList;
use crate::call::{Call, CallPhase, Owner, Voice};
use crate::pages::PortId;

/// A page that does not confirm that it has closed a call's voice is taken to be gone.
const SILENCED_TIMEOUT_MS: u64 = 1_000;

impl CallList {
    pub(super) fn reconcile(&mut self, now: Millis) {
        self.prune_conference();
        let talking = self.latest(Call::wants_to_talk).map(|index| self.together(index));
        for (index, call) in self.calls.iter_mut().enumerate() {
            if call.is_active() && !talking.as_ref().is_some_and(|talking| talking.contains(&index)) {
                call.want_held(true);
            }
        }
        let mut speakers = match talking {
            Some(talking) => talking,
            None => {
                self.latest(|call| matches!(call.phase, CallPhase::Dialing(_)) && may_speak(call)).into_iter().collect()
            }
        };
        speakers.retain(|index| self.calls.get(*index).is_some_and(may_speak));
        // The same for all: a conference is of one page.
        let page = speakers.first().and_then(|index| self.calls.get(*index)?.owner.page()).map(str::to_owned);
        for (index, call) in self.calls.iter_mut().enumerate() {
            let stays = |by: &String| speakers.contains(&index) && page.as_ref() == Some(by);
            let is_attached = |page: &String| self.pages.by_name(page).is_some();
            call.voice = match std::mem::take(&mut call.voice) {
                Voice::Open { page } if stays(&page) => Voice::Open { page },
                Voice::Open { page } if is_attached(&page) => {
                    // The next snapshot takes the voice away.
                    let revision = self.last_snapshot.revision + 1;
                    Voice::Closing { page, revision, until: now.plus(SILENCED_TIMEOUT_MS) }
                }
                Voice::Closing { page, revision, until } if now < until && is_attached(&page) && !call.is_ended() => {
                    Voice::Closing { page, revision, until }
                }
                Voice::Open { .. } | Voice::Closing { .. } | Voice::Closed => Voice::Closed,
            };
        }
        let Some(page) = page else {
            return;
        };
        let is_waiting = self
            .calls
            .iter()
            .any(|call| matches!(&call.voice, Voice::Closing { page: closing, .. } if *closing != page));
        if is_waiting {
            return;
        }
        for index in speakers {
            if let Some(call) = self.calls.get_mut(index) {
                call.voice = Voice::Open { page: page.clone() };
            }
        }
    }

    /// The page has closed microphone and loudspeaker of the call, by a snapshot with this revision. An older
    /// one may have been followed by one that opened them again.
    pub(super) fn silenced(&mut self, port: PortId, call: &str, since: u64) {
        let Some(name) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        if let Some(call) = self.call_mut(call)
            && matches!(&call.voice, Voice::Closing { page, revision, .. } if *page == name && *revision <= since)
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
