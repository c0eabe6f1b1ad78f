//! A reverse proxy in front of Bitcall that fails on demand, as caches, proxies and unfinished upgrades do.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::bitcall::Bitcall;

/// What does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Bitcall is not there.
    ServerDown,
    /// Somebody else's page stands in the phone's frame.
    Frame,
    /// The WebAssembly module of phone and agent: 404 for the shared worker; pages get it.
    ModuleGoneForWorkers,
    /// 404 for everybody.
    ModuleGone,
    /// 200, but no WebAssembly.
    ModuleGarbage,
    /// 404 for the part that is loaded later: an upgrade under an open page.
    PartGone,
    /// 503 for that part.
    PartUnavailable,
}

pub struct FaultProxy {
    port: u16,
    fault: Arc<Mutex<Fault>>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    pub async fn start(bitcall: &Bitcall, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(fault));
        let (theirs, ours) = (bitcall.origin().to_owned(), format!("http://127.0.0.1:{port}"));
        let now = Arc::clone(&fault);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (theirs, ours, fault) = (theirs.clone(), ours.clone(), *now.lock().unwrap());
            async move { answer(request, &theirs, &ours, fault).await }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, fault, task }
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request, theirs: &str, ours: &str, fault: Fault) -> Response {
    let path = request.uri().to_string();
    let is_module = path.contains("/bitcall-") && path.contains(".wasm");
    let is_part = path.contains("/secondary-");
    match fault {
        Fault::ServerDown => return StatusCode::BAD_GATEWAY.into_response(),
        Fault::Frame if path.starts_with("/webphone/?") => {
            return ([(header::CONTENT_TYPE, "text/html")], "<!doctype html>Blocked by the proxy").into_response();
        }
        Fault::ModuleGoneForWorkers if is_module && by_worker(request.headers()) => {
            return StatusCode::NOT_FOUND.into_response();
        }
        Fault::ModuleGone if is_module => return StatusCode::NOT_FOUND.into_response(),
        Fault::ModuleGarbage if is_module => {
            return ([(header::CONTENT_TYPE, "application/wasm")], "not a module").into_response();
        }
        Fault::PartGone if is_part => return StatusCode::NOT_FOUND.into_response(),
        Fault::PartUnavailable if is_part => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => {}
    }
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("{theirs}{path}").parse().unwrap();
    // Asked by its own name, the server names itself by it: its WebSocket is not behind this proxy.
    parts.headers.remove(header::HOST);
    // Addresses in the answer are rewritten below, so it must not be compressed.
    parts.headers.remove(header::ACCEPT_ENCODING);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let Ok(answer) = client.request(Request::from_parts(parts, body)).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (mut parts, body) = answer.into_parts();
    // Not cached, so that the browser meets the fault that is set now.
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = body.collect().await.unwrap().to_bytes();
    let json =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !json {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = String::from_utf8_lossy(&body).replace(theirs, ours);
    Response::from_parts(parts, Body::from(body))
}

/// A worker's requests have its script's address as referrer, not the page's.
fn by_worker(headers: &HeaderMap) -> bool {
    headers.get(header::REFERER).is_some_and(|from| from.as_bytes().windows(8).any(|part| part == b"/worker-"))
}
