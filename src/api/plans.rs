//! The catalogue of plans.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{FieldType, Form, TextSchema as _, ValueError, boolean, checked, choice, integer, line, object};
use super::settings::MAX_NAME_CHARS;
use super::views::{CataloguePlan, PlanList, RemovedPlan};
use crate::tenancy::{CatalogueStatus, Entitlements, InvalidValue, NewPlan, Plan, Platform, Price, TenantId};

const MAX_PRICE: f64 = 1_000_000.0;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Method::GET, "/api/admin/plans", Audience::Admin, "The catalogue of plans", nothing, list),
        Endpoint::new(
            Method::PUT,
            "/api/admin/plans/{planId}",
            Audience::Admin,
            "Make a plan, or replace the one of this name; its tenants have the new rights at once",
            new_plan,
            set,
        )
        .refuses(&[Code::DefaultPlan, Code::StoreUnavailable]),
        Endpoint::new(
            Method::DELETE,
            "/api/admin/plans/{planId}",
            Audience::Admin,
            "Remove a plan that no tenant has",
            nothing,
            remove,
        )
        .refuses(&[Code::PlanNotFound, Code::PlanInUse, Code::DefaultPlan, Code::StoreUnavailable]),
    ]
}

/// The JSON Schema of a path parameter, by its name.
pub fn part_schema(name: &str) -> Value {
    match name {
        // One rule for both.
        "tenantId" | "planId" => TenantId::schema(),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

/// All of a plan but its name, which stands in the path.
fn new_plan(form: &mut Form) -> Option<NewPlan> {
    let name = form.required("name", line(MAX_NAME_CHARS));
    let status = form.optional("status", choice(&["active", "retired"])).unwrap_or(CatalogueStatus::Active);
    let price = form.required("price", PriceType);
    let currency = form.required("currency", checked(currency_schema, currency));
    let interval = form.required("interval", choice(&["month", "year"]));
    let is_default = form.optional("isDefault", boolean());
    let entitlements = form.required("entitlements", object(entitlements));
    Some(NewPlan {
        id: String::new(),
        name: name?,
        status,
        price: price?,
        currency: currency?,
        interval: interval?,
        entitlements: entitlements?,
        is_default,
    })
}

/// What is not named is not granted.
fn entitlements(form: &mut Form) -> Option<Entitlements> {
    let mut granted = |name| form.optional(name, boolean()).unwrap_or(false);
    let mut entitlements = Entitlements {
        custom_branding: granted("customBranding"),
        subdomain_access: granted("subdomainAccess"),
        custom_domain_access: granted("customDomainAccess"),
        popup_mode: granted("popupMode"),
        audio_clips: granted("audioClips"),
        transfer: granted("transfer"),
        sip_host_override: granted("sipHostOverride"),
        wss_override: granted("wssOverride"),
        ice_override: granted("iceOverride"),
        max_api_keys: 0,
        max_sessions: 0,
    };
    let max_api_keys = form.required("maxApiKeys", integer(1..=1000));
    let max_sessions = form.required("maxSessions", integer(1..=100));
    entitlements.max_api_keys = u32::try_from(max_api_keys?).ok()?;
    entitlements.max_sessions = u32::try_from(max_sessions?).ok()?;
    Some(entitlements)
}

async fn list(request: ApiRequest, (): ()) -> Result<Success<PlanList>, ApiError> {
    let platform = &request.state.platform;
    Ok(success(PlanList { plans: platform.plans().iter().map(|plan| catalogue_plan(plan, platform)).collect() }))
}

async fn set(request: ApiRequest, new: NewPlan) -> Result<Success<CataloguePlan>, ApiError> {
    let new = NewPlan { id: request.path("planId").to_owned(), ..new };
    let plan = request.state.platform.set_plan(&request.context, new).await?;
    Ok(success(catalogue_plan(&plan, &request.state.platform)))
}

async fn remove(request: ApiRequest, (): ()) -> Result<Success<RemovedPlan>, ApiError> {
    let plan_id = request.path("planId").to_owned();
    request.state.platform.remove_plan(&request.context, &plan_id).await?;
    Ok(success(RemovedPlan { plan_id, removed: true }))
}

fn catalogue_plan(plan: &Plan, platform: &Platform) -> CataloguePlan {
    CataloguePlan { plan: plan.into(), tenant_count: platform.tenants_on_plan(&plan.id) }
}

/// An amount of money; hundredths count.
struct PriceType;

impl FieldType for PriceType {
    type Value = Price;

    fn read(&self, value: Value) -> Result<Price, ValueError> {
        match value.as_f64() {
            Some(amount) if (0.0..=MAX_PRICE).contains(&amount) => Ok(amount.into()),
            _ => Err(InvalidValue::new(format!("must be a number from 0 to {MAX_PRICE}")).into()),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": MAX_PRICE })
    }
}

fn currency(text: String) -> Result<String, InvalidValue> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(text);
    }
    Err(InvalidValue::new("must be a currency's three letters (ISO 4217), as EUR"))
}

fn currency_schema() -> Value {
    json!({ "type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"] })
}
