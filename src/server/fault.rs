//! Errors that the server itself answers, before any handler: in the envelope of the API.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::Answer;

pub fn answer(status: StatusCode, code: &str, message: &str) -> Response<Answer> {
    let envelope = serde_json::json!({ "ok": false, "error": { "code": code, "message": message } });
    let mut response = Response::new(Answer::from(Bytes::from(envelope.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
