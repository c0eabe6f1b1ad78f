//! Transfers: to whom, and what the person and the host page are told about them.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{CallId, CallOptions, TransferStatus};
use bitcall_wire::host_protocol::definition::code;
use bitcall_wire::host_protocol::{HostEvent, PhoneError, TransferPayload, TransferPhase};
use bitcall_wire::number::{self, Dialled};

use super::App;
use crate::ui::{UserAction, find_call, focused_call};

impl App {
    pub(super) fn handle_transfer_action(self: &Rc<Self>, action: UserAction) {
        match action {
            UserAction::Call => self.transfer_typed(false),
            UserAction::AskFirst => self.transfer_typed(true),
            UserAction::TransferTo(call, to) => self.with_agent(|agent| agent.transfer_to(&call, &to)),
            UserAction::BackTo(call, asked) => {
                self.hang_up(&asked);
                self.with_agent(|agent| agent.hold(&call, false));
            }
            UserAction::AnswerReferral(call, follow) => self.with_agent(|agent| agent.answer_referral(&call, follow)),
            _ => {}
        }
    }

    pub(super) fn show_transfer(&self, open: bool) {
        let ui = self.ui;
        ui.number.set(String::new());
        ui.number_error.set(None);
        ui.keypad_open.set(false);
        ui.transfer_open.set(open);
    }

    /// Transfers the displayed call to the number in the field, or calls it first.
    fn transfer_typed(self: &Rc<Self>, ask_first: bool) {
        let ui = self.ui;
        let Some(call) = ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).map(|call| call.id.clone()))
        else {
            return;
        };
        let typed = ui.number.get_clone_untracked();
        // Digits to send after the answer need a call of our own.
        let dialled = if ask_first {
            number::dialled(&typed)
        } else {
            number::call_target(&typed).map(|target| Dialled { target, digits: String::new() })
        };
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(text) => return ui.number_error.set(Some(text)),
        };
        self.show_transfer(false);
        ui.call_notice.set(None);
        if ask_first {
            self.place_call(&dialled, CallOptions { consults_for: Some(call), ..CallOptions::default() });
        } else {
            self.with_agent(|agent| agent.transfer(&call, typed.trim()));
        }
    }

    /// `transfer()` by the host page.
    pub(super) fn host_transfer(&self, target: &str, which: Option<&str>) -> Result<(), PhoneError> {
        let allowed = self
            .ui
            .config
            .with_untracked(|config| config.as_ref().is_some_and(|config| config.capabilities.transfer_blind));
        if !allowed {
            return Err(PhoneError::new(code::TRANSFER_NOT_ALLOWED));
        }
        let call = self.ui.snapshot.with_untracked(|snapshot| match which {
            Some(id) => find_call(snapshot, id).map(|call| call.id.clone()),
            None => focused_call(snapshot).map(|call| call.id.clone()),
        });
        let call = call.ok_or_else(|| match which {
            Some(id) => PhoneError::with(code::UNKNOWN_CALL, &format!("There is no call “{id}”.")),
            None => PhoneError::with(code::UNKNOWN_CALL, "There is no call to transfer."),
        })?;
        self.with_agent(|agent| agent.transfer(&call, target));
        Ok(())
    }

    /// A transfer has started, was accepted or has failed.
    pub(super) fn handle_transfer(&self, call_id: CallId, target: String, uri: Option<String>, status: TransferStatus) {
        let ui = self.ui;
        let (status, reason, message) = match status {
            TransferStatus::Started => {
                ui.announcement.set(format!("Transferring to {target}"));
                (TransferPhase::Started, None, None)
            }
            TransferStatus::Accepted => (TransferPhase::Accepted, None, None),
            TransferStatus::Failed { reason, message } => {
                ui.announcement.set(message.clone());
                ui.call_notice.set(Some(message.clone()));
                (TransferPhase::Failed, Some(reason), Some(message))
            }
        };
        self.emit(&HostEvent::TransferState(TransferPayload { call_id, target, status, reason, message, uri }));
    }
}
