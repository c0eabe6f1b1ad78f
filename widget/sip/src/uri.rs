//! URIs (RFC 3261 §19.1): reading, comparing, escaping.

use crate::message::Params;
use crate::message::grammar::{CharClass, TARGET, URI_PARAM, USER, find, split_off};
use core::fmt;
use std::borrow::Cow;

/// A URI's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// Any other (`tel`, `http`, …), as it is written. Of such a URI only [`Uri::rest`] is filled.
    Other(&'a str),
}

impl<'a> Scheme<'a> {
    /// The scheme as it goes onto the wire.
    pub fn as_str(self) -> &'a str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Other(name) => name,
        }
    }
}

/// A URI, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// The user part as it is written, escapes included; see [`unescape`].
    pub user: Option<&'a str>,
    /// The password as it is written, where there is one.
    pub password: Option<&'a str>,
    /// The host; an IPv6 address with its brackets.
    pub host: &'a str,
    /// The port, where there is one.
    pub port: Option<u16>,
    /// The URI's parameters (`transport`, `lr`, …).
    pub params: Params<'a>,
    /// The header fields behind `?`, as they are written.
    pub headers: &'a str,
    /// Of a URI that is neither `sip` nor `sips`: what follows the colon.
    pub rest: &'a str,
}

/// The text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No scheme, or one with characters it may not have.
    Scheme,
    /// The user part or password is empty or has characters it may not have.
    User,
    /// The host or port is not one.
    Host,
    /// The parameters or header fields are malformed.
    Params,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "the URI has no scheme like sip: or tel:",
            UriError::User => "the URI's user part is malformed",
            UriError::Host => "the URI's host or port is malformed",
            UriError::Params => "the URI's parameters are malformed",
        })
    }
}

impl core::error::Error for UriError {}

impl<'a> Uri<'a> {
    /// Parses a URI.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, UriError> {
        let colon = find(text, b':');
        if colon == text.len() {
            return Err(UriError::Scheme);
        }
        let (scheme, rest) = split_off(text, colon);
        let scheme = match scheme {
            "sip" => Scheme::Sip,
            "sips" => Scheme::Sips,
            _ if scheme.eq_ignore_ascii_case("sip") => Scheme::Sip,
            _ if scheme.eq_ignore_ascii_case("sips") => Scheme::Sips,
            _ => {
                let letters =
                    scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
                let graphic = rest.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80);
                if !letters || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || rest.is_empty() || !graphic {
                    return Err(UriError::Scheme);
                }
                return Ok(Uri {
                    scheme: Scheme::Other(scheme),
                    user: None,
                    password: None,
                    host: "",
                    port: None,
                    params: Params::default(),
                    headers: "",
                    rest,
                });
            }
        };
        // An @ can stand nowhere but behind the user part; in it, ; and ? are ordinary characters.
        let (userinfo, rest) = cut(rest, b'@');
        let (userinfo, rest) = if let Some(rest) = rest { (Some(userinfo), rest) } else { (None, userinfo) };
        let (user, password) = match userinfo.map(|userinfo| cut(userinfo, b':')) {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        if user.is_some_and(|user| user.is_empty() || !all_escaped(user, USER))
            || password.is_some_and(|password| !all_escaped(password, USER))
        {
            return Err(UriError::User);
        }
        let (rest, headers) = split_off(rest, find(rest, b'?'));
        let (host, params) = split_off(rest, find(rest, b';'));
        if host.contains([' ', '\t']) {
            return Err(UriError::Host);
        }
        let (host, port) = crate::message::via::host_and_port(host).ok_or(UriError::Host)?;
        if !all_escaped(params, URI_PARAM) || !all_escaped(headers, URI_PARAM) {
            return Err(UriError::Params);
        }
        let params = Params::new(params);
        Ok(Uri { scheme, user, password, host, port, params, headers, rest: "" })
    }

    /// The user part with its escapes undone; empty where there is none.
    pub fn user_name(&self) -> Cow<'a, str> {
        unescape(self.user.unwrap_or_default())
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&'a str> {
        self.params.get("transport")
    }

    /// Whether the URI has `lr` (RFC 3261 §19.1.1: a loose router).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// Whether two URIs name the same resource (RFC 3261 §19.1.4).
    ///
    /// `transport` in only one of them makes a difference, as in that section's examples.
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        match (self.scheme, other.scheme) {
            (Scheme::Other(mine), Scheme::Other(theirs)) => {
                return mine.eq_ignore_ascii_case(theirs) && self.rest == other.rest;
            }
            (mine, theirs) if mine != theirs => return false,
            _ => {}
        }
        let same_text = |mine: Option<&str>, theirs: Option<&str>| match (mine, theirs) {
            (Some(mine), Some(theirs)) => unescape(mine) == unescape(theirs),
            (None, None) => true,
            _ => false,
        };
        same_text(self.user, other.user)
            && same_text(self.password, other.password)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && params_agree(self.params, other.params)
            && params_agree(other.params, self.params)
            && headers_agree(self.headers, other.headers)
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.as_str())?;
        f.write_str(":")?;
        if let Scheme::Other(_) = self.scheme {
            return f.write_str(self.rest);
        }
        if let Some(user) = self.user {
            f.write_str(user)?;
            if let Some(password) = self.password {
                f.write_str(":")?;
                f.write_str(password)?;
            }
            f.write_str("@")?;
        }
        f.write_str(self.host)?;
        if let Some(port) = self.port {
            f.write_str(":")?;
            fmt::Display::fmt(&port, f)?;
        }
        for (mark, text) in [(";", self.params.as_str()), ("?", self.headers)] {
            if !text.is_empty() {
                f.write_str(mark)?;
                f.write_str(text)?;
            }
        }
        Ok(())
    }
}

