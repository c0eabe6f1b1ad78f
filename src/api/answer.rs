//! What all answers have in common: the envelope, the request id, and JSON
//! also where no handler was found.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::code::Code;
use super::error::ApiError;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
/// Characters of a path that an error message repeats.
const MAX_PATH_CHARS: usize = 200;

/// `{ "ok": true, "data": … }`
#[derive(Serialize)]
struct SuccessEnvelope<T> {
    ok: bool,
    data: T,
}

/// The body of a success.
pub fn envelope<T: Serialize>(data: T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&SuccessEnvelope { ok: true, data }).map_err(|error| {
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
    ApiError::new(Code::NotFound, format!("there is no {}", shortened(&uri)))
}

/// axum adds the `Allow` header.
pub async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("{method} is not possible on {}", shortened(&uri)))
}

fn shortened(uri: &Uri) -> &str {
    let path = uri.path();
    // A path of a request is ASCII.
    path.get(..MAX_PATH_CHARS).unwrap_or(path)
}

/// The id of a request, in its extensions and in the response's `X-Request-Id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    /// The caller's own `X-Request-Id` where it is a short visible token that is safe to log, else a new id.
    pub fn for_request(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|given| is_short_token(given));
        Self(given.cloned().unwrap_or_else(fresh_id))
    }

    pub fn of(parts: &Parts) -> String {
        parts.extensions.get::<Self>().map(|id| id.as_str().to_owned()).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Sets the request's id, and the error body that the caller accepts.
pub fn finish(response: &mut Response, format: ErrorFormat, id: RequestId) {
    if !response.status().is_success()
        && let Some(body) = format.rewrite(response, &id)
    {
        *response.body_mut() = Body::from(body);
    }
    let mut id = id.0;
    // HTTP/2 keeps headers to refer to them in later answers (RFC 7541 section 7.1.3); this one never comes again.
    id.set_sensitive(true);
    response.headers_mut().insert(X_REQUEST_ID, id);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The format of error bodies that a caller accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    Envelope,
    /// `application/problem+json` (RFC 9457).
    Problem,
}

impl ErrorFormat {
    /// `Problem` where `Accept` names `application/problem+json` with at least the quality of `application/json`.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
        let (mut problem, mut json) = (0.0, 0.0);
        for range in lines.flat_map(|line| line.split(',')) {
            let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
            let liked = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
            let liked = liked.map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or_default());
            match kind.trim() {
                kind if kind.eq_ignore_ascii_case(PROBLEM_JSON) => problem = liked,
                kind if kind.eq_ignore_ascii_case(JSON) => json = liked,
                _ => {}
            }
        }
        if problem > 0.0 && problem >= json { Self::Problem } else { Self::Envelope }
    }

    /// The error body in this format, where it differs from the body that the response has.
    pub fn rewrite<B>(self, response: &mut Response<B>, id: &RequestId) -> Option<Bytes> {
        if self == Self::Envelope {
            return None;
        }
        let problem = response.extensions().get::<ApiError>()?.problem(id.as_str());
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        Some(problem.to_string().into())
    }
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
    let bytes = START.wrapping_add(number).to_be_bytes();
    let digits = bytes.map(|byte| [byte >> 4, byte & 15].map(|digit| HEX_DIGITS[usize::from(digit)]));
    // They are always a valid header value.
    HeaderValue::from_bytes(digits.as_flattened()).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_json_is_sent_where_accept_ranks_it_at_least_equal_to_json() {
        let format = |accept| ErrorFormat::of(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        for accept in [
            "application/problem+json",
            "Application/Problem+JSON; q=0.5",
            "text/html, application/problem+json, */*;q=0.1",
            "application/json, application/problem+json",
        ] {
            assert_eq!(format(accept), ErrorFormat::Problem, "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "application/*",
            "application/problem+json;q=0",
            "application/json, application/problem+json;q=0.9",
            "application/problem+json;q=x",
        ] {
            assert_eq!(format(accept), ErrorFormat::Envelope, "{accept}");
        }
        assert_eq!(ErrorFormat::of(&HeaderMap::new()), ErrorFormat::Envelope);
    }
}
