//! Which calls may send the microphone and be heard in this page.
//!
//! The agent gives the voice to at most one call ([`CallSnapshot::voice`]), and this page follows its last
//! snapshot. One thing goes ahead of the agent: a hold that the person asks for in this page cuts the call
//! off at once. Snapshots that the agent sent before it knew of the hold may still arrive, and do not open the
//! call again: the cut lasts until a snapshot has the hold. A hold that the agent does not carry out (the call
//! cannot be held, or was resumed in the same moment) never shows in one, so the page gives the cut up after a
//! while ([`VoiceGates::lift_cut`]).

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, CallSnapshot, HoldState};

#[derive(Debug, Default)]
pub struct VoiceGates {
    gates: Vec<VoiceGate>,
    cuts: u32,
}

#[derive(Debug)]
struct VoiceGate {
    call: CallId,
    /// By the last snapshot: the call has the voice, in this page.
    voice: bool,
    /// By the last snapshot: the person wants the call held.
    held: bool,
    /// Number of the hold that no snapshot has yet.
    cut: Option<u32>,
}

/// What a snapshot changes: first close, then open.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GateChanges {
    /// These had the voice in this page and have it no longer.
    pub lost: Vec<CallId>,
    pub opened: Vec<CallId>,
}

impl VoiceGate {
    fn is_open(&self) -> bool {
        self.voice && self.cut.is_none()
    }
}

impl VoiceGates {
    /// False for a call that no snapshot has contained yet.
    pub fn is_open(&self, call: &str) -> bool {
        self.gates.iter().any(|gate| gate.call == call && gate.is_open())
    }

    /// The person holds this call here. Returns the number of the cut, unless the call is on hold already.
    pub fn cut(&mut self, call: &str) -> Option<u32> {
        let gate = self.gates.iter_mut().find(|gate| gate.call == call && !gate.held)?;
        self.cuts += 1;
        gate.cut = Some(self.cuts);
        gate.cut
    }

    /// No snapshot had the hold with this number in time. Returns whether the call is open now.
    pub fn lift_cut(&mut self, call: &str, cut: u32) -> bool {
        let Some(gate) = self.gates.iter_mut().find(|gate| gate.call == call && gate.cut == Some(cut)) else {
            return false;
        };
        gate.cut = None;
        gate.is_open()
    }

    pub fn apply_snapshot(&mut self, snapshot: &AgentSnapshot, page: &str) -> GateChanges {
        let mut changes = GateChanges::default();
        for call in &snapshot.calls {
            if !self.gates.iter().any(|gate| gate.call == call.id) {
                self.gates.push(VoiceGate { call: call.id.clone(), voice: false, held: false, cut: None });
            }
        }
        self.gates.retain_mut(|gate| {
            let call = snapshot.calls.iter().find(|call| call.id == gate.call);
            let was_open = gate.is_open();
            let had_voice = std::mem::replace(&mut gate.voice, call.is_some_and(|call| has_voice(call, page)));
            gate.held = call.is_some_and(is_held);
            if gate.held {
                gate.cut = None;
            }
            if had_voice && !gate.voice {
                changes.lost.push(gate.call.clone());
            }
            if gate.is_open() && !was_open {
                changes.opened.push(gate.call.clone());
            }
            call.is_some()
        });
        changes
    }
}

fn has_voice(call: &CallSnapshot, page: &str) -> bool {
    call.voice && call.page.as_deref() == Some(page)
}

