//! The conference: who comes and goes, and what the person hears of it by a screen reader.

use bitcall_wire::agent_protocol::{AgentSnapshot, ToAgent};

use super::App;
use crate::screens::caller;
use crate::ui::{ConferenceAction, find_call, together};

impl App {
    pub(super) fn handle_conference_action(&self, action: ConferenceAction) {
        let ui = self.ui;
        ui.call_notice.set(None);
        let message = match action {
            ConferenceAction::Merge(call, into) => {
                ui.keypad_open.set(false);
                ToAgent::Merge { call, into }
            }
            ConferenceAction::Split(call, held) => ToAgent::Split { call, held },
            ConferenceAction::Mute(call, muted) => ToAgent::MuteParty { call, muted },
            ConferenceAction::Drop(call) => return self.hang_up(&call),
        };
        self.with_agent(|agent| agent.send(&message));
    }

    /// Ends the call, and those that are in conference with it.
    pub(super) fn hang_up_together(&self, call: &str) {
        for call in self.ui.snapshot.with_untracked(|snapshot| together(snapshot, call)) {
            self.hang_up(&call);
        }
    }

    pub(super) fn announce_conference(&self, before: &AgentSnapshot, now: &AgentSnapshot) {
        let is_same = before.conference.len() == now.conference.len()
            && before.conference.iter().zip(&now.conference).all(|(one, other)| one.call == other.call);
        if is_same || now.conference.is_empty() {
            return;
        }
        let names: Vec<String> =
            now.conference.iter().filter_map(|party| find_call(now, &party.call).map(caller)).collect();
        self.ui.announcement.set(format!("In conference with {}", names.join(", ")));
    }
}
