//! Client transactions: INVITE (RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2) and non-INVITE (§17.1.2).

use serde::{Deserialize, Serialize};

use super::TRANSACTION_TIMEOUT_MS;
use crate::time::Millis;

/// How the transaction user (RFC 3261 §5) must treat a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    Provisional,
    /// A 2xx. For an INVITE there may be several, one per fork; the transaction user sends an ACK for each.
    Success,
    /// A final response other than 2xx. For an INVITE the transaction's ACK must be sent now (§17.1.1.3).
    Failure,
    /// Ignore it: the transaction has ended.
    Absorbed,
}

/// One request and its responses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTransaction {
    branch: String,
    invite: bool,
    state: State,
    deadline: Option<Millis>,
    /// Set by the transaction user; a provisional response does not remove it.
    user_deadline: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Calling, or Trying for a non-INVITE.
    Calling,
    Proceeding,
    /// INVITE only: a 2xx was received; other forks may send more (RFC 6026 §7.2).
    Accepted,
    Terminated,
}

impl ClientTransaction {
    /// The request was sent just now. Starts timer B (INVITE) or F (non-INVITE).
    pub fn new(branch: String, invite: bool, now: Millis) -> Self {
        Self {
            branch,
            invite,
            state: State::Calling,
            deadline: Some(now.plus(TRANSACTION_TIMEOUT_MS)),
            user_deadline: None,
        }
    }

    pub fn branch(&self) -> &str {
        &self.branch
    }

    pub fn is_invite(&self) -> bool {
        self.invite
    }

    /// A provisional response was received and no final one: the state in which an INVITE may be cancelled (§9.1).
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// No final response was received.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.deadline
    }

    /// Times out at `at` if no final response is received by then, e.g. after CANCEL (§9.1). Of several calls the earliest time applies.
    pub fn time_out_at(&mut self, at: Millis) {
        self.user_deadline = Some(self.user_deadline.map_or(at, |earlier| earlier.min(at)));
        self.deadline = self.user_deadline;
    }

    pub fn on_response(&mut self, status: u16, now: Millis) -> ResponseKind {
        match (self.state, status) {
            (State::Calling | State::Proceeding, 100..=199) => {
                if self.invite && self.state == State::Calling {
                    // A provisional response ends timer B (§17.1.1.2).
                    self.deadline = self.user_deadline;
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

    /// Returns whether the transaction timed out without a final response. The end of the Accepted state (timer M) is not reported.
    pub fn on_tick(&mut self, now: Millis) -> bool {
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
    fn an_invite_without_a_response_times_out_after_32_seconds() {
        let mut transaction = invite();
        assert!(!transaction.on_tick(Millis(31_999)));
        assert!(transaction.on_tick(Millis(32_000)));
        assert!(transaction.is_terminated());
    }

    #[test]
    fn an_invite_does_not_time_out_after_a_provisional_response() {
        let mut transaction = invite();
        assert_eq!(transaction.on_response(180, Millis(10)), ResponseKind::Provisional);
        assert!(!transaction.on_tick(Millis(10_000_000)));
        assert!(transaction.is_proceeding());
    }

    #[test]
    fn a_deadline_set_by_the_user_still_applies_after_a_provisional_response() {
        let mut transaction = invite();
        transaction.time_out_at(Millis(5_000));
        transaction.on_response(180, Millis(10));
        assert!(transaction.on_tick(Millis(5_000)));
    }

    #[test]
    fn further_2xx_responses_are_delivered_until_timer_m_fires() {
        let mut transaction = invite();
        assert_eq!(transaction.on_response(200, Millis(0)), ResponseKind::Success);
        assert_eq!(transaction.on_response(200, Millis(9)), ResponseKind::Success);
        assert_eq!(transaction.on_response(486, Millis(9)), ResponseKind::Absorbed);
        assert!(!transaction.on_tick(Millis(32_000)));
        assert!(transaction.is_terminated());
    }

    #[test]
    fn a_non_invite_still_times_out_after_a_provisional_response() {
        let mut transaction = ClientTransaction::new("z9hG4bKa".into(), false, Millis(0));
        assert_eq!(transaction.on_response(100, Millis(31_000)), ResponseKind::Provisional);
        assert!(transaction.on_tick(Millis(32_000)));
    }

    #[test]
    fn a_repeated_final_response_to_a_non_invite_is_absorbed() {
        let mut transaction = ClientTransaction::new("z9hG4bKa".into(), false, Millis(0));
        assert_eq!(transaction.on_response(200, Millis(1)), ResponseKind::Success);
        assert_eq!(transaction.on_response(200, Millis(2)), ResponseKind::Absorbed);
    }
}
