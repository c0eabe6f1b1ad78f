//! What the user agent tells.

use bitcall_sip::ua::{self, EndedBy, Millis, OfferReason, Party};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, CallDirection, CallEndCause, CallSnapshot, CallState, HoldState, MediaRequest,
    RegistrationFailure, RegistrationFailureCode, RegistrationStatus,
};

use super::Board;
use crate::line::{Exchange, FarOffer, Line, Purpose, flow};
use crate::sdp;

/// Measured with browsers that are ICE-controlled: they take up a second offer at
/// this age, while the first alone needs 6.7 s.
const SECOND_PUSH_MS: u64 = 3_900;

impl Board {
    pub fn event(&mut self, event: ua::Event, now: Millis) {
        match event {
            ua::Event::Registration(registration) => self.registration(registration, now),
            ua::Event::Ha1 { realm, ha1, .. } => self.ha1(realm, ha1),
            ua::Event::Incoming { call, from, offer } => self.incoming(call, from, offer, now),
            ua::Event::Progress { call, status, sdp, .. } => self.progress(&call, status, sdp),
            ua::Event::Answered { call, sdp, .. } => self.answered(&call, sdp, now),
            ua::Event::Confirmed { call, sdp } => self.confirmed(&call, sdp, now),
            ua::Event::Offer { call, sdp } => self.far_offer(&call, sdp),
            ua::Event::OfferWithdrawn { call } => self.far_offer_void(&call),
            ua::Event::ReinviteAccepted { call, sdp } => self.accepted(&call, sdp, now),
            ua::Event::ReinviteRefused { call, status, again } => self.refused(&call, status, again, now),
            ua::Event::OfferNeeded { call, why } => self.offer_needed(&call, why),
            ua::Event::Detached { call } => {
                if let Some(line) = self.line(&call) {
                    line.call.detached = true;
                }
            }
            ua::Event::Attached { call } => {
                if let Some(line) = self.line(&call) {
                    line.call.detached = false;
                }
            }
            ua::Event::Info { .. } => {}
            ua::Event::InfoAnswered { call, status } => {
                if status >= 300 {
                    self.log(&format!("{call}: INFO was refused with {status}"));
                }
            }
            ua::Event::Ended { call, cause } => {
                if let Some(index) = self.find(&call) {
                    self.end(index, words(cause), now);
                }
            }
            ua::Event::Dropped { reason } => self.log(&reason),
        }
        self.move_on(now);
    }

    fn registration(&mut self, registration: ua::Registration, now: Millis) {
        if self.leaving && registration != ua::Registration::SignedOut {
            return;
        }
        let (username, domain) =
            self.account.as_ref().map(|account| (account.username.clone(), account.domain.clone())).unwrap_or_default();
        self.registration = match registration {
            ua::Registration::SignedOut => RegistrationStatus::SignedOut,
            ua::Registration::Connecting => RegistrationStatus::Connecting,
            ua::Registration::Registered { server } => {
                self.proven = true;
                RegistrationStatus::Registered { username: username.clone(), domain: domain.clone(), server }
            }
            ua::Registration::Reconnecting { failure, retry_at } => {
                RegistrationStatus::Reconnecting { reason: failure_of(failure), retry_at: retry_at.map(|at| at.0) }
            }
            ua::Registration::Failed { failure } => RegistrationStatus::Failed { reason: failure_of(failure) },
        };
        let (registered, reason) = match &self.registration {
            RegistrationStatus::Registered { .. } => (true, String::new()),
            RegistrationStatus::Reconnecting { reason, .. } | RegistrationStatus::Failed { reason } => {
                (false, reason.words.clone())
            }
            RegistrationStatus::SignedOut => (false, "Signed out".to_owned()),
            RegistrationStatus::Connecting => (false, "Connecting".to_owned()),
        };
        if self.announced != registered {
            self.announced = registered;
            self.tell_all(&if registered {
                AgentEvent::Registered { username, domain }
            } else {
                AgentEvent::Unregistered { reason }
            });
        }
        if self.registration == RegistrationStatus::SignedOut {
            self.signed_out(now);
        }
    }

