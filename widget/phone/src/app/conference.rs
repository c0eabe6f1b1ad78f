//! The conference: who comes and goes, and what the person hears of it by a screen reader.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, ToAgent};

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

    /// Says who talks together now, if that has changed.
    pub(super) fn announce_conference(&self, now: &AgentSnapshot) {
        let calls = |snapshot: &AgentSnapshot| -> Vec<CallId> {
            snapshot.conference.iter().map(|party| party.call.clone()).collect()
        };
        let parties = calls(now);
        if !parties.is_empty() && parties != self.ui.snapshot.with_untracked(calls) {
            let names: Vec<String> = parties.iter().filter_map(|call| find_call(now, call).map(caller)).collect();
            self.ui.announcement.set(format!("In conference with {}", names.join(", ")));
        }
    }
}
