//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), both sides.
//!
//! A client reads [`Challenge`]s with [`choose`] and answers one with [`Challenge::answer`]; a server
//! writes a [`Challenge`] and checks [`Credentials`]. Random values (nonce, cnonce) are passed in.
//!
//! ```
//! use bitcall_sip::digest::{AuthorizationInput, DigestSecret, choose};
//!
//! let offered = [r#"Digest realm="example.com", nonce="abc", qop="auth", algorithm=SHA-256"#];
//! let secret = DigestSecret::Password("geheim");
//! for challenge in choose(offered.into_iter(), secret) {
//!     let input = AuthorizationInput {
//!         username: "alice", secret, method: "REGISTER", uri: "sip:example.com", body: b"",
//!         cnonce: "0a4f113b", count: 1,
//!     };
//!     let authorization = challenge.answer(&input).unwrap();
//!     assert!(authorization.starts_with(r#"Digest username="alice", realm="example.com""#));
//! }
//! ```

mod challenge;
mod credentials;

pub use challenge::{AuthorizationInput, Challenge, challenges, choose};
pub use credentials::Credentials;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The digest algorithms that are supported. SHA-512-256 is not: no SIP server in use offers it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// `MD5`
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
}

/// Which protection the digest gives (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qop {
    /// None: the digest of RFC 2069, without nonce count.
    None,
    /// The request's method and URI are protected.
    Auth,
    /// The body too.
    AuthInt,
}

/// What proves who the user is.
#[derive(Clone, Copy)]
pub enum DigestSecret<'a> {
    /// The password; serves all algorithms.
    Password(&'a str),
    /// Hex digests of `username:realm:password`, each for its own algorithm.
    Ha1 {
        /// 32 hex digits.
        md5: Option<&'a str>,
        /// 64 hex digits.
        sha256: Option<&'a str>,
    },
}

impl core::fmt::Debug for DigestSecret<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            DigestSecret::Password(_) => "DigestSecret::Password(…)",
            DigestSecret::Ha1 { .. } => "DigestSecret::Ha1(…)",
        })
    }
}

impl<'a> DigestSecret<'a> {
    /// A secret from one HA1 of either length; `None` where it is neither 32 nor 64 hex digits.
    pub fn from_ha1(ha1: &'a str) -> Option<DigestSecret<'a>> {
        if !ha1.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match ha1.len() {
            32 => Some(DigestSecret::Ha1 { md5: Some(ha1), sha256: None }),
            64 => Some(DigestSecret::Ha1 { md5: None, sha256: Some(ha1) }),
            _ => None,
        }
    }

    /// HA1 as hex digits; `None` where the secret is a digest of the other algorithm.
    fn ha1(self, algorithm: Algorithm, username: &str, realm: &str) -> Option<String> {
        match self {
            DigestSecret::Password(password) => Some(ha1(algorithm, username, realm, password)),
            DigestSecret::Ha1 { md5, sha256 } => {
                let given = if algorithm.is_sha256() { sha256 } else { md5 };
                given.map(str::to_ascii_lowercase)
            }
        }
    }

    fn serves(self, algorithm: Algorithm) -> bool {
        match self {
            DigestSecret::Password(_) => true,
            DigestSecret::Ha1 { md5, sha256 } => {
                if algorithm.is_sha256() {
                    sha256.is_some()
                } else {
                    md5.is_some()
                }
            }
        }
    }
}

/// HA1 of RFC 7616 §3.4.2 as hex digits: what a server stores instead of a password.
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> String {
    algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}

impl Algorithm {
    /// The name in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Md5Sess => "MD5-sess",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha256Sess => "SHA-256-sess",
        }
    }

    /// The algorithm of this name, without regard to case; `None` where it is not supported.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha256Sess]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether it is SHA-256; the others are MD5.
    pub fn is_sha256(self) -> bool {
        matches!(self, Algorithm::Sha256 | Algorithm::Sha256Sess)
    }

    fn is_session(self) -> bool {
        matches!(self, Algorithm::Md5Sess | Algorithm::Sha256Sess)
    }

    /// The hash of the parts joined by colons, as hex digits.
    fn hash(self, parts: &[&[u8]]) -> String {
        if self.is_sha256() { hash_with(Sha256::new(), parts) } else { hash_with(Md5::new(), parts) }
    }
}

fn hash_with(mut hasher: impl sha2::Digest, parts: &[&[u8]]) -> String {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    hex
}

/// Everything that goes into a response (RFC 7616 §3.4.1).
struct ResponseInput<'a> {
    algorithm: Algorithm,
    qop: Qop,
    nonce: &'a str,
    /// Eight hex digits.
    count: &'a str,
    cnonce: &'a str,
    method: &'a str,
    uri: &'a str,
    body: &'a [u8],
}

impl ResponseInput<'_> {
    fn response(&self, ha1: &str) -> String {
        let algorithm = self.algorithm;
        let nonce = self.nonce.as_bytes();
        let cnonce = self.cnonce.as_bytes();
        let session = algorithm.is_session().then(|| algorithm.hash(&[ha1.as_bytes(), nonce, cnonce]));
        let ha1 = session.as_deref().unwrap_or(ha1).as_bytes();
        let (method, uri) = (self.method.as_bytes(), self.uri.as_bytes());
        let ha2 = match self.qop {
            Qop::AuthInt => {
                let body = algorithm.hash(&[self.body]);
                algorithm.hash(&[method, uri, body.as_bytes()])
            }
            Qop::Auth | Qop::None => algorithm.hash(&[method, uri]),
        };
        let ha2 = ha2.as_bytes();
        let qop = match self.qop {
            Qop::None => return algorithm.hash(&[ha1, nonce, ha2]),
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        };
        algorithm.hash(&[ha1, nonce, self.count.as_bytes(), cnonce, qop.as_bytes(), ha2])
    }
}