/// Every parameter of `mine` that `theirs` has too must be the same; some must be in both or neither.
fn params_agree(mine: Params<'_>, theirs: Params<'_>) -> bool {
    const COMPARED_IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    mine.iter().all(|(name, _)| match theirs.get(name) {
        // Of a repeated parameter the first one counts, on both sides.
        Some(other) => unescape(mine.get(name).unwrap_or_default()).eq_ignore_ascii_case(&unescape(other)),
        None => !COMPARED_IN_BOTH.iter().any(|must| must.eq_ignore_ascii_case(name)),
    })
}

/// The same header fields in any order.
fn headers_agree(mine: &str, theirs: &str) -> bool {
    let agree = |one: &str, two: &str| {
        one.split('&').filter(|field| !field.is_empty()).all(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            two.split('&').any(|other| {
                let (other_name, other_value) = other.split_once('=').unwrap_or((other, ""));
                unescape(name).eq_ignore_ascii_case(&unescape(other_name)) && unescape(value) == unescape(other_value)
            })
        })
    };
    agree(mine, theirs) && agree(theirs, mine)
}

/// Undoes `%xx` escapes. What is not an escape, or would not be UTF-8, stays as it is.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high * 16 + low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Escapes text for the user part of a URI: `*43` stays, `a b@c` becomes `a%20b%40c`.
pub fn escape_user(text: &str) -> Cow<'_, str> {
    escape(text, USER)
}

/// White space and control characters escaped, all else as it is.
pub(crate) fn without_white_space(text: &str) -> Cow<'_, str> {
    escape(text, TARGET)
}

fn escape(text: &str, keep: CharClass) -> Cow<'_, str> {
    if keep.has_all(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if keep.has(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(nibble.into(), 16).unwrap_or('0');
                escaped.push(digit.to_ascii_uppercase());
            }
        }
    }
    Cow::Owned(escaped)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Only bytes of the class and whole escapes. Characters beyond ASCII are let through.
#[inline]
fn all_escaped(text: &str, allowed: CharClass) -> bool {
    allowed.has_all(text) || all_escaped_slowly(text, allowed)
}

fn all_escaped_slowly(text: &str, allowed: CharClass) -> bool {
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => after,
            (b'%', _) => return false,
            (byte, _) if allowed.has(*byte) || *byte >= 0x80 => tail,
            _ => return false,
        };
    }
    true
}

/// What is before `mark`, and what is behind it where it occurs.
#[inline]
fn cut(text: &str, mark: u8) -> (&str, Option<&str>) {
    let at = find(text, mark);
    let (head, tail) = split_off(text, at);
    (head, (at < text.len()).then_some(tail))
}
