//! A tenant's extensions on the built-in SIP edge.

use axum::http::Method;
use serde_json::{Value, json};

use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
use super::error::ApiError;
use super::form::{Described, Form, boolean, checked, line, parsed};
use super::settings::MAX_NAME;
use super::views::{ExtensionList, ExtensionView, NewExtensionView, RemovedExtension};
use crate::tenancy::{
    AddedExtension, Invalid, MAX_PASSWORD, MIN_PASSWORD, NewExtension, Refusal, TenantId, Username, checked_password,
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

struct Wanted {
    new: NewExtension,
    reset: bool,
}

fn new_extension(form: &mut Form) -> Option<Wanted> {
    let username = form.required("username", parsed());
    let password = form.optional("password", checked(password_schema, password));
    let display_name = form.optional("displayName", line(MAX_NAME));
    let reset = form.optional("resetPassword", boolean()).unwrap_or(false);
    Some(Wanted { new: NewExtension { username: username?, display_name, password }, reset })
}

async fn list(call: Call, (id, ()): (TenantId, ())) -> Result<Done<ExtensionList>, ApiError> {
    let extensions = call.state.platform.extensions(&id)?;
    let extensions = extensions.iter().map(|extension| ExtensionView::from(extension.as_ref())).collect();
    Ok(done(ExtensionList { tenant_id: id.to_string(), extensions }))
}

async fn add(call: Call, (id, wanted): (TenantId, Wanted)) -> Result<Done<NewExtensionView>, ApiError> {
    let view = |added: &AddedExtension| NewExtensionView {
        extension: ExtensionView::from(added.extension.as_ref()),
        password: added.password.clone(),
        created: added.created,
    };
    Ok(done(call.state.platform.add_extension(&call.act, &id, wanted.new, wanted.reset, view).await?))
}

async fn remove(call: Call, (id, ()): (TenantId, ())) -> Result<Done<RemovedExtension>, ApiError> {
    let username = call.path("username").to_owned();
    // What can be nobody's name is nobody.
    let known: Username = username.parse().map_err(|_| Refusal::ExtensionNotFound(username.clone()))?;
    call.state.platform.remove_extension(&call.act, &id, &known).await?;
    Ok(done(RemovedExtension { username, removed: true }))
}

fn password(text: String) -> Result<String, Invalid> {
    checked_password(&text).map(|()| text)
}

fn password_schema() -> Value {
    json!({
        "type": "string",
        "format": "password",
        "minLength": MIN_PASSWORD,
        "maxLength": MAX_PASSWORD,
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
    })
}

impl Described for Username {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9._-]{1,32}$", "examples": ["101"] })
    }
}
