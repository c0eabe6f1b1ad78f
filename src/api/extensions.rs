//! A tenant's extensions on the built-in SIP edge.

use axum::extract::{Path, State as With};
use axum::response::Response;

use super::State;
use super::access::Panel;
use super::answer::done;
use super::body::Input;
use super::error::ApiError;
use super::form::{boolean, line, parsed, text};
use super::views::{ExtensionList, ExtensionView, NewExtensionView, RemovedExtension};
use crate::tenancy::{NewExtension, Refusal, Username};

pub async fn list(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (id, ()) = input.read_for_tenant(|_| Some(()))?;
    let extensions = state.platform.extensions(&id)?;
    let extensions = extensions.iter().map(|extension| ExtensionView::from(extension.as_ref())).collect();
    Ok(done(ExtensionList { tenant_id: id.to_string(), extensions }))
}

pub async fn add(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (id, (new, reset)) = input.read_for_tenant(|form| {
        let username = form.required("username", parsed);
        let password = form.optional("password", text);
        let display_name = form.optional("displayName", line(MAX_NAME));
        let reset = form.optional("resetPassword", boolean);
        Some((NewExtension { username: username?, display_name, password }, reset.unwrap_or(false)))
    })?;
    let added = state.platform.add_extension(&id, new, reset).await?;
    Ok(done(NewExtensionView {
        extension: ExtensionView::from(added.extension.as_ref()),
        password: added.password,
        created: added.created,
    }))
}

pub async fn remove(
    _: Panel,
    With(state): With<State>,
    Path(username): Path<String>,
    input: Input,
) -> Result<Response, ApiError> {
    let (id, ()) = input.read_for_tenant(|_| Some(()))?;
    // What can be nobody's name is nobody.
    let known: Username = username.parse().map_err(|_| Refusal::ExtensionNotFound(username.clone()))?;
    state.platform.remove_extension(&id, &known).await?;
    Ok(done(RemovedExtension { username, removed: true }))
}

const MAX_NAME: usize = 80;
