//! Who calls: name and number from the header fields of an INVITE, as a person reads them.

use super::super::interface::RemoteParty;
use crate::encoded_word;
use crate::message::{Header, Headers, NameAddr, Request};
use crate::uri::{Scheme, Uri, unescape};

/// The name of a caller who withholds the identity (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "Anonymous";

/// What a URI says about who it is.
enum Party {
    /// A number or user name.
    Number(String),
    /// Only a host, e.g. a gateway.
    Host,
    /// The caller withholds the identity.
    Anonymous,
}

/// The caller: the first identity that reads of `P-Asserted-Identity` (RFC 3325), `Remote-Party-ID`, both
/// set by the server, and `From`. One with a number is preferred to one with a host only.
pub(super) fn caller(request: &Request) -> RemoteParty {
    let from = request.from().ok();
    let asserted = request.addresses(Header::PAssertedIdentity).flatten();
    let remote_party_ids = request.addresses(Header::RemotePartyId).flatten().filter(is_calling_party);
    let mut host_only = None;
    for address in asserted.chain(remote_party_ids).chain(from) {
        let number = match party(address.uri_text) {
            Some(Party::Number(number)) => number,
            Some(Party::Anonymous) => String::new(),
            Some(Party::Host) => {
                host_only.get_or_insert(address);
                continue;
            }
            None => continue,
        };
        return remote_party(&address, from.as_ref(), number);
    }
    host_only
        .map_or_else(RemoteParty::default, |address| remote_party(&address, from.as_ref(), address.uri_text.to_owned()))
}

/// Whom the server asserts the call to be with: the first identity that reads of `P-Asserted-Identity` and
/// `Remote-Party-ID`.
pub(super) fn asserted_party(message: &Headers) -> Option<RemoteParty> {
    [Header::PAssertedIdentity, Header::RemotePartyId]
        .into_iter()
        .flat_map(|header| message.addresses(header).flatten())
        .find_map(|address| match party(address.uri_text)? {
            Party::Number(number) => Some(remote_party(&address, None, number)),
            Party::Host | Party::Anonymous => None,
        })
}

/// Whom the caller called at first: the last of `Diversion` (RFC 5806 §4: the newest comes first), else the first of
/// `History-Info` (RFC 7044 §5: the oldest comes first). None if that is `own`, or whoever diverted the call withholds it.
pub(super) fn diverted_from(request: &Request, own: &str) -> Option<RemoteParty> {
    let diversion = request.addresses(Header::Diversion).flatten().last();
    let address = diversion.or_else(|| request.addresses(Header::HistoryInfo).flatten().next())?;
    let is_withheld = address.params.text("privacy").is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off"))
        || Uri::parse(address.uri_text).is_ok_and(|uri| !uri.headers.is_empty() && asks_for_privacy(uri.headers));
    match party(address.uri_text)? {
        Party::Number(number) if !is_withheld && number != own => Some(remote_party(&address, None, number)),
        Party::Number(_) | Party::Host | Party::Anonymous => None,
    }
}

/// The header fields of a URI ask for privacy, e.g. `Privacy=history` (RFC 7044 §10.1.2).
fn asks_for_privacy(headers: &str) -> bool {
    headers
        .split('&')
        .filter_map(|header| header.split_once('='))
        .any(|(name, value)| name.eq_ignore_ascii_case("Privacy") && !value.eq_ignore_ascii_case("none"))
}

/// Who is named by an address, e.g. of `Refer-To`.
pub(super) fn addressed_party(address: &NameAddr<'_>) -> RemoteParty {
    let number = match party(address.uri_text) {
        Some(Party::Number(number)) => number,
        Some(Party::Host | Party::Anonymous) | None => address.uri_text.to_owned(),
    };
    remote_party(address, None, number)
}

fn remote_party(address: &NameAddr<'_>, from: Option<&NameAddr<'_>>, number: String) -> RemoteParty {
    let is_anonymous = number.is_empty();
    let name = display_name(address).or_else(|| from.filter(|_| !is_anonymous).and_then(display_name));
    RemoteParty {
        number,
        display_name: name.or_else(|| is_anonymous.then(|| ANONYMOUS.to_owned())),
        uri: address.uri_text.to_owned(),
    }
}

fn display_name(address: &NameAddr<'_>) -> Option<String> {
    let name = encoded_word::decode(&address.display_name());
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// `Remote-Party-ID` may name the called party, or ask not to show the calling one (draft-ietf-sip-privacy-04 §5).
fn is_calling_party(address: &NameAddr<'_>) -> bool {
    let has = |name: &str, value: &str| address.params.text(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
    (has("party", "calling") || !address.params.has("party")) && !has("privacy", "full") && !has("privacy", "uri")
}

/// None: the URI says nothing, e.g. `sip:`.
fn party(uri: &str) -> Option<Party> {
    let uri = Uri::parse(uri).ok()?;
    let user = user_without_params(&uri);
    if is_anonymous(&user, uri.host) {
        return Some(Party::Anonymous);
    }
    match (user.is_empty(), uri.host.is_empty() && !matches!(uri.scheme, Scheme::Other(_))) {
        (false, _) => Some(Party::Number(dialled_digits(&user).unwrap_or(user))),
        (true, false) => Some(Party::Host),
        (true, true) => None,
    }
}

/// The telephone number in a URI, e.g. `+4930123`; None if its user is a name.
pub(super) fn telephone_number(uri: &Uri<'_>) -> Option<String> {
    dialled_digits(&user_without_params(uri))
}

/// The user part of a SIP URI or the number of a `tel` URI, without the parameters of a telephone number:
/// `;npdi`, `;phone-context=+49` (RFC 3966, RFC 4694).
fn user_without_params(uri: &Uri<'_>) -> String {
    let user = match uri.scheme {
        Scheme::Sip | Scheme::Sips => uri.user_name(),
        Scheme::Other(scheme) if scheme.eq_ignore_ascii_case("tel") => unescape(uri.rest),
        Scheme::Other(_) => return String::new(),
    };
    user.split(';').next().unwrap_or_default().trim().to_owned()
}

/// RFC 3323 §4.1.1.3, RFC 5767 and 3GPP TS 24.229: `anonymous@anonymous.invalid`, `unavailable@unknown.invalid`; and what
/// PBXs write for them.
fn is_anonymous(user: &str, host: &str) -> bool {
    let is = |text: &str, names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    is(user, &["anonymous", "unavailable", "restricted", "unknown"])
        || is(host, &["anonymous.invalid", "unknown.invalid"])
}

/// A telephone number without visual separators (RFC 3966 §5.1.1); None for a name.
fn dialled_digits(user: &str) -> Option<String> {
    let is_separator = |c: char| matches!(c, '-' | '.' | '(' | ')' | ' ');
    let is_dialled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '*' | '#');
    (user.chars().all(|c| is_separator(c) || is_dialled(c)) && user.chars().any(|c| c.is_ascii_digit()))
        .then(|| user.chars().filter(|c| is_dialled(*c)).collect())
}
