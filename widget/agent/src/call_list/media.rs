//! Media replies and connection states of pages.

use bitcall_sip::ua::{Command, InviteOptions, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallState, MediaError, MediaReply, MediaRequest, MediaState, ToPage};

use super::page_commands::end_cause;
use super::{CallList, CallListOutput, MEDIA_TIMEOUT_MS};
use crate::call::{ApplyingAnswer, Call, CallPhase, MakingAnswer, Negotiation, OfferContent, OfferMethod, OfferSent};
use crate::pages::PortId;
use crate::sdp::codec_in_use;

impl CallList {
    pub(super) fn media_reply(&mut self, port: PortId, call: &str, request_id: u32, reply: MediaReply, now: Millis) {
        let Some(index) = self.find_of_page(port, call) else {
            return self.log_late_reply(port, call, &reply);
        };
        let Some(known) = self.calls.get_mut(index) else {
            return;
        };
        match (std::mem::take(&mut known.negotiation), reply) {
            (Negotiation::MakingOffer(making), MediaReply::Description { sdp }) if making.request == request_id => {
                self.send_offer(index, making.content, sdp, now);
            }
            (Negotiation::MakingOffer(making), MediaReply::Failed { error, message })
                if making.request == request_id =>
            {
                self.offer_failed(index, making.content, Some((port, error, &message)), now);
            }
            (Negotiation::MakingAnswer(making), MediaReply::Description { sdp })
                if making.request == Some(request_id) =>
            {
                self.send_answer(index, making, sdp, now);
            }
            (Negotiation::MakingAnswer(making), MediaReply::Failed { error, message })
                if making.request == Some(request_id) =>
            {
                self.answer_failed(index, port, error, &message, now);
            }
            (Negotiation::ApplyingAnswer(applying), MediaReply::Done) if applying.request == request_id => {}
            (Negotiation::ApplyingAnswer(applying), MediaReply::Failed { message, .. })
                if applying.request == request_id =>
            {
                self.log(&format!("{call}: {message}"));
                self.answer_unusable(index, now);
            }
            (negotiation, reply) => {
                known.negotiation = negotiation;
                self.log_late_reply(port, call, &reply);
            }
        }
    }

    fn log_late_reply(&mut self, port: PortId, call: &str, reply: &MediaReply) {
        let line = match reply {
            MediaReply::Description { .. } => format!("{call}: a description came too late"),
            MediaReply::Failed { message, .. } => format!("{call}: {message}"),
            MediaReply::Done => return,
        };
        self.send(port, ToPage::Log { line });
    }

