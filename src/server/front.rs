//! The front door: which part of the house a request is for.
//!
//! The runtime configuration, which every page view of every customer's site
//! asks for, is answered here from prepared bytes, before the router.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, ORIGIN,
    STRICT_TRANSPORT_SECURITY, VARY,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use tower::Service as _;

use super::assets;
use super::body::Answer;
use super::connection::Visit;
use super::{fault, websocket};
use crate::edge::Edge;
use crate::tenancy::Platform;

const X_BITCALL_KEY: HeaderName = HeaderName::from_static("x-bitcall-key");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who is asking, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Remote(SocketAddr),
    /// On the operations listener.
    Operations(SocketAddr),
    /// On the control socket: somebody whom its file permissions let in.
    Local {
        uid: u32,
    },
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) | Self::Operations(address) => write!(f, "{address}"),
            Self::Local { uid } => write!(f, "uid {uid}"),
        }
    }
}

/// What is behind the door.
pub struct Front {
    pub api: axum::Router,
    pub platform: Platform,
    pub edge: Edge,
    /// What the playground must know to sign its phone in; `bitcall demo` only.
    pub demo: Option<Bytes>,
    /// Browsers are told to come back by HTTPS only.
    pub strict_transport: bool,
    pub request_ids: RequestIds,
}

impl Front {
    pub async fn answer(visit: &Arc<Visit>, request: Request<Incoming>) -> Response<Answer> {
        let front = &visit.shared.front;
        let id = front.request_ids.next();
        let mut response = match visit.caller {
            Caller::Remote(peer) => front.public(visit, request, peer).await,
            Caller::Local { .. } => front.routed(visit, request).await,
            Caller::Operations(_) => operations(visit, &request),
        };
        response.headers_mut().entry(X_REQUEST_ID).or_insert(id);
        response
    }

    async fn public(&self, visit: &Arc<Visit>, request: Request<Incoming>, peer: SocketAddr) -> Response<Answer> {
        match request.uri().path() {
            "/api/webphone/config" => match runtime_config(&self.platform, visit.tls, &request) {
                Some(prepared) => prepared,
                // Everything but success is the router's business.
                None => self.routed(visit, request).await,
            },
            "/sip" => websocket::accept(request, &self.edge, peer, visit.clone()),
            "/demo.json" if self.demo.is_some() => self.demo(peer),
            "/webphone" => moved("/webphone/"),
            path if path.starts_with("/api/") => self.routed(visit, request).await,
            _ => self.asset(visit, &request),
        }
    }

    fn asset(&self, visit: &Visit, request: &Request<Incoming>) -> Response<Answer> {
        let Some(asset) = assets::find(request.uri().path()) else {
            return fault::answer(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this address");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = fault::answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "only GET and HEAD are possible here",
            );
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let mut response = asset.answer(request.headers());
        if visit.tls && self.strict_transport {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }

    /// The router of the API, within the time a request may take (its body's arrival included).
    async fn routed(&self, visit: &Visit, request: Request<Incoming>) -> Response<Answer> {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(visit.via());
        let answer = self.api.clone().call(request);
        match tokio::time::timeout(visit.shared.limits.request_timeout, answer).await {
            Ok(Ok(response)) => response.map(Answer::Routed),
            Ok(Err(never)) => match never {},
            Err(_) => fault::answer(
                StatusCode::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "the request did not arrive, or was not answered, in time",
            ),
        }
    }

    /// Passwords of throw-away extensions, so for this machine only.
    fn demo(&self, peer: SocketAddr) -> Response<Answer> {
        match &self.demo {
            Some(demo) if peer.ip().is_loopback() => {
                let mut response = Response::new(Answer::from(demo.clone()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            _ => fault::answer(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this address"),
        }
    }
}

/// The prepared runtime configuration, for a request that is entitled to it.
fn runtime_config<B>(platform: &Platform, tls: bool, request: &Request<B>) -> Option<Response<Answer>> {
    if request.method() != Method::GET {
        return None;
    }
    let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let in_query = || {
        let mut pairs = request.uri().query()?.split('&');
        // No character of a key is ever escaped; the router sorts out what is stranger.
        pairs.find_map(|pair| pair.strip_prefix("key="))
    };
    let key = in_query().or_else(|| text(&X_BITCALL_KEY))?;
    let origin = text(&ORIGIN);
    // Ours is the page whose origin is the address that this request was sent to.
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(&HOST));
    let scheme = if tls { "https://" } else { "http://" };
    let own = origin.filter(|origin| origin.strip_prefix(scheme).is_some_and(|rest| host == Some(rest)));
    let answer = platform.runtime_config(Some(key), origin, own).ok()?;

    let mut response = Response::new(Answer::from(answer.body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if answer.allow_origin.is_some()
        && let Some(origin) = request.headers().get(ORIGIN)
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    Some(response)
}

/// For monitoring: alive, and willing to take requests.
fn operations(visit: &Visit, request: &Request<Incoming>) -> Response<Answer> {
    let stopping = *visit.shared.stop.borrow();
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok\n"),
        "/readyz" if stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::NOT_FOUND, "only /healthz and /readyz are here\n"),
    };
    let mut response = Response::new(Answer::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn moved(to: &'static str) -> Response<Answer> {
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    response
}

/// Numbers requests: a prefix per start of the server, then a counter.
pub struct RequestIds {
    prefix: String,
    count: AtomicU64,
}

impl RequestIds {
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut prefix = [0_u8; 4];
        getrandom::fill(&mut prefix)?;
        Ok(Self { prefix: format!("{:08x}", u32::from_be_bytes(prefix)), count: AtomicU64::new(0) })
    }

    pub fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // Hexadecimal digits are always a valid header value.
        HeaderValue::try_from(format!("{}{count:08x}", self.prefix)).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}
