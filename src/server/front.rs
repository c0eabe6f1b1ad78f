//! The front door: which part of the house a request is for.
//!
//! The runtime configuration, which every page view of every customer's site
//! asks for, is answered here from prepared bytes, before the router.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
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
use super::redirect::{self, HttpTokens};
use super::websocket;
use crate::api::{self, ApiError, Code, Limits, Manner, RequestId, Source, X_REQUEST_ID};
use crate::edge::Edge;
use crate::tenancy::Platform;

const X_BITCALL_KEY: HeaderName = HeaderName::from_static("x-bitcall-key");

/// Who is asking, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Remote(SocketAddr),
    /// On the listener that sends everybody to HTTPS.
    InClear(SocketAddr),
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
            Self::Remote(address) | Self::InClear(address) | Self::Operations(address) => write!(f, "{address}"),
            Self::Local { uid } => write!(f, "uid {uid}"),
        }
    }
}

/// An answer, there or on its way.
pub type Answering =
    Either<Ready<Result<Response<Answer>, Infallible>>, BoxFuture<'static, Result<Response<Answer>, Infallible>>>;

/// What is behind the door.
pub struct Front {
    pub api: axum::Router,
    pub platform: Platform,
    pub edge: Edge,
    /// What the playground must know to sign its phone in; `bitcall demo` only.
    pub demo: Option<Bytes>,
    /// The answers to certificate authorities, where certificates come by themselves.
    pub challenges: Option<Arc<dyn HttpTokens>>,
    /// The port of HTTPS, as clients reach it.
    pub https_port: u16,
    /// Browsers are told to come back by HTTPS only.
    pub strict_transport: bool,
    pub limits: Arc<Limits>,
}

impl Front {
    /// At once where the answer is prepared. All else is on the heap: HTTP/2 moves what a request is answered
    /// by from hand to hand, and it should be small.
    pub fn answer(visit: Arc<Visit>, request: Request<Incoming>) -> Answering {
        let id = RequestId::for_request(request.headers());
        if let Some(prepared) = visit.shared.front.prepared(&visit, &request) {
            return Either::Left(ready(Ok(told(prepared, || Manner::of(request.headers()), id))));
        }
        let manner = Manner::of(request.headers());
        Either::Right(Box::pin(async move {
            let front = &visit.shared.front;
            let response = match visit.caller {
                Caller::Remote(peer) => front.public(&visit, request, peer, &id).await,
                Caller::Local { .. } => front.routed(&visit, request, &id).await,
                Caller::InClear(_) => {
                    front.challenge(&request).unwrap_or_else(|| redirect::redirect(&request, front.https_port))
                }
                Caller::Operations(_) => operations(&visit, &request),
            };
            Ok(told(response, || manner, id))
        }))
    }

    /// Only success; everything else is the router's business.
    fn prepared(&self, visit: &Visit, request: &Request<Incoming>) -> Option<Response<Answer>> {
        match (visit.caller, request.uri().path()) {
            (Caller::Remote(peer), "/api/webphone/config") => self.runtime_config(visit.tls, request, peer),
            _ => None,
        }
    }

    async fn public(
        &self,
        visit: &Arc<Visit>,
        request: Request<Incoming>,
        peer: SocketAddr,
        id: &RequestId,
    ) -> Response<Answer> {
        match request.uri().path() {
            "/sip" => websocket::accept(request, &self.edge, peer, visit.clone()),
            "/demo.json" if self.demo.is_some() => self.demo(peer),
            "/webphone" => moved("/webphone/"),
            path if path.starts_with("/api/") => self.routed(visit, request, id).await,
            _ => self.challenge(&request).unwrap_or_else(|| self.asset(visit, &request)),
        }
    }

    fn challenge<B>(&self, request: &Request<B>) -> Option<Response<Answer>> {
        redirect::challenge(self.challenges.as_deref(), request)
    }

    fn asset(&self, visit: &Visit, request: &Request<Incoming>) -> Response<Answer> {
        let Some(asset) = assets::find(request.uri().path()) else {
            return refused(Code::NotFound, "there is nothing at this address");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = refused(Code::MethodNotAllowed, "only GET and HEAD are possible here");
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
    async fn routed(&self, visit: &Visit, request: Request<Incoming>, id: &RequestId) -> Response<Answer> {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(visit.via());
        request.extensions_mut().insert(id.clone());
        let answer = self.api.clone().call(request);
        match tokio::time::timeout(visit.shared.limits.request_timeout, answer).await {
            Ok(Ok(response)) => response.map(Answer::Routed),
            Ok(Err(never)) => match never {},
            Err(_) => refused(Code::RequestTimeout, "the request did not arrive, or was not answered, in time"),
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
            _ => refused(Code::NotFound, "there is nothing at this address"),
        }
    }

    /// The prepared runtime configuration, for a request that is entitled to it. Only its refusals
    /// tell of limits: for a page that is well within them, that would be a quarter more to send.
    fn runtime_config<B>(&self, tls: bool, request: &Request<B>, peer: SocketAddr) -> Option<Response<Answer>> {
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
        let answer = self.platform.runtime_config(Some(key), origin, own).ok()?;
        let peer = if tls { peer.ip() } else { api::behind_proxy(peer.ip(), request.headers()) };
        if let Err(too_many) = self.limits.page(Source::of(peer), &answer.key, origin) {
            let mut refusal = ApiError::from(too_many).into_response().map(Answer::Routed);
            if let Some(origin) = request.headers().get(ORIGIN) {
                refusal.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
            refusal.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
            return Some(refusal);
        }

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
}

/// An answer as its caller wants to be told, with the request's name.
fn told(mut response: Response<Answer>, manner: impl FnOnce() -> Manner, id: RequestId) -> Response<Answer> {
    // How somebody wants to be refused is no question in a success.
    if !response.status().is_success()
        && let Some(body) = manner().retold(&mut response, &id)
    {
        *response.body_mut() = body.into();
    }
    let mut id = id.0;
    // HTTP/2 keeps headers to refer to them in later answers (RFC 7541 section 7.1.3); this one never comes again.
    id.set_sensitive(true);
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// What the server itself refuses, in the form of the API.
pub fn refused(code: Code, message: &str) -> Response<Answer> {
    ApiError::new(code, message).into_response().map(Answer::Routed)
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
