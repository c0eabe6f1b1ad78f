//! Header values of messages that were read leniently, or are our own.

use std::borrow::Cow;

use crate::message::{Header, Headers, NameAddr, Params};
use crate::multipart;
use crate::uri::{Scheme, Uri};

/// The tag of a From or To value; empty if there is none.
pub(crate) fn tag(value: &str) -> &str {
    NameAddr::parse(value).and_then(|address| address.tag()).unwrap_or_default()
}

/// The URI of a name-addr or addr-spec, as text.
pub(crate) fn uri(value: &str) -> &str {
    NameAddr::parse(value).map_or(value, |address| address.uri_text)
}

/// Whether a route's URI has the `lr` parameter (RFC 3261 §19.1.1). A route is sent back as it came, so it
/// need not be well-formed.
pub(crate) fn is_loose(route: &str) -> bool {
    let uri = uri(route);
    match Uri::parse(uri) {
        Ok(uri) => uri.is_loose_router(),
        Err(_) => uri.trim_end_matches('>').split_once(';').is_some_and(|(_, params)| Params::new(params).has("lr")),
    }
}

/// The URI of the first usable Contact, without header fields, which are not allowed in a
/// Request-URI (RFC 3261 §19.1.1).
pub(crate) fn contact(message: &Headers) -> Option<String> {
    message.addresses(Header::Contact).flatten().find_map(|address| request_uri(address.uri_text))
}

/// A SIP URI as Request-URI.
pub(crate) fn request_uri(text: &str) -> Option<String> {
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

/// Sent-by and branch of the topmost Via, which name the transaction (RFC 3261 §17.1.3, §17.2.3); of one that
/// is not well-formed, its last word before the parameters.
pub(crate) fn top_via(message: &Headers) -> Option<(&str, &str)> {
    let via = message.items(Header::Via).next()?;
    let (sent_by, params) = via.split_once(';').unwrap_or((via, ""));
    let sent_by = sent_by.trim_end();
    let host = sent_by.rsplit([' ', '\t']).next().unwrap_or(sent_by);
    Some((host, Params::new(params).get("branch").unwrap_or_default()))
}

/// The session description in the body, also as a part of a multipart body (RFC 5621). It ends with a
/// line break, which the last line of a part may lack.
pub(crate) fn sdp(message: &Headers) -> Option<String> {
    let body = message.body();
    let found = match message.value(Header::ContentType) {
        Some(content_type) => multipart::session_description(content_type, body)?,
        None if body.starts_with(b"v=0") => Cow::Borrowed(body),
        None => return None,
    };
    if found.trim_ascii().is_empty() {
        return None;
    }
    let mut sdp = String::from_utf8_lossy(&found).into_owned();
    if !sdp.ends_with('\n') {
        sdp.push_str("\r\n");
    }
    Some(sdp)
}
