//! Errors of the API: a code that is part of the contract, and a message for people.

use axum::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::code::Code;
use super::limits::{LimitExceeded, whole_seconds};
use super::views::Rfc3339;
use crate::tenancy::{Entitlement, FieldError, KeyPurpose, Platform, Refusal, RuntimeRefusal};
use crate::timestamp::Timestamp;

/// One error, before it becomes a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: Code,
    pub message: String,
    /// For `VALIDATION_ERROR`: every field that was not accepted.
    pub fields: Vec<FieldError>,
    pub later: Option<RetryHint>,
    /// The right that the tenant's plan would have to include.
    pub missing_right: Option<Entitlement>,
}

/// When the same request may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryHint {
    /// With `RATE_LIMITED`: by which limit.
    Limit(LimitExceeded),
    /// With `RECHECK_TOO_SOON`.
    Recheck(Timestamp),
}

impl ApiError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new(), later: None, missing_right: None }
    }

    /// Names the plans that would allow it.
    pub fn with_plans(mut self, platform: &Platform) -> Self {
        if let Some(right) = self.missing_right.take() {
            let plans = platform.plans_with(right).join(", ");
            let include = if plans.is_empty() { "no plan includes it".into() } else { format!("these do: {plans}") };
            self.message = format!("{}; {include}", self.message);
        }
        self
    }

    pub fn validation(fields: Vec<FieldError>) -> Self {
        let message = Refusal::Validation(fields.clone()).to_string();
        Self { fields, ..Self::new(Code::ValidationError, message) }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Validation(fields) => return Self::validation(fields.clone()),
            Refusal::TenantNotFound(_) => Code::TenantNotFound,
            Refusal::TenantExists(_) => Code::TenantExists,
            Refusal::TenantAlike(_) => Code::TenantIdTaken,
            Refusal::ApiKeyNotFound(_) => Code::ApiKeyNotFound,
            Refusal::ApiKeyLimitReached(_) | Refusal::TooManyRetiringKeys(_) => Code::ApiKeyLimitReached,
            Refusal::ApiKeyRetiring(_) => Code::ApiKeyRetiring,
            Refusal::LastApiKey => Code::LastApiKey,
            Refusal::PlanNotFound(_) => Code::PlanNotFound,
            Refusal::PlanInUse { .. } => Code::PlanInUse,
            Refusal::DefaultPlan(_) => Code::DefaultPlan,
            Refusal::PlanRetired(_) => Code::PlanRetired,
            Refusal::ExtensionNotFound(_) => Code::ExtensionNotFound,
            Refusal::ExtensionExists(_) => Code::ExtensionExists,
            Refusal::NotEntitled { .. } => Code::NotEntitled,
            Refusal::FeatureDisabled(_) => Code::FeatureDisabled,
            Refusal::TenantDisabled => Code::AppTenantDisabled,
            Refusal::AppNotFound => Code::AppTenantNotFound,
            Refusal::AppNotInstallable => Code::AppNotInstallable,
            Refusal::TokenInvalid => Code::TokenInvalid,
            Refusal::Outdated => Code::PreconditionFailed,
            Refusal::KeyReused => Code::IdempotencyKeyReused,
            Refusal::StillAtWork => Code::IdempotencyInProgress,
            Refusal::TooManyClients => Code::TooManyClients,
            Refusal::NoPhoneSession => Code::PhoneSessionInvalid,
            Refusal::SubdomainNotAllowed | Refusal::NoBaseDomain => Code::SubdomainNotAllowed,
            Refusal::SubdomainReserved(_) => Code::SubdomainReserved,
            Refusal::SubdomainInUse(_) => Code::SubdomainInUse,
            Refusal::CustomDomainNotAllowed => Code::CustomDomainNotAllowed,
            Refusal::CustomDomainInUse(_) | Refusal::CustomDomainUnproved { .. } => Code::CustomDomainInUse,
            Refusal::Unavailable(error) => {
                // The cause is for the operator's log, not for the caller.
                tracing::error!(%error, "a change could not be stored");
                return Self::new(Code::StoreUnavailable, "the change could not be stored; try again");
            }
        };
        Self { missing_right: refusal.missing_right(), ..Self::new(code, refusal.to_string()) }
    }
}

impl From<RuntimeRefusal> for ApiError {
    fn from(refusal: RuntimeRefusal) -> Self {
        let (code, message) = match refusal {
            RuntimeRefusal::MissingKey => {
                (Code::WebphoneMissingKey, "the API key is missing: send it as ?key=… or in X-Bitcall-Key")
            }
            RuntimeRefusal::InvalidKey => (Code::WebphoneInvalidKey, "the API key is unknown or was revoked"),
            RuntimeRefusal::OriginForbidden => (
                Code::WebphoneOriginForbidden,
                "the tenant does not allow pages of this origin; add it to its allowedOrigins",
            ),
            RuntimeRefusal::TenantDisabled => (Code::WebphoneTenantDisabled, "the tenant is disabled"),
            RuntimeRefusal::OtherPurpose { tenant, purpose, needed } => {
                let (is_for, needed) =
                    (purpose_in_words(purpose), if needed == KeyPurpose::Pages { "pages" } else { "backend" });
                let message = format!(
                    "this API key is for {is_for} only; make another one with `bitcall key create {tenant} --for {needed}`"
                );
                return Self::new(Code::ApiKeyPurpose, message);
            }
        };
        Self::new(code, message)
    }
}

fn purpose_in_words(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::Pages => "pages",
        KeyPurpose::Backend => "back ends",
        KeyPurpose::Both => "pages and back ends",
    }
}

impl ApiError {
    /// The body as problem details (RFC 9457).
    pub fn problem(&self, request_id: &str) -> Value {
        let mut problem = json!({
            "type": format!("urn:bitcall:error:{}", self.code.as_str()),
            "title": self.code.meaning(),
            "status": self.code.status().as_u16(),
            "detail": self.message,
            "instance": format!("urn:bitcall:request:{request_id}"),
            "code": self.code.as_str(),
        });
        if !self.fields.is_empty() {
            problem["fields"] = json!(self.fields);
        }
        if let Some(RetryHint::Recheck(moment)) = self.later {
            problem["recheckAvailableAt"] = json!(Rfc3339(moment));
        }
        problem
    }
}

/// The body is the envelope. The error itself stays in the response's extensions, where `ErrorFormat` finds it.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code.as_str(), "message": self.message });
        if !self.fields.is_empty() {
            error["fields"] = json!(self.fields);
        }
        if let Some(RetryHint::Recheck(moment)) = self.later {
            error["recheckAvailableAt"] = json!(Rfc3339(moment));
        }
        let body = axum::Json(json!({ "ok": false, "error": error }));
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match &self.later {
            Some(RetryHint::Limit(too_many)) => {
                too_many.set_headers(headers);
                headers.insert(RETRY_AFTER, whole_seconds(too_many.retry_after()).into());
            }
            Some(RetryHint::Recheck(moment)) => {
                headers.insert(RETRY_AFTER, whole_seconds(Timestamp::now().until(*moment)).into());
            }
            None if self.code == Code::IdempotencyInProgress => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            None => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}
