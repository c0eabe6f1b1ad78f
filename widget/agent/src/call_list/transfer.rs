//! Transfers of calls to somebody else, as the transferor: blind, and attended ("Ask first").

use bitcall_sip::ua::{Command, Millis, TransferFailure, TransferProgress};
use bitcall_wire::agent_protocol::{AgentEvent, TransferStatus};
use bitcall_wire::number;

use super::CallList;
use super::page_commands::end_cause;
use crate::call::{Call, CallPhase, Destination, Holding, Referral, Transfer, TransferRequest};
use crate::pages::PortId;

/// Time for the far end to be put on hold. Then the REFER is sent nevertheless.
const HOLD_TIMEOUT_MS: u64 = 10_000;
/// The far end ends a call that it has left by a transfer. After this time it is ended from our side.
pub(super) const HANDED_OVER_TIMEOUT_MS: u64 = 5_000;
/// The cause of a call that was transferred.
pub(super) const TRANSFERRED: &str = "Transferred";

impl CallList {
    pub(super) fn transfer(&mut self, port: PortId, call: &str, target: &str, now: Millis) {
        match number::call_target(target) {
            Ok(address) => self.start_transfer(port, call, target.trim(), Destination::Address(address), now),
            Err(text) => self.refuse_transfer(port, call, target, "BAD_NUMBER", &text),
        }
    }

    pub(super) fn transfer_to(&mut self, port: PortId, call: &str, to: &str, now: Millis) {
        let Some(index) = self.find(to).filter(|_| to != call) else {
            return self.refuse_transfer(port, call, to, "UNKNOWN_CALL", "The other call has ended.");
        };
        let Some(other) = self.calls.get(index) else {
            return;
        };
        let target = other.number.clone();
        match &other.phase {
            CallPhase::Active => self.start_transfer(port, call, &target, Destination::Call(to.to_owned()), now),
            // Nobody can be put in the place of a call that is not up: the number is called.
            CallPhase::Dialing(_) => {
                let address = Destination::Address(other.target.clone());
                self.start_transfer(port, call, &target, address, now);
                if self.find(call).and_then(|index| self.calls.get(index)).is_some_and(|call| call.transfer.is_some()) {
                    self.hang_up_call(index, now);
                }
            }
            _ => self.refuse_transfer(port, call, &target, "NOT_ACTIVE", "The other call is not up."),
        }
    }

