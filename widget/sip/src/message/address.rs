//! Addresses: `"Display name" <uri>;params` or `uri;params` (RFC 3261 §20.10).

use super::{Params, grammar};
use crate::uri::{Uri, UriError};
use grammar::{TOKEN, find, find_outside, split_off, trim};
use std::borrow::Cow;

/// The value of From, To, Contact, Route and their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as it is written, quotes included; empty where there is none.
    pub display: &'a str,
    /// The URI as it is written, without angle brackets.
    pub uri_text: &'a str,
    /// The header field's parameters (not the URI's).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one address (not a list of them); `None` where the grammar is broken.
    #[inline]
    pub fn parse(text: &'a str) -> Option<NameAddr<'a>> {
        let angle = find_angle(text);
        let (display, uri_text, rest) = if let Some(angle) = angle {
            let display = trim(text.get(..angle)?);
            let (uri, rest) = split_at_close(text.get(angle + 1..)?)?;
            let rest = trim(rest);
            (display, uri, rest)
        } else {
            // Without brackets, what follows a semicolon belongs to the header field (§20.10), and
            // a comma or question mark may not occur.
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

    /// The display name as a person reads it: without quotes and escapes; empty where there is none.
    pub fn display_name(&self) -> Cow<'a, str> {
        grammar::unquote(self.display)
    }

    /// The dialog tag of From and To. An empty one is none: the grammar has no such tag (RFC 3261 §25.1).
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// A Contact's `expires` in seconds; nonsense counts as 3600 (RFC 3261 §10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").map(|text| grammar::delta_seconds(text).unwrap_or(3600))
    }

    /// A Contact's preference in thousandths, 1000 where it says nothing (or nonsense).
    pub fn q(&self) -> u16 {
        self.params.get("q").and_then(thousandths).unwrap_or(1000)
    }

    /// Whether display name, URI and parameters are all well-formed.
    pub(super) fn well_formed(&self) -> bool {
        let display = self.display;
        let display_fits = if display.starts_with('"') {
            grammar::is_quoted(display)
        } else {
            // Tokens and white space by the grammar; characters beyond ASCII are in wide use.
            display.bytes().all(|byte| TOKEN.has(byte) || byte >= 0x80 || matches!(byte, b' ' | b'\t'))
        };
        display_fits && self.uri().is_ok() && self.params.well_formed()
    }
}

/// The URI before `>` and what follows it.
#[inline]
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let close = text.bytes().position(|byte| byte == b'>')?;
    Some(split_off(text, close))
}

/// The first `<` outside a quoted string.
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
