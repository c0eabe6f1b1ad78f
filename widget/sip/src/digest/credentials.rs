//! Digest credentials: a client's answer to a challenge, parsed and verified by a server.

use super::{Algorithm, DigestSecret, Qop, ResponseInput};
use crate::message::{grammar, unquote};
use std::borrow::Cow;

/// The Digest credentials of an `Authorization` or `Proxy-Authorization` header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user name, without quotes.
    pub username: Cow<'a, str>,
    /// The protection space that they are for.
    pub realm: Cow<'a, str>,
    /// The nonce of the challenge.
    pub nonce: Cow<'a, str>,
    /// The `uri` parameter: the Request-URI as the client sent it.
    pub uri: Cow<'a, str>,
    /// The digest in hex.
    pub response: Cow<'a, str>,
    /// The algorithm; MD5 if none is named.
    pub algorithm: Algorithm,
    /// The quality of protection used.
    pub qop: Qop,
    /// The client nonce; empty if there is none.
    pub cnonce: Cow<'a, str>,
    /// The nonce count `nc` as written: eight hex digits; empty without `qop`.
    pub nonce_count: &'a str,
    /// The challenge's `opaque`, returned by the client.
    pub opaque: Option<Cow<'a, str>>,
}

impl<'a> Credentials<'a> {
    /// Parses credentials; `None` if the scheme is not Digest, the algorithm or `qop` is not
    /// supported, or a required parameter is missing.
    pub fn parse(value: &'a str) -> Option<Credentials<'a>> {
        let (scheme, parameters) = value.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let raw = |wanted: &str| {
            grammar::items(parameters).find_map(|item| {
                let (name, text) = item.split_once('=')?;
                grammar::trim(name).eq_ignore_ascii_case(wanted).then(|| grammar::trim(text))
            })
        };
        let text = |wanted: &str| raw(wanted).map(unquote);
        let qop = match text("qop") {
            Some(name) => Qop::from_name(&name)?,
            None => Qop::None,
        };
        let algorithm = match text("algorithm") {
            Some(name) => Algorithm::from_name(&name)?,
            None => Algorithm::Md5,
        };
        let (cnonce, nonce_count) = (text("cnonce"), raw("nc"));
        if qop != Qop::None && (cnonce.is_none() || nonce_count.is_none()) {
            return None;
        }
        Some(Credentials {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?,
            algorithm,
            qop,
            cnonce: cnonce.unwrap_or_default(),
            nonce_count: nonce_count.unwrap_or_default(),
            opaque: text("opaque"),
        })
    }

    /// The nonce count as a number, from 1; `None` without `qop` or if it is not eight hex digits. A
    /// server rejects a count that is not larger than the last one with the same nonce (a replay).
    pub fn count(&self) -> Option<u32> {
        if self.nonce_count.len() != 8 || self.nonce_count.starts_with('+') {
            return None;
        }
        u32::from_str_radix(self.nonce_count, 16).ok()
    }

    /// Whether the digest was made with this secret. Compares in constant time.
    ///
    /// The server must also check realm, nonce, algorithm and nonce count, and that `uri` is the
    /// Request-URI.
    pub fn verify(&self, secret: DigestSecret<'_>, method: &str, body: &[u8]) -> bool {
        let Some(ha1) = secret.ha1(self.algorithm, &self.username, &self.realm) else {
            return false;
        };
        let expected = ResponseInput {
            algorithm: self.algorithm,
            qop: self.qop,
            nonce: &self.nonce,
            count: self.nonce_count,
            cnonce: &self.cnonce,
            method,
            uri: &self.uri,
            body,
        }
        .response(&ha1);
        let difference = expected
            .bytes()
            .zip(self.response.bytes())
            .fold(0, |difference, (mine, theirs)| difference | (mine ^ theirs.to_ascii_lowercase()));
        expected.len() == self.response.len() && difference == 0
    }
}
