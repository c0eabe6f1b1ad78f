//! Who is asking. Each audience has an extractor; a handler that takes one
//! cannot be reached without the credential.

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::State;
use super::error::ApiError;

/// The operator's two secrets, kept as digests, so that comparing takes the same
/// time whatever was sent, its length included.
pub struct Access {
    panel_key: Option<[u8; 32]>,
    master_secret: Option<[u8; 32]>,
}

impl Access {
    /// A secret that is missing lets nobody in.
    pub fn new(panel_key: Option<&str>, master_secret: Option<&str>) -> Self {
        let digest = |secret: &str| Sha256::digest(secret).into();
        let given = |secret: Option<&str>| secret.filter(|text| !text.is_empty()).map(digest);
        Self { panel_key: given(panel_key), master_secret: given(master_secret) }
    }

    /// For a router that is only called by this process.
    pub fn in_process_only() -> Self {
        Self::new(None, None)
    }
}

/// How a request came in, told by the listener in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Http,
    Https,
    /// The control socket, by a user whom its file permissions let in.
    ControlSocket {
        uid: u32,
    },
    /// A call from this very process.
    InProcess,
}

impl Via {
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or(Self::Http)
    }

    fn is_local(self) -> bool {
        matches!(self, Self::ControlSocket { .. } | Self::InProcess)
    }
}

/// The operator's panel back end, or an administrator on this machine.
pub struct Panel;

impl FromRequestParts<State> for Panel {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        if Via::of(parts).is_local() {
            return Ok(Self);
        }
        let given = parts.headers.get(PANEL_KEY_HEADER);
        if matches(state.access.panel_key, given.map(HeaderValue::as_bytes)) {
            Ok(Self)
        } else {
            Err(ApiError::panel_unauthorized())
        }
    }
}

/// Support tooling and automation, or an administrator on this machine.
pub struct Admin;

impl FromRequestParts<State> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        if Via::of(parts).is_local() {
            return Ok(Self);
        }
        let given = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = given.and_then(|value| {
            let (scheme, token) = value.split_at_checked(BEARER.len())?;
            scheme.eq_ignore_ascii_case(BEARER).then_some(token)
        });
        if matches(state.access.master_secret, token) { Ok(Self) } else { Err(ApiError::admin_unauthorized()) }
    }
}

fn matches(expected: Option<[u8; 32]>, given: Option<&[u8]>) -> bool {
    let (Some(expected), Some(given)) = (expected, given) else {
        return false;
    };
    let given: [u8; 32] = Sha256::digest(given).into();
    expected.ct_eq(&given).into()
}

pub const PANEL_KEY_HEADER: &str = "x-bitcall-panel-key";
const BEARER: &[u8] = b"Bearer ";
