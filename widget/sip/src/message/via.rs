//! The Via header field (RFC 3261 §20.42).

use super::{Params, grammar};
use grammar::{HOST, find, find_outside, find_space, split_off, trim};

/// One Via: a hop on the request's path, to which its responses return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as written: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub transport: &'a str,
    /// The sent-by host; an IPv6 address with its brackets.
    pub host: &'a str,
    /// The sent-by port, if present.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one Via, not a list; `None` if it is malformed.
    #[inline]
    pub fn parse(text: &'a str) -> Option<Via<'a>> {
        let rest = match text.strip_prefix("SIP/2.0/") {
            Some(rest) => rest,
            None => after_protocol(text)?,
        };
        let (transport, rest) = split_off(rest, find_space(rest));
        if !grammar::all_token(transport) {
            return None;
        }
        let (sent_by, params) = split_off(rest, find(rest, b';'));
        let (host, port) = host_and_port(trim(sent_by))?;
        Some(Via { transport, host, port, params: Params::new(params) })
    }

    /// The first Via of a list.
    pub(super) fn first(text: &'a str) -> Option<Via<'a>> {
        Via::parse(split_off(text, find_outside(text, b',')).0)
    }

    /// The transaction's branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch")
    }

    /// The source address of the request, if a server added it (RFC 3261 §18.2.1).
    pub fn received(&self) -> Option<&'a str> {
        self.params.get("received")
    }

    /// RFC 3581: `Some(None)` requests the source port, `Some(Some(port))` is the source port.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|port| port.parse().ok())
    }

    /// The `maddr` parameter: the address for responses instead of sent-by (RFC 3261 §18.2.2).
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }
}

/// The text after `SIP / 2.0 /` with optional white space and any case.
fn after_protocol(text: &str) -> Option<&str> {
    let (protocol, rest) = text.split_once('/')?;
    let (version, rest) = rest.split_once('/')?;
    (trim(protocol).eq_ignore_ascii_case("SIP") && trim(version) == "2.0").then_some(trim(rest))
}

/// Parses `host[:port]`; white space is allowed around the colon.
#[inline]
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_end = if text.as_bytes().first() == Some(&b'[') { text.find(']')? + 1 } else { find(text, b':') };
    let host = trim(text.get(..host_end)?);
    let rest = trim(text.get(host_end..)?);
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(u16::try_from(grammar::number(trim(port))?).ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    is_host(host).then_some((host, port))
}

/// Whether the text is a host name, an IPv4 address or a bracketed IPv6 address. Underscores are accepted, because they are in use.
pub(crate) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok());
    }
    !host.is_empty() && HOST.has_all(host)
}
