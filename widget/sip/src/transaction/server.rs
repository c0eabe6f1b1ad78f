//! Server transactions: INVITE (RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1) and non-INVITE (§17.2.2).

use serde::{Deserialize, Serialize};

use super::TRANSACTION_TIMEOUT_MS;
use crate::time::Millis;

/// Identifies a server transaction: requests with the same key belong to the same one (RFC 3261 §17.2.3). For an ACK the method is INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKey {
    pub branch: String,
    /// Host and port of the topmost `Via`.
    pub sent_by: String,
    pub method: String,
}

/// One received request and our responses to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTransaction {
    key: ServerKey,
    state: State,
    /// The last response sent; repeated for a retransmission of the request.
    response: Vec<u8>,
    deadline: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Trying or Proceeding.
    Proceeding,
    /// INVITE only, 2xx sent: the transaction user retransmits it; retransmissions of the request are absorbed.
    Accepted,
    /// INVITE only, final response other than 2xx sent: waits for the ACK.
    Completed,
    Terminated,
}

impl ServerTransaction {
    pub fn new(key: ServerKey) -> Self {
        Self { key, state: State::Proceeding, response: Vec::new(), deadline: None }
    }

    pub fn key(&self) -> &ServerKey {
        &self.key
    }

    /// No final response was sent.
    pub fn is_pending(&self) -> bool {
        self.state == State::Proceeding
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.deadline
    }

    /// This response is sent now.
    pub fn on_sent(&mut self, status: u16, response: &[u8], now: Millis) {
        if self.state != State::Proceeding {
            return;
        }
        let invite = self.key.method == "INVITE";
        match status {
            100..=199 => response.clone_into(&mut self.response),
            200..=299 if invite => {
                self.state = State::Accepted;
                self.response.clear();
                self.deadline = Some(now.plus(TRANSACTION_TIMEOUT_MS));
            }
            _ if invite => {
                self.state = State::Completed;
                response.clone_into(&mut self.response);
                self.deadline = Some(now.plus(TRANSACTION_TIMEOUT_MS));
            }
            _ => self.state = State::Terminated,
        }
    }

    /// The request was retransmitted: returns the response to repeat, if any.
    pub fn on_retransmission(&self) -> Option<&[u8]> {
        match self.state {
            State::Proceeding | State::Completed if !self.response.is_empty() => Some(&self.response),
            _ => None,
        }
    }

    /// An ACK with this transaction's branch: it acknowledges a final response other than 2xx.
    pub fn on_ack(&mut self) {
        if self.state == State::Completed {
            self.state = State::Terminated;
            self.deadline = None;
        }
    }

    /// Timers H and L end the transaction.
    pub fn on_tick(&mut self, now: Millis) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.state = State::Terminated;
            self.deadline = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(method: &str) -> ServerTransaction {
        ServerTransaction::new(ServerKey {
            branch: "z9hG4bKb".into(),
            sent_by: "a.invalid".into(),
            method: method.into(),
        })
    }

    #[test]
    fn a_repeated_invite_gets_the_last_provisional_response_again() {
        let mut transaction = transaction("INVITE");
        assert_eq!(transaction.on_retransmission(), None);
        transaction.on_sent(180, b"ringing", Millis(0));
        assert_eq!(transaction.on_retransmission(), Some(&b"ringing"[..]));
    }

    #[test]
    fn a_repeated_invite_is_absorbed_after_a_2xx() {
        let mut transaction = transaction("INVITE");
        transaction.on_sent(180, b"ringing", Millis(0));
        transaction.on_sent(200, b"ok", Millis(0));
        assert_eq!(transaction.on_retransmission(), None);
        assert!(!transaction.is_terminated());
    }

    #[test]
    fn a_rejected_invite_waits_at_most_32_seconds_for_the_ack() {
        let mut transaction = transaction("INVITE");
        transaction.on_sent(486, b"busy", Millis(0));
        let mut acked = transaction.clone();
        acked.on_ack();
        assert!(acked.is_terminated());
        transaction.on_tick(Millis(31_999));
        assert!(!transaction.is_terminated());
        transaction.on_tick(Millis(32_000));
        assert!(transaction.is_terminated());
    }
}
