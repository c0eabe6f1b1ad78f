//! Redirection of an outgoing call (RFC 3261 §8.1.3.4): one is followed, where the policy allows its target.

use super::super::commands::target_uri;
use super::super::context::UaContext;
use super::super::interface::RedirectPolicy;
use super::Call;
use super::identity::telephone_number;
use crate::header_values::request_uri;
use crate::message::{Header, NameAddr, Response};
use crate::request_template::RequestTemplate;
use crate::uri::{Scheme, Uri};

impl Call {
    /// Sets the Request-URI to the best Contact that may be called. Whether there is one.
    pub(super) fn follow_redirection(
        &mut self,
        context: &mut UaContext,
        response: &Response,
        template: &mut RequestTemplate,
    ) -> bool {
        if self.was_redirected || context.config.redirects == RedirectPolicy::Never {
            return false;
        }
        // By insertion: there are few, and the standard library's sort is 5 KB of the phone.
        let mut contacts: Vec<NameAddr<'_>> = Vec::new();
        for contact in response.addresses(Header::Contact).flatten() {
            // Of equal preference the first one counts.
            let place = contacts.partition_point(|better| better.q() >= contact.q());
            contacts.insert(place, contact);
        }
        let target = contacts.iter().find_map(|contact| redirection_target(context, &template.uri, contact.uri_text));
        let Some(target) = target else {
            context.emit_dropped("redirection to a target that is not allowed");
            return false;
        };
        self.was_redirected = true;
        template.uri = target;
        true
    }
}

/// The Request-URI for a Contact. None: not allowed, not to be called, or what was called already.
fn redirection_target(context: &UaContext, called: &str, contact: &str) -> Option<String> {
    let called = Uri::parse(called).ok()?;
    if let Some(number) = bare_number(contact) {
        let target = in_own_domain(context, number)?;
        return (!Uri::parse(&target).ok()?.is_equivalent(&called)).then_some(target);
    }
    let uri = Uri::parse(contact).ok()?;
    let domain = &context.config.domain;
    let is_ours = uri.host.eq_ignore_ascii_case(domain) || uri.host.eq_ignore_ascii_case(called.host);
    let target = match uri.scheme {
        Scheme::Sip | Scheme::Sips if is_ours || context.config.redirects == RedirectPolicy::AnyDomain => {
            request_uri(contact)?
        }
        // A number is called where the user's own numbers are: the host is often only a gateway's address.
        _ => in_own_domain(context, &telephone_number(&uri)?)?,
    };
    (!Uri::parse(&target).ok()?.is_equivalent(&called)).then_some(target)
}

/// A number where a URI belongs: Asterisk's `Transfer(PJSIP/600)` sends `Refer-To: 600`.
pub(super) fn bare_number(text: &str) -> Option<&str> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || "+*#-.()".contains(c));
    (is_number && text.contains(|c: char| c.is_ascii_digit())).then_some(text)
}

/// The URI of a telephone number in our domain.
pub(super) fn in_own_domain(context: &UaContext, number: &str) -> Option<String> {
    target_uri(number, &context.config.domain)
}
