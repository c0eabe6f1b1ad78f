//! Subdomains of the operator's base domain: looked up, given, taken back.

use axum::http::Method;
use serde_json::{Value, json};

use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, checked, text};
use super::views::domains::{AssignedSubdomain, RemovedSubdomain, SubdomainAvailability};
use crate::hostname::{BadName, Label};
use crate::tenancy::{InvalidValue, Platform, TenantId};

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(
            Method::GET,
            "/api/tenant/subdomains/check",
            "Whether the tenant could have a subdomain now",
            value,
            check,
        )
        .refuses(&[Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/subdomains",
            "Give the tenant a subdomain, in the place of the one it has",
            subdomain,
            assign,
        )
        .versioned()
        .refuses(&[
            Code::SubdomainNotAllowed,
            Code::SubdomainReserved,
            Code::SubdomainInUse,
            Code::StoreUnavailable,
        ]),
        Endpoint::of_tenant(
            Method::DELETE,
            "/api/tenant/subdomains",
            "Take the tenant's subdomain back; without one it is no error",
            nothing,
            remove,
        )
        .versioned()
        .refuses(&[Code::StoreUnavailable]),
    ]
}

fn value(form: &mut Form) -> Option<String> {
    form.required("value", text())
}

async fn check(
    request: ApiRequest,
    (id, value): (TenantId, String),
) -> Result<Success<SubdomainAvailability>, ApiError> {
    let platform = &request.state.platform;
    let found = platform.check_subdomain(&id, &value).await?;
    let obstacle = found.obstacle.map(|refusal| ApiError::from(refusal).with_plans(platform));
    if let Some(error) = obstacle.as_ref().filter(|error| error.code == Code::StoreUnavailable) {
        return Err(error.clone());
    }
    Ok(success(SubdomainAvailability {
        value,
        normalized: found.label.as_ref().map(ToString::to_string),
        unicode: found.label.as_ref().map(Label::unicode),
        available: obstacle.is_none(),
        reason: obstacle.as_ref().map(|error| error.code.as_str()),
        message: obstacle.map(|error| error.message),
        host: found.label.and_then(|label| host(platform, &label)),
    }))
}

fn subdomain(form: &mut Form) -> Option<Label> {
    form.required("subdomain", checked(label_schema, label))
}

async fn assign(request: ApiRequest, (id, label): (TenantId, Label)) -> Result<Success<AssignedSubdomain>, ApiError> {
    let platform = &request.state.platform;
    platform.assign_subdomain(&request.context, &id, label.clone()).await?;
    Ok(success(AssignedSubdomain {
        tenant_id: id.to_string(),
        unicode: label.unicode(),
        host: host(platform, &label),
        subdomain: label.into(),
    }))
}

async fn remove(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<RemovedSubdomain>, ApiError> {
    let had = request.state.platform.remove_subdomain(&request.context, &id).await?;
    Ok(success(RemovedSubdomain {
        tenant_id: id.to_string(),
        removed: had.is_some(),
        subdomain: had.map(String::from),
    }))
}

fn host(platform: &Platform, label: &Label) -> Option<String> {
    platform.defaults().names.host_of(label)
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn label(text: String) -> Result<Label, InvalidValue> {
    text.parse().map_err(|BadName(why)| InvalidValue::new(why))
}

/// Labels of other scripts are accepted, too (IDNA); a pattern cannot describe them.
fn label_schema() -> Value {
    json!({ "type": "string", "pattern": "^(?!..--)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", "examples": ["acme"] })
}