    /// The page has made our offer.
    pub(super) fn send_offer(&mut self, index: usize, content: OfferContent, sdp: String, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.connection.sent();
        call.negotiation = Negotiation::OfferSent(OfferSent { content });
        let dialog = call.dialog.clone();
        match &mut call.phase {
            CallPhase::Dialing(dialing) => {
                dialing.placed = true;
                let target = call.target.clone();
                let caller_id = call.requested_caller_id.clone();
                // RFC 3323 §4.1.1.3 has this name for a caller who withholds the identity.
                let is_private = caller_id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case("anonymous"));
                let options = InviteOptions {
                    caller_id: caller_id.filter(|_| !is_private),
                    is_private,
                    headers: call.headers.clone(),
                };
                let referrer = call.referrer.as_ref().map(|referrer| referrer.dialog.clone());
                self.command(match referrer {
                    Some(referrer) => Command::FollowReferral { call: dialog, referrer, sdp },
                    None => Command::Invite { call: dialog, target, options, sdp: Some(sdp) },
                });
            }
            _ => match content.method {
                OfferMethod::Reinvite => self.command(Command::Reinvite { call: dialog, sdp }),
                OfferMethod::Replaces => self.send_replacement(index, sdp, now),
            },
        }
    }

    /// The page has made the description that answers the far end.
    fn send_answer(&mut self, index: usize, making: MakingAnswer, sdp: String, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.connection.sent();
        let held = making.held;
        call.negotiation = making.sent();
        if matches!(call.negotiation, Negotiation::Idle) {
            call.codec = codec_in_use(&sdp);
            call.connection.accepted(now);
            call.hold_agreed = held;
            call.hold_refused = false;
        }
        if let Some(replaced_by) = &call.replaced_by {
            let dialog = replaced_by.dialog.clone();
            let replaced = self.move_to_replacement(index);
            self.command(Command::Answer { call: dialog, sdp });
            // The replaced dialog is ended after the answer (RFC 3891 §3).
            if let Some(call) = replaced {
                self.command(Command::HangUp { call });
            }
            return;
        }
        let dialog = call.dialog.clone();
        if !matches!(call.phase, CallPhase::Answering { .. }) {
            return self.command(Command::AnswerOffer { call: dialog, sdp });
        }
        let snapshot = call.snapshot();
        let notified = std::mem::take(&mut call.notified);
        self.command(Command::Answer { call: dialog, sdp });
        for name in notified.iter().filter(|name| Some(name.as_str()) != snapshot.page.as_deref()) {
            let cause = end_cause("Answered elsewhere", None);
            let mut call = snapshot.clone();
            call.state = CallState::Ended { cause: cause.clone() };
            self.notify_page(name, AgentEvent::CallEnded { call, cause, duration: 0 });
        }
    }

    /// The far end has accepted our offer: the page applies the answer.
    pub(super) fn apply_answer(&mut self, index: usize, answer: String, now: Millis) {
        let request = self.request_media(index, MediaRequest::Accept { answer, provisional: false });
        if let Some(call) = self.calls.get_mut(index) {
            call.negotiation = request.map_or(Negotiation::Idle, |request| {
                Negotiation::ApplyingAnswer(ApplyingAnswer { request, until: now.plus(MEDIA_TIMEOUT_MS) })
            });
        }
    }

    /// The page could not make our offer. `failure` is `None` when it has not replied in time.
    fn offer_failed(
        &mut self,
        index: usize,
        content: OfferContent,
        failure: Option<(PortId, MediaError, &str)>,
        now: Millis,
    ) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if matches!(call.phase, CallPhase::Dialing(_)) {
            let text = match failure {
                Some((port, error, message)) => {
                    self.refuse(port, error_code(error), message);
                    failure_text(error)
                }
                None => failure_text(MediaError::Other),
            };
            return self.end(index, end_cause(text, None), now);
        }
        self.offer_refused(index, content, None, now);
    }

    fn answer_failed(&mut self, index: usize, port: PortId, error: MediaError, message: &str, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if let Some(replaced_by) = &call.replaced_by {
            let call = replaced_by.dialog.clone();
            self.log(&format!("{call}: {message}"));
            self.command(Command::Reject { call, status: 488 });
            return self.drop_replacement(index, now);
        }
        let dialog = call.dialog.clone();
        if !matches!(call.phase, CallPhase::Answering { .. }) {
            self.log(&format!("{dialog}: {message}"));
            return self.command(Command::RefuseOffer { call: dialog, status: 488 });
        }
        self.refuse(port, error_code(error), message);
        if error == MediaError::Unusable {
            self.command(Command::Reject { call: dialog, status: 488 });
            self.end(index, end_cause(failure_text(error), Some(488)), now);
        } else if let Some(call) = self.calls.get_mut(index) {
            // The person may connect a headset or answer on another device.
            call.ring_again();
        }
    }

    /// The page cannot use the far end's answer.
    fn answer_unusable(&mut self, index: usize, now: Millis) {
        if self.calls.get(index).is_some_and(Call::is_active) {
            self.pick_up_otherwise(index, Some(488), now);
        }
    }

    pub(super) fn handle_negotiation_timeout(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if call.negotiation.deadline().is_none_or(|until| until > now) {
            return;
        }
        match std::mem::take(&mut call.negotiation) {
            Negotiation::MakingOffer(making) => self.offer_failed(index, making.content, None, now),
            Negotiation::ApplyingAnswer(_) => self.answer_unusable(index, now),
            other @ (Negotiation::Idle
            | Negotiation::OfferSent(OfferSent { .. })
            | Negotiation::MakingAnswer(_)
            | Negotiation::AwaitingRetry) => call.negotiation = other,
        }
    }

    pub(super) fn media_changed(&mut self, port: PortId, call: &str, state: MediaState, now: Millis) {
        let Some(index) = self.find_of_page(port, call) else {
            return;
        };
        // Before the page has described the present connection, it reports an earlier one.
        let Some(call) = self.calls.get_mut(index).filter(|call| call.connection.is_described()) else {
            return;
        };
        match state {
            MediaState::IceConnected => call.connection.ice_connected(now),
            MediaState::Connected => {
                call.connection.connected();
                self.pick_up_succeeded(index);
                self.end_others_if_connected(index, now);
            }
            MediaState::Disconnected => {
                call.connection.disconnected(now);
                self.out.push_back(CallListOutput::Probe);
            }
            MediaState::Failed => {
                call.connection.failed(now);
                self.out.push_back(CallListOutput::Probe);
                self.handle_deadlines(now);
            }
        }
    }

    /// "End & Answer": the conversation before ends when this call has its media.
    pub(super) fn end_others_if_connected(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        if !call.is_active() || !call.connection.is_connected() {
            return;
        }
        for other in std::mem::take(&mut call.ends) {
            if let Some(other) = self.find(&other) {
                self.hang_up_call(other, now);
            }
        }
    }
}

fn error_code(error: MediaError) -> &'static str {
    match error {
        MediaError::MicrophoneBlocked => "MICROPHONE_BLOCKED",
        MediaError::MicrophoneMissing => "MICROPHONE_MISSING",
        MediaError::MicrophoneBusy => "MICROPHONE_BUSY",
        MediaError::Unusable => "MEDIA_UNUSABLE",
        MediaError::Other => "MEDIA_FAILED",
    }
}

fn failure_text(error: MediaError) -> &'static str {
    match error {
        MediaError::MicrophoneBlocked => "Microphone blocked",
        MediaError::MicrophoneMissing => "No microphone",
        MediaError::MicrophoneBusy => "Microphone busy",
        MediaError::Unusable => "No common audio format",
        MediaError::Other => "Media failed",
    }
}
