//! INFO (RFC 6086), one request at a time, so that digits stay in order.
//!
//! Before the answer it goes to the early dialog that sends early media: a far end that asks for digits there has created
//! the dialog by its provisional response, reliable or not (RFC 3261 §12.1, §12.2).

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{Event, Millis};
use super::{Call, CallPhase};
use crate::header_values;
use crate::message::{Request, Response};

/// Limit of queued INFOs, including the one that waits for its response.
const MAX_QUEUED_INFOS: usize = 64;

impl Call {
    pub(in super::super) fn info(&mut self, context: &mut UaContext, content_type: String, body: String, now: Millis) {
        if self.info_leg().is_none() || self.info_queue.len() >= MAX_QUEUED_INFOS || context.transport.is_none() {
            self.report_info_answered(context, 408);
            return;
        }
        self.info_queue.push_back((content_type, body));
        if self.info_queue.len() == 1 {
            self.send_info(context, now);
        }
    }

    /// Sends the first INFO of the queue. It stays in the queue until its response.
    fn send_info(&mut self, context: &mut UaContext, now: Millis) {
        let owner = self.owner(RequestRole::Info);
        let Some((content_type, body)) = self.info_queue.front().cloned() else {
            return;
        };
        let leg = self.info_leg().and_then(|index| self.legs.get_mut(index));
        if let Some(leg) = leg {
            let template = leg.dialog.request("INFO");
            context.request(template.with_body(&content_type, &body), owner, now);
        }
    }

    /// The dialog that takes INFOs: the confirmed one, or the first one with early media, which is what the person hears.
    pub(super) fn info_leg(&self) -> Option<usize> {
        match self.phase {
            CallPhase::Established => self.confirmed_leg,
            CallPhase::Calling { .. } => self.legs.iter().position(|leg| leg.early_sdp.is_some()),
            _ => None,
        }
    }

    fn report_info_answered(&mut self, context: &mut UaContext, status: u16) {
        if !self.end_reported {
            context.emit(Event::InfoAnswered { call: self.id.clone(), status });
        }
    }

    pub(super) fn on_info_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        // That of an early dialog which is gone was reported as failed.
        let leg = self.info_leg().and_then(|index| self.legs.get(index));
        let is_present = leg.is_some_and(|leg| leg.dialog.remote_tag == header_values::tag(&client.template.to));
        if response.is_provisional() || !is_present || self.retry(context, client, response, now) {
            return;
        }
        self.finish_info(context, response.status());
        if response.status() == 481 && self.phase == CallPhase::Established && !self.detached {
            self.on_dialog_lost(context, 481, now);
        } else {
            self.send_info(context, now);
        }
    }

    pub(super) fn on_info_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.finish_info(context, 408);
        self.send_info(context, now);
    }

    fn finish_info(&mut self, context: &mut UaContext, status: u16) {
        if self.info_queue.pop_front().is_some() {
            self.report_info_answered(context, status);
        }
    }

    /// The connection or the early dialog is gone: fails all queued INFOs, because late digits would be wrong ones.
    pub(super) fn fail_infos(&mut self, context: &mut UaContext) {
        while self.info_queue.pop_front().is_some() {
            self.report_info_answered(context, 408);
        }
    }

    pub(in super::super) fn on_info(&mut self, context: &mut UaContext, request: &Request) {
        if !self.end_reported {
            context.emit(Event::Info {
                call: self.id.clone(),
                content_type: request.content_type().unwrap_or_default().into(),
                body: request.body().to_vec(),
            });
        }
    }
}
