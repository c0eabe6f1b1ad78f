//! Commands of pages about calls: call, answer, decline, hang-up, hold, record, digits.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{
    AgentEvent, CallEndCause, CallOptions, HoldState, MediaRequest, OtherCalls, RecordingCommand, RegistrationStatus,
    ToPage,
};
use bitcall_wire::{call_headers, number};

use super::CallList;
use crate::call::{Call, CallPhase, MakingAnswer, Negotiation, OfferContent, Owner};
use crate::pages::PortId;

/// A second call to the same target within this time is a double click.
const DOUBLE_CALL_MS: u64 = 1_500;
/// Duration of a digit sent by INFO.
const DTMF_DURATION_MS: u32 = 160;

impl CallList {
    pub(super) fn call(
        &mut self,
        port: PortId,
        call: String,
        number: &str,
        options: CallOptions,
        offer: Option<String>,
        now: Millis,
    ) {
        let target = match number::call_target(number) {
            Ok(target) => target,
            Err(text) => return self.refuse_call(port, call, "BAD_NUMBER", &text),
        };
        if let Err(text) = call_headers::check(&options.headers) {
            return self.refuse_call(port, call, "BAD_HEADERS", &text);
        }
        if !matches!(self.registration, RegistrationStatus::Registered { .. }) {
            return self.refuse_call(port, call, "NOT_REGISTERED", "The phone is not connected.");
        }
        if self.is_known(&call) {
            return self.refuse(port, "DUPLICATE_CALL", "This call exists already.");
        }
        if self.calls.iter().any(|other| is_double(other, &target, now)) {
            // The media that the page has prepared for the second one.
            return self.send(port, ToPage::Media { call, request_id: 0, request: MediaRequest::Close });
        }
        let limit = self.account.as_ref().map_or(0, |account| account.max_sessions);
        let count = self.calls.iter().filter(|call| !call.is_ended()).count();
        if limit > 0 && usize::try_from(limit).is_ok_and(|limit| count >= limit) {
            let text = format!("No more than {limit} calls at the same time.");
            return self.refuse_call(port, call, "MAX_SESSIONS", &text);
        }
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        for call in self.calls.iter_mut().filter(|call| call.is_active()) {
            call.want_held(true);
        }
        let mut call = Call::outgoing(call, number, target, options.caller_id, page, now);
        call.headers = options.headers.into_iter().map(|header| (header.name, header.value)).collect();
        call.consults_for = options.consults_for.filter(|other| self.find(other).is_some());
        self.calls.push(call);
        let index = self.calls.len() - 1;
        self.focus_on(index);
        self.reconcile(now);
        // Media first: the person waits for it.
        match offer {
            Some(offer) => self.send_offer(index, OfferContent::default(), offer, now),
            None => self.request_initial_offer(index, now),
        }
        if let Some(call) = self.calls.get(index) {
            let event = AgentEvent::CallStarted { call: call.snapshot() };
            self.send(port, ToPage::Event { event });
        }
    }

    /// An empty id is not usable; an ended call keeps its id for a while.
    fn is_known(&self, call: &str) -> bool {
        call.is_empty() || self.calls.iter().any(|known| known.id == call) || self.has_ended(call)
    }

