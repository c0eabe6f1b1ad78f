//! The caller of a runtime route: a page, a phone or a tenant's back end that sends a tenant's API key.
//!
//! Here is what all runtime routes have in common: where the key is read from, whether the caller may act for the key's
//! tenant, and the CORS headers (Fetch standard, section 3.2) by which the caller's browser lets the page read the answer.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, uri::Authority};
use axum::response::{IntoResponse as _, Response};

use super::ApiState;
use super::concerned_tenant::ConcernedTenant;
use super::error::ApiError;
use super::limits::{Standings, client_network};
use crate::rate_limiter::ClientNetwork;
use crate::tenancy::{KeyPurpose, KeyState, RuntimeRefusal};

const X_BITCALL_KEY: HeaderName = HeaderName::from_static("x-bitcall-key");
/// The origin of pages that have none (RFC 6454, section 7.1); no tenant can allow it.
const OPAQUE_ORIGIN: &str = "null";

/// Who sent a request with a tenant's API key.
pub struct RuntimeCaller {
    origin: Option<HeaderValue>,
    /// The address that the request was sent to.
    authority: Option<String>,
    source: Option<ClientNetwork>,
    standings: Standings,
    concerned: Option<ConcernedTenant>,
}

/// A refusal of a runtime route.
pub struct RuntimeError {
    pub error: ApiError,
    pub readers: Readers,
}

/// Whose pages may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Of no other origin than the server's own.
    Own,
    /// Of the caller's origin.
    Caller,
    /// Of every origin.
    Any,
}

/// Without a tenant there is nobody to protect, and the page may read which mistake it made.
impl From<RuntimeRefusal> for RuntimeError {
    fn from(refusal: RuntimeRefusal) -> Self {
        let readers = match refusal {
            RuntimeRefusal::MissingKey | RuntimeRefusal::InvalidKey => Readers::Any,
            RuntimeRefusal::OriginForbidden => Readers::Own,
            RuntimeRefusal::TenantDisabled | RuntimeRefusal::OtherPurpose { .. } => Readers::Caller,
        };
        Self { error: refusal.into(), readers }
    }
}

impl RuntimeCaller {
    pub fn of(parts: &Parts) -> Self {
        let origin = parts.headers.get(ORIGIN).map(|origin| match origin.to_str() {
            Ok(_) => origin.clone(),
            Err(_) => HeaderValue::from_static(OPAQUE_ORIGIN),
        });
        let concerned = ConcernedTenant::of(parts);
        let authority = authority(&parts.uri, &parts.headers).map(str::to_owned);
        Self { origin, authority, source: client_network(parts), standings: Standings::default(), concerned }
    }

    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Whether `origin` is this server's own, at the local name of a demo that the request was sent to.
    pub fn reaches_demo_at(&self, state: &ApiState, origin: &str) -> bool {
        state.platform.defaults().reached_at(self.authority()).is_some_and(|demo| demo.origin_at(None) == origin)
    }

    /// The key's tenant, if the caller may act for it by a key for `needed` and is within its limits.
    pub fn admit(
        &mut self,
        state: &ApiState,
        key: Option<&str>,
        needed: KeyPurpose,
    ) -> Result<Arc<KeyState>, RuntimeError> {
        let origin = self.origin.as_ref().and_then(|origin| origin.to_str().ok());
        let foreign = origin.filter(|origin| !self.reaches_demo_at(state, origin));
        let found = state.platform.admit(key, foreign, needed).map_err(|refusal| {
            let is_guess = refusal == RuntimeRefusal::InvalidKey;
            let refused = RuntimeError::from(refusal);
            match if is_guess { state.limits.count_failure(self.source) } else { Ok(()) } {
                Ok(()) => refused,
                Err(too_many) => RuntimeError { error: too_many.into(), ..refused },
            }
        })?;
        if let Some(concerned) = &self.concerned {
            concerned.set(&found.state.tenant.id);
        }
        if self.source.is_some() {
            self.standings = state
                .limits
                .count_admitted(&found, origin)
                .map_err(|too_many| RuntimeError { error: too_many.into(), readers: Readers::Caller })?;
        }
        Ok(found)
    }

