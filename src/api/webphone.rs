//! The runtime routes: what phones, host pages and tenants' back ends ask for
//! with a tenant's API key. Browsers of foreign origins may read exactly these,
//! on pages that the tenant allows.
//!
//! The server answers the good case of the runtime configuration from prepared
//! bytes before the router; here is the whole behaviour, refusals and preflight included.

use std::sync::Arc;

use axum::extract::{Request, State as With};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, uri::Authority};
use axum::response::{IntoResponse, Response};
use bitcall_wire::config::RuntimeConfig;
use schemars::SchemaGenerator;

use super::State;
use super::access::{Audience, Via};
use super::endpoint::{Endpoint, nothing};
use super::error::ApiError;
use super::form::Description;
use super::limits::{Source, Standings};
use crate::tenancy::{LiveKey, RuntimeRefusal};

pub const KEY_HEADER: &str = "x-bitcall-key";

pub fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/webphone/config",
        audience: Audience::Runtime,
        summary: "The tenant's runtime configuration, for the loader",
        concerns_one_tenant: false,
        input: Description::of(nothing),
        output: SchemaGenerator::subschema_for::<RuntimeConfig>,
        refusals: Vec::new(),
        creates: false,
        versioned: false,
        service: axum::routing::get(config).options(preflight),
    }]
}

async fn config(With(state): With<State>, request: Request) -> Response {
    let parts = request.into_parts().0;
    let mut visitor = Visitor::of(&parts);
    let in_query = key_in_query(&parts);
    let key = in_query.as_deref().or_else(|| text(&parts.headers, KEY_HEADER));
    let answer = visitor.admit(&state, key).map(|found| {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (json, state.platform.runtime_of(&found)).into_response()
    });
    let mut response = visitor.told(answer);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// The page, or the program, that sent a request.
pub struct Visitor {
    origin: Option<String>,
    own_origin: Option<String>,
    source: Option<Source>,
    standings: Standings,
}

/// A refusal, and the origin whose pages may read it.
pub type Refused = (ApiError, Option<String>);

impl Visitor {
    pub fn of(parts: &Parts) -> Self {
        // An Origin that is no text is nobody's.
        let origin = parts.headers.get(ORIGIN).map(|value| value.to_str().unwrap_or("null").to_owned());
        Self {
            origin,
            own_origin: own_origin(parts),
            source: Source::of_request(parts),
            standings: Standings::default(),
        }
    }

    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The key's tenant, if the visitor may act for it and has not asked too often.
    pub fn admit(&mut self, state: &State, key: Option<&str>) -> Result<Arc<LiveKey>, Refused> {
        let origin = self.origin.as_deref();
        let found = state.platform.admit(key, origin, self.own_origin.as_deref()).map_err(|refusal| {
            let may_read = refusal.allow_origin(origin).map(str::to_owned);
            if refusal != RuntimeRefusal::InvalidKey {
                return (refusal.into(), may_read);
            }
            let tried = state.limits.tried(self.source);
            (tried.map_or_else(ApiError::from, |()| refusal.into()), may_read)
        })?;
        if self.source.is_some() {
            let standings = state.limits.admitted(&found, origin);
            self.standings = standings.map_err(|too_many| (too_many.into(), self.origin.clone()))?;
        }
        Ok(found)
    }

    /// The answer with what the visitor's browser must know to let the page read it; a refusal
    /// says itself who may.
    pub fn told(&self, answer: Result<Response, Refused>) -> Response {
        let (mut response, allowed) = match answer {
            Ok(response) => (response, self.origin.clone()),
            Err((error, allowed)) => (error.into_response(), allowed),
        };
        allow(response.headers_mut(), allowed.as_deref());
        response.extensions_mut().insert(self.standings);
        response
    }
}

/// Only callers who send the key in a header are asked for this (Fetch standard,
/// CORS preflight). It comes without the key, so it is granted where any tenant allows the origin.
pub async fn preflight(With(state): With<State>, parts: Parts) -> Response {
    let key = key_in_query(&parts);
    let origin = text(&parts.headers, ORIGIN.as_str());
    let allowed = origin.filter(|origin| state.platform.some_tenant_allows(key.as_deref(), origin));
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    allow(headers, allowed);
    if allowed.is_some() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("x-bitcall-key, content-type, idempotency-key"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

pub fn key_in_query(parts: &Parts) -> Option<String> {
    let query = parts.uri.query()?.as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    pairs.find_map(|(name, value)| (name == "key").then(|| value.into_owned()))
}

fn allow(headers: &mut HeaderMap, origin: Option<&str>) {
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy, idempotency-replayed"),
        );
    }
}

/// The origin of the address that this request was sent to.
fn own_origin(parts: &Parts) -> Option<String> {
    let host = authority(parts)?;
    let scheme = match Via::of(parts) {
        Via::Https { .. } => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}").to_ascii_lowercase())
}

/// The address that this request was sent to: HTTP/2 has it in the URI, HTTP/1.1 in `Host`.
pub fn authority(parts: &Parts) -> Option<&str> {
    parts.uri.authority().map(Authority::as_str).or_else(|| text(&parts.headers, HOST.as_str()))
}

pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
