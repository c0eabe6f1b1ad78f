//! The conference: calls that talk together. There is at most one.
//!
//! It is a list of parties and nothing else: whether it talks or waits on hold follows from its calls, which are put on
//! hold and resumed together. A party leaves it when its call ends, is split off or is transferred, when its far end
//! refers us to somebody else, and when its call is of another page than the first one's. With one party left it is an
//! ordinary call. The calls of a page that is gone are taken over by one page, together, so the conference follows them.

use bitcall_wire::agent_protocol::{CallId, Party};

#[derive(Debug, Default)]
pub struct Conference {
    /// None, or at least two.
    parties: Vec<Party>,
}

impl Conference {
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    pub fn contains(&self, call: &str) -> bool {
        self.parties.iter().any(|party| party.call == call)
    }

    /// Both calls are parties from now on. False if that took a second conference.
    pub fn join(&mut self, into: &CallId, call: &CallId) -> bool {
        if !self.parties.is_empty() && !self.contains(into) && !self.contains(call) {
            return false;
        }
        for call in [into, call] {
            if !self.contains(call) {
                self.parties.push(Party { call: call.clone(), muted: false });
            }
        }
        true
    }

    /// The conference of an earlier agent.
    pub fn restore(&mut self, parties: Vec<Party>) {
        self.parties = parties;
        self.retain(|_| true);
    }

    pub fn leave(&mut self, call: &str) {
        self.retain(|party| party != call);
    }

    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.parties.retain(|party| stays(&party.call));
        if self.parties.len() < 2 {
            self.parties.clear();
        }
    }

    pub fn mute(&mut self, call: &str, muted: bool) {
        if let Some(party) = self.parties.iter_mut().find(|party| party.call == call) {
            party.muted = muted;
        }
    }
}
