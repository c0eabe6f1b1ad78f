//! From a request to a [`Form`]: the body's JSON object, or the pairs of a read's or a removal's query.

use axum::body::{Bytes, HttpBody as _};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request};
use axum::http::Method;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use super::code::Code;
use super::error::ApiError;
use super::form::{Form, text};
use super::{MAX_BODY_BYTES, json};
use crate::tenancy::{Refusal, TenantId};

/// The fields of a request, from its JSON body or its query.
pub struct RequestFields(Map<String, Value>);

impl RequestFields {
    /// The body's JSON object. Where there is no body, the query's pairs, but only of requests that
    /// carry no secrets: URLs end up in the logs of every proxy. What is refused anyway is refused
    /// before the body is read.
    pub async fn receive(mut request: Request) -> Result<Self, ApiError> {
        let reads = request.method().is_safe();
        let by_query = reads || *request.method() == Method::DELETE;
        let query = request.uri().query().filter(|_| by_query).unwrap_or_default();
        let (mut pairs, mut faults) = (Map::new(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if pairs.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                faults.push(json::duplicate_field(name.into_owned()));
            }
        }
        let announced = request.body().size_hint();
        if reads && announced.exact() != Some(0) {
            return Err(invalid("is not read with this method: send the fields in the query"));
        }
        if announced.lower() > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let declared = request.headers().get(CONTENT_TYPE).cloned();
        if announced.exact() != Some(0) && !declared.as_ref().is_none_or(is_json) {
            return Err(ApiError::new(Code::UnsupportedMediaType, "the body must be sent as application/json"));
        }
        DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
        let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => too_large(),
            _ => invalid("could not be read to its end"),
        })?;
        let fields = if body.iter().all(u8::is_ascii_whitespace) {
            pairs
        } else {
            // Then the query is not read.
            faults.clear();
            match json::read(&body) {
                Ok((Value::Object(fields), duplicates)) => {
                    faults = duplicates;
                    fields
                }
                Ok(_) => return Err(invalid("must be a JSON object")),
                Err(error) => return Err(invalid(&format!("is not JSON: {error}"))),
            }
        };
        if faults.is_empty() { Ok(Self(fields)) } else { Err(ApiError::validation(faults)) }
    }

    /// The tenant's API key, of callers who can set no header.
    pub fn take_key(&mut self) -> Option<String> {
        match self.0.remove("key") {
            Some(Value::String(key)) => Some(key),
            // What is no text stays, and is refused with the other unknown fields.
            Some(other) => {
                self.0.insert("key".to_owned(), other);
                None
            }
            None => None,
        }
    }

    /// The fields in one order, so that two requests can be compared.
    pub fn canonical_text(&self) -> String {
        let mut fields = Value::Object(self.0.clone());
        fields.sort_all_objects();
        fields.to_string()
    }

    /// Reads all fields; every fault is reported, fields that nobody asked for among them.
    pub fn read<T>(self, read: impl FnOnce(&mut Form) -> Option<T>) -> Result<T, ApiError> {
        Form::read(self.0, read).map_err(ApiError::validation)
    }

    /// As [`Self::read`] on a route for one tenant.
    pub fn read_for_tenant<T>(mut self, read: impl FnOnce(&mut Form) -> Option<T>) -> Result<(TenantId, T), ApiError> {
        let id = match self.0.remove("tenantId") {
            None | Some(Value::Null) => return Err(missing_tenant_id()),
            Some(Value::String(id)) if id.is_empty() => return Err(missing_tenant_id()),
            Some(id) => id,
        };
        Form::read(Map::from_iter([("tenantId".to_owned(), id)]), |form| form.required("tenantId", text()))
            .map_err(ApiError::validation)
            .and_then(|id| {
                let change = self.read(read)?;
                // A text that is no valid tenant id names no tenant.
                let known = id.parse().map_err(|_| Refusal::TenantNotFound(id.clone()))?;
                Ok((known, change))
            })
    }
}

fn too_large() -> ApiError {
    ApiError::new(Code::PayloadTooLarge, format!("the request body is larger than {} KB", MAX_BODY_BYTES >> 10))
}

fn missing_tenant_id() -> ApiError {
    ApiError::new(Code::MissingTenantId, "tenantId is missing")
}

fn is_json(declared: &HeaderValue) -> bool {
    let essence = declared.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(Code::ValidationError, format!("the request body {message}"))
}
