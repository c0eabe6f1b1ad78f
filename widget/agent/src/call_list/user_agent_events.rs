//! Events of the SIP user agent, applied to the state of calls and registration.

use bitcall_sip::ua::{self, EndedBy, Millis, OfferReason, RemoteParty};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, CallDirection, CallEndCause, CallSnapshot, CallState, HoldState, MediaRequest,
    OfferKind, RegistrationFailure, RegistrationFailureCode, RegistrationStatus,
};
use bitcall_wire::text::readable;

use super::CallList;
use crate::call_entry::{CallEntry, MediaNegotiation, RemoteOffer, RequestPurpose, media_direction};
use crate::sdp;

/// Delay of a second offer after a take-over. Measured with browsers in the ICE-controlled
/// role: media resumes after this time with a second offer, and after 6.7 s without one.
const SECOND_OFFER_DELAY_MS: u64 = 3_900;

impl CallList {
    pub fn event(&mut self, event: ua::Event, now: Millis) {
        match event {
            ua::Event::Registration(registration) => self.registration(registration, now),
            ua::Event::Ha1 { realm, ha1, .. } => self.store_ha1(realm, ha1),
            ua::Event::Incoming { call, from, offer } => self.incoming(call, from, offer, now),
            ua::Event::Progress { call, status, sdp, .. } => self.progress(&call, status, sdp),
            ua::Event::Answered { call, sdp, .. } | ua::Event::Confirmed { call, sdp } => {
                self.answered(&call, sdp, now);
            }
            ua::Event::Offer { call, sdp } => self.remote_offer(&call, sdp),
            ua::Event::OfferWithdrawn { call } => self.remote_offer_withdrawn(&call),
            ua::Event::ReinviteAccepted { call, sdp } => self.reinvite_accepted(&call, sdp, now),
            ua::Event::ReinviteRefused { call, status, will_retry } => {
                self.reinvite_refused(&call, status, will_retry, now);
            }
            ua::Event::OfferNeeded { call, reason } => self.offer_needed(&call, reason),
            ua::Event::Detached { call } => {
                if let Some(entry) = self.entry(&call) {
                    entry.call.detached = true;
                }
            }
            ua::Event::Attached { call } => {
                if let Some(entry) = self.entry(&call) {
                    entry.call.detached = false;
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
                    self.end(index, end_cause_of(cause), now);
                }
            }
            ua::Event::Dropped { reason } => self.log(&reason),
        }
        self.advance(now);
    }

