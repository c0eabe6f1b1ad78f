//! Calls that are answered by themselves, where the tenant allows it and the caller asks for it (an intercom, a server
//! that calls the person first).
//!
//! The microphone of a person who does not know of the call opens, so: only while there is no other call, and only after a
//! page has played a tone. Where it cannot, e.g. because the browser allows no sound yet, the call rings as every other one.

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::{AgentEvent, OtherCalls, ToPage};

use super::CallList;
use crate::call::{AutoAnswer, Call, CallPhase};
use crate::pages::PortId;

/// Time for a page to play the tone.
const TONE_TIMEOUT_MS: u64 = 3_000;

impl CallList {
    /// For a new call that asks for it.
    pub(super) fn auto_answer_of(&self, delay_ms: Option<u64>, now: Millis) -> AutoAnswer {
        let is_allowed = self.account.as_ref().is_some_and(|account| account.calls.auto_answer);
        delay_ms.filter(|_| is_allowed).map_or(AutoAnswer::No, |delay| AutoAnswer::At(now.plus(delay)))
    }

    /// Has the page that rings play the tone for the calls that are due.
    pub(super) fn start_auto_answers(&mut self, now: Millis) {
        let ringer = self.pages.ringer().map(|page| page.port);
        for index in 0..self.calls.len() {
            let is_alone = self.is_alone(index);
            let Some(call) = self.calls.get_mut(index).filter(|call| matches!(call.phase, CallPhase::Incoming { .. }))
            else {
                continue;
            };
            match (call.auto_answer, ringer) {
                (AutoAnswer::At(at), Some(port)) if at <= now && is_alone => {
                    call.auto_answer = AutoAnswer::Due(now.plus(TONE_TIMEOUT_MS));
                    let event = AgentEvent::AutoAnswerDue { call: call.id.clone() };
                    self.send(port, ToPage::Event { event });
                }
                (AutoAnswer::At(at) | AutoAnswer::Due(at), _) if at <= now => call.auto_answer = AutoAnswer::No,
                _ => {}
            }
        }
    }

    /// The page has played the tone.
    pub(super) fn auto_answer(&mut self, port: PortId, call: &str) {
        // Meanwhile the person may have answered it, or placed another call.
        let Some(index) = self.find(call).filter(|index| self.is_alone(*index)) else {
            return;
        };
        if let Some(known) = self.calls.get_mut(index)
            && matches!((&known.phase, known.auto_answer), (CallPhase::Incoming { .. }, AutoAnswer::Due(_)))
        {
            known.auto_answer = AutoAnswer::Done;
            self.answer(port, call, OtherCalls::Hold);
        }
    }

    /// No other call has been answered or placed, or is about to be.
    fn is_alone(&self, index: usize) -> bool {
        let is_other = |(other, call): (usize, &Call)| {
            other != index && (call.is_in_progress() || matches!(call.auto_answer, AutoAnswer::Due(_)))
        };
        !self.calls.iter().enumerate().any(is_other)
    }
}
