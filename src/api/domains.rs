//! Domains of the tenants' own: claimed, with what their owners must publish in DNS, looked at, and released.

use axum::http::Method;
use serde_json::{Value, json};

use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::{ApiError, RetryHint};
use super::form::{Form, checked};
use super::views::domains::{DomainView, ReleasedDomain};
use crate::domains::Recheck;
use crate::hostname::{BadName, Hostname};
use crate::tenancy::{Claim, InvalidValue, TenantId};

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/domains",
            "Claim a domain, in the place of the one that the tenant claims; the answer says what to publish in DNS",
            requested_domain,
            claim,
        )
        .creates()
        .versioned()
        .refuses(&[Code::CustomDomainNotAllowed, Code::CustomDomainInUse, Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::GET,
            "/api/tenant/domains",
            "The tenant's domain, and how far it has come",
            nothing,
            show,
        ),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/domains/recheck",
            "Look at the domain's DNS now, and go on with what follows from it",
            nothing,
            recheck,
        )
        .refuses(&[
            Code::DomainNotFound,
            Code::CustomDomainNotAllowed,
            Code::RecheckTooSoon,
            Code::StoreUnavailable,
        ]),
        Endpoint::of_tenant(
            Method::DELETE,
            "/api/tenant/domains",
            "Give up the tenant's domain; without one it is no error",
            nothing,
            release,
        )
        .versioned()
        .refuses(&[Code::StoreUnavailable]),
    ]
}

fn requested_domain(form: &mut Form) -> Option<Hostname> {
    form.required("domain", checked(domain_schema, domain))
}

async fn claim(request: ApiRequest, (id, domain): (TenantId, Hostname)) -> Result<Success<DomainView>, ApiError> {
    let ingress = &request.state.platform.defaults().names.ingress;
    let answer = |claim: &Claim, created| DomainView::of(claim, created, ingress);
    Ok(success(request.state.domains.claim(&request.context, &id, &domain, answer).await?))
}

async fn show(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<DomainView>, ApiError> {
    let platform = &request.state.platform;
    let ingress = &platform.defaults().names.ingress;
    let view = match platform.claim(&id)? {
        Some(claim) => DomainView::of(&claim, false, ingress),
        None => DomainView::none(&platform.tenant(&id)?.tenant, ingress),
    };
    Ok(success(view))
}

async fn recheck(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<DomainView>, ApiError> {
    match request.state.domains.recheck(&request.context, &id).await? {
        Recheck::Done(claim) => {
            let ingress = &request.state.platform.defaults().names.ingress;
            Ok(success(DomainView::of(&claim, false, ingress)))
        }
        Recheck::TooSoon(moment) => Err(ApiError {
            later: Some(RetryHint::Recheck(moment)),
            ..ApiError::new(Code::RecheckTooSoon, format!("the domain was checked just now; again from {moment} on"))
        }),
        Recheck::Nothing => Err(ApiError::new(Code::DomainNotFound, "the tenant has no domain of its own")),
    }
}

async fn release(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<ReleasedDomain>, ApiError> {
    let had = request.state.platform.release_domain(&request.context, &id).await?;
    Ok(success(ReleasedDomain { tenant_id: id.to_string(), removed: had.is_some(), domain: had.map(String::from) }))
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
pub fn domain(text: String) -> Result<Hostname, InvalidValue> {
    text.parse().map_err(|BadName(why)| InvalidValue::new(why))
}

/// Names of other scripts are accepted, too (IDNA); a pattern cannot describe them.
pub fn domain_schema() -> Value {
    json!({
        "type": "string",
        "pattern": r"^([A-Za-z0-9]{1,63}\.|[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){1,2}\.){1,3}[A-Za-z][A-Za-z0-9]{0,20}\.?$",
        "examples": ["phone.acme.com"],
    })
}
