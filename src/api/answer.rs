//! What all answers have in common: the envelope, the request id, and JSON
//! also where no handler was found.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::code::Code;
use super::error::ApiError;

/// `{ "ok": true, "data": … }`
#[derive(Serialize)]
struct Envelope<T> {
    ok: bool,
    data: T,
}

/// The body of a success.
pub fn envelope<T: Serialize>(data: T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&Envelope { ok: true, data }).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::new(Code::InternalError, "the answer could not be written")
    })
}

/// Answers of the API hold a tenant's data and are never cached.
pub fn json(body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

pub async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no {}", uri.path()))
}

/// axum adds the `Allow` header.
pub async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("{method} is not possible on {}", uri.path()))
}

/// The name of a request, in its extensions.
#[derive(Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn of(parts: &Parts) -> String {
        let id = parts.extensions.get::<Self>().and_then(|id| id.0.to_str().ok());
        id.unwrap_or_default().to_owned()
    }
}

/// Every answer names its request; a caller's own name for it is kept.
pub async fn with_request_id(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).cloned();
    let id = given.filter(is_short_token).unwrap_or_else(fresh_id);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn is_short_token(value: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=64).contains(&value.len()) && value.as_bytes().iter().all(allowed)
}

/// Unique in this process, and unlike those of the one before it.
fn fresh_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| getrandom::u64().unwrap_or_default());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Digits of hexadecimal numbers are always a valid header value.
    HeaderValue::try_from(format!("{:016x}", START.wrapping_add(number))).unwrap_or(HeaderValue::from_static("0"))
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