    fn registration(&mut self, registration: ua::Registration, now: Millis) {
        if self.signing_out && registration != ua::Registration::SignedOut {
            return;
        }
        let (username, domain) =
            self.account.as_ref().map(|account| (account.username.clone(), account.domain.clone())).unwrap_or_default();
        self.registration = match registration {
            ua::Registration::SignedOut => RegistrationStatus::SignedOut,
            ua::Registration::Connecting => RegistrationStatus::Connecting,
            ua::Registration::Registered { server, session } => {
                self.secret_accepted = true;
                RegistrationStatus::Registered { username: username.clone(), domain: domain.clone(), server, session }
            }
            ua::Registration::Reconnecting { failure, retry_at } => RegistrationStatus::Reconnecting {
                reason: registration_failure(failure),
                retry_at: retry_at.map(|at| at.0),
            },
            ua::Registration::Failed { failure } => {
                RegistrationStatus::Failed { reason: registration_failure(failure) }
            }
        };
        let (registered, reason) = match &self.registration {
            RegistrationStatus::Registered { .. } => (true, String::new()),
            RegistrationStatus::Reconnecting { reason, .. } | RegistrationStatus::Failed { reason } => {
                (false, reason.text.clone())
            }
            RegistrationStatus::SignedOut => (false, "Signed out".to_owned()),
            RegistrationStatus::Connecting => (false, "Connecting".to_owned()),
        };
        if self.reported_registered != registered {
            self.reported_registered = registered;
            self.notify_all(&if registered {
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
        self.signing_out = false;
        for index in 0..self.entries.len() {
            if self.entries.get(index).is_some_and(|entry| !entry.is_ended()) {
                self.end(index, super::page_commands::end_cause("Signed out", None), now);
            }
        }
        if let Some(account) = self.next.take() {
            self.start(account);
        } else {
            self.account = None;
            self.secret_hash = None;
            if self.finished {
                self.finish();
            }
        }
    }

    /// Replaces the password by its HA1: the password is not needed any more.
    fn store_ha1(&mut self, realm: String, ha1: String) {
        if let Some(account) = &mut self.account {
            account.secret = AccountSecret::Ha1 { realm: Some(realm.clone()), ha1: ha1.clone() };
        }
        self.notify_all(&AgentEvent::Ha1 { realm, ha1 });
    }

    fn incoming(&mut self, id: String, from: RemoteParty, offer: Option<String>, now: Millis) {
        let call = CallSnapshot {
            id,
            direction: CallDirection::Inbound,
            number: from.number,
            display_name: from.display_name.as_deref().map(readable),
            requested_caller_id: None,
            state: CallState::Incoming,
            hold: HoldState::None,
            remote_held: offer.as_deref().is_some_and(sdp::is_hold),
            muted: false,
            voice: false,
            rings: false,
            started_at: now.0,
            answered_at: None,
            page: None,
            detached: false,
        };
        let mut entry = CallEntry::new(call.clone(), String::new(), true);
        entry.offer = Some(offer.into());
        entry.notified = self.pages.iter().map(|page| page.name.clone()).collect();
        self.entries.push(entry);
        self.notify_all(&AgentEvent::CallIncoming { call });
    }

    fn progress(&mut self, call: &str, status: u16, answer: Option<String>) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let ringing = matches!(entry.call.state, CallState::Dialing | CallState::Ringing);
        match answer {
            Some(answer) if !entry.negotiation_is_stale => {
                entry.call.state = CallState::EarlyMedia;
                self.request_media(
                    index,
                    RequestPurpose::ProvisionalAnswer,
                    MediaRequest::Accept { answer, provisional: true },
                );
            }
            _ if status == 180 && ringing => entry.call.state = CallState::Ringing,
            _ => {}
        }
    }

    /// The call is established: we got a 2xx, or the ACK for our 2xx.
    fn answered(&mut self, call: &str, answer: Option<String>, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        self.mark_active(index, now);
        if let Some(answer) = answer {
            self.apply_final_answer(index, answer);
        }
    }

    /// The call is answered.
    fn mark_active(&mut self, index: usize, now: Millis) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.call.state == CallState::Active {
            return;
        }
        entry.call.state = CallState::Active;
        entry.call.answered_at = Some(now.0);
        entry.offer = None;
        if entry.negotiation_is_stale {
            // The page that made the offer or answer is gone.
            entry.negotiation_is_stale = false;
            entry.want_offer = true;
            entry.resuming = true;
        }
        let event = AgentEvent::CallAnswered { call: entry.call.clone() };
        if let Some(page) = entry.call.page.clone() {
            self.notify_page(&page, event);
        }
    }

    /// Sends the final answer to the page that made the offer.
    fn apply_final_answer(&mut self, index: usize, answer: String) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.want_offer {
            // Another page has taken the call over and makes its own offer.
            return;
        }
        entry.call.remote_held = sdp::is_hold(&answer);
        self.request_media(index, RequestPurpose::FinalAnswer, MediaRequest::Accept { answer, provisional: false });
    }

