//! URIs (RFC 3261 §19.1): parsing, comparison, escaping.

use crate::message::Params;
use crate::message::grammar::{CharClass, TARGET, URI_PARAM, USER, find, split_off};
use core::fmt;
use std::borrow::Cow;

/// URI parameters that must be in both URIs or in neither (RFC 3261 §19.1.4).
const COMPARED_IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// A URI's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// Any other (`tel`, `http`, …), as written. Of such a URI only [`Uri::rest`] is set.
    Other(&'a str),
}

impl<'a> Scheme<'a> {
    /// The scheme as it is sent.
    pub fn as_str(self) -> &'a str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Other(name) => name,
        }
    }
}

/// A parsed URI that borrows from its text.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// The user part as written, with escapes; see [`unescape`].
    pub user: Option<&'a str>,
    /// The password as written, if present.
    pub password: Option<&'a str>,
    /// The host; an IPv6 address with its brackets.
    pub host: &'a str,
    /// The port, if present.
    pub port: Option<u16>,
    /// The URI's parameters (`transport`, `lr`, …).
    pub params: Params<'a>,
    /// The header fields after `?`, as written.
    pub headers: &'a str,
    /// If the scheme is neither `sip` nor `sips`: the text after the colon.
    pub rest: &'a str,
}

/// Why a text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// The scheme is missing or has invalid characters.
    Scheme,
    /// The user part is empty, or the user part or password has invalid characters.
    User,
    /// The host or port is malformed.
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
        // `@` is only allowed after the userinfo; in the userinfo `;` and `?` are ordinary characters (§25.1).
        let (userinfo, rest) = split_at_delimiter(rest, b'@');
        let (userinfo, rest) = if let Some(rest) = rest { (Some(userinfo), rest) } else { (None, userinfo) };
        let (user, password) = match userinfo.map(|userinfo| split_at_delimiter(userinfo, b':')) {
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

    /// The user part, unescaped; empty if there is none.
    pub fn user_name(&self) -> Cow<'a, str> {
        unescape(self.user.unwrap_or_default())
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&'a str> {
        self.params.get("transport")
    }

    /// Whether the URI has the `lr` parameter, i.e. names a loose router (RFC 3261 §19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// Whether two URIs are equivalent (RFC 3261 §19.1.4).
    ///
    /// A `transport` parameter in only one of them makes them different, as in the examples there.
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

/// Compares URI parameters (§19.1.4): those in both must be equal; those in [`COMPARED_IN_BOTH`] must be in both or neither.
fn params_agree(mine: Params<'_>, theirs: Params<'_>) -> bool {
    mine.iter().all(|(name, _)| match theirs.get(name) {
        // Of a repeated parameter the first one is used, on both sides.
        Some(other) => unescape(mine.get(name).unwrap_or_default()).eq_ignore_ascii_case(&unescape(other)),
        None => !COMPARED_IN_BOTH.iter().any(|must| must.eq_ignore_ascii_case(name)),
    })
}

/// Whether both have the same header fields, in any order.
fn headers_agree(mine: &str, theirs: &str) -> bool {
    let contains_all = |one: &str, two: &str| {
        one.split('&').filter(|field| !field.is_empty()).all(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            two.split('&').any(|other| {
                let (other_name, other_value) = other.split_once('=').unwrap_or((other, ""));
                unescape(name).eq_ignore_ascii_case(&unescape(other_name)) && unescape(value) == unescape(other_value)
            })
        })
    };
    contains_all(mine, theirs) && contains_all(theirs, mine)
}

/// Decodes `%xx` escapes. A malformed escape is left as is; so is the whole text if the result is not UTF-8.
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

/// Escapes text for the user part of a URI: `*43` stays, `a b@c` becomes `a%20b%40c`, and `123#` becomes
/// `123%23`, because `#` is not in the grammar (RFC 3261 §25.1), though it is accepted when it is received.
pub fn escape_user(text: &str) -> Cow<'_, str> {
    escape(text, |byte, _| USER.has(byte) && byte != b'#')
}

/// Escapes the value of a header field that is part of a URI (RFC 3261 §25.1, `hvalue`).
pub(crate) fn escape_header_value(text: &str) -> Cow<'_, str> {
    escape(text, |byte, _| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*'))
}

/// Escapes what is not of the class; escapes in the text stay.
pub(crate) fn escape_invalid(text: &str, keep: CharClass) -> Cow<'_, str> {
    escape(text, |byte, after| {
        let is_escape =
            || byte == b'%' && after.first_chunk::<2>().is_some_and(|[a, b]| hex(*a).is_some() && hex(*b).is_some());
        keep.has(byte) || is_escape()
    })
}

/// Escapes characters that may not occur in a Request-URI, e.g. white space and control characters.
pub(crate) fn escape_request_uri(text: &str) -> Cow<'_, str> {
    escape(text, |byte, _| TARGET.has(byte))
}

/// Escapes every byte that is not to be kept; `keep` also gets the bytes after it.
fn escape(text: &str, keep: impl Fn(u8, &[u8]) -> bool) -> Cow<'_, str> {
    let after = |index: usize| text.as_bytes().get(index + 1..).unwrap_or_default();
    if text.bytes().enumerate().all(|(index, byte)| keep(byte, after(index))) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for (index, byte) in text.bytes().enumerate() {
        if keep(byte, after(index)) {
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

/// Whether the text has only bytes of the class and complete escapes. Non-ASCII characters are accepted.
#[inline]
fn all_escaped(text: &str, allowed: CharClass) -> bool {
    allowed.has_all(text) || all_escaped_slow_path(text, allowed)
}

fn all_escaped_slow_path(text: &str, allowed: CharClass) -> bool {
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

/// The text before the first `delimiter`, and the text after it if it occurs.
#[inline]
fn split_at_delimiter(text: &str, delimiter: u8) -> (&str, Option<&str>) {
    let at = find(text, delimiter);
    let (head, tail) = split_off(text, at);
    (head, (at < text.len()).then_some(tail))
}