fn is_held(call: &CallSnapshot) -> bool {
    matches!(call.hold, HoldState::Holding | HoldState::Held | HoldState::HeldHere)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use bitcall_wire::agent_protocol::CallState;

    use crate::test_call;

    const PAGE: &str = "this page";

    fn call(id: &str, voice: bool, hold: HoldState) -> CallSnapshot {
        CallSnapshot { voice, hold, page: Some(PAGE.to_owned()), ..test_call::call(id, CallState::Active) }
    }

    fn apply(gates: &mut VoiceGates, calls: &[CallSnapshot]) -> GateChanges {
        gates.apply_snapshot(&AgentSnapshot { calls: calls.to_vec(), ..AgentSnapshot::default() }, PAGE)
    }

    fn changes(lost: &[&str], opened: &[&str]) -> GateChanges {
        let owned = |calls: &[&str]| calls.iter().map(|call| (*call).to_owned()).collect();
        GateChanges { lost: owned(lost), opened: owned(opened) }
    }

    /// `a` is open.
    fn open() -> VoiceGates {
        let mut gates = VoiceGates::default();
        assert_eq!(apply(&mut gates, &[call("a", true, HoldState::None)]), changes(&[], &["a"]));
        gates
    }

    #[test]
    fn a_call_is_closed_until_a_snapshot_gives_it_the_voice() {
        let mut gates = VoiceGates::default();
        assert!(!gates.is_open("a"));
        assert_eq!(apply(&mut gates, &[call("a", false, HoldState::None)]), changes(&[], &[]));
        assert!(!gates.is_open("a"));
        apply(&mut gates, &[call("a", true, HoldState::None)]);
        assert!(gates.is_open("a"));
    }

    #[test]
    fn the_voice_moves_from_one_call_to_another_in_one_snapshot() {
        let mut gates = open();
        let moved = apply(&mut gates, &[call("a", false, HoldState::Holding), call("b", true, HoldState::None)]);
        assert_eq!(moved, changes(&["a"], &["b"]));
        assert!(!gates.is_open("a") && gates.is_open("b"));
    }

    #[test]
    fn the_voice_of_a_call_in_another_page_opens_nothing_here() {
        let mut gates = open();
        let elsewhere = CallSnapshot { page: Some("another".to_owned()), ..call("a", true, HoldState::None) };
        assert_eq!(apply(&mut gates, &[elsewhere]), changes(&["a"], &[]));
        assert!(!gates.is_open("a"));
    }

    #[test]
    fn a_call_that_is_gone_loses_the_voice() {
        let mut gates = open();
        assert_eq!(apply(&mut gates, &[]), changes(&["a"], &[]));
        assert_eq!(apply(&mut gates, &[]), changes(&[], &[]), "told once");
    }

    #[test]
    fn a_snapshot_older_than_the_hold_does_not_open_the_call() {
        let mut gates = open();
        gates.cut("a");
        assert!(!gates.is_open("a"));
        for older in [call("a", true, HoldState::None), call("a", true, HoldState::None)] {
            assert_eq!(apply(&mut gates, &[older]), changes(&[], &[]));
            assert!(!gates.is_open("a"));
        }
        assert_eq!(apply(&mut gates, &[call("a", false, HoldState::Holding)]), changes(&["a"], &[]));
        assert_eq!(apply(&mut gates, &[call("a", false, HoldState::Resuming)]), changes(&[], &[]));
        assert_eq!(apply(&mut gates, &[call("a", true, HoldState::None)]), changes(&[], &["a"]));
    }

    #[test]
    fn a_hold_that_crosses_a_resume_keeps_the_call_closed() {
        let mut gates = open();
        apply(&mut gates, &[call("a", false, HoldState::Held)]);
        apply(&mut gates, &[call("a", false, HoldState::Resuming)]);
        gates.cut("a");
        // The resume was agreed before the agent knew of the new hold.
        assert_eq!(apply(&mut gates, &[call("a", true, HoldState::None)]), changes(&[], &[]));
        assert!(!gates.is_open("a"));
        apply(&mut gates, &[call("a", false, HoldState::Holding)]);
        apply(&mut gates, &[call("a", true, HoldState::None)]);
        assert!(gates.is_open("a"));
    }

    #[test]
    fn a_hold_of_a_held_call_does_not_outlast_its_resume() {
        let mut gates = open();
        apply(&mut gates, &[call("a", false, HoldState::HeldHere)]);
        assert_eq!(gates.cut("a"), None);
        apply(&mut gates, &[call("a", true, HoldState::None)]);
        assert!(gates.is_open("a"));
    }

    #[test]
    fn a_hold_that_the_agent_did_not_carry_out_is_given_up() {
        let mut gates = open();
        let first = gates.cut("a").unwrap();
        let second = gates.cut("a").unwrap();
        assert!(!gates.lift_cut("a", first), "a later hold is not concerned");
        assert!(!gates.is_open("a"));
        assert!(gates.lift_cut("a", second));
        assert!(gates.is_open("a"));
    }
}
