//! Commands of pages about the conference: merge, split, mute a party. To drop a party is to hang up its call.

use bitcall_wire::agent_protocol::CallId;

use super::CallList;
use crate::call::{Call, Owner};
use crate::pages::PortId;

impl CallList {
    pub(super) fn merge(&mut self, port: PortId, call: &CallId, into: &CallId) {
        let (Some(index), Some(present)) = (self.find(call), self.find(into)) else {
            return self.refuse_unknown_call(port, if self.find(call).is_none() { call } else { into });
        };
        // A second click.
        if index == present || (self.conference.contains(call) && self.conference.contains(into)) {
            return;
        }
        let (Some(one), Some(other)) = (self.calls.get(index), self.calls.get(present)) else {
            return;
        };
        if !can_be_party(one) || !can_be_party(other) {
            return self.refuse(port, "NOT_ACTIVE", "Only calls that are up can be merged.");
        }
        if one.owner != other.owner {
            return self.refuse(port, "ANOTHER_PAGE", "One of the calls is in another window.");
        }
        let muted = other.muted;
        if !self.conference.join(into, call) {
            return self.refuse(port, "CONFERENCE_EXISTS", "There is another conference. Merge a call with it.");
        }
        for index in self.together(present) {
            self.focus_on(index);
            if let Some(call) = self.calls.get_mut(index) {
                call.want_held(false);
                call.muted = muted;
                // The one who was asked first talks with all.
                call.consults_for.take_if(|first| self.conference.contains(first));
            }
        }
        self.focus_on(present);
    }

    pub(super) fn split(&mut self, port: PortId, call: &str, held: bool) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let rest = self.together(index).into_iter().find(|other| *other != index);
        // Without others: a second click.
        let Some(rest) = rest else { return };
        self.conference.leave(call);
        if let Some(call) = self.calls.get_mut(index) {
            call.want_held(held);
        }
        if !held {
            self.focus_on(index);
        } else if self.latest(Call::is_in_progress) == Some(index) {
            self.focus_on(rest);
        }
    }

    pub(super) fn mute(&mut self, call: &str, muted: bool) {
        for index in self.find(call).map(|index| self.together(index)).unwrap_or_default() {
            if let Some(call) = self.calls.get_mut(index) {
                call.muted = muted;
            }
        }
    }

    /// The call, and those that are in conference with it.
    pub(super) fn together(&self, index: usize) -> Vec<usize> {
        match self.calls.get(index) {
            Some(call) if self.conference.contains(&call.id) => {
                let parties = self.conference.parties().iter();
                parties.filter_map(|party| self.find(&party.call)).collect()
            }
            _ => vec![index],
        }
    }

    /// Removes the parties that can talk with the others no longer.
    pub(super) fn prune_conference(&mut self) {
        let up = |id: &str| self.calls.iter().find(|call| call.id == id && call.is_active());
        let first = self.conference.parties().iter().find_map(|party| up(&party.call));
        let page = first.and_then(|call| call.owner.page());
        self.conference.retain(|party| up(party).is_some_and(|call| call.owner.page() == page));
    }
}

fn can_be_party(call: &Call) -> bool {
    call.is_active() && call.transfer.is_none() && matches!(call.owner, Owner::Page(_))
}
