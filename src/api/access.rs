//! Authentication: each [`Audience`] has one kind of credential, and a handler is reached only after the check of its
//! audience.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::code::Code;
use super::credential_log::CredentialLog;
use super::error::ApiError;
use super::limits::{behind_proxy, client_address};
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
    /// Whether the request carries this audience's credential, valid or not.
    pub fn has_credential(self, parts: &Parts) -> bool {
        match self {
            Self::Panel => parts.headers.contains_key(PANEL_KEY_HEADER),
            Self::Admin => parts.headers.contains_key(AUTHORIZATION),
            Self::Runtime | Self::Anyone => false,
        }
    }
}

/// The operator's secrets. They can be replaced while requests are answered; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Access {
    secrets: Arc<ArcSwap<AcceptedSecrets>>,
    log: Arc<CredentialLog>,
}

/// SHA-256 digests of the accepted secrets: comparing digests takes the same time for every input, whatever its length.
/// During a rotation there are two of a kind, the current one first.
#[derive(Debug, Default)]
struct AcceptedSecrets {
    panel_keys: Vec<AcceptedSecret>,
    master_secrets: Vec<AcceptedSecret>,
}

#[derive(Debug)]
struct AcceptedSecret {
    digest: [u8; 32],
    /// Hours since 1970 of the last use that was logged.
    last_logged_hour: AtomicI64,
}

impl Access {
    /// Without a secret of its kind, every request of an audience is refused.
    pub fn new<'a>(
        panel_keys: impl IntoIterator<Item = &'a str>,
        master_secrets: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let access = Self::default();
        access.replace(panel_keys, master_secrets);
        access
    }

    /// Replaces all accepted secrets at once.
    pub fn replace<'a>(
        &self,
        panel_keys: impl IntoIterator<Item = &'a str>,
        master_secrets: impl IntoIterator<Item = &'a str>,
    ) {
        let known = |secret: &str| AcceptedSecret {
            digest: Sha256::digest(secret).into(),
            last_logged_hour: AtomicI64::new(0),
        };
        self.secrets.store(Arc::new(AcceptedSecrets {
            panel_keys: panel_keys.into_iter().filter(|key| !key.is_empty()).map(known).collect(),
            master_secrets: master_secrets.into_iter().filter(|key| !key.is_empty()).map(known).collect(),
        }));
    }

    /// For a router that is only called by this process.
    pub fn in_process_only() -> Self {
        Self::default()
    }

    /// The actor of a request that carries the audience's credential, or is made by a user of this machine.
    pub fn check(&self, audience: Audience, parts: &Parts) -> Result<Actor, ApiError> {
        if let (Some(uid), Audience::Panel | Audience::Admin) = (EntryPoint::of(parts).local_uid(), audience) {
            return Ok(Actor::User { uid });
        }
        let expected = self.secrets.load();
        let wrong = |what| {
            if audience.has_credential(parts) {
                self.log.wrong(what, client_address(parts));
            }
        };
        match audience {
            Audience::Panel => {
                let given = parts.headers.get(PANEL_KEY_HEADER).map(HeaderValue::as_bytes);
                match_secret("panel key", &expected.panel_keys, given)
                    .map(|digest| Actor::PanelKey { digest })
                    .ok_or_else(|| {
                        wrong("panel key");
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
                        wrong("master secret");
                        ApiError::new(Code::AdminUnauthorized, "the header Authorization: Bearer is missing or wrong")
                    })
            }
            Audience::Runtime | Audience::Anyone => Ok(Actor::Anyone),
        }
    }
}

/// The name of the accepted secret that equals `given`.
fn match_secret(what: &str, expected: &[AcceptedSecret], given: Option<&[u8]>) -> Option<String> {
    let given = Sha256::digest(given?);
    // All are compared, so the time does not tell which one matched.
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
    /// True once an hour, so that a caller cannot fill the log.
    fn is_first_use_in_hour(&self) -> bool {
        let hour = Timestamp::now().0 / 3_600_000;
        self.last_logged_hour.swap(hour, Ordering::Relaxed) != hour
    }
}

/// The name of a secret in log and audit: the first four bytes of its digest in hexadecimal.
pub fn secret_name(digest: &[u8]) -> String {
    digest.iter().take(4).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}"); // writing to a String cannot fail
        name
    })
}

/// How a request came in. The listener puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
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

impl EntryPoint {
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or(Self::Http { peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) })
    }

    /// The address that a request with these headers came from. None for callers on this machine that the operator's
    /// rights have let in.
    pub fn client_address(self, headers: &HeaderMap) -> Option<IpAddr> {
        match self {
            Self::Https { peer } => Some(peer),
            Self::Http { peer } => Some(behind_proxy(peer, headers)),
            Self::ControlSocket { .. } | Self::InProcess { .. } => None,
        }
    }

    /// The user id of a caller on this machine.
    fn local_uid(self) -> Option<u32> {
        match self {
            Self::ControlSocket { uid } | Self::InProcess { uid } => Some(uid),
            Self::Http { .. } | Self::Https { .. } => None,
        }
    }
}
