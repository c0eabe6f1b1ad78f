//! Tenants: made, read, changed, listed.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
use super::error::ApiError;
use super::form::{Described, Form, count, line, parsed, switch, text};
use super::settings::{MAX_NAME, Origins, settings};
use super::views::{NewTenantView, Profile, TenantLine, TenantList};
use crate::tenancy::{NewTenant, SettingsChange, TenantId};

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
        .refuses(&[Code::TenantExists, Code::TenantIdTaken, Code::StoreUnavailable]),
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
        Endpoint::new(Method::GET, "/api/admin/tenants", Audience::Admin, "List and search tenants", search, list),
    ]
}

fn new_tenant(form: &mut Form) -> Option<NewTenant> {
    let tenant_id = form.required("tenantId", parsed());
    let display_name = form.optional("displayName", line(MAX_NAME));
    let plan_id = form.optional("planId", text());
    let api_key_label = form.optional("apiKeyLabel", line(MAX_LABEL));
    let mut allowed_origins = None;
    form.section("origins", |form| allowed_origins = form.optional("allowedOrigins", Origins));
    Some(NewTenant {
        tenant_id: tenant_id?,
        display_name,
        plan_id,
        api_key_label,
        allowed_origins: allowed_origins.unwrap_or_default(),
    })
}

async fn provision(call: Call, new: NewTenant) -> Result<Done<NewTenantView>, ApiError> {
    Ok(done(call.state.platform.provision(&call.act, new, NewTenantView::of).await?))
}

async fn show(call: Call, (id, ()): (TenantId, ())) -> Result<Done<Profile>, ApiError> {
    let live = call.state.platform.tenant(&id)?;
    Ok(done(Profile::of(&live, &call.state.platform)).version(live.revision))
}

async fn change(call: Call, (id, change): (TenantId, SettingsChange)) -> Result<Done<Profile>, ApiError> {
    let live = call.state.platform.change_settings(&call.act, &id, change).await?;
    Ok(done(Profile::of(&live, &call.state.platform)).version(live.revision))
}

struct Search {
    q: String,
    enabled: Option<bool>,
    limit: usize,
    offset: usize,
}

/// `q` is looked for in id and display name; `limit` and `offset` cut out a page.
fn search(form: &mut Form) -> Option<Search> {
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Some(Search {
        q: form.optional("q", text()).unwrap_or_default().to_lowercase(),
        enabled: form.optional("enabled", switch()),
        limit: form.optional("limit", count(1..=MAX_PAGE)).map_or(DEFAULT_PAGE, size),
        offset: form.optional("offset", count(0..=u64::from(u32::MAX))).map_or(0, size),
    })
}

async fn list(call: Call, search: Search) -> Result<Done<TenantList>, ApiError> {
    let platform = &call.state.platform;
    let mut found = platform.tenants();
    found.retain(|live| {
        search.enabled.is_none_or(|enabled| live.tenant.enabled == enabled)
            && (live.tenant.id.as_str().contains(&search.q) || live.name().to_lowercase().contains(&search.q))
    });
    let page = found.iter().skip(search.offset).take(search.limit);
    let tenants = page.map(|live| TenantLine::from(live.as_ref())).collect();
    Ok(done(TenantList { tenants, total: found.len() }))
}

impl Described for TenantId {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9_-]{0,46}[a-z0-9])?$", "examples": ["acme_corp"] })
    }
}

pub fn tenant_id_schema() -> Value {
    TenantId::schema()
}

pub const MAX_LABEL: usize = 80;
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: u64 = 1000;
