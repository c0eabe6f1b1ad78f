//! Which call a response, a time-out or a command is for.

use super::super::context::{Client, Core, Role};
use super::super::interface::Millis;
use super::{Call, Stage};
use crate::message::Response;
use crate::transaction::Heard;

impl Call {
    pub(in super::super) fn on_response(
        &mut self,
        core: &mut Core,
        role: Role,
        client: &Client,
        heard: Heard,
        response: &Response,
        now: Millis,
    ) {
        match role {
            Role::Invite => self.on_invite_response(core, client, heard, response, now),
            Role::Modify => self.on_modify_response(core, client, heard, response, now),
            _ if heard == Heard::Nothing => {}
            Role::Refresh => self.on_refresh_response(core, client, response, now),
            Role::Bye => self.on_bye_response(core, client, response, now),
            Role::Info => self.on_info_response(core, client, response, now),
            Role::Prack => {
                if !response.is_provisional() {
                    self.send_again(core, client, response, now);
                }
            }
            Role::Cancel => {}
        }
    }

    pub(in super::super) fn on_timeout(&mut self, core: &mut Core, role: Role, now: Millis) {
        match role {
            Role::Invite => {
                if matches!(self.stage, Stage::Calling { .. }) {
                    self.on_invite_timeout(core, now);
                }
            }
            Role::Modify => self.on_modify_timeout(core, now),
            Role::Bye => self.on_bye_timeout(now),
            Role::Info => self.on_info_timeout(core, now),
            // Tried again by its own alarm, or of no more interest.
            Role::Refresh | Role::Prack | Role::Cancel => {}
        }
    }

    /// Whether a request with these tags is in one of our dialogs; if so, whether it is in order.
    pub(in super::super) fn admits(
        &mut self,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
        cseq: u32,
    ) -> Option<bool> {
        if self.sip_id != call_id || self.local_tag != local_tag {
            return None;
        }
        let leg = self.legs.iter_mut().find(|leg| leg.dialog.remote_tag == remote_tag)?;
        Some(leg.dialog.admits(cseq))
    }

    pub(in super::super) fn has_dialog(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> bool {
        self.sip_id == call_id
            && self.local_tag == local_tag
            && self.legs.iter().any(|leg| leg.dialog.remote_tag == remote_tag)
    }

    /// Whether this INVITE is the one that made this call, come by another way (RFC 3261 §8.2.2.2).
    pub(in super::super) fn is_merged(&self, call_id: &str, remote_tag: &str, cseq: u32) -> bool {
        self.sip_id == call_id
            && self.legs.iter().any(|leg| leg.dialog.remote_tag == remote_tag && leg.dialog.remote_cseq() == Some(cseq))
    }

    /// Signing out: the time for being polite is over.
    pub(in super::super) fn abandon(&mut self, core: &mut Core) {
        self.tell_end(core, super::EndedBy::Local, "Signed out", None);
        self.stage = Stage::Over;
        self.alarms.clear_all();
    }
}
