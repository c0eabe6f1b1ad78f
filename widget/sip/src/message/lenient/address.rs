//! Addresses and URIs that are not well-formed, read as far as they can be.

use super::{Mended, leading_number};
use crate::message::grammar::{self, URI_PARAM, USER, trim};
use crate::message::{NameAddr, Params, quote, unquote, via};
use crate::uri::{Uri, escape_invalid};

/// Stands for a host that cannot be read. Nothing is ever sent to it.
const UNREADABLE_HOST: &str = "unreadable.invalid";
const SCHEMES: [&str; 3] = ["sip:", "sips:", "tel:"];

/// An address as its text is divided, whatever the parts look like.
struct Parts<'a> {
    display: &'a str,
    uri: &'a str,
    params: &'a str,
}

/// From or To. There is always an address: who it is may be unknown, but the tag names the dialog.
pub(super) fn mend_party(value: &str) -> String {
    let parts = divide(value).unwrap_or(Parts { display: "", uri: "", params: value });
    let uri = mend_uri(parts.uri).unwrap_or_else(|| with_unreadable_host(parts.uri));
    written(&parts, &uri)
}

/// A list of addresses: those that read.
pub(super) fn mend_list(value: &str) -> Mended {
    mend_items(value, is_well_formed, |item| {
        let parts = divide(item)?;
        Some(written(&parts, &mend_uri(parts.uri)?))
    })
}

/// A list of routes. They are sent back as they came, because only the proxy that wrote a route has to
/// understand it; but one without `<` and `>` has its parameters in the URI (RFC 3261 §20.34).
pub(super) fn mend_routes(value: &str) -> Mended {
    let is_route = |item: &str| {
        open_angle(item).is_some_and(|angle| {
            let inner = item.get(angle + 1..).unwrap_or_default();
            scheme_length(inner).is_some() && inner.contains('>')
        })
    };
    mend_items(value, is_route, |item| {
        let start = open_angle(item).map_or(0, |angle| angle + 1);
        let uri = trim(item.get(start..)?);
        let uri = uri.split('>').next().unwrap_or(uri);
        scheme_length(uri)?;
        let mut route = String::from("<");
        route.push_str(uri);
        route.push('>');
        Some(route)
    })
}

fn mend_items(value: &str, is_fine: impl Fn(&str) -> bool, mend: impl Fn(&str) -> Option<String>) -> Mended {
    if grammar::items(value).all(&is_fine) {
        return Mended::Unchanged;
    }
    let mut mended = String::new();
    for item in items(value) {
        let item = if is_fine(item) { Some(item.to_owned()) } else { mend(item) };
        if let Some(item) = item {
            if !mended.is_empty() {
                mended.push_str(", ");
            }
            mended.push_str(&item);
        }
    }
    Some(mended).filter(|mended| !mended.is_empty()).into()
}

/// The elements of a list. Where quotes or angle brackets do not close, a comma separates if an address follows it.
fn items(value: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for item in grammar::items(value) {
        if is_well_formed(item) {
            all.push(item);
            continue;
        }
        let mut start = 0;
        for (comma, _) in item.match_indices(',') {
            let next = trim(item.get(comma + 1..).unwrap_or_default());
            if next.starts_with(['<', '"']) || scheme_length(next).is_some() {
                all.push(trim(item.get(start..comma).unwrap_or_default()));
                start = comma + 1;
            }
        }
        all.push(trim(item.get(start..).unwrap_or_default()));
    }
    all
}

fn is_well_formed(item: &str) -> bool {
    NameAddr::parse(item).is_some_and(|address| {
        let expires = address.params.get("expires");
        address.well_formed() && expires.is_none_or(|expires| grammar::delta_seconds(expires).is_some())
    })
}

/// Finds display name, URI and parameters.
fn divide(text: &str) -> Option<Parts<'_>> {
    if let Some(angle) = open_angle(text) {
        let display = text.get(..angle)?;
        let inner = text.get(angle + 1..)?;
        let inner = inner.trim_start();
        let close = inner.find('>');
        // Without `>` the URI ends where a parameter or white space begins.
        let end = close.unwrap_or_else(|| inner.find([';', ' ', '\t', ',']).unwrap_or(inner.len()));
        return Some(Parts { display, uri: inner.get(..end)?, params: after_semicolon(inner.get(end..)?) });
    }
    let start = scheme_position(text).or_else(|| {
        let at = text.find('@')?;
        Some(text.get(..at)?.rfind([' ', '\t', '"']).map_or(0, |space| space + 1))
    })?;
    let uri = text.get(start..)?;
    let end = uri.find([';', ' ', '\t', ',', '"', '>']).unwrap_or(uri.len());
    Some(Parts { display: text.get(..start)?, uri: uri.get(..end)?, params: after_semicolon(uri.get(end..)?) })
}

fn after_semicolon(text: &str) -> &str {
    text.split_once(';').map_or("", |(_, params)| params)
}

/// The first `<` outside quotes; where quotes do not close, the first one before a URI.
fn open_angle(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return Some(index),
            _ => {}
        }
    }
    text.match_indices('<').map(|(index, _)| index).find(|index| {
        let after = text.get(index + 1..).unwrap_or_default();
        scheme_length(after.trim_start()).is_some()
    })
}

/// The length of the URI's scheme with its colon, if it is one that the user agent knows.
fn scheme_length(uri: &str) -> Option<usize> {
    SCHEMES
        .iter()
        .find(|scheme| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| scheme.len())
}

