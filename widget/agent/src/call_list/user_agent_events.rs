//! Events of the SIP user agent, applied to the state of calls and registration.

use bitcall_sip::ua::{self, EndedBy, Millis, OfferReason, RemoteParty};
use bitcall_wire::agent_protocol::{
    AgentEvent, CallDirection, CallEndCause, LINES_BUSY, MediaRequest, RealmHa1, RegistrationFailure,
    RegistrationFailureCode, RegistrationStatus,
};
use bitcall_wire::text::readable;

use super::CallList;
use super::page_commands::end_cause;
use super::transfer::TRANSFERRED;
use crate::call::{
    Call, CallPhase, MakingAnswer, Negotiation, OfferContent, OfferSent, PickUp, ReplacedBy, Replacement,
};
use crate::sdp::{self, TransportIdentity};

impl CallList {
    pub fn event(&mut self, event: ua::Event, now: Millis) {
        match event {
            ua::Event::Registration(registration) => self.registration(registration, now),
            ua::Event::Ha1 { realm, algorithm, ha1 } => {
                self.store_ha1(RealmHa1 { realm: Some(realm), algorithm, ha1 });
            }
            ua::Event::CallerIdTaken { server, header } => self.caller_id_taken(server, header),
            ua::Event::PasswordNeeded { call, realm } => self.password_needed(&call, &realm),
            ua::Event::Incoming { call, from, offer, replaces: Some(replaced), .. } => {
                self.incoming_replacement(call, &replaced, from, offer, now);
            }
            ua::Event::Incoming { call, from, offer, replaces: None, diverted_from, auto_answer_ms, headers } => {
                let remote_held = offer.as_deref().is_some_and(sdp::is_hold);
                let from = with_readable_name(from);
                let mut call = Call::incoming(call, from.number, from.display_name, offer.into(), now);
                call.remote_held = remote_held;
                call.diverted_from = diverted_from.map(with_readable_name);
                call.auto_answer = self.auto_answer_of(auto_answer_ms, now);
                call.headers = headers;
                self.calls.push(call);
            }
            ua::Event::Missed { call, from, diverted_from } => {
                let from = with_readable_name(from);
                let mut call = Call::incoming(call, from.number, from.display_name, None.into(), now);
                call.diverted_from = diverted_from.map(with_readable_name);
                let cause = end_cause(LINES_BUSY, Some(486));
                call.phase = CallPhase::Ended { cause: cause.clone() };
                self.notify_all(&AgentEvent::CallMissed { call: call.snapshot(), cause });
            }
            ua::Event::Progress { call, status, sdp, .. } => self.progress(&call, status, sdp),
            ua::Event::Answered { call, sdp, .. } | ua::Event::Confirmed { call, sdp } => {
                self.answered(&call, sdp, now);
            }
            ua::Event::Offer { call, sdp } => self.remote_offer(&call, sdp),
            ua::Event::OfferWithdrawn { call } => self.remote_offer_withdrawn(&call),
            ua::Event::ReinviteAccepted { call, sdp } => match self.find_negotiating(&call) {
                Some(index) => self.local_offer_accepted(index, sdp, now),
                None => self.note_agreed_hold(&call),
            },
            ua::Event::ReinviteRefused { call, status, will_retry } => {
                self.reinvite_refused(&call, status, will_retry, now);
            }
            ua::Event::OfferNeeded { call, reason } => self.offer_needed(&call, reason),
            ua::Event::Detached { call } => self.set_detached(&call, true),
            ua::Event::Attached { call } => self.set_detached(&call, false),
            ua::Event::Info { .. } => {}
            ua::Event::IdentityChanged { call, party } => self.identity_changed(&call, party),
            ua::Event::Message { call, text } => self.message(&call, &text),
            ua::Event::NewMessage { from, text } => self.new_message(from, &text),
            ua::Event::MessageAnswered { target, status } => self.message_answered(target, status),
            ua::Event::Transfer { call, progress } => self.transfer_progress(&call, progress, now),
            ua::Event::Referred { call, target, is_allowed } => self.referred(&call, target, is_allowed, now),
            ua::Event::ReferralExpired { call } => self.referral_expired(&call),
            ua::Event::InfoAnswered { call, status } => self.info_answered(&call, status),
            ua::Event::Ended { call, cause } => self.dialog_ended(&call, cause, now),
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
        for index in 0..self.calls.len() {
            if self.calls.get(index).is_some_and(|call| !call.is_ended()) {
                self.end(index, end_cause("Signed out", None), now);
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

    fn progress(&mut self, dialog: &str, status: u16, answer: Option<String>) {
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let is_described = call.connection.is_described() && !call.is_being_replaced();
        let CallPhase::Dialing(dialing) = &mut call.phase else {
            return;
        };
        dialing.rings |= status == 180;
        let Some(answer) = answer.filter(|_| is_described) else {
            return;
        };
        // A connection has one DTLS transport: early media of a second device cannot be heard in it.
        let transport = TransportIdentity::of(&answer);
        if *dialing.early.get_or_insert_with(|| transport.clone()) == transport {
            self.request_media(index, MediaRequest::Accept { answer, provisional: true });
        }
    }

    /// The call is established: we got a 2xx, or the ACK for our 2xx.
    fn answered(&mut self, dialog: &str, answer: Option<String>, now: Millis) {
        if let Some(index) = self.find_replacement(dialog) {
            return self.replaced(index, answer, now);
        }
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        // In a dialog that is being replaced, the exchange counts no more.
        let answer = answer.filter(|_| !call.is_being_replaced());
        if call.answered_at.is_some() {
            // The ACK in a dialog that has replaced another one.
            if let Some(answer) = answer {
                self.local_offer_accepted(index, answer, now);
            }
            return;
        }
        let early = match std::mem::replace(&mut call.phase, CallPhase::Active) {
            CallPhase::Dialing(dialing) => dialing.early,
            _ => None,
        };
        call.answered_at = Some(now);
        let is_described = call.connection.is_described();
        if is_described {
            call.connection.call_answered(now);
        } else {
            // Another page has taken the call over, or the first one is gone.
            call.pick_up = PickUp::First(self.pick_up_method);
        }
        let is_outgoing = call.direction == CallDirection::Outbound;
        if is_outgoing {
            self.focus_or_hold(index);
        }
        if let Some(answer) = answer {
            let is_other = is_described && early.is_some_and(|early| early != TransportIdentity::of(&answer));
            self.local_offer_accepted(index, answer, now);
            if is_other {
                // The call was answered by another device than the one that sent early media.
                self.pick_up_otherwise(index, None, now);
            }
        }
        self.reconcile(now);
        self.end_others_if_connected(index, now);
        if let Some(call) = self.calls.get(index)
            && let Some(page) = call.owner.page().map(str::to_owned)
        {
            let event = AgentEvent::CallAnswered { call: call.snapshot() };
            self.notify_page(&page, event);
        }
        self.referral_decided(index, now);
    }

    /// An outgoing call that is answered while the person talks in another one is put on hold.
    fn focus_or_hold(&mut self, index: usize) {
        let talks = |(other, call): (usize, &Call)| other != index && call.wants_to_talk();
        if !self.calls.iter().enumerate().any(talks) {
            self.focus_on(index);
        } else if let Some(call) = self.calls.get_mut(index) {
            call.want_held(true);
        }
    }

    /// The far end has accepted our offer, by an answer to the INVITE, to a re-INVITE or to an INVITE with
    /// Replaces.
    pub(super) fn local_offer_accepted(&mut self, index: usize, answer: String, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Negotiation::OfferSent(OfferSent { content }) = std::mem::take(&mut call.negotiation) else {
            return;
        };
        if content.held {
            call.hold_agreed = true;
        } else {
            call.hold_agreed = false;
            call.remote_held = sdp::is_hold(&answer);
        }
        call.codec = sdp::codec_in_use(&answer);
        call.hold_refused = false;
        let is_unusable =
            call.connection.is_pick_up() && !call.connection.is_agreed() && sdp::keeps_connection(&answer);
        if !call.connection.accepted(now) {
            // The answer is for an earlier connection; the next offer describes the present one.
            return;
        }
        if is_unusable {
            return self.pick_up_otherwise(index, None, now);
        }
        self.apply_answer(index, answer, now);
    }

    fn remote_offer(&mut self, dialog: &str, offer: Option<String>) {
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if call.is_being_replaced() {
            return self.command(ua::Command::RefuseOffer { call: dialog.to_owned(), status: 491 });
        }
        // In an early dialog the first offer was answered by a reliable provisional response (RFC 6337 §2.2).
        if matches!(call.negotiation, Negotiation::OfferSent(_)) && call.is_active() {
            return self.command(ua::Command::RefuseOffer { call: dialog.to_owned(), status: 491 });
        }
        let was_offering = matches!(call.negotiation, Negotiation::MakingOffer(_));
        if call.is_active() {
            // Our offer is not sent yet: it follows after the far end's.
            call.negotiation.interrupt(&mut call.wishes);
        }
        if let Some(offer) = &offer {
            call.remote_held = sdp::is_hold(offer);
        }
        call.negotiation = Negotiation::MakingAnswer(MakingAnswer { request: None, offer: offer.into(), held: false });
        if was_offering {
            self.request_media(index, MediaRequest::RollBack);
        }
        self.request_answer(index);
    }

    fn remote_offer_withdrawn(&mut self, dialog: &str) {
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if let Some(replaced_by) = &mut call.replaced_by {
            if matches!(replaced_by.present, Negotiation::MakingAnswer(_)) {
                replaced_by.present = Negotiation::Idle;
            }
        } else if matches!(call.negotiation, Negotiation::MakingAnswer(_)) && !call.is_being_replaced() {
            call.negotiation = Negotiation::Idle;
            self.request_media(index, MediaRequest::RollBack);
        }
    }

    fn reinvite_refused(&mut self, dialog: &str, status: u16, will_retry: bool, now: Millis) {
        let Some(index) = self.find_negotiating(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Negotiation::OfferSent(OfferSent { content }) = std::mem::take(&mut call.negotiation) else {
            if will_retry {
                call.negotiation = Negotiation::AwaitingRetry;
            }
            return;
        };
        let is_described = call.connection.is_described();
        if will_retry {
            call.wishes.repeat(content);
            call.negotiation = Negotiation::AwaitingRetry;
            if is_described {
                self.request_media(index, MediaRequest::RollBack);
            }
        } else if is_described {
            self.offer_refused(index, content, Some(status), now);
        }
    }

    /// Our offer within the call was refused, or the page could not make it: what was agreed before applies.
    pub(super) fn offer_refused(&mut self, index: usize, content: OfferContent, status: Option<u16>, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if !call.connection.is_agreed() {
            // There is no earlier connection to return to.
            return self.pick_up_otherwise(index, status, now);
        }
        let id = call.id.clone();
        let failed = if content.held && !call.hold_agreed {
            // Hold is our own act: the call stays held on our side.
            !std::mem::replace(&mut call.hold_refused, true)
        } else if !content.held && call.hold_agreed && !call.wishes.held {
            call.wishes.held = true;
            true
        } else {
            false
        };
        let page = call.owner.page().map(str::to_owned);
        self.request_media(index, MediaRequest::RollBack);
        if let Some(page) = page.filter(|_| failed) {
            self.notify_page(&page, AgentEvent::HoldFailed { call: id, held: content.held });
        }
    }

    fn offer_needed(&mut self, dialog: &str, reason: OfferReason) {
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.wishes.offer = true;
        call.wishes.restart_ice |= reason == OfferReason::Recovery;
        call.recovers = true;
        // The user agent has no exchange any more in the present dialog.
        if !call.is_being_replaced()
            && !matches!(call.negotiation, Negotiation::MakingOffer(_) | Negotiation::ApplyingAnswer(_))
        {
            call.negotiation.interrupt(&mut call.wishes);
        }
    }

    fn set_detached(&mut self, dialog: &str, detached: bool) {
        if let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get_mut(index)) {
            call.detached = detached;
            call.recovers = false;
        }
    }

    fn info_answered(&mut self, dialog: &str, status: u16) {
        if status < 300 {
            return;
        }
        self.log(&format!("{dialog}: INFO was refused with {status}"));
        if let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get(index))
            && let Some(page) = call.owner.page().map(str::to_owned)
        {
            let message = format!("The other side did not take the digit ({status}).");
            self.notify_page(&page, AgentEvent::Refused { code: "DIGIT_REFUSED".to_owned(), message });
        }
    }

    fn dialog_ended(&mut self, dialog: &str, cause: ua::EndCause, now: Millis) {
        self.replaced_dialogs.retain(|(call, _)| call != dialog);
        if let Some(index) = self.find_replacement(dialog) {
            // The INVITE with Replaces was refused; the present dialog may still exist.
            let Some(call) = self.calls.get_mut(index) else {
                return;
            };
            call.negotiation = Negotiation::Idle;
            return match call.replacement.take().and_then(|replacement| replacement.present_ended) {
                Some(cause) => self.end(index, cause, now),
                None => self.pick_up_otherwise(index, cause.sip_code, now),
            };
        }
        if let Some(index) = self.find_replaced_by(dialog) {
            return self.drop_replacement(index, now);
        }
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let was_handed_over = self.calls.get(index).is_some_and(|call| self.was_handed_over(call));
        let cause = if was_handed_over { end_cause(TRANSFERRED, None) } else { end_cause_of(cause) };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        match (&mut call.replacement, &mut call.replaced_by) {
            (Some(Replacement { present_ended, .. }), _) | (_, Some(ReplacedBy { present_ended, .. })) => {
                *present_ended = Some(cause);
                self.forget_old_dialog(index);
            }
            (None, None) => self.end(index, cause, now),
        }
    }

    /// The call whose exchange runs in this dialog, and not in the one that is to replace it.
    fn find_negotiating(&self, dialog: &str) -> Option<usize> {
        self.find_dialog(dialog).filter(|index| self.calls.get(*index).is_some_and(|call| !call.is_being_replaced()))
    }

    fn find_replacement(&self, dialog: &str) -> Option<usize> {
        self.calls.iter().position(|call| {
            !call.is_ended() && call.replacement.as_ref().is_some_and(|replacement| replacement.dialog == dialog)
        })
    }
}

/// Of somebody else's text.
pub(super) fn with_readable_name(party: RemoteParty) -> RemoteParty {
    RemoteParty { display_name: party.display_name.as_deref().map(readable), ..party }
}

pub(super) fn registration_failure(failure: ua::RegisterFailure) -> RegistrationFailure {
    use ua::RegisterFailureKind as Kind;
    RegistrationFailure {
        code: match failure.kind {
            Kind::Offline => RegistrationFailureCode::Offline,
            Kind::Unreachable => RegistrationFailureCode::Unreachable,
            Kind::ConnectionLost => RegistrationFailureCode::ConnectionLost,
            Kind::WrongPassword => RegistrationFailureCode::WrongPassword,
            Kind::PasswordNeeded => RegistrationFailureCode::PasswordNeeded,
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
