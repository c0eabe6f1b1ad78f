//! The caller ID of an outgoing call: in the header field that the server takes, or withheld.
//!
//! Servers differ in which header field they take a caller ID from. One that refuses the call for it gets the
//! next one, each once; the one that it took is used first from then on.

use serde::{Deserialize, Serialize};

use super::super::context::UaContext;
use super::super::interface::CallerIdHeader;
use super::Call;
use crate::header_values;
use crate::message::{Header, Response};
use crate::request_template::RequestTemplate;
use crate::uri::escape_user;

const ALL: [CallerIdHeader; 4] = [
    CallerIdHeader::PAssertedIdentity,
    CallerIdHeader::PPreferredIdentity,
    CallerIdHeader::RemotePartyId,
    CallerIdHeader::From,
];

/// The caller ID of a call, and the header fields in which it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CallerId {
    /// As name-addr.
    identity: String,
    tried: Vec<CallerIdHeader>,
}

impl Call {
    /// Sends the caller ID in the header field that comes first.
    pub(super) fn add_caller_id(&mut self, context: &UaContext, caller_id: &str, template: &mut RequestTemplate) {
        self.caller_id = Some(CallerId { identity: identity_of(context, caller_id), tried: Vec::new() });
        self.try_next_caller_id_header(context, template);
    }

    /// The INVITE was refused: whether it is for the caller ID, and is to be sent again with the next header field.
    pub(super) fn retry_with_caller_id(
        &mut self,
        context: &UaContext,
        response: &Response,
        template: &mut RequestTemplate,
    ) -> bool {
        // Asterisk says by a 403 with a Reason that the called person has declined.
        let is_meant = match response.status() {
            403 => response.reasons().next().is_none(),
            433 => true,
            488 => response.has(Header::Warning),
            _ => false,
        };
        is_meant && self.try_next_caller_id_header(context, template)
    }

    fn try_next_caller_id_header(&mut self, context: &UaContext, template: &mut RequestTemplate) -> bool {
        let Some(caller_id) = &mut self.caller_id else {
            return false;
        };
        let first = context.caller_id_header();
        let next = core::iter::once(first).chain(ALL).find(|header| !caller_id.tried.contains(header));
        let Some(next) = next else {
            return false;
        };
        caller_id.tried.push(next);
        template.extra.retain(|(name, _)| ALL.iter().all(|header| header.name() != name));
        let mut from = if next == CallerIdHeader::From { caller_id.identity.clone() } else { context.own_address() };
        from.push_str(";tag=");
        from.push_str(header_values::tag(&template.from));
        template.from = from;
        let mut value = caller_id.identity.clone();
        match next {
            CallerIdHeader::From => return true,
            CallerIdHeader::RemotePartyId => value.push_str(";party=calling;privacy=off;screen=no"),
            CallerIdHeader::PAssertedIdentity | CallerIdHeader::PPreferredIdentity => {}
        }
        template.extra.push((next.name().into(), value));
        true
    }

    /// The server lets the call through: it takes the caller ID from this header field.
    pub(super) fn note_caller_id_taken(&self, context: &mut UaContext) {
        if let Some(header) = self.caller_id.as_ref().and_then(|caller_id| caller_id.tried.last()) {
            context.remember_caller_id_header(*header);
        }
    }
}

impl CallerIdHeader {
    fn name(self) -> &'static str {
        match self {
            Self::PAssertedIdentity => "P-Asserted-Identity",
            Self::PPreferredIdentity => "P-Preferred-Identity",
            Self::RemotePartyId => "Remote-Party-ID",
            Self::From => "From",
        }
    }
}

/// The caller ID as name-addr: `<sip:caller@domain>`, or `<…>` around a URI.
fn identity_of(context: &UaContext, caller_id: &str) -> String {
    let mut value = String::from("<");
    if caller_id.contains(':') {
        value.push_str(caller_id);
    } else {
        value.push_str("sip:");
        value.push_str(&escape_user(caller_id));
        value.push('@');
        value.push_str(&context.config.domain);
    }
    value.push('>');
    value
}
