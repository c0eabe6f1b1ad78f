//! The HTTP API: thin handlers by audience over [`crate::tenancy`]. A request's
//! way: envelope and request id → the extractor that knows who is asking → one
//! handler → one rule.
//!
//! The command line uses the same router, over the control socket or in process.

mod access;
mod answer;
mod body;
mod error;
mod extensions;
mod form;
mod keys;
mod tenants;
mod views;
mod webphone;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, patch, post};

pub use access::{Access, Via};

use crate::tenancy::Platform;

/// What every handler can reach.
#[derive(Clone)]
pub struct State {
    pub platform: Platform,
    pub access: Arc<Access>,
}

/// All routes under `/api/`. The listener tells by a [`Via`] in the request's
/// extensions how the request came in; without one it counts as plain HTTP from anywhere.
pub fn router(platform: Platform, access: Access) -> Router {
    Router::new()
        .route("/api/tenant/provision", post(tenants::provision))
        .route("/api/tenant", get(tenants::show))
        .route("/api/tenant/config", patch(tenants::change))
        .route("/api/tenant/api-keys", post(keys::create))
        .route("/api/tenant/api-keys/{id}", delete(keys::revoke))
        .route("/api/tenant/extensions", get(extensions::list).post(extensions::add))
        .route("/api/tenant/extensions/{username}", delete(extensions::remove))
        .route("/api/admin/tenants", get(tenants::list))
        .route("/api/webphone/config", get(webphone::config).options(webphone::preflight))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(answer::with_request_id))
        .with_state(State { platform, access: Arc::new(access) })
}

/// Bytes of a request's body; the largest settings that a tenant may have fit.
const MAX_BODY: usize = 64 << 10;
