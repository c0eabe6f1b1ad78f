//! A tenant's API keys: made, replaced and revoked. They are listed with the tenant.

use std::time::Duration;

use axum::http::Method;

use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{ChoiceType, Form, choice, integer, line};
use super::tenants::MAX_LABEL_CHARS;
use super::views::{NewKeyView, RevokedKey, RotatedKeyView};
use crate::tenancy::{ApiKey, ApiKeyMeta, KeyId, KeyPurpose, NewKey, TenantId};

/// Seconds: a day to change the key everywhere, and a month at most.
const DEFAULT_OVERLAP_SECONDS: u64 = 86_400;
pub const MAX_OVERLAP_SECONDS: u64 = 30 * 86_400;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/api-keys",
            "Make a further API key, which is shown once",
            new_key,
            create,
        )
        .creates()
        .versioned()
        .refuses(&[Code::ApiKeyLimitReached, Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/api-keys/{id}/rotate",
            "Make a key, which is shown once, in the place of another, which stays valid for a while",
            overlap,
            rotate,
        )
        .creates()
        .versioned()
        .refuses(&[
            Code::ApiKeyNotFound,
            Code::ApiKeyRetiring,
            Code::ApiKeyLimitReached,
            Code::StoreUnavailable,
        ]),
        Endpoint::of_tenant(
            Method::DELETE,
            "/api/tenant/api-keys/{id}",
            "Revoke an API key at once; again is no error",
            nothing,
            revoke,
        )
        .versioned()
        .refuses(&[Code::ApiKeyNotFound, Code::LastApiKey, Code::StoreUnavailable]),
    ]
}

fn new_key(form: &mut Form) -> Option<NewKey> {
    let label = form.optional("label", line(MAX_LABEL_CHARS));
    Some(NewKey { label, purpose: form.optional("purpose", purpose()).unwrap_or_default() })
}

pub fn purpose() -> ChoiceType<KeyPurpose> {
    choice(&["pages", "backend", "both"])
}

async fn create(request: ApiRequest, (id, new): (TenantId, NewKey)) -> Result<Success<NewKeyView>, ApiError> {
    let view = |api_key: &ApiKey, meta: ApiKeyMeta| NewKeyView { meta: meta.into(), api_key: api_key.as_str().into() };
    Ok(success(request.state.platform.create_key(&request.context, &id, new, view).await?))
}

/// How long both keys are valid.
fn overlap(form: &mut Form) -> Option<Duration> {
    let seconds = form.optional("overlapSeconds", integer(0..=MAX_OVERLAP_SECONDS));
    Some(Duration::from_secs(seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS)))
}

async fn rotate(request: ApiRequest, (id, overlap): (TenantId, Duration)) -> Result<Success<RotatedKeyView>, ApiError> {
    let key = KeyId(request.path("id").to_owned());
    let view = |api_key: &ApiKey, meta: ApiKeyMeta, replaced: ApiKeyMeta| RotatedKeyView {
        new: NewKeyView { meta: meta.into(), api_key: api_key.as_str().into() },
        replaced: replaced.into(),
    };
    Ok(success(request.state.platform.rotate_key(&request.context, &id, &key, overlap, view).await?))
}

async fn revoke(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<RevokedKey>, ApiError> {
    let key = request.path("id").to_owned();
    request.state.platform.revoke_key(&request.context, &id, &KeyId(key.clone())).await?;
    Ok(success(RevokedKey { id: key, revoked: true }))
}
