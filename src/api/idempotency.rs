//! `Idempotency-Key`: a request that creates something may be sent again when its answer was lost, and gets the same
//! answer instead of creating it twice. How answers are stored: [`crate::tenancy`].

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::answer;
use super::error::ApiError;
use crate::tenancy::{FieldError, Idempotency, Platform, RequestContext};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters.
pub const MAX_KEY_CHARS: usize = 255;

/// In the extensions of a request whose endpoint creates something.
#[derive(Clone, Copy)]
pub struct AcceptsIdempotencyKey;

/// The stored answer of a repeated request. `None` for a new one, whose answer will be stored through `act`.
pub async fn find_previous_answer(
    platform: &Platform,
    context: &mut RequestContext,
    headers: &HeaderMap,
    scope: &str,
    request: &[u8],
) -> Result<Option<Response>, ApiError> {
    let Some(key) = key(headers)? else {
        return Ok(None);
    };
    match platform.begin(scope, key, request, context.at).await? {
        Idempotency::Now(attempt) => {
            context.idempotent_request = Some(attempt);
            Ok(None)
        }
        Idempotency::Before(data) => Ok(Some(replay(&data))),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else {
        return Ok(None);
    };
    let is_acceptable =
        |key: &&str| (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    match key.to_str().ok().filter(is_acceptable) {
        Some(key) if given.next().is_none() => Ok(Some(key)),
        _ => Err(ApiError::validation(vec![FieldError::new(
            "Idempotency-Key",
            format!("must be sent once, with 1 to {MAX_KEY_CHARS} visible characters"),
        )])),
    }
}

fn replay(data: &[u8]) -> Response {
    let body = [br#"{"ok":true,"data":"#, data, b"}"].concat();
    let mut response = answer::json(body);
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}
