//! The asking side: INVITE (RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2) and all else (§17.1.2).

use serde::{Deserialize, Serialize};

use super::TRANSACTION_TIMEOUT_MS;
use crate::time::Millis;

/// What a response is to the transaction's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    Provisional,
    /// A 2xx; to an INVITE there may be more of them, each to be acknowledged by the user.
    Success,
    /// Final and not 2xx; to an INVITE the transaction's own ACK must be sent now.
    Failure,
    /// Does not matter any more.
    Absorbed,
}

/// One request that waits for its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTransaction {
    branch: String,
    invite: bool,
    state: State,
    deadline: Option<Millis>,
    /// Set by the user; a provisional response does not lift it.
    limit: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Calling, or Trying for a non-INVITE.
    Calling,
    Proceeding,
    /// INVITE only: a 2xx came; forks may send more.
    Accepted,
    Terminated,
}

impl ClientTransaction {
    /// The request has just been sent. Timer B or F starts.
    pub fn new(branch: String, invite: bool, now: Millis) -> Self {
        Self { branch, invite, state: State::Calling, deadline: Some(now.plus(TRANSACTION_TIMEOUT_MS)), limit: None }
    }

    pub fn branch(&self) -> &str {
        &self.branch
    }

    pub fn is_invite(&self) -> bool {
        self.invite
    }

    /// A provisional response came and no final one yet: only now may an INVITE be cancelled.
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// No final response yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.deadline
    }

    /// Gives up at `at` if there is no final response by then, e.g. after CANCEL (§9.1). Of several limits the earliest holds.
    pub fn time_out_at(&mut self, at: Millis) {
        self.limit = Some(self.limit.map_or(at, |before| before.min(at)));
        self.deadline = self.limit;
    }

    pub fn on_response(&mut self, status: u16, now: Millis) -> ResponseKind {
        match (self.state, status) {
            (State::Calling | State::Proceeding, 100..=199) => {
                if self.invite && self.state == State::Calling {
                    // From here on the person decides how long it rings.
                    self.deadline = self.limit;
                }
                self.state = State::Proceeding;
                ResponseKind::Provisional
            }
            (State::Calling | State::Proceeding, 200..=299) => {
                if self.invite {
                    self.state = State::Accepted;
                    self.deadline = Some(now.plus(TRANSACTION_TIMEOUT_MS));
                } else {
                    self.end();
                }
                ResponseKind::Success
            }
            (State::Calling | State::Proceeding, _) => {
                self.end();
                ResponseKind::Failure
            }
            (State::Accepted, 200..=299) => ResponseKind::Success,
            (State::Accepted | State::Terminated, _) => ResponseKind::Absorbed,
        }
    }

    /// Says whether time ran out before a final response. The end of the Accepted state is silent.
    pub fn on_time(&mut self, now: Millis) -> bool {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return false;
        }
        let pending = self.is_pending();
        self.end();
        pending
    }

    fn end(&mut self) {
        self.state = State::Terminated;
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> ClientTransaction {
        ClientTransaction::new("z9hG4bKa".into(), true, Millis(0))
    }

    #[test]
    fn an_invite_without_any_response_gives_up_after_32_seconds() {
        let mut transaction = invite();
        assert!(!transaction.on_time(Millis(31_999)));
        assert!(transaction.on_time(Millis(32_000)));
        assert!(transaction.is_terminated());
    }

    #[test]
    fn a_ringing_invite_has_no_time_limit_of_its_own() {
        let mut transaction = invite();
        assert_eq!(transaction.on_response(180, Millis(10)), ResponseKind::Provisional);
        assert!(!transaction.on_time(Millis(10_000_000)));
        assert!(transaction.is_proceeding());
    }

    #[test]
    fn a_limit_that_was_set_holds_whatever_provisional_responses_come() {
        let mut transaction = invite();
        transaction.time_out_at(Millis(5_000));
        transaction.on_response(180, Millis(10));
        assert!(transaction.on_time(Millis(5_000)));
    }

    #[test]
    fn further_2xx_of_forks_are_heard_until_timer_m() {
        let mut transaction = invite();
        assert_eq!(transaction.on_response(200, Millis(0)), ResponseKind::Success);
        assert_eq!(transaction.on_response(200, Millis(9)), ResponseKind::Success);
        assert_eq!(transaction.on_response(486, Millis(9)), ResponseKind::Absorbed);
        assert!(!transaction.on_time(Millis(32_000)));
        assert!(transaction.is_terminated());
    }

    #[test]
    fn a_non_invite_keeps_its_time_limit_after_a_provisional_response() {
        let mut transaction = ClientTransaction::new("z9hG4bKa".into(), false, Millis(0));
        assert_eq!(transaction.on_response(100, Millis(31_000)), ResponseKind::Provisional);
        assert!(transaction.on_time(Millis(32_000)));
    }

    #[test]
    fn a_final_response_is_heard_once() {
        let mut transaction = ClientTransaction::new("z9hG4bKa".into(), false, Millis(0));
        assert_eq!(transaction.on_response(200, Millis(1)), ResponseKind::Success);
        assert_eq!(transaction.on_response(200, Millis(2)), ResponseKind::Absorbed);
    }
}
