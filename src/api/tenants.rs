//! Tenants as the operator's panel makes, reads and changes them.

use axum::http::Method;

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, choice, line, parsed, text};
use super::keys::purpose;
use super::settings::{MAX_NAME_CHARS, OriginsType, settings};
use super::views::{NewTenantView, TenantProfile};
use crate::tenancy::{NewKey, NewTenant, PlanChange, SettingsChange, TenantId};

pub const MAX_LABEL_CHARS: usize = 80;
/// In the words of the billing services.
pub const PLAN_STATUSES: &[&str] = &["active", "trialing", "past_due", "paused", "canceled"];

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::POST,
            "/api/tenant/provision",
            Audience::Panel,
            "Make a tenant and its first API key, which is shown once",
            new_tenant,
            provision,
        )
        .creates()
        .refuses(&[Code::TenantExists, Code::TenantIdTaken, Code::PlanRetired, Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::GET,
            "/api/tenant",
            "A tenant's effective settings, domains and keys",
            nothing,
            show,
        )
        .versioned(),
        Endpoint::of_tenant(
            Method::PATCH,
            "/api/tenant/config",
            "Change settings; only the sections that are sent are changed, null resets",
            settings,
            change,
        )
        .versioned()
        .refuses(&[Code::NotEntitled, Code::StoreUnavailable]),
        Endpoint::of_tenant(
            Method::PATCH,
            "/api/tenant/plan",
            "Tell a tenant's plan and how it stands with billing; its rights follow at once",
            plan_change,
            change_plan,
        )
        .versioned()
        .refuses(&[Code::PlanRetired, Code::StoreUnavailable]),
    ]
}

fn new_tenant(form: &mut Form) -> Option<NewTenant> {
    let tenant_id = form.required("tenantId", parsed());
    let display_name = form.optional("displayName", line(MAX_NAME_CHARS));
    let plan_id = form.optional("planId", text());
    let label = form.optional("apiKeyLabel", line(MAX_LABEL_CHARS));
    let purpose = form.optional("apiKeyPurpose", purpose()).unwrap_or_default();
    let mut allowed_origins = None;
    form.section("origins", |form| allowed_origins = form.optional("allowedOrigins", OriginsType));
    Some(NewTenant {
        tenant_id: tenant_id?,
        display_name,
        plan_id,
        api_key: NewKey { label, purpose },
        allowed_origins: allowed_origins.unwrap_or_default(),
    })
}

async fn provision(request: ApiRequest, new: NewTenant) -> Result<Success<NewTenantView>, ApiError> {
    Ok(success(request.state.platform.provision(&request.context, new, NewTenantView::of).await?))
}

async fn show(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<TenantProfile>, ApiError> {
    let live = request.state.platform.tenant(&id)?;
    Ok(success(TenantProfile::of(&live, &request.state.platform)).version(live.revision))
}

async fn change(
    request: ApiRequest,
    (id, change): (TenantId, SettingsChange),
) -> Result<Success<TenantProfile>, ApiError> {
    let live = request.state.platform.change_settings(&request.context, &id, change).await?;
    Ok(success(TenantProfile::of(&live, &request.state.platform)).version(live.revision))
}

fn plan_change(form: &mut Form) -> Option<PlanChange> {
    let plan_id = form.required("planId", text());
    let status = form.optional("status", choice(PLAN_STATUSES));
    Some(PlanChange { plan_id: Some(plan_id?), status })
}

async fn change_plan(
    request: ApiRequest,
    (id, change): (TenantId, PlanChange),
) -> Result<Success<TenantProfile>, ApiError> {
    let live = request.state.platform.change_plan(&request.context, &id, change).await?;
    Ok(success(TenantProfile::of(&live, &request.state.platform)).version(live.revision))
}
