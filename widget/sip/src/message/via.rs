//! The Via header field (RFC 3261 §20.42).

use super::{Params, grammar};
use grammar::{HOST, find, find_outside, find_space, split_off, trim};

/// One Via: the hop a request came over, and the way its responses go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as it is written: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub transport: &'a str,
    /// The sent-by host; an IPv6 address with its brackets.
    pub host: &'a str,
    /// The sent-by port, where there is one.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one Via (not a list of them); `None` where the grammar is broken.
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

    /// The address the request came from, where a server added it (RFC 3261 §18.2.1).
    pub fn received(&self) -> Option<&'a str> {
        self.params.get("received")
    }

    /// RFC 3581: `Some(None)` asks for the source port, `Some(Some(port))` is the source port.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|port| port.parse().ok())
    }

    /// The multicast or detour address responses go to.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }
}

/// What follows `SIP / 2.0 /` where it is not written the usual way.
fn after_protocol(text: &str) -> Option<&str> {
    let (protocol, rest) = text.split_once('/')?;
    let (version, rest) = rest.split_once('/')?;
    (trim(protocol).eq_ignore_ascii_case("SIP") && trim(version) == "2.0").then_some(trim(rest))
}

/// `host[:port]`, white space allowed around the colon.
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

/// A host name, an IPv4 address or a bracketed IPv6 address. Underscores are let through: they are in use.
pub(crate) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok());
    }
    !host.is_empty() && HOST.has_all(host)
}
