//! MESSAGE (RFC 3428): a text that we send, within a call or outside of one.

use super::UserAgent;
use super::commands::target_uri;
use super::context::{ClientRequest, TransactionUser, UaContext};
use super::credential_store::EarlierTries;
use super::interface::{Event, Millis, TextMessage};
use super::status_text::status_text;
use crate::header_values;
use crate::message::Response;

/// Why the text was not taken, to be shown after [`Event::MessageAnswered`]; None if it was taken.
pub fn message_failure_text(status: u16) -> Option<&'static str> {
    match status {
        200..=299 => None,
        405 | 415 | 488 | 501 | 606 => Some("The other side takes no messages"),
        _ => Some(status_text(status)),
    }
}

impl UserAgent {
    pub(super) fn send_message(&mut self, message: TextMessage, tries: EarlierTries, now: Millis) {
        let context = &mut self.context;
        let call = message.call.as_ref().and_then(|id| self.calls.iter_mut().find(|call| call.id == *id));
        let template = call.and_then(|call| call.message_template(context)).or_else(|| {
            let uri = target_uri(&message.target, &context.config.domain)?;
            let request_uri = header_values::request_uri(&uri)?;
            let mut to = String::from("<");
            to.push_str(&uri);
            to.push('>');
            Some(context.template("MESSAGE", &request_uri, &to))
        });
        let Some(template) = template else {
            return context.report_message(message.target, 404);
        };
        let template = template.with_body("text/plain", &message.text);
        context.request_again(template, TransactionUser::Message(message), tries, now);
    }

    pub(super) fn on_message_response(
        &mut self,
        message: &TextMessage,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if response.is_provisional() {
            return;
        }
        let status = response.status();
        if matches!(status, 401 | 407)
            && let Ok(tries) = self.context.credential_store.on_challenge(response, client)
        {
            return self.send_message(message.clone(), tries, now);
        }
        self.context.report_message(message.target.clone(), status);
    }
}

impl UaContext {
    pub(super) fn report_message(&mut self, target: String, status: u16) {
        self.emit(Event::MessageAnswered { target, status });
    }
}