    fn remote_offer(&mut self, call: &str, offer: Option<String>) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let was_offering = matches!(entry.negotiation, MediaNegotiation::CreatingOffer { .. });
        entry.restore_wanted_restart();
        if was_offering {
            // Our offer is not sent yet: it follows after the far end's.
            entry.discard_requests(RequestPurpose::LocalOffer);
            entry.want_offer = true;
        }
        if let Some(offer) = &offer {
            entry.call.remote_held = sdp::is_hold(offer);
        }
        entry.negotiation = MediaNegotiation::AnsweringRemote;
        entry.offer = Some(offer.into());
        if was_offering {
            self.request_media(index, RequestPurpose::RollBack, MediaRequest::RollBack);
        }
        self.request_reinvite_answer(index);
    }

    /// Requests the description that answers the far end's re-INVITE.
    pub(super) fn request_reinvite_answer(&mut self, index: usize) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let direction = media_direction(entry.want_held);
        let request = match entry.offer.clone() {
            Some(RemoteOffer::Description(offer)) => MediaRequest::Answer { offer, direction },
            Some(RemoteOffer::OfferRequested) => MediaRequest::Offer { direction, kind: OfferKind::Current },
            None => return,
        };
        self.request_media(index, RequestPurpose::RemoteOffer, request);
    }

    fn remote_offer_withdrawn(&mut self, call: &str) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.negotiation == MediaNegotiation::AnsweringRemote {
            entry.negotiation = MediaNegotiation::Idle;
            entry.offer = None;
            entry.discard_requests(RequestPurpose::RemoteOffer);
            self.request_media(index, RequestPurpose::RollBack, MediaRequest::RollBack);
        }
    }

    fn reinvite_accepted(&mut self, call: &str, answer: String, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if let MediaNegotiation::OfferSent { held, .. } = entry.negotiation {
            entry.held = held;
        }
        entry.negotiation = MediaNegotiation::Idle;
        if entry.negotiation_is_stale {
            entry.negotiation_is_stale = false;
            entry.want_offer = true;
            entry.resuming = true;
            return;
        }
        if std::mem::take(&mut entry.resuming) {
            // Some far ends wait until the old connection times out; a second offer makes them switch.
            entry.restart_at = Some(now.plus(SECOND_OFFER_DELAY_MS));
        }
        if !entry.held {
            entry.call.remote_held = sdp::is_hold(&answer);
        }
        self.request_media(index, RequestPurpose::FinalAnswer, MediaRequest::Accept { answer, provisional: false });
    }

    fn reinvite_refused(&mut self, call: &str, status: u16, will_retry: bool, now: Millis) {
        let Some(index) = self.find(call) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let negotiation_is_stale = std::mem::take(&mut entry.negotiation_is_stale);
        if will_retry && !negotiation_is_stale {
            entry.restore_wanted_restart();
        }
        entry.negotiation = if will_retry { MediaNegotiation::AwaitingRetry } else { MediaNegotiation::Idle };
        if negotiation_is_stale {
            entry.want_offer = true;
            entry.resuming = true;
            return;
        }
        if will_retry {
            entry.want_offer |= entry.resuming;
        } else if entry.resuming {
            // No media is agreed, and there is no earlier connection to return to.
            let call = entry.call.id.clone();
            self.command(ua::Command::HangUp { call });
            let cause = super::page_commands::end_cause("The call could not be resumed", Some(status));
            return self.end(index, cause, now);
        }
        self.request_media(index, RequestPurpose::RollBack, MediaRequest::RollBack);
        if !will_retry {
            self.hold_failed(index);
        }
    }

    /// Hold or resume failed: restores the agreed state and notifies the page.
    pub(super) fn hold_failed(&mut self, index: usize) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.want_held == entry.held {
            return;
        }
        let held = entry.want_held;
        entry.want_held = entry.held;
        entry.update_hold_state();
        let event = AgentEvent::HoldFailed { call: entry.call.id.clone(), held };
        if let Some(page) = entry.call.page.clone() {
            self.notify_page(&page, event);
        }
    }

    fn offer_needed(&mut self, call: &str, reason: OfferReason) {
        let Some(entry) = self.entry(call) else {
            return;
        };
        entry.want_offer = true;
        if reason == OfferReason::Recovery {
            entry.want_restart = true;
            // The running exchange was lost with the connection.
            if matches!(entry.negotiation, MediaNegotiation::OfferSent { .. } | MediaNegotiation::AnsweringRemote) {
                entry.discard_requests(RequestPurpose::RemoteOffer);
            }
        }
        if matches!(
            entry.negotiation,
            MediaNegotiation::AwaitingRetry | MediaNegotiation::OfferSent { .. } | MediaNegotiation::AnsweringRemote
        ) {
            entry.restore_wanted_restart();
            entry.negotiation = MediaNegotiation::Idle;
        }
        entry.call.detached = false;
    }
}

pub(super) fn registration_failure(failure: ua::RegisterFailure) -> RegistrationFailure {
    use ua::RegisterFailureKind as Kind;
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
        text: failure.kind.text().to_owned(),
    }
}

fn end_cause_of(cause: ua::EndCause) -> CallEndCause {
    let text = if cause.text.is_empty() {
        match cause.by {
            EndedBy::Local => "Hung up",
            EndedBy::Remote => "Remote hung up",
            EndedBy::Network => "Connection lost",
        }
        .to_owned()
    } else {
        cause.text
    };
    CallEndCause { text, sip_code: cause.sip_code }
}