    fn start_transfer(&mut self, port: PortId, call: &str, target: &str, to: Destination, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_transfer(port, call, target, "UNKNOWN_CALL", "The call has ended.");
        };
        let Some(known) = self.calls.get_mut(index) else {
            return;
        };
        match &known.transfer {
            // A second click.
            Some(transfer) if transfer.request().to == to => return,
            Some(_) => {
                let text = "The call is being transferred already.";
                return self.refuse_transfer(port, call, target, "TRANSFERRING", text);
            }
            None => {}
        }
        if !known.is_active() || known.detached {
            let text = "Only a call that is up can be transferred.";
            return self.refuse_transfer(port, call, target, "NOT_ACTIVE", text);
        }
        self.conference.leave(call);
        let request = TransferRequest { target: target.to_owned(), to, was_held: known.wishes.held };
        known.want_held(true);
        known.transfer = Some(Transfer::Holding(Holding { request, until: now.plus(HOLD_TIMEOUT_MS) }));
        self.notify_transfer(index, TransferStatus::Started);
    }

    /// Sends the REFERs whose calls are on hold.
    pub(super) fn send_due_refers(&mut self, now: Millis) {
        for index in 0..self.calls.len() {
            let Some(call) = self.calls.get_mut(index) else {
                continue;
            };
            let (is_settled, is_being_replaced) = (call.is_settled_on_hold(), call.is_being_replaced());
            let is_due = |holding: &Holding| is_settled || holding.until <= now;
            let request = match call.transfer.take() {
                Some(Transfer::Holding(holding)) if is_due(&holding) && is_being_replaced => {
                    call.transfer = Some(Transfer::Holding(holding));
                    self.fail_transfer(index, "NOT_ACTIVE", "The call is being connected anew");
                    continue;
                }
                Some(Transfer::Holding(holding)) if is_due(&holding) => holding.request,
                other => {
                    call.transfer = other;
                    continue;
                }
            };
            let dialog = call.dialog.clone();
            let to = request.to.clone();
            call.transfer = Some(Transfer::Requested(request));
            let target = to.target(|id| {
                self.calls.iter().find(|call| call.id == id && !call.is_ended()).map(|call| call.dialog.clone())
            });
            self.command(Command::Transfer { call: dialog, target });
        }
    }

    pub(super) fn transfer_progress(&mut self, dialog: &str, progress: TransferProgress, now: Millis) {
        let Some(index) = self.find_dialog(dialog) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Some(transfer) = call.transfer.take() else {
            return;
        };
        match progress {
            TransferProgress::Accepted => {
                call.transfer = Some(transfer.into_accepted(false));
                self.notify_transfer(index, TransferStatus::Accepted);
            }
            TransferProgress::Proceeding { status } => call.transfer = Some(transfer.into_accepted(status == 180)),
            TransferProgress::Succeeded => {
                if let Destination::Call(other) = transfer.into_request().to
                    && let Some(other) = self.call_mut(&other)
                {
                    other.handed_over = Some(now.plus(HANDED_OVER_TIMEOUT_MS));
                }
                self.hang_up_dialogs(index);
                self.end(index, end_cause(TRANSFERRED, None), now);
            }
            TransferProgress::Failed(failure) => {
                call.transfer = Some(transfer);
                self.fail_transfer(index, failure_code(failure), failure.text());
            }
        }
    }

    /// The transfer has failed, and the person has the call back, unless another conversation goes on.
    pub(super) fn fail_transfer(&mut self, index: usize, reason: &str, text: &str) {
        let is_talking = self.calls.iter().any(Call::wants_to_talk);
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Some(request) = call.transfer.as_ref().map(Transfer::request) else {
            return;
        };
        let resumes = !request.was_held && !is_talking;
        let message = format!("{} was not reached: {}.", request.target, sentence_part(text));
        self.notify_transfer(index, TransferStatus::Failed { reason: reason.to_owned(), message });
        if let Some(call) = self.calls.get_mut(index) {
            call.transfer = None;
            if resumes {
                call.want_held(false);
            }
        }
    }

    /// The call ends: a host page that waits for an answer to its transfer gets one.
    pub(super) fn end_transfer(&mut self, index: usize) {
        let is_open = |call: &Call| call.transfer.as_ref().is_some_and(|transfer| !transfer.is_accepted());
        if self.calls.get(index).is_some_and(is_open) {
            self.fail_transfer(index, "CALL_ENDED", "The call has ended");
        }
        if let Some(call) = self.calls.get_mut(index) {
            call.transfer = None;
        }
    }

    /// Whether the far end has left the call because it is connected with somebody else now.
    pub(super) fn was_handed_over(&self, call: &Call) -> bool {
        let is_accepted = |call: &Call| call.transfer.as_ref().is_some_and(Transfer::is_accepted);
        let is_target = |other: &Call| {
            let to = other.transfer.as_ref().map(|transfer| &transfer.request().to);
            is_accepted(other) && matches!(to, Some(Destination::Call(to)) if *to == call.id)
        };
        call.handed_over.is_some()
            || matches!(call.referral, Some(Referral::Followed))
            || is_accepted(call)
            || self.calls.iter().any(is_target)
    }

    fn notify_transfer(&mut self, index: usize, status: TransferStatus) {
        let Some(call) = self.calls.get(index) else {
            return;
        };
        let Some(request) = call.transfer.as_ref().map(Transfer::request) else {
            return;
        };
        let event = AgentEvent::Transfer {
            call: call.id.clone(),
            target: request.target.clone(),
            uri: self.uri_of(&request.to),
            status,
        };
        if let Some(page) = call.owner.page().map(str::to_owned) {
            self.notify_page(&page, event);
        }
    }

    /// The SIP URI of a target, for the host page.
    fn uri_of(&self, to: &Destination) -> Option<String> {
        let domain = self.account.as_ref().map(|account| account.domain.as_str()).unwrap_or_default();
        match to {
            Destination::Address(target) if target.contains(':') => Some(target.clone()),
            Destination::Address(target) if target.contains('@') => Some(format!("sip:{target}")),
            Destination::Address(target) => Some(format!("sip:{target}@{domain}")),
            Destination::Call(_) => None,
        }
    }

    /// The transfer cannot be started. The call and one that is under way go on.
    fn refuse_transfer(&mut self, port: PortId, call: &str, target: &str, reason: &str, message: &str) {
        let event = AgentEvent::Transfer {
            call: call.to_owned(),
            target: target.to_owned(),
            uri: None,
            status: TransferStatus::Failed { reason: reason.to_owned(), message: message.to_owned() },
        };
        self.send(port, bitcall_wire::agent_protocol::ToPage::Event { event });
    }
}

fn failure_code(failure: TransferFailure) -> &'static str {
    match failure {
        TransferFailure::BadTarget => "BAD_NUMBER",
        TransferFailure::NotConnected => "NOT_CONNECTED",
        TransferFailure::Refused { .. } => "REFUSED",
        TransferFailure::NoResponse => "NO_RESPONSE",
        TransferFailure::Unreachable { .. } => "UNREACHABLE",
        TransferFailure::NoResult => "NO_RESULT",
    }
}

/// A short text as the end of a sentence: "Busy" becomes "busy".
fn sentence_part(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
