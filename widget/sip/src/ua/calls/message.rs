//! MESSAGE within a call (RFC 3428): a text of the far end or of the server, to be shown during the call.

use super::super::context::UaContext;
use super::super::interface::{Event, Millis};
use super::{Call, CallPhase};
use crate::message::{Header, Request};
use crate::transaction::ServerKey;

impl Call {
    pub(in super::super) fn on_message(
        &mut self,
        context: &mut UaContext,
        key: &ServerKey,
        request: &Request,
        now: Millis,
    ) {
        if matches!(self.phase, CallPhase::Ending { .. } | CallPhase::Terminated) {
            context.refuse(key, request, 481, now);
            return;
        }
        let is_text = request.content_type().is_none_or(|media_type| media_type.eq_ignore_ascii_case("text/plain"));
        let status = if is_text { 200 } else { 415 };
        let mut response = context.response(request, status, &self.local_tag);
        if !is_text {
            response.append(Header::Accept, "text/plain");
        }
        context.answer(key, &response, now);
        if is_text && !request.body().is_empty() && !self.end_reported {
            let text = String::from_utf8_lossy(request.body()).into_owned();
            context.emit(Event::Message { call: self.id.clone(), text });
        }
    }
}