/// Where a URI begins in a text without angle brackets: at a scheme that is not the end of a longer word.
fn scheme_position(text: &str) -> Option<usize> {
    text.char_indices().map(|(index, _)| index).find(|index| {
        let before = text.get(..*index).unwrap_or_default();
        !before.ends_with(|c: char| c.is_alphanumeric())
            && text.get(*index..).is_some_and(|uri| scheme_length(uri).is_some())
    })
}

/// The address, well-formed.
fn written(parts: &Parts<'_>, uri: &str) -> String {
    let mut address = String::new();
    let display = trim(parts.display);
    let display = if grammar::is_quoted(display) {
        unquote(display)
    } else if display.matches('"').count() % 2 == 1 {
        // The other quote is missing.
        trim(display.trim_matches('"')).into()
    } else {
        display.into()
    };
    if !display.is_empty() {
        address.push_str(&quote(&display));
        address.push(' ');
    }
    address.push('<');
    address.push_str(uri);
    address.push('>');
    push_params(&mut address, parts.params);
    address
}

/// Appends the parameters that read, and the tag in any case: it must be sent back as it came.
fn push_params(address: &mut String, params: &str) {
    let mut tag = None;
    for (name, value) in Params::new(params).iter() {
        let mut parameter = String::from(name);
        if name.eq_ignore_ascii_case("tag") {
            tag = tag.or(Some(value));
            continue;
        } else if name.eq_ignore_ascii_case("expires") {
            let Some(seconds) = leading_number(value) else { continue };
            parameter.push('=');
            parameter.push_str(seconds);
        } else if !value.is_empty() {
            parameter.push('=');
            parameter.push_str(value);
        }
        if Params::new(&parameter).well_formed() {
            address.push(';');
            address.push_str(&parameter);
        }
    }
    // A quote that does not close can hide the tag.
    let tag = tag.or_else(|| {
        let at = params
            .to_ascii_lowercase()
            .find("tag=")
            .filter(|at| *at == 0 || params.as_bytes().get(at - 1) == Some(&b';'))?;
        params.get(at + 4..)?.split([';', ' ', '\t', '"', ',']).next()
    });
    if let Some(tag) = tag.map(trim).filter(|tag| !tag.is_empty()) {
        address.push_str(";tag=");
        address.push_str(tag);
    }
}

/// The URI, well-formed; `None` if its host cannot be read.
fn mend_uri(text: &str) -> Option<String> {
    let text = trim(text).trim_matches('"');
    if Uri::parse(text).is_ok() {
        return Some(text.to_owned());
    }
    let (scheme, rest) = match scheme_length(text) {
        Some(length) => (text.get(..length)?.to_ascii_lowercase(), text.get(length..)?),
        // Another scheme: `urn:service:sos`, `mailto:…`.
        None if !text.contains('@') => return None,
        None => (String::from("sip:"), text),
    };
    let mut mended = scheme;
    if mended == "tel:" {
        mended.extend(rest.chars().filter(char::is_ascii_graphic));
    } else {
        let (user, rest) = divide_user(rest);
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            push_user(&mut mended, user);
            mended.push('@');
        }
        // Header fields of a URI are not for the user agent (RFC 3261 §19.1.5).
        let rest = rest.split('?').next().unwrap_or_default();
        let (host, params) = rest.split_once(';').unwrap_or((rest, ""));
        push_host(&mut mended, host)?;
        if !params.is_empty() {
            mended.push(';');
            mended.push_str(&escape_invalid(params, URI_PARAM));
        }
    }
    Uri::parse(&mended).is_ok().then_some(mended)
}

fn with_unreadable_host(text: &str) -> String {
    let rest = scheme_length(text).and_then(|length| text.get(length..)).unwrap_or(text);
    let mut uri = String::from("sip:");
    if let (Some(user), _) = divide_user(rest)
        && !user.is_empty()
    {
        push_user(&mut uri, user);
        uri.push('@');
    }
    uri.push_str(UNREADABLE_HOST);
    uri
}

/// User part and the rest. A user part may contain `@`, if it does not belong to the parameters of the host.
fn divide_user(text: &str) -> (Option<&str>, &str) {
    let (Some(first), Some(last)) = (text.find('@'), text.rfind('@')) else {
        return (None, text);
    };
    let between = text.get(first..last).unwrap_or_default();
    let at = if between.contains([';', '?']) { first } else { last };
    (text.get(..at), text.get(at + 1..).unwrap_or_default())
}

/// User and password with everything escaped that must be.
fn push_user(uri: &mut String, userinfo: &str) {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    uri.push_str(&escape_invalid(trim(user), USER));
    if !password.is_empty() {
        uri.push(':');
        uri.push_str(&escape_invalid(password, USER));
    }
}

/// Appends host and port. An IPv6 address gets its brackets and loses its zone, which only its own host
/// knows (RFC 4007 §11.2); a port that is none is left out.
fn push_host(uri: &mut String, text: &str) -> Option<()> {
    let text = trim(text);
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (address, after) = bracketed.unwrap_or((text, ""));
    let address = address.split('%').next().unwrap_or_default();
    if address.parse::<core::net::Ipv6Addr>().is_ok() {
        for part in ["[", address, "]"] {
            uri.push_str(part);
        }
        if via::host_and_port(&["host", trim(after)].concat()).is_some() {
            uri.push_str(trim(after));
        }
        return Some(());
    }
    let (host, _) = text.split_once(':').unwrap_or((text, ""));
    let host = trim(host);
    if !via::is_host(host) {
        return None;
    }
    uri.push_str(if via::host_and_port(text).is_some() { text } else { host });
    Some(())
}
