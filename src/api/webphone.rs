//! The runtime configuration, which the loader asks for on every page view.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bitcall_wire::config::RuntimeConfig;

use super::ApiState;
use super::access::Audience;
use super::endpoint::{Endpoint, nothing};
use super::limits::OmitRateLimit;
use super::runtime_caller::{self, RuntimeCaller};

pub fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::with_service::<(), RuntimeConfig>(
        Method::GET,
        "/api/webphone/config",
        Audience::Runtime,
        "The tenant's runtime configuration, for the loader",
        nothing,
        get(config).options(runtime_caller::preflight),
    )]
}

/// The body is JSON in its envelope already: it is kept in memory with the key.
async fn config(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let parts = request.into_parts().0;
    let mut caller = RuntimeCaller::of(&parts);
    let answer = caller.admit(&state, runtime_caller::key_of(&parts).as_deref()).map(|key| {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (json, state.platform.runtime_body(&key)).into_response();
        response.extensions_mut().insert(OmitRateLimit);
        response
    });
    let mut response = caller.respond(answer);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
