//! What the far end or its server tells: who it is, texts, and that the password is needed.

use bitcall_sip::ua::{self, Command, RemoteParty};
use bitcall_wire::agent_protocol::{AgentEvent, CallId, TextMessage};
use bitcall_wire::text::readable;

use super::CallList;
use super::user_agent_events::with_readable_name;
use crate::call::Call;

/// A longer text is cut.
const MAX_MESSAGE_CHARS: usize = 500;

impl CallList {
    /// The server asserts another identity, e.g. after a transfer.
    pub(super) fn identity_changed(&mut self, dialog: &str, party: RemoteParty) {
        let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get_mut(index)) else {
            return;
        };
        let name = party.display_name.as_deref().map(readable);
        // The same far end without a name is known better already.
        if call.number == party.number && (name.is_none() || call.display_name == name) {
            return;
        }
        call.number = party.number;
        call.display_name = name;
        self.notify_call_pages(dialog, |call| AgentEvent::CallUpdated { call: call.snapshot() });
    }

    /// A text of the far end.
    pub(super) fn message(&mut self, dialog: &str, text: &str) {
        let text = shown_text(text);
        if !text.is_empty() {
            self.notify_call_pages(dialog, |call| AgentEvent::Message {
                message: TextMessage {
                    call: Some(call.id.clone()),
                    number: call.number.clone(),
                    display_name: call.display_name.clone(),
                    text,
                },
            });
        }
    }

    /// A text outside of any call.
    pub(super) fn new_message(&mut self, from: RemoteParty, text: &str) {
        let text = shown_text(text);
        if !text.is_empty() {
            let RemoteParty { number, display_name, .. } = with_readable_name(from);
            self.notify_all(&AgentEvent::Message { message: TextMessage { call: None, number, display_name, text } });
        }
    }

    /// Answers a text, in its call as long as that is up.
    pub(super) fn send_message(&mut self, call: Option<CallId>, number: String, text: String) {
        let call = call.and_then(|id| Some(self.call_mut(&id)?.dialog.clone()));
        self.command(Command::SendMessage(ua::TextMessage { call, target: number, text }));
    }

    pub(super) fn message_answered(&mut self, number: String, status: u16) {
        let failure = ua::message_failure_text(status).map(str::to_owned);
        self.notify_all(&AgentEvent::MessageAnswered { number, failure });
    }

    /// A realm that has challenged the call needs the password.
    pub(super) fn password_needed(&mut self, dialog: &str, realm: &str) {
        self.log(&format!("{dialog}: the realm “{realm}” needs the password"));
        self.notify_call_pages(dialog, |call| AgentEvent::PasswordNeeded { call: Some(call.id.clone()) });
    }

    /// Notifies the pages that know of the call: its owner, or those where it rings.
    pub(super) fn notify_call_pages(&mut self, dialog: &str, event: impl FnOnce(&Call) -> AgentEvent) {
        let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get(index)) else {
            return;
        };
        let pages = match call.owner.page() {
            Some(owner) => vec![owner.to_owned()],
            None => call.notified.clone(),
        };
        let event = event(call);
        for page in pages {
            self.notify_page(&page, event.clone());
        }
    }
}

/// The text as one line of bounded length, without characters that are not seen.
fn shown_text(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let mut shown = readable(&spaced).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = shown.char_indices().nth(MAX_MESSAGE_CHARS) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}
