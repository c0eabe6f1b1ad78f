//! Which calls are muted.
//!
//! The agent stores the state, because a call outlives its page and its connection. The page applies a
//! change before the agent confirms it, so a local change wins over older snapshots until a snapshot agrees
//! with it.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId};

#[derive(Debug, Default)]
pub struct MuteStates(Vec<MuteState>);

#[derive(Debug)]
struct MuteState {
    call: CallId,
    muted: bool,
    /// Changed on this page and not confirmed by a snapshot yet.
    is_pending: bool,
}

impl MuteStates {
    pub fn is_muted(&self, call: &str) -> bool {
        self.0.iter().any(|mute| mute.call == call && mute.muted)
    }

    pub fn set_local(&mut self, call: &str, muted: bool) {
        self.0.retain(|mute| mute.call != call);
        self.0.push(MuteState { call: call.to_owned(), muted, is_pending: true });
    }

    /// Returns the calls whose state has changed.
    pub fn apply_snapshot(&mut self, snapshot: &AgentSnapshot) -> Vec<(CallId, bool)> {
        self.0.retain(|mute| snapshot.calls.iter().any(|call| call.id == mute.call));
        let mut changes = Vec::new();
        for call in &snapshot.calls {
            match self.0.iter_mut().find(|mute| mute.call == call.id) {
                Some(mute) if mute.muted == call.muted => mute.is_pending = false,
                Some(mute) if mute.is_pending => {}
                Some(mute) => {
                    mute.muted = call.muted;
                    changes.push((call.id.clone(), call.muted));
                }
                None => {
                    self.0.push(MuteState { call: call.id.clone(), muted: call.muted, is_pending: false });
                    if call.muted {
                        changes.push((call.id.clone(), true));
                    }
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcall_wire::agent_protocol::{CallSnapshot, CallState};

    use crate::test_call;

    fn snapshot(muted: bool) -> AgentSnapshot {
        let call = CallSnapshot { muted, ..test_call::call("c1", CallState::Active) };
        AgentSnapshot { calls: vec![call], ..AgentSnapshot::default() }
    }

    #[test]
    fn a_call_taken_over_keeps_its_mute_state() {
        let mut mutes = MuteStates::default();
        assert_eq!(mutes.apply_snapshot(&snapshot(true)), [("c1".to_owned(), true)]);
        assert!(mutes.is_muted("c1"));
        assert!(mutes.apply_snapshot(&snapshot(true)).is_empty());
    }

    #[test]
    fn a_snapshot_older_than_the_mute_does_not_unmute() {
        let mut mutes = MuteStates::default();
        mutes.apply_snapshot(&snapshot(false));
        mutes.set_local("c1", true);
        assert!(mutes.apply_snapshot(&snapshot(false)).is_empty());
        assert!(mutes.is_muted("c1"));
        // The agent has confirmed the change. From then on its snapshots apply, for example after a change
        // on another page.
        assert!(mutes.apply_snapshot(&snapshot(true)).is_empty());
        assert_eq!(mutes.apply_snapshot(&snapshot(false)), [("c1".to_owned(), false)]);
        assert!(!mutes.is_muted("c1"));
    }

    #[test]
    fn the_mute_state_of_an_ended_call_is_removed() {
        let mut mutes = MuteStates::default();
        mutes.set_local("c1", true);
        mutes.apply_snapshot(&AgentSnapshot::default());
        assert!(!mutes.is_muted("c1"));
    }
}
