//! Plain HTTP for those who do not know better yet: certificate authorities fetch the answers to
//! their challenges here (RFC 8555 section 8.3), everybody else is sent to HTTPS. It is cheap: one
//! request for each connection, no body is read, and few connections at a time.

use std::time::Duration;

use axum::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode};

const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
const DEFAULT_HTTPS_PORT: u16 = 443;
/// Connections at a time; further ones wait in the kernel.
pub const MAX_CONNECTIONS: usize = 256;
/// Of these, from one address (by IPv6: one /64).
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 64;
/// For the request's header, and at most what `limits.header_timeout` allows.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's header may have this many bytes.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The answers to HTTP-01 challenges.
pub trait HttpTokens: Send + Sync + 'static {
    /// The key authorization of a token, while its challenge is open.
    fn http_token(&self, token: &str) -> Option<String>;
}

/// What an authority asks for, whichever listener it came to.
pub fn challenge<B>(tokens: Option<&dyn HttpTokens>, request: &Request<B>) -> Option<Response<Body>> {
    let token = request.uri().path().strip_prefix(CHALLENGE_PATH)?;
    let Some(authorization) = tokens.and_then(|tokens| tokens.http_token(token)) else {
        return Some(plain_text(StatusCode::NOT_FOUND, "there is no such challenge\n"));
    };
    let mut response = Response::new(Body::from(authorization));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// To the same address by HTTPS, where it listens on `port`.
pub fn redirect<B>(request: &Request<B>, port: u16) -> Response<Body> {
    let named = request.uri().authority().cloned().or_else(|| {
        let host = request.headers().get(HOST)?.to_str().ok()?;
        host.parse::<Authority>().ok()
    });
    let Some(host) = named.as_ref().map(Authority::host).filter(|host| is_host(host)) else {
        return plain_text(StatusCode::BAD_REQUEST, "the request names no host\n");
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let to = if port == DEFAULT_HTTPS_PORT {
        format!("https://{host}{path}")
    } else {
        format!("https://{host}:{port}{path}")
    };
    let Ok(to) = HeaderValue::try_from(to) else {
        return plain_text(StatusCode::BAD_REQUEST, "the address cannot be understood\n");
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, to);
    response
}

/// A name or an address, and nothing that would change its meaning in a URL.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

fn plain_text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn sent_to(host: &str, path: &str, port: u16) -> Option<String> {
        let response = redirect(&Request::get(path).header("host", host).body(()).unwrap(), port);
        let to = response.headers().get(LOCATION)?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(to.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_address_by_https() {
        assert_eq!(sent_to("a.example", "/x?y=z", 443).unwrap(), "https://a.example/x?y=z");
        assert_eq!(sent_to("a.example:80", "/", 8443).unwrap(), "https://a.example:8443/");
        assert_eq!(sent_to("[::1]:80", "/", 443).unwrap(), "https://[::1]/");
        assert_eq!(sent_to("a.example", "//evil.example/", 443).unwrap(), "https://a.example//evil.example/");
        for host in ["", "a b", "user@evil.example", "a.example/x", "a%2eexample"] {
            let to = sent_to(host, "/", 443);
            assert!(to.is_none() || to.as_deref() == Some("https://evil.example/"), "{host}: {to:?}");
        }
    }
}