    /// The answer with its CORS headers.
    pub fn respond(&self, answer: Result<Response, RuntimeError>) -> Response {
        let (mut response, readers) = match answer {
            Ok(response) => (response, Readers::Caller),
            Err(RuntimeError { error, readers }) => (error.into_response(), readers),
        };
        let allow_origin = self.origin.as_ref().and_then(|origin| match readers {
            Readers::Own => None,
            Readers::Caller => Some(origin.clone()),
            Readers::Any => Some(HeaderValue::from_static("*")),
        });
        set_cors_headers(response.headers_mut(), allow_origin);
        response.extensions_mut().insert(self.standings);
        response
    }
}

/// The answer to a CORS preflight (Fetch standard, section 3.2.2), which browsers send before requests that carry the
/// key in a header. Such a preflight has no key: it is granted to every origin, so that it does not tell which origins
/// the tenants allow. The request itself is refused by its key and origin.
pub async fn preflight(State(state): State<Arc<ApiState>>, parts: Parts) -> Response {
    let granted = |origin: &&HeaderValue| match in_query(&parts.uri, "key") {
        None => true,
        Some(key) => origin.to_str().is_ok_and(|origin| state.platform.key_allows(&key, origin)),
    };
    let origin = parts.headers.get(ORIGIN).filter(granted);
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set_cors_headers(headers, origin.cloned());
    if origin.is_some() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("x-bitcall-key, content-type, idempotency-key"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// The API key in the query or in the header `X-Bitcall-Key`. The query comes first, as in the loader's own requests.
pub fn key_of(parts: &Parts) -> Option<Cow<'_, str>> {
    in_query(&parts.uri, "key").or_else(|| Some(Cow::Borrowed(text(&parts.headers, &X_BITCALL_KEY)?)))
}

/// The first parameter of that name. It is borrowed where nothing in it is percent-encoded, which is so for every valid
/// key.
pub fn in_query<'a>(uri: &'a Uri, wanted: &str) -> Option<Cow<'a, str>> {
    let mut pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find_map(|(name, value)| (name == wanted).then_some(value))
}

/// The address that a request was sent to, as `host[:port]`: by HTTP/2 it is in the URI, by HTTP/1.1 in `Host`.
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    uri.authority().map(Authority::as_str).or_else(|| text(headers, &HOST))
}

fn set_cors_headers(headers: &mut HeaderMap, allow_origin: Option<HeaderValue>) {
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allow_origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy, idempotency-replayed"),
        );
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::api::EntryPoint;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn parts(uri: &str, headers: &[(&str, &[u8])], entry_point: EntryPoint) -> Parts {
        let mut request = axum::http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.extension(entry_point).body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_origin_that_is_not_text_is_opaque() {
        let caller = RuntimeCaller::of(&parts("/", &[("origin", b"https://\xff")], EntryPoint::Https { peer: PEER }));
        assert_eq!(caller.origin.unwrap(), OPAQUE_ORIGIN);
    }

    #[test]
    fn the_key_is_read_from_the_query_before_the_header() {
        let key = |uri: &str, header: Option<&str>| {
            let header = header.map(|key| ("x-bitcall-key", key.as_bytes()));
            let parts = parts(uri, header.as_slice(), EntryPoint::Http { peer: PEER });
            key_of(&parts).map(Cow::into_owned)
        };
        assert_eq!(key("/?a=1&key=bck_1", Some("bck_2")).as_deref(), Some("bck_1"));
        assert_eq!(key("/?keys=1", Some("bck_2")).as_deref(), Some("bck_2"));
        assert_eq!(key("/?key=bck%5F1", None).as_deref(), Some("bck_1"));
        assert_eq!(key("/", None), None);
    }
}
