//! All tenants' domains, for the operator's support and automation: listed, checked in DNS, activated by hand.

use axum::http::Method;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::access::Audience;
use super::code::Code;
use super::domains::{domain, domain_schema};
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, checked, list};
use super::page::PageRequest;
use super::views::domains::{DomainList, DomainSummary, DomainView, SyncedDomains};
use crate::hostname::Hostname;
use crate::tenancy::Refusal;

/// Names in one request: as many as can be checked within a request's time limit.
const MAX_SYNCED: usize = 50;

pub fn endpoints() -> Vec<Endpoint> {
    let sync_at = |path| {
        let summary = "Look at domains' DNS now, and go on with what follows; without names, at all of them, in turn";
        Endpoint::new(Method::POST, path, Audience::Admin, summary, names, sync).refuses(&[Code::StoreUnavailable])
    };
    vec![
        Endpoint::new(
            Method::GET,
            "/api/admin/domains",
            Audience::Admin,
            "List all tenants' domains",
            PageRequest::read,
            list_all,
        ),
        sync_at("/api/admin/domains/sync"),
        sync_at("/api/internal/domains/sync"),
        Endpoint::new(
            Method::POST,
            "/api/admin/domains/{domain}/activate",
            Audience::Admin,
            "Take a claimed domain as proved and leading here, whatever DNS says; again is no error",
            nothing,
            activate,
        )
        .refuses(&[Code::DomainNotFound, Code::StoreUnavailable]),
    ]
}

async fn list_all(request: ApiRequest, page: PageRequest) -> Result<Success<DomainList>, ApiError> {
    let claims = request.state.platform.claims();
    let (on_page, next_cursor) = page.take(&claims, |claim| claim.domain.as_str());
    let domains = on_page.into_iter().map(|claim| DomainSummary::of(claim)).collect();
    Ok(success(DomainList { domains, total: claims.len(), next_cursor }))
}

/// The domains to check; `None` for all.
#[allow(clippy::option_option)] // a form whose only field may be absent
fn names(form: &mut Form) -> Option<Option<Vec<Hostname>>> {
    Some(form.optional("domains", list(checked(domain_schema, domain), 1..=MAX_SYNCED)))
}

/// Checking all domains takes longer than a request may, so it is only started.
async fn sync(request: ApiRequest, names: Option<Vec<Hostname>>) -> Result<Success<SyncedDomains>, ApiError> {
    let (domains, context) = (&request.state.domains, &request.context);
    let Some(names) = names else {
        return Ok(success(SyncedDomains { started: domains.sync_all(), domains: Vec::new(), unknown: Vec::new() }));
    };
    let checks = names.into_iter().map(async |name| {
        let found = domains.sync(context, &name).await?;
        Ok::<_, Refusal>((name, found))
    });
    let checks: Vec<_> = stream::iter(checks).buffer_unordered(MAX_SYNCED).collect().await;
    let ingress = &request.state.platform.defaults().names.ingress;
    let mut synced = SyncedDomains { started: 0, domains: Vec::new(), unknown: Vec::new() };
    for check in checks {
        match check? {
            (_, Some(claim)) => synced.domains.push(DomainView::of(&claim, false, ingress)),
            (name, None) => synced.unknown.push(name.into()),
        }
    }
    synced.started = synced.domains.len();
    synced.domains.sort_by(|one, other| one.name().cmp(&other.name()));
    synced.unknown.sort();
    Ok(success(synced))
}

async fn activate(request: ApiRequest, (): ()) -> Result<Success<DomainView>, ApiError> {
    let name = request.path("domain");
    let not_found = || ApiError::new(Code::DomainNotFound, format!("no tenant claims the domain {name:?}"));
    let name: Hostname = name.parse().map_err(|_| not_found())?;
    let claim = request.state.domains.activate(&request.context, &name).await?.ok_or_else(not_found)?;
    Ok(success(DomainView::of(&claim, false, &request.state.platform.defaults().names.ingress)))
}
