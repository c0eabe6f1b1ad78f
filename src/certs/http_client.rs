//! The HTTP client of instant-acme.
//!
//! instant-acme keeps `Retry-After` only where an order is polled, and parses every error as a problem document. So this
//! client reads the answers first: an error becomes an [`AcmeError`] here; the `Retry-After` of a success is left in
//! [`LAST_RETRY_AFTER`] for the caller. Names are looked up by [`crate::dial`], certificates checked against the Mozilla
//! roots or those of a file, so that a static binary needs nothing of the system.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tower::Service;

use super::acme_error::{AcmeError, Kind};
use crate::dial::{self, DialError};

const ERROR: &str = "urn:ietf:params:acme:error:";
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const USER_AGENT_TEXT: &str = concat!("bitcall/", env!("CARGO_PKG_VERSION"), " (instant-acme)");
/// For one request, connecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For the TCP connection, over all addresses of the host; the TLS handshake is within the request's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// Characters of the authority's text that are shown.
const MAX_QUOTED_CHARS: usize = 400;

tokio::task_local! {
    /// `Retry-After` of the last success.
    pub static LAST_RETRY_AFTER: Cell<Option<Duration>>;
}

/// The HTTP client for all authorities. Cloning is cheap, and clones share connections.
#[derive(Clone)]
pub struct AcmeHttpClient {
    client: Client<HttpsConnector<HttpConnector<HostResolver>>, BodyWrapper<Bytes>>,
}

/// Why the TLS certificates of ACME servers cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    #[error("`acme.ca_bundle` {path}: {error}", path = .0.display(), error = .1)]
    Unreadable(std::path::PathBuf, pem::Error),
    #[error("`acme.ca_bundle` {} holds no certificate", .0.display())]
    Empty(std::path::PathBuf),
    #[error("TLS cannot start: {0}")]
    Rustls(#[from] rustls::Error),
}

impl AcmeHttpClient {
    /// `bundle`: PEM file with the roots to trust instead of Mozilla's.
    pub fn new(bundle: Option<&Path>) -> Result<Self, CaBundleError> {
        let mut roots = RootCertStore::empty();
        match bundle {
            Some(path) => {
                let certificates = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|error| CaBundleError::Unreadable(path.to_owned(), error))?;
                if roots.add_parsable_certificates(certificates).0 == 0 {
                    return Err(CaBundleError::Empty(path.to_owned()));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(HostResolver);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // The TLS connector checks the scheme.
        tcp.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self { client })
    }

    async fn send(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, AcmeError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_TEXT));
        let host = request.uri().host().unwrap_or_default().to_owned();
        let unreachable = |why: String| {
            AcmeError::new(Kind::Unreachable, format!("The certificate authority's server {host} {why}."))
        };
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| unreachable(format!("cannot be reached: {}", innermost(&error))))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
            let body = body.map_err(|error| unreachable(format!("broke its answer off: {error}")))?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("gave no answer within {} s", REQUEST_TIMEOUT.as_secs()))))
    }
}

impl HttpClient for AcmeHttpClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        let is_get = request.method() == Method::GET;
        Box::pin(async move {
            let mut response =
                this.send(request).await.map_err(|error| Error::Other(Box::new(AcmeErrorSource(error))))?;
            let wait = retry_after(response.headers(), SystemTime::now());
            if let Some(error) = refusal(response.status(), response.body(), wait) {
                return Err(Error::Other(Box::new(AcmeErrorSource(error))));
            }
            let _ = LAST_RETRY_AFTER.try_with(|last| last.set(wait));
            // instant-acme requires it in the answer to a request for renewal information.
            if is_get && wait.is_none() {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("21600"));
            }
            response.headers_mut().remove(CONTENT_LENGTH);
            let (parts, body) = response.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// An [`AcmeError`] as an error of instant-acme.
#[derive(Debug)]
pub struct AcmeErrorSource(pub AcmeError);

impl std::fmt::Display for AcmeErrorSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0.message)
    }
}

impl std::error::Error for AcmeErrorSource {}

/// The error of an answer. None for a bad nonce: instant-acme repeats the request with the new one.
fn refusal(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Option<AcmeError> {
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let mut error = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if problem.r#type.as_deref() == Some(BAD_NONCE) => return None,
        Ok(problem) => match of_problem(&problem, Some(status)) {
            // The error of a request, not of a challenge.
            error if error.kind == Kind::Unauthorized => AcmeError { kind: Kind::Account, ..error },
            error => error,
        },
        Err(_) => {
            let kind = if status.is_server_error() { Kind::Unwell } else { by_status(status) };
            AcmeError::new(kind, format!("The certificate authority answered with HTTP status {status} and no reason."))
        }
    };
    error.retry_after = retry_after;
    Some(error)
}

