//! What the API shows of the model: one struct per answer, with all fields of
//! the contract, also where they are null.

use bitcall_wire::config::{Behavior, Branding, Capabilities, Features};
use serde::Serialize;

use crate::tenancy::{
    ApiKeyMeta, CatalogueStatus, Effective, Entitlements, Extension, Interval, Live, Plan, PlanStatus, Platform,
    Provisioned, Timestamp, Transport,
};

/// `GET /api/tenant`: effective values, and the tenant's own where it is the only one to set them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    tenant_id: String,
    enabled: bool,
    plan: ProfilePlan,
    branding: Branding,
    domains: Domains,
    origins: Origins,
    api_keys: Vec<ApiKeyMeta>,
    capabilities: Capabilities,
    features: Features,
    behavior: Behavior,
    transport: Transport,
    #[serde(serialize_with = "Timestamp::as_text")]
    created_at: Timestamp,
    #[serde(serialize_with = "Timestamp::as_text")]
    updated_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProfilePlan {
    plan_id: String,
    status: PlanStatus,
    entitlements: Entitlements,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Origins {
    allowed_origins: Vec<String>,
}

/// The names under which a tenant's phone is reached. No tenant has any yet.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Domains {
    subdomain: Option<String>,
    custom_domain: Option<String>,
    custom_domain_status: Option<String>,
    custom_domain_tls_status: Option<String>,
}

impl Profile {
    pub fn of(live: &Live, platform: &Platform) -> Self {
        let Effective { branding, behavior, capabilities, features, transport } = live.effective.clone();
        let tenant = &live.tenant;
        let allowed_origins = tenant.settings.allowed_origins.iter().map(ToString::to_string).collect();
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            plan: ProfilePlan {
                plan_id: tenant.plan_id.clone(),
                status: tenant.plan_status,
                entitlements: live.plan.entitlements.clone(),
            },
            branding,
            domains: Domains::default(),
            origins: Origins { allowed_origins },
            api_keys: platform.api_keys(live),
            capabilities,
            features,
            behavior,
            transport,
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
}

/// `POST /api/tenant/provision`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewTenantView {
    tenant_id: String,
    /// Shown here and never again.
    api_key: String,
    api_key_meta: ApiKeyMeta,
    plan_id: String,
    plan: PlanView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanView {
    plan_id: String,
    name: String,
    status: PlanStatus,
    catalog_status: CatalogueStatus,
    is_default_provision: bool,
    billing: Billing,
}

#[derive(Serialize)]
struct Billing {
    price: u32,
    currency: String,
    interval: Interval,
}

impl From<Provisioned> for NewTenantView {
    fn from(new: Provisioned) -> Self {
        let plan: &Plan = &new.live.plan;
        let tenant = &new.live.tenant;
        Self {
            tenant_id: tenant.id.to_string(),
            api_key: new.api_key.as_str().to_owned(),
            api_key_meta: new.api_key_meta,
            plan_id: plan.id.clone(),
            plan: PlanView {
                plan_id: plan.id.clone(),
                name: plan.name.clone(),
                status: tenant.plan_status,
                catalog_status: plan.status,
                is_default_provision: plan.is_default,
                billing: Billing { price: plan.price, currency: plan.currency.clone(), interval: plan.interval },
            },
        }
    }
}

/// `GET /api/admin/tenants`
#[derive(Serialize)]
pub struct TenantList {
    pub tenants: Vec<TenantLine>,
    /// Of all that match, not only of this page.
    pub total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantLine {
    tenant_id: String,
    enabled: bool,
    plan_id: String,
    plan_status: PlanStatus,
    display_name: String,
    #[serde(flatten)]
    domains: Domains,
    api_key_count: usize,
}

impl From<&Live> for TenantLine {
    fn from(live: &Live) -> Self {
        let tenant = &live.tenant;
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            plan_id: tenant.plan_id.clone(),
            plan_status: tenant.plan_status,
            display_name: live.effective.branding.display_name.clone(),
            domains: Domains::default(),
            api_key_count: tenant.api_keys.len(),
        }
    }
}

/// `POST /api/tenant/api-keys`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyView {
    #[serde(flatten)]
    pub meta: ApiKeyMeta,
    /// Shown here and never again.
    pub api_key: String,
}

/// `DELETE /api/tenant/api-keys/{id}`
#[derive(Serialize)]
pub struct RevokedKey {
    pub id: String,
    pub revoked: bool,
}

/// `GET /api/tenant/extensions`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionList {
    pub tenant_id: String,
    pub extensions: Vec<ExtensionView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionView {
    username: String,
    /// The SIP domain it registers in.
    domain: String,
    display_name: Option<String>,
    #[serde(serialize_with = "Timestamp::as_text")]
    created_at: Timestamp,
}

impl From<&Extension> for ExtensionView {
    fn from(extension: &Extension) -> Self {
        Self {
            username: extension.username.to_string(),
            domain: extension.realm.clone(),
            display_name: extension.display_name.clone(),
            created_at: extension.created_at,
        }
    }
}

/// `POST /api/tenant/extensions`
#[derive(Serialize)]
pub struct NewExtensionView {
    #[serde(flatten)]
    pub extension: ExtensionView,
    /// Shown here and never again.
    pub password: String,
    /// False when it was there already, with this password.
    pub created: bool,
}

/// `DELETE /api/tenant/extensions/{username}`
#[derive(Serialize)]
pub struct RemovedExtension {
    pub username: String,
    pub removed: bool,
}
