//! Who is asking, and whether they may. Each [`Audience`] has its credential;
//! a handler is only reached through the check of its own.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::code::Code;
use super::error::ApiError;
use crate::tenancy::Actor;
use crate::timestamp::Timestamp;

pub const PANEL_KEY_HEADER: &str = "x-bitcall-panel-key";
const BEARER: &[u8] = b"Bearer ";

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

/// The operator's secrets, which may be replaced while requests are answered. Cloning makes a
/// further handle on the same.
#[derive(Clone, Debug, Default)]
pub struct Access(Arc<ArcSwap<AcceptedSecrets>>);

/// Kept as digests, so that comparing takes the same time whatever was sent, its length included. Of
/// each there may be several, the current one first, while one replaces the other.
#[derive(Debug, Default)]
struct AcceptedSecrets {
    panel_keys: Vec<AcceptedSecret>,
    master_secrets: Vec<AcceptedSecret>,
}

#[derive(Debug)]
struct AcceptedSecret {
    digest: [u8; 32],
    /// Of the last use that was logged, where the log is told: in hours since 1970.
    last_logged_hour: AtomicI64,
}

impl Access {
    /// Where there is no secret, nobody is let in.
    pub fn new<'a>(
        panel_keys: impl IntoIterator<Item = &'a str>,
        master_secrets: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let access = Self::default();
        access.replace(panel_keys, master_secrets);
        access
    }

    /// From now on these are let in, and no others.
    pub fn replace<'a>(
        &self,
        panel_keys: impl IntoIterator<Item = &'a str>,
        master_secrets: impl IntoIterator<Item = &'a str>,
    ) {
        let known = |secret: &str| AcceptedSecret {
            digest: Sha256::digest(secret).into(),
            last_logged_hour: AtomicI64::new(0),
        };
        self.0.store(Arc::new(AcceptedSecrets {
            panel_keys: panel_keys.into_iter().filter(|key| !key.is_empty()).map(known).collect(),
            master_secrets: master_secrets.into_iter().filter(|key| !key.is_empty()).map(known).collect(),
        }));
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
        let expected = self.0.load();
        match audience {
            Audience::Panel => {
                let given = parts.headers.get(PANEL_KEY_HEADER).map(HeaderValue::as_bytes);
                match_secret("panel key", &expected.panel_keys, given)
                    .map(|digest| Actor::PanelKey { digest })
                    .ok_or_else(|| {
                        ApiError::new(Code::PanelUnauthorized, "the header X-Bitcall-Panel-Key is missing or wrong")
                    })
            }
            Audience::Admin => {
                let given = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
                let token = given.and_then(|value| {
                    let (scheme, token) = value.split_at_checked(BEARER.len())?;
                    scheme.eq_ignore_ascii_case(BEARER).then_some(token)
                });
                match_secret("master secret", &expected.master_secrets, token)
                    .map(|digest| Actor::MasterSecret { digest })
                    .ok_or_else(|| {
                        ApiError::new(Code::AdminUnauthorized, "the header Authorization: Bearer is missing or wrong")
                    })
            }
            Audience::Runtime | Audience::Anyone => Ok(Actor::Anyone),
        }
    }
}

/// The name of the secret that was given, if it is one of the expected.
fn match_secret(what: &str, expected: &[AcceptedSecret], given: Option<&[u8]>) -> Option<String> {
    let given = Sha256::digest(given?);
    // All are compared, whichever it is.
    let matches = expected.iter().enumerate().fold(None, |found, (place, known)| {
        let same = bool::from(known.digest.as_slice().ct_eq(given.as_slice()));
        if same { Some((place, known)) } else { found }
    });
    let (place, known) = matches?;
    let name = secret_name(&given);
    if place > 0 && known.is_first_use_in_hour() {
        tracing::warn!(digest = %name, "a {what} was used that is being replaced");
    }
    Some(name)
}

impl AcceptedSecret {
    /// Once an hour.
    fn is_first_use_in_hour(&self) -> bool {
        let hour = Timestamp::now().0 / 3_600_000;
        self.last_logged_hour.swap(hour, Ordering::Relaxed) != hour
    }
}

/// What a secret is called where people read: the start of its digest.
pub fn secret_name(digest: &[u8]) -> String {
    digest.iter().take(4).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}"); // writing to a String cannot fail
        name
    })
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
