//! A tenant's API keys: made, replaced and revoked. They are listed with the tenant.

use std::time::Duration;

use axum::http::Method;

use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
use super::error::ApiError;
use super::form::{Form, count, line};
use super::tenants::MAX_LABEL;
use super::views::{NewKeyView, RevokedKey, RotatedKeyView};
use crate::tenancy::{ApiKey, ApiKeyMeta, KeyId, TenantId};

/// Seconds: a day to change the key everywhere, and a month at most.
const DEFAULT_OVERLAP: u64 = 86_400;
const MAX_OVERLAP: u64 = 30 * 86_400;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/api-keys",
            "Make a further API key, which is shown once",
            label,
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

#[allow(clippy::option_option, clippy::unnecessary_wraps)] // nothing can be wrong with a form whose only field may be absent
fn label(form: &mut Form) -> Option<Option<String>> {
    Some(form.optional("label", line(MAX_LABEL)))
}

async fn create(call: Call, (id, label): (TenantId, Option<String>)) -> Result<Done<NewKeyView>, ApiError> {
    let view = |api_key: &ApiKey, meta: ApiKeyMeta| NewKeyView { meta: meta.into(), api_key: api_key.as_str().into() };
    Ok(done(call.state.platform.create_key(&call.act, &id, label, view).await?))
}

/// How long both keys are valid.
fn overlap(form: &mut Form) -> Option<Duration> {
    let seconds = form.optional("overlapSeconds", count(0..=MAX_OVERLAP));
    Some(Duration::from_secs(seconds.unwrap_or(DEFAULT_OVERLAP)))
}

async fn rotate(call: Call, (id, overlap): (TenantId, Duration)) -> Result<Done<RotatedKeyView>, ApiError> {
    let key = KeyId(call.path("id").to_owned());
    let view = |api_key: &ApiKey, meta: ApiKeyMeta, replaced: ApiKeyMeta| RotatedKeyView {
        new: NewKeyView { meta: meta.into(), api_key: api_key.as_str().into() },
        replaced: replaced.into(),
    };
    Ok(done(call.state.platform.rotate_key(&call.act, &id, &key, overlap, view).await?))
}

async fn revoke(call: Call, (id, ()): (TenantId, ())) -> Result<Done<RevokedKey>, ApiError> {
    let key = call.path("id").to_owned();
    call.state.platform.revoke_key(&call.act, &id, &KeyId(key.clone())).await?;
    Ok(done(RevokedKey { id: key, revoked: true }))
}
