//! Shorthands for reading checked messages.

use crate::message::{Header, Headers, NameAddr};
use crate::uri::Uri;

/// The tag of a From or To value; empty where there is none.
pub(crate) fn tag(value: &str) -> &str {
    NameAddr::parse(value).and_then(|address| address.tag()).unwrap_or_default()
}

/// The URI of an address.
pub(crate) fn uri(value: &str) -> &str {
    NameAddr::parse(value).map_or(value, |address| address.uri_text)
}

/// Whether a route's URI has `lr`.
pub(crate) fn is_loose(route: &str) -> bool {
    Uri::parse(uri(route)).is_ok_and(|uri| uri.is_loose_router())
}

/// The URI of the first Contact.
pub(crate) fn contact(message: &Headers) -> Option<String> {
    let contact = message.contact().ok()??;
    Some(contact.uri_text.into())
}

/// Number and method of `CSeq`.
pub(crate) fn cseq(message: &Headers) -> Option<(u32, &str)> {
    let cseq = message.cseq().ok()?;
    Some((cseq.number, cseq.method.as_str()))
}

/// The tag of To; empty where there is none.
pub(crate) fn to_tag(message: &Headers) -> &str {
    message.value(Header::To).map(tag).unwrap_or_default()
}

/// The tag of From; empty where there is none.
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
