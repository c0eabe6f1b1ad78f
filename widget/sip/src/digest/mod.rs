//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), for client and server.
//!
//! A client parses [`Challenge`]s with [`choose`] and answers them with [`Challenge::answer`]; a server
//! writes a [`Challenge`] and verifies [`Credentials`]. Random values (nonce, cnonce) are passed in.
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
use sha2::{Digest as _, Sha256, Sha512_256};

/// The digest algorithms (RFC 7616 §3.2, RFC 8760 §2.3): all that are registered for SIP.
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
    /// `SHA-512-256`
    Sha512_256,
    /// `SHA-512-256-sess`
    Sha512_256Sess,
}

/// Quality of protection (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qop {
    /// None: the digest of RFC 2069, without nonce count.
    None,
    /// `auth`: method and URI are protected.
    Auth,
    /// `auth-int`: the body is protected too.
    AuthInt,
}

/// The secret from which a digest is computed.
#[derive(Clone, Copy)]
pub enum DigestSecret<'a> {
    /// The password; usable with all algorithms.
    Password(&'a str),
    /// HA1, the digest of `username:realm:password` in hex, for each algorithm (RFC 7616 §3.4.2).
    Ha1 {
        /// 32 hex digits.
        md5: Option<&'a str>,
        /// 64 hex digits.
        sha256: Option<&'a str>,
        /// 64 hex digits.
        sha512_256: Option<&'a str>,
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
    /// A secret from one HA1; `None` if it is neither 32 (MD5) nor 64 (SHA-256) hex digits. An HA1 of
    /// SHA-512-256 has 64 digits as well: it is not told from them.
    pub fn from_ha1(ha1: &'a str) -> Option<DigestSecret<'a>> {
        let algorithm = Algorithm::of_ha1(ha1)?;
        Some(DigestSecret::Ha1 {
            md5: (algorithm == Algorithm::Md5).then_some(ha1),
            sha256: (algorithm == Algorithm::Sha256).then_some(ha1),
            sha512_256: None,
        })
    }

    /// HA1 in hex; `None` if the secret is an HA1 of another algorithm.
    fn ha1(self, algorithm: Algorithm, username: &str, realm: &str) -> Option<String> {
        match self {
            DigestSecret::Password(password) => Some(ha1(algorithm, username, realm, password)),
            DigestSecret::Ha1 { .. } => self.stored_ha1(algorithm).map(str::to_ascii_lowercase),
        }
    }

    fn stored_ha1(self, algorithm: Algorithm) -> Option<&'a str> {
        let DigestSecret::Ha1 { md5, sha256, sha512_256 } = self else {
            return None;
        };
        match algorithm.without_session() {
            Algorithm::Sha256 => sha256,
            Algorithm::Sha512_256 => sha512_256,
            _ => md5,
        }
    }

    fn supports(self, algorithm: Algorithm) -> bool {
        matches!(self, DigestSecret::Password(_)) || self.stored_ha1(algorithm).is_some()
    }
}

/// HA1 (RFC 7616 §3.4.2) in hex, which a server stores instead of the password.
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> String {
    algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Md5,
        Algorithm::Md5Sess,
        Algorithm::Sha256,
        Algorithm::Sha256Sess,
        Algorithm::Sha512_256,
        Algorithm::Sha512_256Sess,
    ];

    /// The name in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Md5Sess => "MD5-sess",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha256Sess => "SHA-256-sess",
            Algorithm::Sha512_256 => "SHA-512-256",
            Algorithm::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// The algorithm of this name, case-insensitive; `None` if it is not supported.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// The algorithm of an HA1 whose algorithm is not named: 32 hex digits are MD5, 64 are SHA-256; else `None`.
    pub fn of_ha1(ha1: &str) -> Option<Algorithm> {
        if !ha1.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match ha1.len() {
            32 => Some(Algorithm::Md5),
            64 => Some(Algorithm::Sha256),
            _ => None,
        }
    }

    /// The algorithm without `-sess`: both have the same HA1 (RFC 7616 §3.4.2).
    #[must_use]
    pub fn without_session(self) -> Algorithm {
        match self {
            Algorithm::Md5 | Algorithm::Md5Sess => Algorithm::Md5,
            Algorithm::Sha256 | Algorithm::Sha256Sess => Algorithm::Sha256,
            Algorithm::Sha512_256 | Algorithm::Sha512_256Sess => Algorithm::Sha512_256,
        }
    }

    fn is_session(self) -> bool {
        self != self.without_session()
    }

    /// MD5 is broken and only used where a server offers nothing else.
    fn is_weak(self) -> bool {
        self.without_session() == Algorithm::Md5
    }

    /// The hash of the parts joined by colons, in hex.
    fn hash(self, parts: &[&[u8]]) -> String {
        match self.without_session() {
            Algorithm::Sha256 => hash_with(Sha256::new(), parts),
            Algorithm::Sha512_256 => hash_with(Sha512_256::new(), parts),
            _ => hash_with(Md5::new(), parts),
        }
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

/// The inputs of the `response` parameter (RFC 7616 §3.4.1).
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