/// The error of an ACME problem document (RFC 8555 section 6.7). A subproblem is more specific than its problem.
pub fn of_problem(problem: &Problem, status: Option<StatusCode>) -> AcmeError {
    let error = |kind: Option<&String>| kind.and_then(|kind| kind.strip_prefix(ERROR)).and_then(by_name);
    let status = status.or_else(|| problem.status.and_then(|status| StatusCode::from_u16(status).ok()));
    let detailed = problem.subproblems.iter().find(|sub| error(sub.r#type.as_ref()).is_some());
    let kind = detailed
        .and_then(|sub| error(sub.r#type.as_ref()))
        .or_else(|| error(problem.r#type.as_ref()))
        .unwrap_or_else(|| status.map_or(Kind::Refused, by_status));
    let detail = match detailed {
        Some(sub) => {
            let name = sub.identifier.as_ref().map(|name| format!("{}: ", name.authorized(false)));
            format!("{}{}", name.unwrap_or_default(), sub.detail.as_deref().unwrap_or_default())
        }
        None => problem.detail.clone().unwrap_or_default(),
    };
    let detail = detail.trim();
    let text = if detail.is_empty() { problem.r#type.as_deref().unwrap_or("no reason given") } else { detail };
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_QUOTED_CHARS).collect();
    let text = text.trim_end_matches('.');
    AcmeError::new(kind, format!("{}: {text}.", opening(kind)))
}

fn opening(kind: Kind) -> &'static str {
    match kind {
        Kind::RateLimited => "A limit of the certificate authority is reached",
        Kind::Caa => "The domain's CAA records do not allow the certificate authority",
        Kind::Dns => "The certificate authority could not look the name up in DNS",
        Kind::Connection => "The certificate authority could not connect to the name",
        Kind::Unauthorized => "The certificate authority found another answer under the name than this server's",
        Kind::AccountGone | Kind::Account => "The account with the certificate authority is not in order",
        Kind::Unwell => "The certificate authority is not well",
        _ => "The certificate authority refused",
    }
}

fn by_name(error: &str) -> Option<Kind> {
    Some(match error {
        "accountDoesNotExist" => Kind::AccountGone,
        "alreadyReplaced" => Kind::AlreadyReplaced,
        "badNonce" | "serverInternal" => Kind::Unwell,
        "badPublicKey"
        | "badSignatureAlgorithm"
        | "externalAccountRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "userActionRequired" => Kind::Account,
        "badCSR" | "malformed" | "rejectedIdentifier" | "unsupportedIdentifier" | "invalidProfile" => Kind::Refused,
        "caa" => Kind::Caa,
        "connection" | "tls" => Kind::Connection,
        "dns" => Kind::Dns,
        "incorrectResponse" | "unauthorized" => Kind::Unauthorized,
        "orderNotReady" => Kind::NotReady,
        "rateLimited" => Kind::RateLimited,
        _ => return None,
    })
}

fn by_status(status: StatusCode) -> Kind {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited,
        StatusCode::NOT_FOUND => Kind::Missing,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Account,
        StatusCode::REQUEST_TIMEOUT => Kind::Unwell,
        status if status.is_server_error() => Kind::Unwell,
        _ => Kind::Refused,
    }
}

/// Seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The root cause, which hyper wraps several times.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    // The further lines are hints for the command line.
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Looks hosts up by [`crate::dial`]: a static binary has no system resolver.
#[derive(Clone)]
struct HostResolver;

impl Service<Name> for HostResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses = dial::addresses(name.as_str()).await?;
            // hyper-util sets the port of the URL.
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn problem(kind: &str) -> Vec<u8> {
        format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because of it."}}"#).into_bytes()
    }

    #[test]
    fn an_error_answer_maps_to_its_kind_in_any_form() {
        let refused = |status: u16, body: &[u8]| refusal(StatusCode::from_u16(status).unwrap(), body, None);
        for (status, body, kind) in [
            (429, problem("rateLimited"), Kind::RateLimited),
            (429, b"slow down".to_vec(), Kind::RateLimited),
            (503, b"<html>Service Unavailable</html>".to_vec(), Kind::Unwell),
            (500, problem("serverInternal"), Kind::Unwell),
            (409, problem("alreadyReplaced"), Kind::AlreadyReplaced),
            (403, problem("orderNotReady"), Kind::NotReady),
            (400, problem("accountDoesNotExist"), Kind::AccountGone),
            (404, Vec::new(), Kind::Missing),
            (400, problem("neverHeardOf"), Kind::Refused),
            (400, problem("badCSR"), Kind::Refused),
        ] {
            let error = refused(status, &body).unwrap();
            assert_eq!(error.kind, kind, "{status} {}", String::from_utf8_lossy(&body));
            assert!(error.message.ends_with('.') && !error.message.ends_with(".."), "{}", error.message);
        }
        assert_eq!(refused(400, &problem("badNonce")), None, "instant-acme repeats the request");
        assert_eq!(refused(200, b"{}"), None);
    }

    #[test]
    fn a_subproblem_determines_the_kind_and_the_message() {
        let body = br#"{"type":"urn:ietf:params:acme:error:compound","detail":"several","subproblems":[
            {"type":"urn:ietf:params:acme:error:caa","detail":"CAA forbids","identifier":{"type":"dns","value":"a.example"}}]}"#;
        let error = refusal(StatusCode::FORBIDDEN, body, None).unwrap();
        assert_eq!(error.kind, Kind::Caa);
        assert!(error.message.contains("a.example: CAA forbids"), "{}", error.message);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap();
        for (text, wait) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 22 Nov 2026 12:01:00 GMT", Some(60)),
            ("Sun, 22 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            assert_eq!(retry_after(&headers, now), wait.map(Duration::from_secs), "{text:?}");
        }
    }
}