    fn signed_out(&mut self, now: Millis) {
        self.running = false;
        self.leaving = false;
        for index in 0..self.lines.len() {
            if self.lines.get(index).is_some_and(|line| !line.ended()) {
                self.end(index, super::commands::cause("Signed out", None), now);
            }
        }
        if let Some(account) = self.next.take() {
            self.start(account);
        } else {
            self.account = None;
            self.proof = None;
            if self.finished {
                self.finish();
            }
        }
    }

    /// The password is not needed any more, and forgotten.
    fn ha1(&mut self, realm: String, ha1: String) {
        if let Some(account) = &mut self.account {
            account.secret = AccountSecret::Ha1 { realm: Some(realm.clone()), ha1: ha1.clone() };
        }
        self.tell_all(&AgentEvent::Ha1 { realm, ha1 });
    }

    fn incoming(&mut self, id: String, from: Party, offer: Option<String>, now: Millis) {
        let call = CallSnapshot {
            id,
            direction: CallDirection::Inbound,
            number: from.number,
            display_name: from.display_name,
            requested_caller_id: None,
            state: CallState::Incoming,
            hold: HoldState::None,
            remote_held: offer.as_deref().is_some_and(sdp::holds),
            muted: false,
            started_at: now.0,
            answered_at: None,
            page: None,
            detached: false,
        };
        let mut line = Line::new(call.clone(), String::new(), true);
        line.offer = Some(offer.into());
        line.told = self.pages.iter().map(|page| page.name.clone()).collect();
        self.lines.push(line);
        self.tell_all(&AgentEvent::CallIncoming { call });
    }

