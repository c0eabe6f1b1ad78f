//! From a request to a [`Form`]: the body's JSON object, or the pairs of a read's or a removal's query.

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::form::{Form, text};
use crate::tenancy::TenantId;

/// The fields that a request carries, whatever way it carries them.
pub struct Input(Map<String, Value>);

/// The body's JSON object. Where there is no body, the query's pairs, but only of requests that
/// carry no secrets: URLs end up in the logs of every proxy.
impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, ApiError> {
        let by_query = matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
        let query = request.uri().query().filter(|_| by_query).unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "the request body is too large")
            }
            _ => invalid("could not be read to its end"),
        })?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(pairs));
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(invalid("must be a JSON object")),
            Err(error) => Err(invalid(&format!("is not JSON: {error}"))),
        }
    }
}

impl Input {
    /// Reads all fields; every fault is reported, fields that nobody asked for among them.
    pub fn read<T>(self, read: impl FnOnce(&mut Form) -> Option<T>) -> Result<T, ApiError> {
        Form::read(self.0, read).map_err(ApiError::validation)
    }

    /// As [`Self::read`] on a route for one tenant.
    pub fn read_for_tenant<T>(mut self, read: impl FnOnce(&mut Form) -> Option<T>) -> Result<(TenantId, T), ApiError> {
        let id = match self.0.remove("tenantId") {
            None | Some(Value::Null) => return Err(ApiError::missing_tenant_id()),
            Some(Value::String(id)) if id.is_empty() => return Err(ApiError::missing_tenant_id()),
            Some(id) => id,
        };
        Form::read(Map::from_iter([("tenantId".to_owned(), id)]), |form| form.required("tenantId", text))
            .map_err(ApiError::validation)
            .and_then(|id| {
                let change = self.read(read)?;
                // What can be no tenant's name is no tenant.
                let unknown =
                    |_| ApiError::new(StatusCode::NOT_FOUND, "TENANT_NOT_FOUND", format!("there is no tenant {id:?}"));
                Ok((id.parse().map_err(unknown)?, change))
            })
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", format!("the request body {message}"))
}
