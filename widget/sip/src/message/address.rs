//! Addresses: `"Display name" <uri>;params` or `uri;params` (RFC 3261 §20.10).

use super::{Params, grammar};
use crate::uri::{Uri, UriError};
use grammar::{TOKEN, find, find_outside, split_off, trim};
use std::borrow::Cow;

/// The value of From, To, Contact, Route and similar header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, with quotes; empty if there is none.
    pub display: &'a str,
    /// The URI as written, without angle brackets.
    pub uri_text: &'a str,
    /// The header field's parameters (not the URI's).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one address, not a list; `None` if it is malformed.
    #[inline]
    pub fn parse(text: &'a str) -> Option<NameAddr<'a>> {
        let angle = find_angle(text);
        let (display, uri_text, rest) = if let Some(angle) = angle {
            let display = trim(text.get(..angle)?);
            let (uri, rest) = split_at_close(text.get(angle + 1..)?)?;
            let rest = trim(rest);
            (display, uri, rest)
        } else {
            // Without angle brackets, parameters after a semicolon belong to the header field, and
            // the URI may not have a comma or question mark (§20.10).
            let end = find(text, b';');
            let uri = trim(text.get(..end)?);
            if uri.contains([',', '?']) {
                return None;
            }
            ("", uri, text.get(end..)?)
        };
        let params = match rest.strip_prefix(';') {
            Some(params) => params,
            None if rest.is_empty() => "",
            None => return None,
        };
        if uri_text.is_empty() || !uri_text.bytes().all(|byte| byte > b' ' && byte != b'"') {
            return None;
        }
        Some(NameAddr { display, uri_text, params: Params::new(params) })
    }

    /// The first address of a list.
    #[inline]
    pub(super) fn first(text: &'a str) -> Option<NameAddr<'a>> {
        NameAddr::parse(split_off(text, find_outside(text, b',')).0)
    }

    /// The URI.
    pub fn uri(&self) -> Result<Uri<'a>, UriError> {
        Uri::parse(self.uri_text)
    }

    /// The display name without quotes and escapes; empty if there is none.
    pub fn display_name(&self) -> Cow<'a, str> {
        grammar::unquote(self.display)
    }

    /// The tag of From and To. An empty tag counts as absent, because the grammar does not allow it (RFC 3261 §25.1).
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// A Contact's `expires` in seconds; a malformed value counts as 3600 (RFC 3261 §10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").map(|text| grammar::delta_seconds(text).unwrap_or(3600))
    }

    /// A Contact's `q` value in thousandths; 1000 if it is absent or malformed.
    pub fn q(&self) -> u16 {
        self.params.get("q").and_then(thousandths).unwrap_or(1000)
    }

    /// Whether display name, URI and parameters are all well-formed.
    pub(super) fn well_formed(&self) -> bool {
        let display = self.display;
        let display_well_formed = if display.starts_with('"') {
            grammar::is_quoted(display)
        } else {
            // The grammar allows tokens and white space; non-ASCII characters are accepted because many phones send them.
            display.bytes().all(|byte| TOKEN.has(byte) || byte >= 0x80 || matches!(byte, b' ' | b'\t'))
        };
        display_well_formed && self.uri().is_ok() && self.params.well_formed()
    }
}

/// The text before `>` and after it.
#[inline]
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let close = text.bytes().position(|byte| byte == b'>')?;
    Some(split_off(text, close))
}

/// Position of the first `<` outside a quoted string.
#[inline]
fn find_angle(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        let at = text.bytes().position(|byte| matches!(byte, b'<' | b'"'))?;
        return (text.as_bytes().get(at) == Some(&b'<')).then_some(at);
    }
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let rest = text.get(index + 1..)?;
                let at = rest.find('<')?;
                return trim(rest.get(..at)?).is_empty().then_some(index + 1 + at);
            }
            _ => {}
        }
    }
    None
}

/// A qvalue (`0`, `0.5`, `1.000`) in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value: u16 = match whole {
        "0" | "" => 0,
        "1" => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for byte in fraction.bytes() {
        value += unit * u16::from(byte - b'0');
        unit /= 10;
    }
    (value <= 1000).then_some(value)
}

/// One element of a Contact header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings, in a REGISTER that removes them.
    Star,
    /// An address.
    Address(NameAddr<'a>),
}
