//! Which part of the server a request is for: the SIP edge, the API, an asset, a redirect, an ACME challenge, a health
//! check.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::access_log::AccessLog;
use super::connection_info::{ConnectionInfo, Peer};
use super::noted_request::NotedRequest;
use super::playground::Playground;
use super::redirect::{self, HttpTokens};
use super::request_body::RequestBody;
use super::{assets, websocket};
use crate::api::{self, Api, ApiError, Code, ErrorFormat, RequestId};
use crate::config::LimitSettings;
use crate::edge::Edge;
use crate::supervision::Health;

/// Answers every request of every listener.
pub struct RequestHandler {
    pub api: Api,
    pub edge: Edge,
    /// `bitcall demo` only.
    pub demo: Option<Playground>,
    /// The answers to HTTP-01 challenges, where ACME is configured.
    pub challenges: Option<Arc<dyn HttpTokens>>,
    /// The port of HTTPS, as clients reach it.
    pub https_port: u16,
    /// Browsers are told to come back by HTTPS only.
    pub strict_transport: bool,
    pub limits: watch::Receiver<LimitSettings>,
    /// What `/readyz` tells.
    pub health: Health,
    /// Where it is wanted.
    pub access_log: Option<Arc<AccessLog>>,
}

impl RequestHandler {
    pub async fn handle(
        &self,
        info: &Arc<ConnectionInfo>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Body>, Infallible> {
        let noted = NotedRequest::of(self.access_log.as_ref(), info, &mut request);
        let response = self.answer(info, request).await;
        Ok(match noted {
            Some(noted) => noted.answered(response),
            None => response,
        })
    }

    async fn answer(&self, info: &Arc<ConnectionInfo>, request: Request<RequestBody>) -> Response<Body> {
        // A proxy before this server and this server could each go by another one (RFC 9112 section 3.2).
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            let mut response = refusal(Code::BadRequest, "the request has more than one Host header");
            api::finish(&mut response, ErrorFormat::of(request.headers()), RequestId::for_request(request.headers()));
            return response;
        }
        // The API gives its answers their id and error format itself.
        let is_api = match info.peer {
            Peer::Remote(_) => request.uri().path().starts_with("/api/"),
            Peer::Local { .. } => true,
            Peer::Redirect(_) | Peer::Operations(_) => false,
        };
        if is_api {
            return self.api(info, request).await;
        }
        let (id, format) = (RequestId::for_request(request.headers()), ErrorFormat::of(request.headers()));
        let mut response = match info.peer {
            Peer::Remote(peer) => self.public(info, request, peer),
            Peer::Local { .. } => refusal(Code::NotFound, "only the API is served here"),
            Peer::Redirect(_) => {
                self.challenge(&request).unwrap_or_else(|| redirect::redirect(&request, self.https_port))
            }
            Peer::Operations(_) => operations(info, &self.health, &request),
        };
        api::finish(&mut response, format, id);
        response
    }

    fn public(&self, info: &Arc<ConnectionInfo>, request: Request<RequestBody>, peer: SocketAddr) -> Response<Body> {
        match request.uri().path() {
            "/sip" => websocket::accept(request, &self.edge, peer, Arc::clone(info)),
            "/demo.json" if let Some(demo) = &self.demo => demo.answer(&request, peer.ip()),
            "/webphone" => permanent_redirect("/webphone/"),
            _ => self.challenge(&request).unwrap_or_else(|| self.asset(info, &request)),
        }
    }

    fn challenge<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        redirect::challenge(self.challenges.as_deref(), request)
    }

    fn asset(&self, info: &ConnectionInfo, request: &Request<RequestBody>) -> Response<Body> {
        let Some(asset) = assets::find(request.uri().path()) else {
            return refusal(Code::NotFound, "there is nothing at this address");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = refusal(Code::MethodNotAllowed, "only GET and HEAD are possible here");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let concerned = || request.extensions().get();
        let frame_ancestors =
            asset.is_phone_page().then(|| self.api.frame_ancestors(request.uri(), request.headers(), concerned()));
        let mut response = asset.answer(request.headers(), frame_ancestors.as_deref());
        if info.is_tls && self.strict_transport {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }

    async fn api(&self, info: &ConnectionInfo, request: Request<RequestBody>) -> Response<Body> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(info.entry_point());
        let timeout = self.limits.borrow().request_timeout;
        self.api.answer(request, timeout).await
    }
}

/// What the server itself refuses, in the form of the API.
pub fn refusal(code: Code, message: &str) -> Response<Body> {
    ApiError::new(code, message).into_response()
}

/// For monitoring: alive; and willing to take requests and able to do all that they may ask for.
fn operations(info: &ConnectionInfo, health: &Health, request: &Request<RequestBody>) -> Response<Body> {
    let readiness = || match health.problems() {
        _ if *info.stopping.borrow() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        problems if problems.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        problems => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", problems.join("; "))),
    };
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => readiness(),
        _ => (StatusCode::NOT_FOUND, "only /healthz and /readyz are here\n".to_owned()),
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn permanent_redirect(to: &'static str) -> Response<Body> {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, to)]).into_response()
}
