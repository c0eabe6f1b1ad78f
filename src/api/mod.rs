//! The HTTP API: thin handlers by audience over [`crate::tenancy`]. A request's
//! way: request id → rate limits → the [`endpoint`], which knows who may ask and what → one
//! handler → one rule → the envelope.
//!
//! The command line uses the same API, over the control socket or in process.

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
mod concerned_tenant;
mod credential_log;
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
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower::Service as _;

pub use access::{Access, EntryPoint, secret_name};
pub use answer::{ErrorFormat, RequestId, finish};
pub use auth::LINK_TTL_SECONDS;
pub use code::Code;
pub use concerned_tenant::ConcernedTenant;
use endpoint::Endpoint;
pub use error::ApiError;
pub use keys::MAX_OVERLAP_SECONDS;
pub use limits::RequestLimits;
pub use runtime_caller::authority;

use crate::certs::{CertificateStore, Certs};
use crate::domains::Domains;
use crate::tenancy::Platform;

/// Bytes of a request's body; the largest settings that a tenant may have fit.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What every handler can reach.
pub struct ApiState {
    pub platform: Platform,
    pub domains: Domains,
    pub access: Access,
    pub limits: Arc<RequestLimits>,
    pub certificate_store: Arc<CertificateStore>,
    /// Where certificates come by themselves.
    pub certs: Option<Certs>,
}

/// All routes under `/api/`, and what is done around each of them.
///
/// That is one function, not layers of the router: of those, each would allocate for each request.
#[derive(Clone)]
pub struct Api {
    router: Router,
    state: Arc<ApiState>,
}

impl Api {
    pub fn new(state: ApiState) -> Self {
        let state = Arc::new(state);
        let mut router = Router::new();
        for endpoint in endpoints() {
            router = router.route(endpoint.path, endpoint.service);
        }
        let router = router
            .route("/api/app/manifest.json", get(app::manifest))
            .route("/api/openapi.json", get(document::serve))
            .fallback(answer::not_found)
            .method_not_allowed_fallback(answer::method_not_allowed)
            .with_state(Arc::clone(&state));
        Self { router, state }
    }

    /// See [`webphone::frame_ancestors`].
    pub fn frame_ancestors(&self, uri: &Uri, headers: &HeaderMap, concerned: Option<&ConcernedTenant>) -> String {
        webphone::frame_ancestors(&self.state, uri, headers, concerned)
    }

    /// Answers a request within `time_limit`, the arrival of its body included. The listener puts an [`EntryPoint`]
    /// into the request's extensions; without one it counts as plain HTTP from an unknown address.
    pub async fn answer(&self, mut request: Request, time_limit: Duration) -> Response {
        let (id, format) = (RequestId::for_request(request.headers()), ErrorFormat::of(request.headers()));
        request.extensions_mut().insert(id.clone());
        let route = |request: Request| {
            let mut router = self.router.clone();
            async move { router.call(request).await.unwrap_or_else(|never| match never {}) }
        };
        let answer = tokio::time::timeout(time_limit, limits::enforce(&self.state.limits, request, route));
        let mut response = answer.await.unwrap_or_else(|_| {
            let message = "the request did not arrive, or was not answered, in time";
            ApiError::new(Code::RequestTimeout, message).into_response()
        });
        finish(&mut response, format, id);
        response
    }
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
