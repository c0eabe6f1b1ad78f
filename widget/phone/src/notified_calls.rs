//! The calls whose start the host page was notified of, but not their end.
//!
//! A page that was frozen or disconnected misses agent events: meanwhile another page may have taken over
//! its call, or the agent may have been restarted. A call that is no longer in the agent's list has ended,
//! no matter how.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallEndCause, CallSnapshot, CallState, HoldState, RecordingState};
use bitcall_wire::host_protocol::OpenCall;

#[derive(Debug, Default)]
pub struct NotifiedCalls(Vec<CallSnapshot>);

impl NotifiedCalls {
    /// The host page knows these calls from a phone whose place this one takes.
    pub fn resume(&mut self, calls: Vec<OpenCall>) {
        self.0.extend(calls.into_iter().map(|call| CallSnapshot {
            id: call.call_id,
            direction: call.direction,
            number: call.number,
            display_name: None,
            requested_caller_id: call.requested_caller_id,
            state: CallState::Active,
            hold: HoldState::None,
            remote_held: false,
            voice: false,
            rings: false,
            muted: false,
            recording: RecordingState::Off,
            started_at: call.started_at,
            answered_at: call.answered_at,
            page: None,
            detached: false,
            transfer: None,
            consults_for: None,
            referral: None,
            diverted_from: None,
            auto_answer: false,
            headers: Vec::new(),
        }));
    }

    /// False when the host page was already notified of the call.
    pub fn insert(&mut self, call: &CallSnapshot) -> bool {
        let is_new = !self.0.iter().any(|known| known.id == call.id);
        if is_new {
            self.0.push(call.clone());
        }
        is_new
    }

    pub fn remove(&mut self, call: &str) {
        self.0.retain(|known| known.id != call);
    }

    /// All of them. The page detaches from the agent and will not learn how they end.
    pub fn take_all(&mut self) -> Vec<CallSnapshot> {
        std::mem::take(&mut self.0)
    }

    /// The calls that ended without a notification. The agent sends the end of a call before the snapshot
    /// that shows it, so that a call that is still listed here then was missed.
    pub fn apply_snapshot(&mut self, snapshot: &AgentSnapshot) -> Vec<(CallSnapshot, CallEndCause)> {
        let mut ended = Vec::new();
        self.0.retain_mut(|known| {
            let Some(call) = snapshot.calls.iter().find(|call| call.id == known.id) else {
                ended.push((known.clone(), CallEndCause { text: "Ended elsewhere".to_owned(), sip_code: None }));
                return false;
            };
            known.clone_from(call);
            if let CallState::Ended { cause } = &call.state {
                ended.push((known.clone(), cause.clone()));
                return false;
            }
            true
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_call;

    fn call(state: CallState) -> CallSnapshot {
        test_call::call("c1", state)
    }

    fn snapshot(calls: Vec<CallSnapshot>) -> AgentSnapshot {
        AgentSnapshot { calls, ..AgentSnapshot::default() }
    }

    #[test]
    fn a_call_that_ended_while_the_page_was_frozen_ends_once() {
        let mut notified = NotifiedCalls::default();
        assert!(notified.insert(&call(CallState::Dialing)));
        assert!(!notified.insert(&call(CallState::Dialing)));
        let up = CallSnapshot { answered_at: Some(5_000), ..call(CallState::Active) };
        assert!(notified.apply_snapshot(&snapshot(vec![up])).is_empty());
        let ended = notified.apply_snapshot(&AgentSnapshot::default());
        assert!(matches!(ended.as_slice(), [(call, _)] if call.answered_at == Some(5_000)));
        assert!(notified.apply_snapshot(&AgentSnapshot::default()).is_empty());
    }

    #[test]
    fn a_call_that_another_page_took_over_ends_with_its_own_cause() {
        let mut notified = NotifiedCalls::default();
        notified.insert(&call(CallState::Active));
        let cause = CallEndCause { text: "Remote hung up".to_owned(), sip_code: None };
        let ended = notified.apply_snapshot(&snapshot(vec![call(CallState::Ended { cause: cause.clone() })]));
        assert!(matches!(ended.as_slice(), [(_, reported)] if *reported == cause));
    }

    #[test]
    fn a_call_of_an_earlier_phone_goes_on_or_ends_once() {
        let known = OpenCall {
            call_id: "c1".to_owned(),
            number: "102".to_owned(),
            direction: bitcall_wire::agent_protocol::CallDirection::Outbound,
            requested_caller_id: None,
            started_at: 1_000,
            answered_at: Some(2_000),
        };
        let mut notified = NotifiedCalls::default();
        notified.resume(vec![known]);
        assert!(!notified.insert(&call(CallState::Active)), "the host page has heard of it");
        assert!(notified.apply_snapshot(&snapshot(vec![call(CallState::Active)])).is_empty());
        assert_eq!(notified.apply_snapshot(&AgentSnapshot::default()).len(), 1);
    }

    #[test]
    fn a_reported_end_is_not_reported_again() {
        let mut notified = NotifiedCalls::default();
        notified.insert(&call(CallState::Active));
        notified.remove("c1");
        assert!(notified.apply_snapshot(&AgentSnapshot::default()).is_empty());
    }
}
