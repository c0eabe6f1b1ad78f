//! The runtime configuration, which the loader and the phone ask for on every page view, and who may frame the phone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bitcall_wire::config::RuntimeConfig;

use super::ApiState;
use super::access::Audience;
use super::concerned_tenant::ConcernedTenant;
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::form::{Form, text};
use super::limits::OmitRateLimit;
use super::runtime_caller::{self, Readers, RuntimeCaller, RuntimeError};
use crate::tenancy::{KeyPurpose, RuntimeRefusal};

/// The session of the phone that asks, for its reports of calls; see [`crate::tenancy`].
const X_BITCALL_SESSION: HeaderName = HeaderName::from_static("x-bitcall-session");

pub fn endpoints() -> Vec<Endpoint> {
    let config = Endpoint::with_service::<(), RuntimeConfig>(
        Method::GET,
        "/api/webphone/config",
        Audience::Runtime,
        "The tenant's runtime configuration, for the loader and the phone",
        query,
        get(config).options(runtime_caller::preflight),
    );
    vec![Endpoint { key_purpose: Some(KeyPurpose::Pages), ..config }]
}

/// The phone, whose own origin says nothing of the page that frames it, sends that page's origin as `pageOrigin`, as
/// the browser tells it with each message of the page.
fn query(form: &mut Form) -> Option<()> {
    form.optional("pageOrigin", text());
    Some(())
}

/// The body is JSON in its envelope already: it is kept in memory with the key.
async fn config(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let parts = request.into_parts().0;
    let mut caller = RuntimeCaller::of(&parts);
    let page_origin = runtime_caller::in_query(&parts.uri, "pageOrigin");
    let admitted = caller.admit(&state, runtime_caller::key_of(&parts).as_deref(), KeyPurpose::Pages).and_then(|key| {
        let is_admitted = page_origin.as_ref().is_none_or(|origin| {
            state.platform.admits_page(&key.state, origin) || caller.reaches_demo_at(&state, origin)
        });
        if is_admitted { Ok(key) } else { Err(RuntimeRefusal::OriginForbidden.into()) }
    });
    let is_phone = page_origin.is_some();
    let answer = admitted.and_then(|key| {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (json, state.platform.runtime_body(&key, caller.authority())).into_response();
        if is_phone {
            let session = state.platform.new_page_session(&key.state.tenant.id).map_err(ApiError::from);
            let session = session.map_err(|error| RuntimeError { error, readers: Readers::Caller })?;
            response
                .headers_mut()
                .extend(HeaderValue::try_from(session).ok().map(|session| (X_BITCALL_SESSION, session)));
        }
        response.extensions_mut().insert(OmitRateLimit);
        Ok(response)
    });
    let mut response = caller.respond(answer);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// The `frame-ancestors` directive (Content Security Policy Level 3, section 6.4.2.1) of the phone's page, which its
/// loader asks for with the tenant's key: the browser shows the page only where every page around it is of these origins.
pub fn frame_ancestors(
    state: &ApiState,
    uri: &Uri,
    headers: &HeaderMap,
    concerned: Option<&ConcernedTenant>,
) -> String {
    let key = runtime_caller::in_query(uri, "key");
    if let (Some(concerned), Some(key)) = (concerned, &key)
        && let Some(found) = state.platform.key(key)
    {
        concerned.set(&found.state.tenant.id);
    }
    let origins = state.platform.embedding_origins(key.as_deref());
    // An origin that a host-source (section 2.3.1) cannot express is left out: what it has more could end the directive.
    let is_host_source = |origin: &String| {
        origin
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'*'))
    };
    let mut sources: Vec<String> = origins.into_iter().filter(is_host_source).collect();
    if sources.is_empty() {
        return "frame-ancestors 'none'".to_owned();
    }
    // No host-source has an IPv6 address.
    if state.platform.defaults().reached_at(runtime_caller::authority(uri, headers)).is_some() {
        sources.push("'self'".to_owned());
    }
    format!("frame-ancestors {}", sources.join(" "))
}
