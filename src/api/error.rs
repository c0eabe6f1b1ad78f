//! Refusals as the API tells them: a status, a code that is part of the
//! contract, and a message for people.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::tenancy::{Fault, Refusal, RuntimeRefusal};

/// One refusal, not yet on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// For `VALIDATION_ERROR`: every field that was not accepted.
    pub fields: Vec<Fault>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: Vec::new() }
    }

    pub fn validation(fields: Vec<Fault>) -> Self {
        let message = Refusal::Validation(fields.clone()).to_string();
        Self { fields, ..Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message) }
    }

    pub fn panel_unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "PANEL_UNAUTHORIZED", "the header X-Bitcall-Panel-Key is missing or wrong")
    }

    pub fn admin_unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "ADMIN_UNAUTHORIZED",
            "the header Authorization: Bearer is missing or wrong",
        )
    }

    pub fn missing_tenant_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MISSING_TENANT_ID", "tenantId is missing")
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Validation(fields) => return Self::validation(fields.clone()),
            Refusal::TenantNotFound(_) => (StatusCode::NOT_FOUND, "TENANT_NOT_FOUND"),
            Refusal::TenantExists(_) => (StatusCode::CONFLICT, "TENANT_EXISTS"),
            Refusal::TenantAlike(_) => (StatusCode::CONFLICT, "TENANT_ID_TAKEN"),
            Refusal::ApiKeyNotFound(_) => (StatusCode::NOT_FOUND, "API_KEY_NOT_FOUND"),
            Refusal::ApiKeyLimitReached(_) => (StatusCode::CONFLICT, "API_KEY_LIMIT_REACHED"),
            Refusal::LastApiKey => (StatusCode::CONFLICT, "LAST_API_KEY"),
            Refusal::ExtensionNotFound(_) => (StatusCode::NOT_FOUND, "EXTENSION_NOT_FOUND"),
            Refusal::ExtensionExists(_) => (StatusCode::CONFLICT, "EXTENSION_EXISTS"),
            Refusal::NotEntitled(_) => (StatusCode::FORBIDDEN, "NOT_ENTITLED"),
            Refusal::Unavailable(error) => {
                // The cause is for the operator's log, not for the caller.
                tracing::error!(%error, "a change could not be stored");
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "STORE_UNAVAILABLE",
                    "the change could not be stored; try again",
                );
            }
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl From<RuntimeRefusal> for ApiError {
    fn from(refusal: RuntimeRefusal) -> Self {
        let (status, code, message) = match refusal {
            RuntimeRefusal::MissingKey => (
                StatusCode::UNAUTHORIZED,
                "WEBPHONE_MISSING_KEY",
                "the API key is missing: send it as ?key=… or in X-Bitcall-Key",
            ),
            RuntimeRefusal::InvalidKey => {
                (StatusCode::UNAUTHORIZED, "WEBPHONE_INVALID_KEY", "the API key is unknown or was revoked")
            }
            RuntimeRefusal::OriginForbidden => (
                StatusCode::FORBIDDEN,
                "WEBPHONE_ORIGIN_FORBIDDEN",
                "the tenant does not allow pages of this origin; add it to its allowedOrigins",
            ),
            RuntimeRefusal::TenantDisabled => {
                (StatusCode::FORBIDDEN, "WEBPHONE_TENANT_DISABLED", "the tenant is disabled")
            }
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.fields.is_empty()
            && let Value::Object(error) = &mut error
        {
            error.insert("fields".into(), json!(self.fields));
        }
        let body = axum::Json(json!({ "ok": false, "error": error }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
