//! Commands of pages: signing in and out, call, answer, decline, hang-up, hold, digits.

use bitcall_sip::digest::{self, Algorithm};
use bitcall_sip::ua::{self, Command, Millis};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, AgentSnapshot, CallDirection, CallEndCause, CallSnapshot, CallState, HoldState,
    MediaRequest, OfferKind, OtherCalls, RegistrationFailureCode, RegistrationStatus, SipAccount, ToPage,
};
use bitcall_wire::number;
use sha2::{Digest as _, Sha256};

use super::user_agent_events::registration_failure;
use super::{CallList, CallListOutput};
use crate::call_entry::{CallEntry, RemoteOffer, RequestPurpose, media_direction};
use crate::pages::PortId;

/// Duration of a digit sent by INFO.
const DTMF_DURATION_MS: u32 = 160;

impl CallList {
    /// Signs in. A page of the same account uses the existing registration.
    pub(super) fn sign_in(&mut self, port: PortId, account: SipAccount) {
        if self.has_wrong_secret(&account) {
            return self.reject_credentials(port);
        }
        if !self.running {
            self.start(account);
            // Before the page is authorized, so that it never gets a snapshot with `SignedOut`: a page
            // that was signed in before would forget its session.
            self.send_snapshot_if_changed();
            return self.authorize_page(port);
        }
        self.authorize_page(port);
        let Some(present) = &self.account else { return };
        if self.signing_out {
            // The page signs in again after the running sign-out.
            return self.sign_out_for(Some(account));
        }
        let same_person = present.username == account.username && present.domain == account.domain;
        if !same_person {
            // Another account: the current one signs out first.
            self.sign_out_for(Some(account));
        } else if self.is_same_secret(&account) {
            if let Some(AccountSecret::Ha1 { realm: Some(realm), ha1 }) =
                self.account.as_ref().map(|account| account.secret.clone())
                && matches!(account.secret, AccountSecret::Password { .. })
            {
                let event = AgentEvent::Ha1 { realm, ha1 };
                self.send(port, ToPage::Event { event });
            }
            if matches!(self.registration, RegistrationStatus::Failed { .. }) {
                self.command(Command::Register);
            }
        } else {
            self.sign_out_for(Some(account));
        }
    }

    pub(super) fn sign_out(&mut self, now: Millis) {
        if !self.running {
            return;
        }
        for index in 0..self.entries.len() {
            self.end_for_sign_out(index, now);
        }
        self.sign_out_for(None);
    }

    /// Removes the registration, which may take seconds; then `next` signs in.
    /// The registration state that pages get changes at once.
    fn sign_out_for(&mut self, next: Option<SipAccount>) {
        self.registration = if next.is_some() { RegistrationStatus::Connecting } else { RegistrationStatus::SignedOut };
        self.next = next;
        if !std::mem::replace(&mut self.signing_out, true) {
            self.command(Command::Unregister);
        }
    }

    /// The current account, with another secret than the one that the server accepted.
    fn has_wrong_secret(&self, account: &SipAccount) -> bool {
        self.running
            && !self.signing_out
            && self.secret_accepted
            && !self.secret_is_rejected()
            && self
                .account
                .as_ref()
                .is_some_and(|present| present.username == account.username && present.domain == account.domain)
            && !self.is_same_secret(account)
    }

    /// The server now rejects the current secret, so another one may be correct.
    fn secret_is_rejected(&self) -> bool {
        match &self.registration {
            RegistrationStatus::Failed { .. } => true,
            RegistrationStatus::Reconnecting { reason, .. } => reason.code == RegistrationFailureCode::WrongPassword,
            _ => false,
        }
    }

    /// Sends `WrongPassword` to this page only, as if the server had refused it.
    fn reject_credentials(&mut self, port: PortId) {
        let reason =
            registration_failure(ua::RegisterFailure { kind: ua::RegisterFailureKind::WrongPassword, status: None });
        let snapshot =
            AgentSnapshot { registration: RegistrationStatus::Failed { reason }, ..AgentSnapshot::default() };
        self.send(port, ToPage::Snapshot { snapshot });
    }

    pub(super) fn start(&mut self, account: SipAccount) {
        self.secret_accepted = false;
        self.secret_hash = Some(secret_hash(&account.secret));
        self.registration = RegistrationStatus::Connecting;
        self.running = true;
        self.signing_out = false;
        self.finished = false;
        let secret = match &account.secret {
            AccountSecret::Password { password } => ua::SipSecret::Password(password.clone()),
            AccountSecret::Ha1 { realm, ha1 } => ua::SipSecret::Ha1 { realm: realm.clone(), ha1: ha1.clone() },
        };
        let mut config = ua::Config::new(&account.username, &account.domain, secret, account.wss.clone());
        config.display_name.clone_from(&account.display_name);
        config.instance_id.clone_from(&account.instance_id);
        config.max_sessions = account.max_sessions;
        config.product = format!("Bitcall/{}", env!("CARGO_PKG_VERSION"));
        self.account = Some(account);
        self.out.push_back(CallListOutput::Start(Box::new(config)));
    }

