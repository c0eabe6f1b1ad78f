//! Text messages: dismisses and answers the one that is shown.

use bitcall_wire::agent_protocol::{TextMessage, ToAgent};

use super::App;
use crate::ui::MessageAction;

impl App {
    pub(super) fn handle_message_action(&self, action: MessageAction) {
        let ui = self.ui;
        match action {
            MessageAction::Dismiss => ui.messages.update(|list| {
                list.drain(..1.min(list.len()));
            }),
            MessageAction::Reply(text) => {
                let Some(TextMessage { call, number, .. }) = ui.messages.with_untracked(|list| list.first().cloned())
                else {
                    return;
                };
                self.with_agent(|agent| agent.send(&ToAgent::SendMessage { call, number, text }));
            }
        }
    }
}
