//! INFO (RFC 6086), one request at a time, so that digits stay in order.

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{Event, Millis};
use super::{Call, CallPhase};
use crate::message::{Request, Response};

/// Limit of queued INFOs, including the one that waits for its response.
const MAX_QUEUED_INFOS: usize = 64;

impl Call {
    pub(in super::super) fn info(&mut self, context: &mut UaContext, content_type: String, body: String, now: Millis) {
        if self.phase != CallPhase::Established
            || self.info_queue.len() >= MAX_QUEUED_INFOS
            || context.transport.is_none()
        {
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
        if let Some(template) = self.template(context, "INFO").filter(|_| self.phase == CallPhase::Established) {
            context.request(template.with_body(&content_type, &body), owner, now);
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
        if response.is_provisional() || self.retry(context, client, response, now) {
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

    /// The connection is lost: fails all queued INFOs, because late digits would be wrong ones.
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
