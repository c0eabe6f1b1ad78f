//! A tenant's API keys: made and revoked. They are listed with the tenant.

use axum::extract::{Path, State as With};
use axum::response::Response;

use super::State;
use super::access::Panel;
use super::answer::done;
use super::body::Input;
use super::error::ApiError;
use super::form::line;
use super::tenants::MAX_LABEL;
use super::views::{NewKeyView, RevokedKey};
use crate::tenancy::KeyId;

pub async fn create(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (id, label) = input.read_for_tenant(|form| Some(form.optional("label", line(MAX_LABEL))))?;
    let (api_key, meta) = state.platform.create_key(&id, label).await?;
    Ok(done(NewKeyView { meta, api_key: api_key.as_str().to_owned() }))
}

pub async fn revoke(
    _: Panel,
    With(state): With<State>,
    Path(key): Path<String>,
    input: Input,
) -> Result<Response, ApiError> {
    let (id, ()) = input.read_for_tenant(|_| Some(()))?;
    state.platform.revoke_key(&id, &KeyId(key.clone())).await?;
    Ok(done(RevokedKey { id: key, revoked: true }))
}