    fn progress(&mut self, call: &str, status: u16, answer: Option<String>) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let ringing = matches!(line.call.state, CallState::Dialing | CallState::Ringing);
        match answer {
            Some(answer) if !line.stale => {
                line.call.state = CallState::EarlyMedia;
                self.ask(index, Purpose::Early, MediaRequest::Accept { answer, provisional: true });
            }
            _ if status == 180 && ringing => line.call.state = CallState::Ringing,
            _ => {}
        }
    }

    fn answered(&mut self, call: &str, answer: Option<String>, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        self.up(index, now);
        if let Some(answer) = answer {
            self.settle(index, answer);
        }
    }

    fn confirmed(&mut self, call: &str, answer: Option<String>, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        self.up(index, now);
        if let Some(answer) = answer {
            self.settle(index, answer);
        }
    }

    /// The call is up.
    fn up(&mut self, index: usize, now: Millis) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if line.call.state == CallState::Active {
            return;
        }
        line.call.state = CallState::Active;
        line.call.answered_at = Some(now.0);
        line.offer = None;
        if line.stale {
            // The page that made the description is gone.
            line.stale = false;
            line.want_offer = true;
            line.resuming = true;
        }
        let event = AgentEvent::CallAnswered { call: line.call.clone() };
        if let Some(page) = line.call.page.clone() {
            self.tell_page(&page, event);
        }
    }

    /// Hands a final answer to the page that made the offer.
    fn settle(&mut self, index: usize, answer: String) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if line.want_offer {
            // Another page holds the media now and makes its own offer.
            return;
        }
        line.call.remote_held = sdp::holds(&answer);
        self.ask(index, Purpose::Settle, MediaRequest::Accept { answer, provisional: false });
    }

    fn far_offer(&mut self, call: &str, offer: Option<String>) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let was_offering = matches!(line.exchange, Exchange::Offering { .. });
        line.want_again();
        if was_offering {
            // Ours has not left yet: theirs goes first, ours comes after it.
            line.forget(Purpose::Change);
            line.want_offer = true;
        }
        if let Some(offer) = &offer {
            line.call.remote_held = sdp::holds(offer);
        }
        line.exchange = Exchange::Following;
        line.offer = Some(offer.into());
        if was_offering {
            self.ask(index, Purpose::RollBack, MediaRequest::RollBack);
        }
        self.follow(index);
    }

    /// Asks the page for what the far end wants within the call.
    pub(super) fn follow(&mut self, index: usize) {
        let Some(line) = self.lines.get(index) else {
            return;
        };
        let flow = flow(line.want_held);
        let ask = match line.offer.clone() {
            Some(FarOffer::Description(offer)) => MediaRequest::Answer { offer, flow },
            Some(FarOffer::AsksForOurs) => MediaRequest::Offer { flow, restart_ice: false },
            None => return,
        };
        self.ask(index, Purpose::Follow, ask);
    }

    fn far_offer_void(&mut self, call: &str) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if line.exchange == Exchange::Following {
            line.exchange = Exchange::Idle;
            line.offer = None;
            line.forget(Purpose::Follow);
            self.ask(index, Purpose::RollBack, MediaRequest::RollBack);
        }
    }

    fn accepted(&mut self, call: &str, answer: String, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if let Exchange::Sent { held, .. } = line.exchange {
            line.held = held;
        }
        line.exchange = Exchange::Idle;
        if line.stale {
            line.stale = false;
            line.want_offer = true;
            line.resuming = true;
            return;
        }
        if std::mem::take(&mut line.resuming) {
            // A far end that waits for the old connection to die needs a second push.
            line.restart_at = Some(now.plus(SECOND_PUSH_MS));
        }
        if !line.held {
            line.call.remote_held = sdp::holds(&answer);
        }
        self.ask(index, Purpose::Settle, MediaRequest::Accept { answer, provisional: false });
    }

    fn refused(&mut self, call: &str, status: u16, again: bool, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let stale = std::mem::take(&mut line.stale);
        if again && !stale {
            line.want_again();
        }
        line.exchange = if again { Exchange::Waiting } else { Exchange::Idle };
        if stale {
            line.want_offer = true;
            line.resuming = true;
            return;
        }
        if again {
            line.want_offer |= line.resuming;
        } else if line.resuming {
            // No media agreed, and none to go back to.
            let call = line.call.id.clone();
            self.command(ua::Command::HangUp { call });
            let cause = super::commands::cause("The call could not be resumed", Some(status));
            return self.end(index, cause, now);
        }
        self.ask(index, Purpose::RollBack, MediaRequest::RollBack);
        if !again {
            self.hold_failed(index);
        }
    }

    /// Shows the truth again when hold or resume did not come about.
    pub(super) fn hold_failed(&mut self, index: usize) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if line.want_held == line.held {
            return;
        }
        let held = line.want_held;
        line.want_held = line.held;
        line.show_hold();
        let event = AgentEvent::HoldFailed { call: line.call.id.clone(), held };
        if let Some(page) = line.call.page.clone() {
            self.tell_page(&page, event);
        }
    }

    fn offer_needed(&mut self, call: &str, why: OfferReason) {
        let Some(line) = self.line(call) else {
            return;
        };
        line.want_offer = true;
        if why == OfferReason::Recovery {
            line.want_restart = true;
            // Whatever was under way went down with the connection.
            if matches!(line.exchange, Exchange::Sent { .. } | Exchange::Following) {
                line.forget(Purpose::Follow);
            }
        }
        if matches!(line.exchange, Exchange::Waiting | Exchange::Sent { .. } | Exchange::Following) {
            line.want_again();
            line.exchange = Exchange::Idle;
        }
        line.call.detached = false;
    }
}

pub(super) fn failure_of(failure: ua::Failure) -> RegistrationFailure {
    use ua::FailureKind as Kind;
    RegistrationFailure {
        code: match failure.kind {
            Kind::Offline => RegistrationFailureCode::Offline,
            Kind::Unreachable => RegistrationFailureCode::Unreachable,
            Kind::ConnectionLost => RegistrationFailureCode::ConnectionLost,
            Kind::WrongPassword => RegistrationFailureCode::WrongPassword,
            Kind::Forbidden => RegistrationFailureCode::Forbidden,
            Kind::NotFound => RegistrationFailureCode::NotFound,
            Kind::TooManyDevices => RegistrationFailureCode::TooManyDevices,
            Kind::Timeout => RegistrationFailureCode::Timeout,
            Kind::ServerError => RegistrationFailureCode::ServerError,
            Kind::BadConfiguration => RegistrationFailureCode::BadConfiguration,
        },
        sip_code: failure.status,
        words: failure.kind.words().to_owned(),
    }
}

fn words(cause: ua::Cause) -> CallEndCause {
    let words = if cause.words.is_empty() {
        match cause.by {
            EndedBy::Local => "Hung up",
            EndedBy::Remote => "Remote hung up",
            EndedBy::Network => "Connection lost",
        }
        .to_owned()
    } else {
        cause.words
    };
    CallEndCause { words, sip_code: cause.sip_code }
}
