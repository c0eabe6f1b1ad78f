//! Header values of validated messages.

use crate::message::{Header, Headers, NameAddr};
use crate::uri::{Scheme, Uri};

/// The tag of a From or To value; empty if there is none.
pub(crate) fn tag(value: &str) -> &str {
    NameAddr::parse(value).and_then(|address| address.tag()).unwrap_or_default()
}

/// The URI of a name-addr or addr-spec, as text.
pub(crate) fn uri(value: &str) -> &str {
    NameAddr::parse(value).map_or(value, |address| address.uri_text)
}

/// Whether a route's URI has the `lr` parameter (RFC 3261 §19.1.1).
pub(crate) fn is_loose(route: &str) -> bool {
    Uri::parse(uri(route)).is_ok_and(|uri| uri.is_loose_router())
}

/// The URI of the first Contact, without header fields, which are not allowed in a
/// Request-URI (RFC 3261 §19.1.1).
pub(crate) fn contact(message: &Headers) -> Option<String> {
    let text = message.contact().ok()??.uri_text;
    let uri = Uri::parse(text).ok()?;
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return None;
    }
    let end = match uri.headers.len() {
        0 if text.ends_with('?') => text.len() - 1,
        0 => text.len(),
        length => text.len() - length - 1,
    };
    text.get(..end).map(String::from)
}

/// Number and method of `CSeq`.
pub(crate) fn cseq(message: &Headers) -> Option<(u32, &str)> {
    let cseq = message.cseq().ok()?;
    Some((cseq.number, cseq.method.as_str()))
}

/// The tag of To; empty if there is none.
pub(crate) fn to_tag(message: &Headers) -> &str {
    message.value(Header::To).map(tag).unwrap_or_default()
}

/// The tag of From; empty if there is none.
pub(crate) fn from_tag(message: &Headers) -> &str {
    message.value(Header::From).map(tag).unwrap_or_default()
}

/// The session description in the body.
pub(crate) fn sdp(message: &Headers) -> Option<String> {
    if message.body().is_empty() || !message.content_type()?.eq_ignore_ascii_case("application/sdp") {
        return None;
    }
    Some(String::from_utf8_lossy(message.body()).into_owned())
}
