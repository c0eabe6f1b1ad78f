//! Dispatches responses and time-outs within a call, and matches requests to its dialogs.

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::Millis;
use super::{Call, CallPhase};
use crate::message::Response;
use crate::transaction::ResponseKind;

impl Call {
    pub(in super::super) fn on_response(
        &mut self,
        context: &mut UaContext,
        role: RequestRole,
        client: &ClientRequest,
        response_kind: ResponseKind,
        response: &Response,
        now: Millis,
    ) {
        match role {
            RequestRole::Invite => self.on_invite_response(context, client, response_kind, response, now),
            RequestRole::Reinvite => self.on_reinvite_response(context, client, response_kind, response, now),
            _ if response_kind == ResponseKind::Absorbed => {}
            RequestRole::Refresh => self.on_refresh_response(context, client, response, now),
            RequestRole::Bye => self.on_bye_response(context, client, response, now),
            RequestRole::Info => self.on_info_response(context, client, response, now),
            RequestRole::Refer => self.on_refer_response(context, client, response, now),
            RequestRole::Notify => self.on_notify_response(context, client, response, now),
            RequestRole::Prack => {
                if !response.is_provisional() {
                    self.retry(context, client, response, now);
                }
            }
            RequestRole::Cancel => {}
        }
    }

    pub(in super::super) fn on_timeout(&mut self, context: &mut UaContext, role: RequestRole, now: Millis) {
        match role {
            RequestRole::Invite => {
                if matches!(self.phase, CallPhase::Calling { .. }) {
                    self.on_invite_timeout(context, now);
                }
            }
            RequestRole::Reinvite => self.on_reinvite_timeout(context, now),
            RequestRole::Bye => self.on_bye_timeout(now),
            RequestRole::Info => self.on_info_timeout(context, now),
            RequestRole::Refer => self.on_refer_timeout(context),
            // A refresh is retried by its own timer; the others are ignored.
            RequestRole::Refresh | RequestRole::Prack | RequestRole::Cancel | RequestRole::Notify => {}
        }
    }

    /// None if no dialog has these tags; otherwise whether the request's `CSeq` is in order (RFC 3261 §12.2.2).
    pub(in super::super) fn accepts_request(
        &mut self,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
        cseq: u32,
    ) -> Option<bool> {
        if self.sip_call_id != call_id || self.local_tag != local_tag {
            return None;
        }
        let leg = self.legs.iter_mut().find(|leg| leg.dialog.remote_tag == remote_tag)?;
        Some(leg.dialog.accepts_cseq(cseq))
    }

    pub(in super::super) fn has_dialog(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> bool {
        self.sip_call_id == call_id
            && self.local_tag == local_tag
            && self.legs.iter().any(|leg| leg.dialog.remote_tag == remote_tag)
    }

    /// Whether this INVITE is a merged request: the call's own INVITE, received on another path (RFC 3261 §8.2.2.2).
    pub(in super::super) fn is_merged(&self, call_id: &str, remote_tag: &str, cseq: u32) -> bool {
        self.sip_call_id == call_id
            && self.legs.iter().any(|leg| leg.dialog.remote_tag == remote_tag && leg.dialog.remote_cseq() == Some(cseq))
    }

    /// Sign-out is finished: ends the call without further messages.
    pub(in super::super) fn abandon(&mut self, context: &mut UaContext) {
        self.report_end(context, super::EndedBy::Local, "Signed out", None);
        self.phase = CallPhase::Terminated;
        self.timers.clear_all();
    }
}