    pub(super) fn answer(&mut self, port: PortId, call: &str, others: OtherCalls) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let talking = self.latest(Call::is_in_progress).map(|index| self.together(index)).unwrap_or_default();
        let conversation = talking.into_iter().filter_map(|index| Some(self.calls.get(index)?.id.clone())).collect();
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let CallPhase::Incoming { offer } = &call.phase else {
            // A second click.
            if !call.owner.is(&page) {
                self.refuse(port, "NOT_RINGING", "This call does not ring any more.");
            }
            return;
        };
        let offer = offer.clone();
        call.negotiation = Negotiation::MakingAnswer(MakingAnswer { request: None, offer: offer.clone(), held: false });
        call.phase = CallPhase::Answering { offer };
        call.owner = Owner::Page(page);
        if others == OtherCalls::End {
            call.ends = conversation;
        }
        self.focus_on(index);
        self.request_answer(index);
    }

    /// Requests the description that answers the far end's offer.
    pub(super) fn request_answer(&mut self, index: usize) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let held = call.is_active() && call.wishes.held;
        let Negotiation::MakingAnswer(making) = &call.negotiation else {
            return;
        };
        let request = call.answer_request(&making.offer, held);
        let request = self.request_media(index, request);
        if let Some(call) = self.calls.get_mut(index)
            && let Negotiation::MakingAnswer(making) = &mut call.negotiation
        {
            making.request = request;
            making.held = held;
        }
    }

    pub(super) fn decline(&mut self, port: PortId, call: &str, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        if self.calls.get(index).is_none_or(|call| !matches!(call.phase, CallPhase::Incoming { .. })) {
            return self.hang_up_call(index, now);
        }
        let status = self.decline_status();
        self.command(Command::Reject { call: call.to_owned(), status });
        self.end(index, end_cause("Declined", Some(status)), now);
    }

    /// The status that the tenant has set for a decline.
    fn decline_status(&self) -> u16 {
        self.account.as_ref().map(|account| account.calls.decline_status).unwrap_or_default().into()
    }

    pub(super) fn hang_up(&mut self, port: PortId, call: &str, now: Millis) {
        match self.find(call) {
            Some(index) => self.hang_up_call(index, now),
            None => self.refuse_unknown_call(port, call),
        }
    }

    /// Ends the call at once, without waiting for the far end or the network.
    pub(super) fn hang_up_call(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get(index).filter(|call| !call.is_ended()) else {
            return;
        };
        let cause = match call.phase {
            _ if call.answered_at.is_some() => end_cause("Hung up", None),
            CallPhase::Incoming { .. } | CallPhase::Answering { .. } => {
                end_cause("Declined", Some(self.decline_status()))
            }
            _ => end_cause("Cancelled", call.is_placed().then_some(487)),
        };
        self.hang_up_dialogs(index);
        self.end(index, cause, now);
    }

    /// Ends the call for a sign-out. A ringing call is rejected with 480: it keeps ringing on the person's
    /// other devices.
    pub(super) fn end_for_sign_out(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get(index).filter(|call| !call.is_ended()) else {
            return;
        };
        if !matches!(call.phase, CallPhase::Incoming { .. } | CallPhase::Answering { .. }) {
            return self.hang_up_call(index, now);
        }
        let call = call.dialog.clone();
        self.command(Command::Reject { call, status: 480 });
        self.end(index, end_cause("Signed out", Some(480)), now);
    }

    pub(super) fn hold(&mut self, port: PortId, call: &str, held: bool) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(call) = self.calls.get(index).filter(|call| call.is_active()) else {
            return self.refuse(port, "NOT_ACTIVE", "Only a call that is up can be held.");
        };
        if !held && call.transfer.is_some() {
            return self.refuse(port, "TRANSFERRING", "The call is being transferred.");
        }
        for index in self.together(index) {
            if let Some(call) = self.calls.get_mut(index) {
                call.want_held(held);
            }
            if !held {
                self.focus_on(index);
            }
        }
        if !held {
            self.focus_on(index);
        }
    }

    /// Any page may: the one that owns the call sees it in the next snapshot.
    pub(super) fn record(&mut self, port: PortId, call: &str, command: RecordingCommand) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        match self.calls.get_mut(index).filter(|call| call.is_active()) {
            Some(call) => call.recording.apply(command),
            None => self.refuse(port, "NOT_ACTIVE", "Only a call that is up can be recorded."),
        }
    }

    pub(super) fn digits(&mut self, port: PortId, call: &str, digits: &str) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(known) = self.calls.get(index) else {
            return;
        };
        let is_early = matches!(&known.phase, CallPhase::Dialing(dialing) if dialing.early.is_some());
        if !known.is_active() && !is_early {
            return self.refuse(port, "NOT_ACTIVE", "Digits need a call that is up.");
        }
        if known.hold_state() != HoldState::None {
            return self.refuse(port, "ON_HOLD", "Digits are not sent: the call is on hold.");
        }
        let dialog = known.dialog.clone();
        for digit in digits.chars() {
            let digit = digit.to_ascii_uppercase();
            if !digit.is_ascii_digit() && !matches!(digit, '*' | '#' | 'A'..='D') {
                let text = format!("“{digit}” is not a key of a telephone.");
                self.refuse(port, "BAD_DIGIT", &text);
                continue;
            }
            self.command(Command::Info {
                call: dialog.clone(),
                content_type: "application/dtmf-relay".to_owned(),
                body: format!("Signal={digit}\r\nDuration={DTMF_DURATION_MS}\r\n"),
            });
        }
    }

    fn has_ended(&self, call: &str) -> bool {
        self.ended.iter().any(|ended| ended == call)
    }

    /// A command for a call that has just ended is a second click, and no error.
    pub(super) fn refuse_unknown_call(&mut self, port: PortId, call: &str) {
        if self.has_ended(call) {
            return;
        }
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

/// The call to this target was placed a moment ago, and may be answered already.
fn is_double(call: &Call, target: &str, now: Millis) -> bool {
    call.target == target && !call.is_ended() && now.0.saturating_sub(call.started_at.0) < DOUBLE_CALL_MS
}

pub(super) fn end_cause(text: &str, sip_code: Option<u16>) -> CallEndCause {
    CallEndCause { text: text.to_owned(), sip_code }
}
