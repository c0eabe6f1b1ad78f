//! Tenants as the operator's support and automation see and change them: all of
//! them, and beyond what their plans grant.

use axum::http::Method;

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, boolean, choice, query_boolean, text};
use super::page::PageRequest;
use super::settings::settings;
use super::tenants::PLAN_STATUSES;
use super::views::{DeletedTenant, EnabledTenant, TenantList, TenantRecord, TenantSummary};
use crate::tenancy::{OperatorChange, PlanChange, Refusal, Search, TenantId};

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Method::GET, "/api/admin/tenants", Audience::Admin, "List and search tenants", search, list),
        Endpoint::new(
            Method::GET,
            "/api/admin/tenants/{tenantId}",
            Audience::Admin,
            "All of a tenant: what was set, and what is in effect",
            nothing,
            show,
        )
        .versioned()
        .refuses(&[Code::TenantNotFound]),
        Endpoint::new(
            Method::PATCH,
            "/api/admin/tenants/{tenantId}",
            Audience::Admin,
            "Change a tenant as the operator: also plan, status and features, and transport beyond the plan",
            override_form,
            override_settings,
        )
        .versioned()
        .refuses(&[Code::TenantNotFound, Code::PlanRetired, Code::StoreUnavailable]),
        Endpoint::new(
            Method::POST,
            "/api/admin/tenants/{tenantId}/enable",
            Audience::Admin,
            "Let a tenant in again; again is no error",
            nothing,
            enable,
        )
        .refuses(&[Code::TenantNotFound, Code::StoreUnavailable]),
        Endpoint::new(
            Method::POST,
            "/api/admin/tenants/{tenantId}/disable",
            Audience::Admin,
            "Shut a tenant out of every surface at once; again is no error",
            nothing,
            disable,
        )
        .refuses(&[Code::TenantNotFound, Code::StoreUnavailable]),
        Endpoint::new(
            Method::DELETE,
            "/api/admin/tenants/{tenantId}",
            Audience::Admin,
            "Delete a tenant with all that is kept of it, or tell what that would be",
            deletion,
            delete,
        )
        .refuses(&[Code::TenantNotFound, Code::StoreUnavailable]),
    ]
}

/// `q` is looked for in id and display name.
fn search(form: &mut Form) -> Option<(Search, PageRequest)> {
    let search = Search {
        text: form.optional("q", text()).unwrap_or_default().to_lowercase(),
        enabled: form.optional("enabled", query_boolean()),
        plan_id: form.optional("planId", text()),
    };
    Some((search, PageRequest::read(form)?))
}

async fn list(request: ApiRequest, (search, page): (Search, PageRequest)) -> Result<Success<TenantList>, ApiError> {
    let found = request.state.platform.search(&search, page.cursor.as_deref(), page.limit).await;
    let last = found.tenants.last().filter(|_| found.more);
    let next_cursor = last.map(|live| live.tenant.id.to_string());
    let tenants = found.tenants.iter().map(|live| TenantSummary::of(live, &request.state.platform)).collect();
    Ok(success(TenantList { tenants, total: found.total, next_cursor }))
}

async fn show(request: ApiRequest, (): ()) -> Result<Success<TenantRecord>, ApiError> {
    let live = request.state.platform.tenant(&tenant(&request)?)?;
    Ok(success(TenantRecord::of(&live, &request.state.platform)).version(live.revision))
}

fn override_form(form: &mut Form) -> Option<OperatorChange> {
    let mut settings = settings(form)?;
    form.section("features", |form| settings.auth_link = form.change("authLink", boolean()));
    let plan_id = form.optional("planId", text());
    let status = form.optional("planStatus", choice(PLAN_STATUSES));
    let enabled = form.optional("enabled", boolean());
    Some(OperatorChange { settings, plan: PlanChange { plan_id, status }, enabled })
}

async fn override_settings(request: ApiRequest, change: OperatorChange) -> Result<Success<TenantRecord>, ApiError> {
    let live = request.state.platform.change_as_operator(&request.context, &tenant(&request)?, change).await?;
    Ok(success(TenantRecord::of(&live, &request.state.platform)).version(live.revision))
}

async fn enable(request: ApiRequest, (): ()) -> Result<Success<EnabledTenant>, ApiError> {
    set_enabled(&request, true).await
}

async fn disable(request: ApiRequest, (): ()) -> Result<Success<EnabledTenant>, ApiError> {
    set_enabled(&request, false).await
}

async fn set_enabled(request: &ApiRequest, enabled: bool) -> Result<Success<EnabledTenant>, ApiError> {
    let live = request.state.platform.enable(&request.context, &tenant(request)?, enabled).await?;
    Ok(success(EnabledTenant { tenant_id: live.tenant.id.to_string(), enabled: live.tenant.enabled }))
}

fn deletion(form: &mut Form) -> Option<bool> {
    Some(form.optional("dryRun", query_boolean()).unwrap_or(false))
}

async fn delete(request: ApiRequest, dry_run: bool) -> Result<Success<DeletedTenant>, ApiError> {
    let (platform, id) = (&request.state.platform, tenant(&request)?);
    let removal = if dry_run {
        platform.preview_removal(&request.context, &id).await?
    } else {
        platform.remove_tenant(&request.context, &id).await?
    };
    Ok(success(DeletedTenant {
        tenant_id: id.to_string(),
        dry_run,
        deleted: !dry_run,
        removed: removal.counts,
        tenant_hash: removal.tenant_hash,
    }))
}

/// The tenant that the path names. A text that is no valid tenant id names no tenant.
fn tenant(request: &ApiRequest) -> Result<TenantId, Refusal> {
    let id = request.path("tenantId");
    id.parse().map_err(|_| Refusal::TenantNotFound(id.to_owned()))
}
