//! The runtime configuration for the loader, on pages of tenants' customers:
//! the only route here that browsers of foreign origins may read.
//!
//! The server answers the good case from prepared bytes before the router; this
//! is the whole behaviour, refusals and preflight included.

use axum::extract::State as With;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{StatusCode, uri::Authority};
use axum::response::{IntoResponse, Response};

use super::State;
use super::access::Via;
use super::error::ApiError;

pub async fn config(With(state): With<State>, parts: Parts) -> Response {
    let in_query = key_in_query(&parts);
    let key = in_query.as_deref().or_else(|| text(&parts.headers, KEY_HEADER));
    // An Origin that is no text is nobody's.
    let origin = parts.headers.get(ORIGIN).map(|value| value.to_str().unwrap_or("null"));
    let own = own_origin(&parts);
    let (mut response, allowed) = match state.platform.runtime_config(key, origin, own.as_deref()) {
        Ok(answer) => {
            let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            ((json, answer.body).into_response(), answer.allow_origin)
        }
        Err(refusal) => {
            let response = ApiError::from(refusal).into_response();
            (response, refusal.allow_origin(origin))
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    allow(headers, allowed);
    response
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
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(KEY_HEADER));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

fn key_in_query(parts: &Parts) -> Option<String> {
    let query = parts.uri.query()?.as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    pairs.find_map(|(name, value)| (name == "key").then(|| value.into_owned()))
}

fn allow(headers: &mut HeaderMap, origin: Option<&str>) {
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// The origin of the address that this request was sent to.
fn own_origin(parts: &Parts) -> Option<String> {
    let authority = parts.uri.authority().map(Authority::as_str);
    let host = authority.or_else(|| text(&parts.headers, HOST.as_str()))?;
    let scheme = match Via::of(parts) {
        Via::Https => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}").to_ascii_lowercase())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

const KEY_HEADER: &str = "x-bitcall-key";
