//! The caller ID of an outgoing call: in the header field that the server takes, or withheld.
//!
//! Servers differ in which header field they take a caller ID from. One that refuses the call for it gets the
//! next one, each once; the one that it took is used first from then on.
//!
//! 433 (RFC 5079), and a Warning with 403 or 488, say that it is for the caller ID. A bare 403 is what many servers answer to
//! everything that they do not allow: it is tried as such only where nothing rang, within [`MAX_BARE_403_MS`] of the call,
//! and once for a server: one that has taken a caller ID, or has refused it in every form, means something else.

use serde::{Deserialize, Serialize};

use super::super::context::UaContext;
use super::super::interface::{CallerIdHeader, Millis};
use super::Call;
use crate::header_values;
use crate::message::{Header, Response};
use crate::request_template::RequestTemplate;
use crate::uri::escape_user;

/// A person who waits for the first ring does not notice further tries within this time.
const MAX_BARE_403_MS: u64 = 2_000;

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
    placed_at: Millis,
}

impl Call {
    /// Sends the caller ID in the header field that comes first.
    pub(super) fn add_caller_id(
        &mut self,
        context: &UaContext,
        caller_id: &str,
        template: &mut RequestTemplate,
        now: Millis,
    ) {
        let identity = identity_of(context, caller_id);
        self.caller_id = Some(CallerId { identity, tried: Vec::new(), placed_at: now });
        self.try_next_caller_id_header(context, template);
    }

    /// The INVITE was refused: whether it is for the caller ID, and is to be sent again with the next header field.
    pub(super) fn retry_with_caller_id(
        &mut self,
        context: &mut UaContext,
        response: &Response,
        template: &mut RequestTemplate,
        now: Millis,
    ) -> bool {
        let Some(placed_at) = self.caller_id.as_ref().map(|caller_id| caller_id.placed_at) else {
            return false;
        };
        match response.status() {
            433 => {}
            403 | 488 if response.has(Header::Warning) => {}
            // Asterisk says by a 403 with a Reason that the called person has declined.
            403 if response.reasons().next().is_none() && self.invite_status == 100 => {
                if context.knows_caller_id_header() || now.since(placed_at) > MAX_BARE_403_MS {
                    return false;
                }
            }
            _ => return false,
        }
        let is_sent = self.try_next_caller_id_header(context, template);
        if !is_sent {
            context.note_caller_id_header(context.config.caller_id_header);
        }
        is_sent
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
