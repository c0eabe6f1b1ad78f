//! The HTTP API: thin handlers by audience over [`crate::tenancy`]. A request's
//! way: request id → the [`endpoint`], which knows who may ask and what → one
//! handler → one rule → the envelope.
//!
//! The command line uses the same router, over the control socket or in process.

#![allow(clippy::unnecessary_wraps)] // every form is fn(&mut Form) -> Option<_>, also one that cannot fail

mod access;
mod admin;
mod answer;
mod app;
mod audit;
mod auth;
mod body;
mod certificate_admin;
mod certificates;
mod code;
mod document;
mod domain_admin;
mod domains;
mod endpoint;
mod error;
mod etag;
mod extensions;
mod form;
mod idempotency;
mod json;
mod keys;
mod limits;
mod live_calls;
mod page;
mod plans;
mod runtime_caller;
mod settings;
mod subdomains;
mod tenants;
mod transport;
mod views;
mod webphone;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;

pub use access::{Access, EntryPoint, secret_name};
pub use answer::{ErrorFormat, RequestId, finish};
pub use code::Code;
use endpoint::Endpoint;
pub use error::ApiError;
pub use limits::{RequestLimits, behind_proxy};

use crate::certs::{CertificateStore, Certs};
use crate::domains::Domains;
use crate::tenancy::Platform;

/// Bytes of a request's body; the largest settings that a tenant may have fit.
const MAX_BODY: usize = 64 << 10;

/// What every handler can reach.
#[derive(Clone)]
pub struct ApiState {
    pub platform: Platform,
    pub domains: Domains,
    pub access: Access,
    pub limits: Arc<RequestLimits>,
    pub certificate_store: Arc<CertificateStore>,
    /// Where certificates come by themselves.
    pub certs: Option<Certs>,
}

/// All routes under `/api/`. The listener puts an [`EntryPoint`] into the request's extensions; without one the request
/// counts as plain HTTP from an unknown address.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, endpoint.service);
    }
    router
        .route("/api/app/manifest.json", get(app::manifest))
        .route("/api/openapi.json", get(document::serve))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(state.clone(), limits::enforce))
        .layer(middleware::from_fn(answer::with_request_id))
        .with_state(state)
}

/// Every route whose request and answer are JSON.
pub fn endpoints() -> Vec<Endpoint> {
    let rooms = [
        tenants::endpoints(),
        keys::endpoints(),
        extensions::endpoints(),
        webphone::endpoints(),
        auth::endpoints(),
        admin::endpoints(),
        audit::endpoints(),
        plans::endpoints(),
        transport::endpoints(),
        live_calls::endpoints(),
        subdomains::endpoints(),
        domains::endpoints(),
        domain_admin::endpoints(),
        certificates::endpoints(),
        certificate_admin::endpoints(),
        app::endpoints(),
    ];
    rooms.into_iter().flatten().collect()
}
