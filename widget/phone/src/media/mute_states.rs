//! Which calls are muted.
//!
//! The agent keeps it, since a call outlives its page and its connection; the
//! page acts before the agent has heard of it. So a press of the person counts
//! against older snapshots until one agrees with it.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId};

#[derive(Debug, Default)]
pub struct Mutes(Vec<Mute>);

#[derive(Debug)]
struct Mute {
    call: CallId,
    muted: bool,
    /// Pressed here, and not yet in a snapshot.
    ahead: bool,
}

impl Mutes {
    pub fn muted(&self, call: &str) -> bool {
        self.0.iter().any(|mute| mute.call == call && mute.muted)
    }

    pub fn press(&mut self, call: &str, muted: bool) {
        self.0.retain(|mute| mute.call != call);
        self.0.push(Mute { call: call.to_owned(), muted, ahead: true });
    }

    /// Tells what has changed.
    pub fn follow(&mut self, snapshot: &AgentSnapshot) -> Vec<(CallId, bool)> {
        self.0.retain(|mute| snapshot.calls.iter().any(|call| call.id == mute.call));
        let mut changes = Vec::new();
        for call in &snapshot.calls {
            match self.0.iter_mut().find(|mute| mute.call == call.id) {
                Some(mute) if mute.muted == call.muted => mute.ahead = false,
                Some(mute) if mute.ahead => {}
                Some(mute) => {
                    mute.muted = call.muted;
                    changes.push((call.id.clone(), call.muted));
                }
                None => {
                    self.0.push(Mute { call: call.id.clone(), muted: call.muted, ahead: false });
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
    fn a_call_taken_over_is_muted_as_it_was() {
        let mut mutes = Mutes::default();
        assert_eq!(mutes.follow(&snapshot(true)), [("c1".to_owned(), true)]);
        assert!(mutes.muted("c1"));
        assert!(mutes.follow(&snapshot(true)).is_empty());
    }

    #[test]
    fn a_snapshot_from_before_the_press_opens_nothing() {
        let mut mutes = Mutes::default();
        mutes.follow(&snapshot(false));
        mutes.press("c1", true);
        assert!(mutes.follow(&snapshot(false)).is_empty());
        assert!(mutes.muted("c1"));
        // The agent agrees; from then on what it says counts, e.g. a press on another page.
        assert!(mutes.follow(&snapshot(true)).is_empty());
        assert_eq!(mutes.follow(&snapshot(false)), [("c1".to_owned(), false)]);
        assert!(!mutes.muted("c1"));
    }

    #[test]
    fn a_call_that_is_over_is_forgotten() {
        let mut mutes = Mutes::default();
        mutes.press("c1", true);
        mutes.follow(&AgentSnapshot::default());
        assert!(!mutes.muted("c1"));
    }
}
