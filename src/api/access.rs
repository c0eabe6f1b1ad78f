//! Who is asking, and whether they may. Each [`Audience`] has its credential;
//! a handler is only reached through the check of its own.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::code::Code;
use super::error::ApiError;
use crate::tenancy::Actor;

/// Whom a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The operator's panel back end, or an administrator on this machine.
    Panel,
    /// Support tooling and automation, or an administrator on this machine.
    Admin,
    /// Phones, host pages and tenants' back ends. The handler checks the key, because it needs its tenant.
    Runtime,
    /// Whoever opens the standalone app: what is sent decides, and nothing in a header.
    Anyone,
}

impl Audience {
    /// Whether the request tries one, right or wrong.
    pub fn has_credential(self, parts: &Parts) -> bool {
        match self {
            Self::Panel => parts.headers.contains_key(PANEL_KEY_HEADER),
            Self::Admin => parts.headers.contains_key(AUTHORIZATION),
            Self::Runtime | Self::Anyone => false,
        }
    }
}

/// The operator's secrets, kept as digests, so that comparing takes the same
/// time whatever was sent, its length included. Of each there may be several, while one replaces the other.
#[derive(Clone, Debug, Default)]
pub struct Access {
    panel_keys: Vec<[u8; 32]>,
    master_secrets: Vec<[u8; 32]>,
}

impl Access {
    /// Where there is no secret, nobody is let in.
    pub fn new<'a>(
        panel_keys: impl IntoIterator<Item = &'a str>,
        master_secrets: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let digest = |secret: &str| Sha256::digest(secret).into();
        Self {
            panel_keys: panel_keys.into_iter().filter(|key| !key.is_empty()).map(digest).collect(),
            master_secrets: master_secrets.into_iter().filter(|key| !key.is_empty()).map(digest).collect(),
        }
    }

    /// For a router that is only called by this process.
    pub fn in_process_only() -> Self {
        Self::default()
    }

    /// Who the request comes from, if its audience is let in here.
    pub fn check(&self, audience: Audience, parts: &Parts) -> Result<Actor, ApiError> {
        if let (Some(uid), Audience::Panel | Audience::Admin) = (Via::of(parts).local_uid(), audience) {
            return Ok(Actor::User { uid });
        }
        match audience {
            Audience::Panel => {
                let given = parts.headers.get(PANEL_KEY_HEADER).map(HeaderValue::as_bytes);
                found(&self.panel_keys, given).map(|digest| Actor::PanelKey { digest }).ok_or_else(|| {
                    ApiError::new(Code::PanelUnauthorized, "the header X-Bitcall-Panel-Key is missing or wrong")
                })
            }
            Audience::Admin => {
                let given = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
                let token = given.and_then(|value| {
                    let (scheme, token) = value.split_at_checked(BEARER.len())?;
                    scheme.eq_ignore_ascii_case(BEARER).then_some(token)
                });
                found(&self.master_secrets, token).map(|digest| Actor::MasterSecret { digest }).ok_or_else(|| {
                    ApiError::new(Code::AdminUnauthorized, "the header Authorization: Bearer is missing or wrong")
                })
            }
            Audience::Runtime | Audience::Anyone => Ok(Actor::Anyone),
        }
    }
}

/// The start of the digest of the secret that was given, if it is one of the expected.
fn found(expected: &[[u8; 32]], given: Option<&[u8]>) -> Option<String> {
    let given: [u8; 32] = Sha256::digest(given?).into();
    // All are compared, whichever it is.
    let matches = expected.iter().fold(false, |found, digest| found | bool::from(digest.ct_eq(&given)));
    let [a, b, c, d, ..] = given;
    matches.then(|| format!("{:08x}", u32::from_be_bytes([a, b, c, d])))
}

/// How a request came in, told by the listener in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Http {
        peer: IpAddr,
    },
    Https {
        peer: IpAddr,
    },
    /// The control socket, by a user whom its file permissions let in.
    ControlSocket {
        uid: u32,
    },
    /// A call from this very process, which runs as this user.
    InProcess {
        uid: u32,
    },
}

impl Via {
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or(Self::Http { peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) })
    }

    /// The user on this machine who asks, where it is one.
    fn local_uid(self) -> Option<u32> {
        match self {
            Self::ControlSocket { uid } | Self::InProcess { uid } => Some(uid),
            Self::Http { .. } | Self::Https { .. } => None,
        }
    }
}

pub const PANEL_KEY_HEADER: &str = "x-bitcall-panel-key";
const BEARER: &[u8] = b"Bearer ";
