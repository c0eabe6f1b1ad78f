//! What pages report about the media they hold.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallState, MediaError, MediaReply, MediaRequest, MediaState, ToPage};

use super::commands::cause;
use super::{Board, Out};
use crate::line::{Exchange, Purpose};
use crate::pages::PortId;

/// ICE often comes back by itself; longer than this it is restarted.
const DISCONNECTED_MS: u64 = 3_000;
/// Restarts without success after which only the person can end it.
const RESTARTS: u32 = 3;

impl Board {
    pub(super) fn media_reply(&mut self, port: PortId, call: &str, request: u32, reply: MediaReply, now: Millis) {
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let purpose = self
            .line(call)
            .filter(|line| line.call.page.as_deref() == Some(&page))
            .and_then(|line| line.close_request(request));
        let (Some(index), Some(purpose)) = (self.find(call), purpose) else {
            let line = format!("{call}: reply {request} came too late");
            return self.send(port, ToPage::Log { line });
        };
        match (purpose, reply) {
            (Purpose::Place, MediaReply::Description { sdp }) => self.place(index, sdp),
            (Purpose::PickUp, MediaReply::Description { sdp }) => self.picked_up(index, sdp),
            (Purpose::Change, MediaReply::Description { sdp }) => self.change(index, sdp),
            (Purpose::Follow, MediaReply::Description { sdp }) => self.followed(index, sdp),
            (purpose, MediaReply::Failed { fault, message }) => {
                self.media_failed(index, port, purpose, fault, &message, now);
            }
            (Purpose::Early | Purpose::Settle | Purpose::RollBack, _) | (_, MediaReply::Done) => {}
        }
    }

    pub(super) fn place(&mut self, index: usize, sdp: String) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        line.placed = true;
        let command = Command::Invite {
            call: line.call.id.clone(),
            target: line.target.clone(),
            caller_id: line.call.requested_caller_id.clone(),
            sdp: Some(sdp),
        };
        self.command(command);
    }

    fn picked_up(&mut self, index: usize, sdp: String) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let call = line.call.clone();
        let told = std::mem::take(&mut line.told);
        self.command(Command::Answer { call: call.id.clone(), sdp });
        let owner = call.page.clone();
        for name in told.iter().filter(|name| Some(*name) != owner.as_ref()) {
            let cause = cause("Answered elsewhere", None);
            let event = AgentEvent::CallEnded {
                call: bitcall_wire::agent_protocol::CallSnapshot {
                    state: CallState::Ended { cause: cause.clone() },
                    ..call.clone()
                },
                cause,
                duration: 0,
            };
            self.tell_page(name, event);
        }
    }

    fn change(&mut self, index: usize, sdp: String) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if let Exchange::Offering { held, restart, .. } = line.exchange {
            line.exchange = Exchange::Sent { held, restart };
            let call = line.call.id.clone();
            self.command(Command::Reinvite { call, sdp });
        }
    }

    fn followed(&mut self, index: usize, sdp: String) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        line.exchange = Exchange::Idle;
        line.offer = None;
        line.resuming = false;
        // The answer said what is wanted, so hold is agreed by it.
        line.held = line.want_held;
        let call = line.call.id.clone();
        self.command(Command::AnswerOffer { call, sdp });
    }

    fn media_failed(
        &mut self,
        index: usize,
        port: PortId,
        purpose: Purpose,
        fault: MediaError,
        message: &str,
        now: Millis,
    ) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let call = line.call.id.clone();
        match purpose {
            Purpose::Place => {
                self.refuse(port, code(fault), message);
                self.end(index, cause(words(fault), None), now);
            }
            Purpose::PickUp if fault == MediaError::Unusable => {
                self.refuse(port, code(fault), message);
                self.command(Command::Reject { call, status: 488 });
                self.end(index, cause(words(fault), Some(488)), now);
            }
            Purpose::PickUp => {
                // It rings on: the person may plug a headset in, or answer elsewhere.
                line.call.state = CallState::Incoming;
                line.call.page = None;
                self.refuse(port, code(fault), message);
            }
            Purpose::Change => {
                line.exchange = Exchange::Idle;
                self.change_failed(index, now);
            }
            Purpose::Follow => {
                line.exchange = Exchange::Idle;
                line.offer = None;
                self.command(Command::RefuseOffer { call, status: 488 });
            }
            Purpose::Settle if line.renewed => {
                self.command(Command::HangUp { call });
                self.end(index, cause(words(fault), None), now);
            }
            Purpose::Settle => {
                // E.g. another branch of a forked call answered than the one whose
                // early media was heard: a fresh connection starts over.
                line.renewed = true;
                line.want_offer = true;
                line.resuming = true;
                self.ask(index, Purpose::RollBack, MediaRequest::Close);
            }
            Purpose::Early | Purpose::RollBack => {
                self.log(&format!("{call}: {message}"));
            }
        }
    }

    /// Our page could not make an offer within the call.
    pub(super) fn change_failed(&mut self, index: usize, now: Millis) {
        let Some(line) = self.lines.get(index) else {
            return;
        };
        if line.resuming {
            let call = line.call.id.clone();
            self.command(Command::HangUp { call });
            return self.end(index, cause("The call could not be resumed", None), now);
        }
        self.ask(index, Purpose::RollBack, MediaRequest::RollBack);
        self.hold_failed(index);
    }

    pub(super) fn media_changed(&mut self, port: PortId, call: &str, state: MediaState, now: Millis) {
        let page = self.pages.by_port(port).map(|page| page.name.clone());
        let Some(line) = self.line(call).filter(|line| line.call.page == page) else {
            return;
        };
        match state {
            MediaState::Connected => {
                line.restart_at = None;
                line.restarts = 0;
            }
            MediaState::Disconnected => {
                line.restart_at = Some(now.plus(DISCONNECTED_MS));
                self.out.push_back(Out::Probe);
            }
            MediaState::Failed => {
                line.restart_at = Some(now);
                self.out.push_back(Out::Probe);
                self.restart_media(now);
            }
        }
    }

    /// Restarts ICE of the calls whose time has come.
    pub(super) fn restart_media(&mut self, now: Millis) {
        for line in &mut self.lines {
            if line.restart_at.is_some_and(|at| at <= now) {
                line.restart_at = None;
                if line.call.state == CallState::Active && line.restarts < RESTARTS {
                    line.restarts += 1;
                    line.want_restart = true;
                }
            }
        }
    }
}

fn code(fault: MediaError) -> &'static str {
    match fault {
        MediaError::MicrophoneBlocked => "MICROPHONE_BLOCKED",
        MediaError::MicrophoneMissing => "MICROPHONE_MISSING",
        MediaError::MicrophoneBusy => "MICROPHONE_BUSY",
        MediaError::Unusable => "MEDIA_UNUSABLE",
        MediaError::Other => "MEDIA_FAILED",
    }
}

fn words(fault: MediaError) -> &'static str {
    match fault {
        MediaError::MicrophoneBlocked => "Microphone blocked",
        MediaError::MicrophoneMissing => "No microphone",
        MediaError::MicrophoneBusy => "Microphone busy",
        MediaError::Unusable => "No common audio format",
        MediaError::Other => "Media failed",
    }
}