    fn is_same_secret(&self, account: &SipAccount) -> bool {
        self.secret_hash == Some(secret_hash(&account.secret))
            || self.account.as_ref().is_some_and(|present| match (&present.secret, &account.secret) {
                (AccountSecret::Ha1 { ha1: a, .. }, AccountSecret::Ha1 { ha1: b, .. }) => a.eq_ignore_ascii_case(b),
                (AccountSecret::Ha1 { realm: Some(realm), ha1 }, AccountSecret::Password { password })
                | (AccountSecret::Password { password }, AccountSecret::Ha1 { realm: Some(realm), ha1 }) => {
                    let algorithm = if ha1.len() == 64 { Algorithm::Sha256 } else { Algorithm::Md5 };
                    digest::ha1(algorithm, &account.username, realm, password).eq_ignore_ascii_case(ha1)
                }
                _ => false,
            })
    }

    pub(super) fn call(
        &mut self,
        port: PortId,
        call: String,
        number: &str,
        caller_id: Option<String>,
        offer: Option<String>,
        now: Millis,
    ) {
        let target = match number::call_target(number) {
            Ok(target) => target,
            Err(text) => return self.refuse_call(port, call, "BAD_NUMBER", &text),
        };
        if !matches!(self.registration, RegistrationStatus::Registered { .. }) {
            return self.refuse_call(port, call, "NOT_REGISTERED", "The phone is not connected.");
        }
        let limit = self.account.as_ref().map_or(0, |account| account.max_sessions);
        let count = self.entries.iter().filter(|entry| !entry.is_ended()).count();
        if limit > 0 && usize::try_from(limit).is_ok_and(|limit| count >= limit) {
            let text = format!("No more than {limit} calls at the same time.");
            return self.refuse_call(port, call, "MAX_SESSIONS", &text);
        }
        if call.is_empty() || self.entries.iter().any(|entry| entry.call.id == call) {
            return self.refuse(port, "DUPLICATE_CALL", "This call exists already.");
        }
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        self.hold_others(None);
        let call = CallSnapshot {
            id: call,
            direction: CallDirection::Outbound,
            number: number.trim().to_owned(),
            display_name: None,
            requested_caller_id: caller_id,
            state: CallState::Dialing,
            hold: HoldState::None,
            remote_held: false,
            muted: false,
            voice: false,
            rings: false,
            started_at: now.0,
            answered_at: None,
            page: Some(page),
            detached: false,
        };
        let event = AgentEvent::CallStarted { call: call.clone() };
        self.entries.push(CallEntry::new(call, target, false));
        let index = self.entries.len() - 1;
        self.focus_on(index);
        // Media first: the person waits for it.
        match offer {
            Some(offer) => self.send_invite(index, offer),
            None => self.request_media(
                index,
                RequestPurpose::InitialOffer,
                MediaRequest::Offer { direction: media_direction(false), kind: OfferKind::Current },
            ),
        }
        self.send(port, ToPage::Event { event });
    }

    pub(super) fn answer(&mut self, port: PortId, call: &str, others: OtherCalls, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.call.state != CallState::Incoming {
            return self.refuse(port, "NOT_RINGING", "This call does not ring any more.");
        }
        entry.call.state = CallState::Answering;
        entry.call.page = Some(page);
        self.request_answer(index);
        self.focus_on(index);
        match others {
            OtherCalls::Hold => self.hold_others(Some(index)),
            OtherCalls::End => {
                for other in 0..self.entries.len() {
                    if other != index && self.entries.get(other).is_some_and(CallEntry::is_in_progress) {
                        self.hang_up_entry(other, now);
                    }
                }
            }
        }
    }

