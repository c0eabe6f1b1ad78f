//! Media replies and ICE states of pages.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallState, MediaError, MediaReply, MediaRequest, MediaState, ToPage};

use super::page_commands::end_cause;
use super::{CallList, CallListOutput};
use crate::call_entry::{MediaNegotiation, RequestPurpose};
use crate::pages::PortId;

/// Disconnected ICE often recovers by itself. After this time it is restarted.
const ICE_DISCONNECTED_TIMEOUT_MS: u64 = 3_000;
/// Further restarts without success are unlikely to help. The call then stays until somebody hangs up.
const MAX_ICE_RESTARTS: u32 = 3;

impl CallList {
    pub(super) fn media_reply(&mut self, port: PortId, call: &str, request_id: u32, reply: MediaReply, now: Millis) {
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let purpose = self
            .entry(call)
            .filter(|entry| entry.call.page.as_deref() == Some(&page))
            .and_then(|entry| entry.close_request(request_id));
        let (Some(index), Some(purpose)) = (self.find(call), purpose) else {
            let line = format!("{call}: reply {request_id} came too late");
            return self.send(port, ToPage::Log { line });
        };
        match (purpose, reply) {
            (RequestPurpose::InitialOffer, MediaReply::Description { sdp }) => self.send_invite(index, sdp),
            (RequestPurpose::InitialAnswer, MediaReply::Description { sdp }) => self.send_answer(index, sdp),
            (RequestPurpose::LocalOffer, MediaReply::Description { sdp }) => self.send_reinvite(index, sdp),
            (RequestPurpose::RemoteOffer, MediaReply::Description { sdp }) => self.answer_remote_offer(index, sdp),
            (purpose, MediaReply::Failed { error, message }) => {
                self.media_failed(index, port, purpose, error, &message, now);
            }
            (RequestPurpose::ProvisionalAnswer | RequestPurpose::FinalAnswer | RequestPurpose::RollBack, _)
            | (_, MediaReply::Done) => {}
        }
    }

    pub(super) fn send_invite(&mut self, index: usize, sdp: String) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.placed = true;
        let command = Command::Invite {
            call: entry.call.id.clone(),
            target: entry.target.clone(),
            caller_id: entry.call.requested_caller_id.clone(),
            sdp: Some(sdp),
        };
        self.command(command);
    }

    fn send_answer(&mut self, index: usize, sdp: String) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let call = entry.call.clone();
        let notified = std::mem::take(&mut entry.notified);
        self.command(Command::Answer { call: call.id.clone(), sdp });
        let owner = call.page.clone();
        for name in notified.iter().filter(|name| Some(*name) != owner.as_ref()) {
            let cause = end_cause("Answered elsewhere", None);
            let event = AgentEvent::CallEnded {
                call: bitcall_wire::agent_protocol::CallSnapshot {
                    state: CallState::Ended { cause: cause.clone() },
                    ..call.clone()
                },
                cause,
                duration: 0,
            };
            self.notify_page(name, event);
        }
    }

    fn send_reinvite(&mut self, index: usize, sdp: String) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if let MediaNegotiation::CreatingOffer { held, restart, .. } = entry.negotiation {
            entry.negotiation = MediaNegotiation::OfferSent { held, restart };
            let call = entry.call.id.clone();
            self.command(Command::Reinvite { call, sdp });
        }
    }

    fn answer_remote_offer(&mut self, index: usize, sdp: String) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.negotiation = MediaNegotiation::Idle;
        entry.offer = None;
        entry.resuming = false;
        // The answer was made with the direction of `want_held`.
        entry.held = entry.want_held;
        let call = entry.call.id.clone();
        self.command(Command::AnswerOffer { call, sdp });
    }

    fn media_failed(
        &mut self,
        index: usize,
        port: PortId,
        purpose: RequestPurpose,
        error: MediaError,
        message: &str,
        now: Millis,
    ) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let call = entry.call.id.clone();
        match purpose {
            RequestPurpose::InitialOffer => {
                self.refuse(port, error_code(error), message);
                self.end(index, end_cause(failure_text(error), None), now);
            }
            RequestPurpose::InitialAnswer if error == MediaError::Unusable => {
                self.refuse(port, error_code(error), message);
                self.command(Command::Reject { call, status: 488 });
                self.end(index, end_cause(failure_text(error), Some(488)), now);
            }
            RequestPurpose::InitialAnswer => {
                // The call rings again: the person may connect a headset or answer on another device.
                entry.call.state = CallState::Incoming;
                entry.call.page = None;
                self.refuse(port, error_code(error), message);
            }
            RequestPurpose::LocalOffer => {
                entry.negotiation = MediaNegotiation::Idle;
                self.local_offer_failed(index, now);
            }
            RequestPurpose::RemoteOffer => {
                entry.negotiation = MediaNegotiation::Idle;
                entry.offer = None;
                self.command(Command::RefuseOffer { call, status: 488 });
            }
            RequestPurpose::FinalAnswer if entry.connection_replaced => {
                self.command(Command::HangUp { call });
                self.end(index, end_cause(failure_text(error), None), now);
            }
            RequestPurpose::FinalAnswer => {
                // E.g. a forked call was answered by another branch than the one that sent
                // early media. A re-INVITE with a new connection replaces the exchange.
                entry.connection_replaced = true;
                entry.want_offer = true;
                entry.resuming = true;
                self.request_media(index, RequestPurpose::RollBack, MediaRequest::Close);
            }
            RequestPurpose::ProvisionalAnswer | RequestPurpose::RollBack => {
                self.log(&format!("{call}: {message}"));
            }
        }
    }

    /// The page could not make an offer within the call.
    pub(super) fn local_offer_failed(&mut self, index: usize, now: Millis) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        if entry.resuming {
            let call = entry.call.id.clone();
            self.command(Command::HangUp { call });
            return self.end(index, end_cause("The call could not be resumed", None), now);
        }
        self.request_media(index, RequestPurpose::RollBack, MediaRequest::RollBack);
        self.hold_failed(index);
    }

    pub(super) fn media_changed(&mut self, port: PortId, call: &str, state: MediaState, now: Millis) {
        let page = self.pages.by_port(port).map(|page| page.name.clone());
        let Some(entry) = self.entry(call).filter(|entry| entry.call.page == page) else {
            return;
        };
        match state {
            MediaState::IceConnected => {}
            MediaState::Connected => {
                entry.restart_at = None;
                entry.restarts = 0;
            }
            MediaState::Disconnected => {
                entry.restart_at = Some(now.plus(ICE_DISCONNECTED_TIMEOUT_MS));
                self.out.push_back(CallListOutput::Probe);
            }
            MediaState::Failed => {
                entry.restart_at = Some(now);
                self.out.push_back(CallListOutput::Probe);
                self.restart_media(now);
            }
        }
    }

    /// Restarts ICE of the calls whose `restart_at` has passed.
    pub(super) fn restart_media(&mut self, now: Millis) {
        for entry in &mut self.entries {
            if entry.restart_at.is_some_and(|at| at <= now) {
                entry.restart_at = None;
                if entry.call.state == CallState::Active && entry.restarts < MAX_ICE_RESTARTS {
                    entry.restarts += 1;
                    entry.want_restart = true;
                }
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
