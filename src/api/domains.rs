//! Domains of the tenants' own: claimed, with what their owners must publish in DNS, and released.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
use super::error::ApiError;
use super::form::{Form, checked, count, text};
use super::views::domains::{DomainLine, DomainList, DomainView, Released};
use crate::hostname::{BadName, Hostname};
use crate::tenancy::{Invalid, TenantId};

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/domains",
            "Claim a domain, in the place of the one that the tenant claims; the answer says what to publish in DNS",
            wanted,
            claim,
        )
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
            Method::DELETE,
            "/api/tenant/domains",
            "Give up the tenant's domain; without one it is no error",
            nothing,
            release,
        )
        .versioned()
        .refuses(&[Code::StoreUnavailable]),
        Endpoint::new(Method::GET, "/api/admin/domains", Audience::Admin, "List all tenants' domains", page, list),
    ]
}

fn wanted(form: &mut Form) -> Option<Hostname> {
    form.required("domain", checked(domain_schema, domain))
}

async fn claim(call: Call, (id, domain): (TenantId, Hostname)) -> Result<Done<DomainView>, ApiError> {
    let platform = &call.state.platform;
    let (claim, created) = platform.claim_domain(&call.act, &id, domain).await?;
    Ok(done(DomainView::of(&claim, created, &platform.defaults().names.ingress)))
}

async fn show(call: Call, (id, ()): (TenantId, ())) -> Result<Done<DomainView>, ApiError> {
    let platform = &call.state.platform;
    let ingress = &platform.defaults().names.ingress;
    let view = match platform.claim(&id)? {
        Some(claim) => DomainView::of(&claim, false, ingress),
        None => DomainView::none(&id, ingress),
    };
    Ok(done(view))
}

async fn release(call: Call, (id, ()): (TenantId, ())) -> Result<Done<Released>, ApiError> {
    let had = call.state.platform.release_domain(&call.act, &id).await?;
    Ok(done(Released { tenant_id: id.to_string(), removed: had.is_some(), domain: had.map(String::from) }))
}

struct Page {
    /// The last domain of the page before.
    cursor: Option<String>,
    limit: usize,
}

fn page(form: &mut Form) -> Option<Page> {
    let cursor = form.optional("cursor", text());
    let limit = form.optional("limit", count(1..=MAX_PAGE)).unwrap_or(DEFAULT_PAGE);
    Some(Page { cursor, limit: usize::try_from(limit).unwrap_or(usize::MAX) })
}

async fn list(call: Call, page: Page) -> Result<Done<DomainList>, ApiError> {
    let claims = call.state.platform.claims();
    let rest =
        claims.iter().filter(|claim| page.cursor.as_ref().is_none_or(|last| claim.domain.as_str() > last.as_str()));
    let mut domains: Vec<_> = rest.take(page.limit + 1).map(|claim| DomainLine::of(claim)).collect();
    let more = domains.len() > page.limit;
    domains.truncate(page.limit);
    let next_cursor = domains.last().filter(|_| more).map(|line| line.domain.clone());
    Ok(done(DomainList { domains, total: claims.len(), next_cursor }))
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn domain(text: String) -> Result<Hostname, Invalid> {
    text.parse().map_err(|BadName(why)| Invalid::new(why))
}

/// Names of other scripts are accepted, too; which, no pattern can say.
fn domain_schema() -> Value {
    json!({
        "type": "string",
        "pattern": r"^[a-z]([a-z0-9]{0,20})(\.[a-z][a-z0-9]{0,20}){1,4}$",
        "examples": ["phone.acme.com"],
    })
}

const DEFAULT_PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;
