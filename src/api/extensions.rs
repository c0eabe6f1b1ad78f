//! A tenant's extensions on the built-in SIP edge.

use axum::http::Method;
use serde_json::{Value, json};

use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, TextSchema, boolean, checked, line, parsed};
use super::settings::MAX_NAME_CHARS;
use super::views::{ExtensionList, ExtensionView, NewExtensionView, RemovedExtension};
use crate::tenancy::{
    AddedExtension, InvalidValue, MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, NewExtension, Refusal, TenantId, Username,
    checked_password,
};

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(Method::GET, "/api/tenant/extensions", "A tenant's extensions", nothing, list),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/extensions",
            "Make an extension; its password is shown once",
            new_extension,
            add,
        )
        .creates()
        .refuses(&[Code::ExtensionExists, Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::DELETE,
            "/api/tenant/extensions/{username}",
            "Remove an extension; its phones are cut off at once",
            nothing,
            remove,
        )
        .refuses(&[Code::ExtensionNotFound, Code::StoreUnavailable]),
    ]
}

struct ExtensionRequest {
    new: NewExtension,
    reset: bool,
}

fn new_extension(form: &mut Form) -> Option<ExtensionRequest> {
    let username = form.required("username", parsed());
    let password = form.optional("password", checked(password_schema, password));
    let display_name = form.optional("displayName", line(MAX_NAME_CHARS));
    let reset = form.optional("resetPassword", boolean()).unwrap_or(false);
    Some(ExtensionRequest { new: NewExtension { username: username?, display_name, password }, reset })
}

async fn list(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<ExtensionList>, ApiError> {
    let extensions = request.state.platform.extensions(&id)?;
    let extensions = extensions.iter().map(|extension| ExtensionView::from(extension.as_ref())).collect();
    Ok(success(ExtensionList { tenant_id: id.to_string(), extensions }))
}

async fn add(
    request: ApiRequest,
    (id, extension): (TenantId, ExtensionRequest),
) -> Result<Success<NewExtensionView>, ApiError> {
    let view = |added: &AddedExtension| NewExtensionView {
        extension: ExtensionView::from(added.extension.as_ref()),
        password: added.password.clone(),
        created: added.created,
    };
    Ok(success(
        request.state.platform.add_extension(&request.context, &id, extension.new, extension.reset, view).await?,
    ))
}

async fn remove(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<RemovedExtension>, ApiError> {
    let username = request.path("username").to_owned();
    // A text that is no valid user name names no extension.
    let known: Username = username.parse().map_err(|_| Refusal::ExtensionNotFound(username.clone()))?;
    request.state.platform.remove_extension(&request.context, &id, &known).await?;
    Ok(success(RemovedExtension { username, removed: true }))
}

fn password(text: String) -> Result<String, InvalidValue> {
    checked_password(&text).map(|()| text)
}

fn password_schema() -> Value {
    json!({
        "type": "string",
        "format": "password",
        "minLength": MIN_PASSWORD_LENGTH,
        "maxLength": MAX_PASSWORD_LENGTH,
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
    })
}

impl TextSchema for Username {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9._-]{1,32}$", "examples": ["101"] })
    }
}
