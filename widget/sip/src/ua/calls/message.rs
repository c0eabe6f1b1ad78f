//! MESSAGE (RFC 3428) that we receive: a text of the far end or of the server within a call, or of anybody outside of one, to be shown.

use super::super::context::UaContext;
use super::super::interface::{Event, Millis};
use super::identity::caller;
use super::{Call, CallPhase};
use crate::message::{Header, Request};
use crate::request_template::RequestTemplate;
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
        let text = answer(context, key, request, &self.local_tag, now);
        if let Some(text) = text.filter(|_| !self.end_reported) {
            context.emit(Event::Message { call: self.id.clone(), text });
        }
    }

    /// For a text to the far end. None unless the call is up.
    pub(in super::super) fn message_template(&mut self, context: &UaContext) -> Option<RequestTemplate> {
        self.template(context, "MESSAGE").filter(|_| self.phase == CallPhase::Established && !self.detached)
    }

    /// Outside of a call.
    pub(in super::super) fn on_new_message(context: &mut UaContext, key: &ServerKey, request: &Request, now: Millis) {
        let tag = context.random.tag();
        if let Some(text) = answer(context, key, request, &tag, now) {
            context.emit(Event::NewMessage { from: caller(request), text });
        }
    }
}

/// Answers the MESSAGE. Its text, unless it has another type or is empty.
fn answer(context: &mut UaContext, key: &ServerKey, request: &Request, tag: &str, now: Millis) -> Option<String> {
    let is_text = request.content_type().is_none_or(|media_type| media_type.eq_ignore_ascii_case("text/plain"));
    let mut response = context.response(request, if is_text { 200 } else { 415 }, tag);
    if !is_text {
        response.append(Header::Accept, "text/plain");
    }
    context.answer(key, &response, now);
    (is_text && !request.body().is_empty()).then(|| String::from_utf8_lossy(request.body()).into_owned())
}
