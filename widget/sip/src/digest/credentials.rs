//! Credentials: what a client answered, checked by a server.

use super::{Algorithm, DigestSecret, Qop, ResponseInput};
use crate::message::{grammar, unquote};
use std::borrow::Cow;

/// The Digest credentials of `Authorization` or `Proxy-Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user name, without quotes.
    pub username: Cow<'a, str>,
    /// The protection space it is meant for.
    pub realm: Cow<'a, str>,
    /// The nonce it answers.
    pub nonce: Cow<'a, str>,
    /// What the client took for the Request-URI.
    pub uri: Cow<'a, str>,
    /// The digest, in hex digits.
    pub response: Cow<'a, str>,
    /// The algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// The protection used.
    pub qop: Qop,
    /// The client's own random value; empty where there is none.
    pub cnonce: Cow<'a, str>,
    /// The nonce count as written: eight hex digits; empty without `qop`.
    pub nonce_count: &'a str,
    /// What the server gave the client to keep.
    pub opaque: Option<Cow<'a, str>>,
}

impl<'a> Credentials<'a> {
    /// Reads credentials; `None` where they are of another scheme, or an unsupported algorithm or
    /// `qop`, or lack something.
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

    /// The nonce count as a number, from 1; `None` without `qop` or where it is not eight hex digits. A
    /// server refuses one that is not larger than the last one with the same nonce (a replay).
    pub fn count(&self) -> Option<u32> {
        if self.nonce_count.len() != 8 || self.nonce_count.starts_with('+') {
            return None;
        }
        u32::from_str_radix(self.nonce_count, 16).ok()
    }

    /// Whether the client knew the secret. Compares in constant time.
    ///
    /// That realm, nonce, algorithm and nonce count are acceptable and that `uri` is the request's is
    /// the server's to check.
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
            .fold(0, |seen, (mine, theirs)| seen | (mine ^ theirs.to_ascii_lowercase()));
        expected.len() == self.response.len() && difference == 0
    }
}
