//! `/sip`: the opening handshake of a WebSocket (RFC 6455 section 4.2) with the
//! subprotocol `sip` (RFC 7118), after which the edge has the stream.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection_info::ConnectionInfo;
use crate::api::{ApiError, Code};
use crate::edge::{self, Edge};

/// Checks the handshake, answers it, and hands the stream over once the answer is out.
/// `info` is kept while the socket is open, because its permit counts among the allowed connections.
pub fn accept<B>(mut request: Request<B>, edge: &Edge, peer: SocketAddr, info: Arc<ConnectionInfo>) -> Response<Body> {
    if let Some(refusal) = refusal(&request) {
        return refusal;
    }
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return not_a_handshake("Sec-WebSocket-Key is missing");
    };
    let accept = derive_accept_key(key.as_bytes());
    let Ok(accept) = HeaderValue::try_from(accept) else {
        return not_a_handshake("Sec-WebSocket-Key is malformed");
    };

    let source = info.client_address(request.headers()).unwrap_or(peer.ip());
    let upgrade = hyper::upgrade::on(&mut request);
    let edge = edge.clone();
    // A task of its own: the HTTP connection's task, with its buffers, ends with the upgrade.
    tokio::spawn(async move {
        match upgrade.await {
            // When the server stops, the edge takes its leave of the phone, which has a moment to answer.
            Ok(stream) => tokio::select! {
                () = edge.serve(TokioIo::new(stream), peer, source) => {}
                () = info.until_close_timeout() => {}
            },
            Err(error) => tracing::debug!(%peer, %error, "the client left during the upgrade"),
        }
        drop(info);
    });

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(edge::SUBPROTOCOL));
    response
}

/// Why this is no handshake for SIP, if it is not.
fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Some(not_a_handshake("expected GET over HTTP/1.1"));
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        let mut refusal =
            error(Code::UpgradeRequired, "this is the SIP edge: connect by WebSocket with the subprotocol `sip`");
        refusal.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return Some(refusal);
    }
    if !has_token(headers, &SEC_WEBSOCKET_VERSION, "13") {
        let mut refusal = not_a_handshake("only WebSocket version 13 is spoken here");
        refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Some(refusal);
    }
    let offers_sip =
        headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok()).any(edge::offers_sip);
    if !offers_sip {
        return Some(not_a_handshake("the subprotocol `sip` is not among those offered"));
    }
    None
}

fn error(code: Code, message: &str) -> Response<Body> {
    ApiError::new(code, message).into_response()
}

fn not_a_handshake(message: &str) -> Response<Body> {
    error(Code::BadWebsocketHandshake, message)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}