    /// Requests the description that answers the incoming call.
    pub(super) fn request_answer(&mut self, index: usize) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let request = match entry.offer.clone() {
            Some(RemoteOffer::Description(offer)) => MediaRequest::Answer { offer, direction: media_direction(false) },
            Some(RemoteOffer::OfferRequested) | None => {
                MediaRequest::Offer { direction: media_direction(false), kind: OfferKind::Current }
            }
        };
        self.request_media(index, RequestPurpose::InitialAnswer, request);
    }

    pub(super) fn decline(&mut self, port: PortId, call: &str, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        if self.entries.get(index).is_none_or(|entry| entry.call.state != CallState::Incoming) {
            return self.hang_up_entry(index, now);
        }
        self.command(Command::Reject { call: call.to_owned(), status: 603 });
        self.end(index, end_cause("Declined", Some(603)), now);
    }

    pub(super) fn hang_up(&mut self, port: PortId, call: &str, now: Millis) {
        match self.find(call) {
            Some(index) => self.hang_up_entry(index, now),
            None => self.refuse_unknown_call(port, call),
        }
    }

    /// Ends the call at once, without waiting for the far end or the network.
    pub(super) fn hang_up_entry(&mut self, index: usize, now: Millis) {
        let Some(entry) = self.entries.get(index).filter(|entry| !entry.is_ended()) else {
            return;
        };
        let cause = match entry.call.state {
            _ if entry.call.answered_at.is_some() => end_cause("Hung up", None),
            CallState::Incoming | CallState::Answering => end_cause("Declined", Some(603)),
            _ => end_cause("Cancelled", entry.placed.then_some(487)),
        };
        let call = entry.call.id.clone();
        if entry.placed {
            self.command(Command::HangUp { call });
        }
        self.end(index, cause, now);
    }

    /// Ends the call for a sign-out. A ringing call is rejected with 480, not 603: it keeps
    /// ringing on the person's other devices.
    fn end_for_sign_out(&mut self, index: usize, now: Millis) {
        let Some(entry) = self.entries.get(index).filter(|entry| !entry.is_ended()) else {
            return;
        };
        if !matches!(entry.call.state, CallState::Incoming | CallState::Answering) {
            return self.hang_up_entry(index, now);
        }
        let call = entry.call.id.clone();
        self.command(Command::Reject { call, status: 480 });
        self.end(index, end_cause("Signed out", Some(480)), now);
    }

    pub(super) fn hold(&mut self, port: PortId, call: &str, held: bool) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.call.state != CallState::Active {
            return self.refuse(port, "NOT_ACTIVE", "Only a call that is up can be held.");
        }
        entry.want_held = held;
        if !held {
            self.focus_on(index);
            self.hold_others(Some(index));
        }
    }

    /// Puts all other active calls on hold: only one call is not held at a time.
    pub(super) fn hold_others(&mut self, talking: Option<usize>) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if Some(index) != talking && entry.call.state == CallState::Active {
                entry.want_held = true;
                entry.update_hold_state();
            }
        }
    }

    pub(super) fn digits(&mut self, port: PortId, call: &str, digits: &str) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        if !matches!(entry.call.state, CallState::Active | CallState::EarlyMedia) {
            return self.refuse(port, "NOT_ACTIVE", "Digits need a call that is up.");
        }
        for digit in digits.chars() {
            let digit = digit.to_ascii_uppercase();
            if !digit.is_ascii_digit() && !matches!(digit, '*' | '#' | 'A'..='D') {
                let text = format!("“{digit}” is not a key of a telephone.");
                self.refuse(port, "BAD_DIGIT", &text);
                continue;
            }
            self.command(Command::Info {
                call: call.to_owned(),
                content_type: "application/dtmf-relay".to_owned(),
                body: format!("Signal={digit}\r\nDuration={DTMF_DURATION_MS}\r\n"),
            });
        }
    }

    fn refuse_unknown_call(&mut self, port: PortId, call: &str) {
        self.refuse(port, "UNKNOWN_CALL", &format!("There is no call “{call}”."));
    }

    /// Refuses the call and closes the media that the page has prepared, which releases the microphone.
    fn refuse_call(&mut self, port: PortId, call: String, code: &str, message: &str) {
        self.send(port, ToPage::Media { call, request_id: 0, request: MediaRequest::Close });
        self.refuse(port, code, message);
    }

    pub(super) fn refuse(&mut self, port: PortId, code: &str, message: &str) {
        let event = AgentEvent::Refused { code: code.to_owned(), message: message.to_owned() };
        self.send(port, ToPage::Event { event });
    }
}

pub(super) fn end_cause(text: &str, sip_code: Option<u16>) -> CallEndCause {
    CallEndCause { text: text.to_owned(), sip_code }
}

/// Identifies a secret without storing it.
fn secret_hash(secret: &AccountSecret) -> [u8; 32] {
    let text = match secret {
        AccountSecret::Password { password } => password,
        AccountSecret::Ha1 { ha1, .. } => ha1,
    };
    Sha256::digest(text.as_bytes()).into()
}
