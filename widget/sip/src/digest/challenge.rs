//! Digest challenges: parsed by clients, written by servers.

use super::{Algorithm, DigestSecret, Qop, ResponseInput};
use crate::message::{grammar, quote, unquote};
use serde::{Deserialize, Serialize};

/// One challenge of a `WWW-Authenticate` or `Proxy-Authenticate` header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The protection space, without quotes.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// Returned to the server unchanged.
    pub opaque: Option<String>,
    /// The algorithm; MD5 if the challenge names none.
    pub algorithm: Algorithm,
    /// The `qop` values that the server offers; empty for a challenge without `qop` (RFC 2069).
    pub qop: Vec<Qop>,
    /// The credentials were correct but the nonce has expired: repeat with the new nonce, without asking the user.
    pub stale: bool,
}

/// The client's input to [`Challenge::answer`].
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationInput<'a> {
    /// The user name.
    pub username: &'a str,
    /// The password or its HA1.
    pub secret: DigestSecret<'a>,
    /// The request's method.
    pub method: &'a str,
    /// The `uri` parameter: the Request-URI.
    pub uri: &'a str,
    /// The request's body (for `auth-int`).
    pub body: &'a [u8],
    /// The client nonce: letters and digits with at least 64 random bits.
    pub cnonce: &'a str,
    /// Nonce count: the number of requests sent with this nonce, including this one; starts at 1.
    pub count: u32,
}

/// The usable Digest challenges in one header value, which can have several. Omitted are those with
/// an unknown scheme or algorithm, without realm or nonce, or with only unknown `qop` values.
pub fn challenges(value: &str) -> impl Iterator<Item = Challenge> {
    let mut rest = value;
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let (challenge, tail) = parse_first_challenge(rest);
            rest = tail;
            if challenge.is_some() {
                return challenge;
            }
        }
        None
    })
}

/// From all challenge values of a 401 or 407, the strongest one per realm that `secret` can answer
/// (several proxies on the path have one realm each), in the order of their first appearance.
///
/// Every other algorithm is preferred to MD5; otherwise the server's order applies (RFC 8760 §2.4).
pub fn choose<'v>(values: impl Iterator<Item = &'v str>, secret: DigestSecret<'_>) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    for challenge in values.flat_map(challenges).filter(|challenge| secret.supports(challenge.algorithm)) {
        match chosen.iter_mut().find(|other| other.realm == challenge.realm) {
            Some(other) => {
                if other.algorithm.is_weak() && !challenge.algorithm.is_weak() {
                    *other = challenge;
                }
            }
            None => chosen.push(challenge),
        }
    }
    chosen
}

impl Challenge {
    /// The value of `Authorization` or `Proxy-Authorization` that answers this challenge; `None` if
    /// the secret is an HA1 of another algorithm.
    ///
    /// `auth` is preferred to `auth-int`, because proxies may rewrite bodies.
    pub fn answer(&self, input: &AuthorizationInput<'_>) -> Option<String> {
        let qop = [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| self.qop.contains(qop)).unwrap_or(Qop::None);
        let ha1 = input.secret.ha1(self.algorithm, input.username, &self.realm)?;
        let count = hex_count(input.count);
        let digest_input = ResponseInput {
            algorithm: self.algorithm,
            qop,
            nonce: &self.nonce,
            count: &count,
            cnonce: input.cnonce,
            method: input.method,
            uri: input.uri,
            body: input.body,
        };
        let response = digest_input.response(&ha1);
        let mut value = String::with_capacity(320);
        value.push_str("Digest username=");
        value.push_str(&quote(input.username));
        let mut add = |name: &str, text: &str| {
            value.push_str(", ");
            value.push_str(name);
            value.push('=');
            value.push_str(text);
        };
        add("realm", &quote(&self.realm));
        add("nonce", &quote(&self.nonce));
        add("uri", &quote(input.uri));
        add("response", &quote(&response));
        add("algorithm", self.algorithm.as_str());
        if qop != Qop::None || self.algorithm.is_session() {
            add("cnonce", &quote(input.cnonce));
        }
        if let Some(opaque) = &self.opaque {
            add("opaque", &quote(opaque));
        }
        if qop != Qop::None {
            add("qop", qop.as_str());
            add("nc", &count);
        }
        Some(value)
    }

    /// The challenge as a header value, for a server.
    pub fn to_value(&self) -> String {
        let mut value = String::from("Digest realm=");
        value.push_str(&quote(&self.realm));
        value.push_str(", nonce=");
        value.push_str(&quote(&self.nonce));
        if let Some(opaque) = &self.opaque {
            value.push_str(", opaque=");
            value.push_str(&quote(opaque));
        }
        value.push_str(", algorithm=");
        value.push_str(self.algorithm.as_str());
        for (index, qop) in self.qop.iter().filter(|qop| **qop != Qop::None).enumerate() {
            value.push_str(if index == 0 { ", qop=\"" } else { "," });
            value.push_str(qop.as_str());
        }
        if self.qop.iter().any(|qop| *qop != Qop::None) {
            value.push('"');
        }
        if self.stale {
            value.push_str(", stale=true");
        }
        value
    }
}

impl Qop {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Qop::None => "",
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(name))
    }
}

/// The first challenge of a list (`None` if it is not usable) and the rest of the list.
fn parse_first_challenge(value: &str) -> (Option<Challenge>, &str) {
    let (scheme, mut rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    let is_digest = scheme.eq_ignore_ascii_case("Digest");
    let (mut realm, mut nonce, mut opaque) = (None, None, None);
    let mut algorithm = Some(Algorithm::Md5);
    let mut qop = None;
    let mut stale = false;
    while !rest.is_empty() {
        let (item, tail) = grammar::first_item(rest);
        let (name, text) = item.split_once('=').unwrap_or((item, ""));
        let name = grammar::trim(name);
        // A token before the parameter name is the next challenge's scheme: `…, Digest realm="x"`.
        if name.contains([' ', '\t']) {
            break;
        }
        rest = tail;
        let text = unquote(grammar::trim(text));
        match name {
            _ if name.eq_ignore_ascii_case("realm") => set_once(&mut realm, text.into_owned()),
            _ if name.eq_ignore_ascii_case("nonce") => set_once(&mut nonce, text.into_owned()),
            _ if name.eq_ignore_ascii_case("opaque") => set_once(&mut opaque, text.into_owned()),
            _ if name.eq_ignore_ascii_case("algorithm") => algorithm = Algorithm::from_name(&text),
            _ if name.eq_ignore_ascii_case("stale") => stale = text.eq_ignore_ascii_case("true"),
            // An empty list offers nothing: as if there were no `qop`.
            _ if name.eq_ignore_ascii_case("qop") && text.trim_matches([',', ' ', '\t']).is_empty() => {}
            _ if name.eq_ignore_ascii_case("qop") => {
                let known = text.split(',').filter_map(|word| Qop::from_name(grammar::trim(word)));
                set_once(&mut qop, known.collect::<Vec<_>>());
            }
            _ => {}
        }
    }
    let challenge = match (realm, nonce, algorithm) {
        (Some(realm), Some(nonce), Some(algorithm))
            if is_digest && qop.as_ref().is_none_or(|known| !known.is_empty()) =>
        {
            Some(Challenge { realm, nonce, opaque, algorithm, qop: qop.unwrap_or_default(), stale })
        }
        _ => None,
    };
    (challenge, rest)
}

fn set_once<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

/// The nonce count as eight hex digits.
fn hex_count(count: u32) -> String {
    (0..8).rev().map(|nibble| char::from_digit(count >> (4 * nibble) & 15, 16).unwrap_or('0')).collect()
}
