//! What the demo's site is told, so that its phone signs in by itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Request, Response};

use crate::api::{self, ApiError, Code};
use crate::tenancy::Defaults;

pub struct Playground {
    /// By which names the demo is reached. A page of another site can let its own name lead to this machine; then it is
    /// that name that the browser asks for.
    pub defaults: Arc<Defaults>,
    /// JSON with the passwords of throw-away extensions, for this machine.
    pub body: Bytes,
    /// The same without passwords.
    pub body_elsewhere: Bytes,
}

impl Playground {
    pub fn answer<B>(&self, request: &Request<B>, peer: IpAddr) -> Response<Body> {
        let asked = api::authority(request.uri(), request.headers());
        let public = &self.defaults.public_url[url::Position::BeforeHost..url::Position::AfterPort];
        if asked != Some(public) && self.defaults.reached_at(asked).is_none() {
            let message = format!(
                "The demo is not known by this name. Open {} on its machine, or start it by `bitcall demo --public-url` with the address of this page.",
                self.defaults.public_url
            );
            return ApiError::new(Code::DemoNameUnknown, message).into_response();
        }
        let body = if is_this_machine(peer) { &self.body } else { &self.body_elsewhere };
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body.clone()).into_response()
    }
}

/// A tunnel that runs here counts, too: whoever has started one has opened the demo.
fn is_this_machine(peer: IpAddr) -> bool {
    let is_own = || if_addrs::get_if_addrs().is_ok_and(|own| own.iter().any(|interface| interface.ip() == peer));
    peer.is_loopback() || is_own()
}
