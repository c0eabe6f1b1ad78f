//! What the API shows of the model: one struct per answer, with all fields of
//! the contract, also where they are null.

mod admin;
mod audit;
pub mod auth;
pub mod certificates;
pub mod domains;
pub mod live_calls;
mod plans;

use bitcall_wire::config::{Behavior, Branding, Capabilities, Features, SipConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

pub use admin::{DeletedTenant, EnabledTenant, TenantRecord, TransportDefaultsView};
pub use audit::{AuditEntryView, AuditList};
use domains::{ProfileDomains, TenantDomainsView};
pub use plans::{CataloguePlan, PlanList, RemovedPlan};

use crate::tenancy::{
    self, ApiKeyMeta, CatalogueStatus, Effective, Entitlements, Extension, IceEntry, Interval, KeyPurpose, PlanStatus,
    Platform, Price, Provisioned, TenantState, Transport, TransportMode,
};
use crate::timestamp::Timestamp;

/// `GET /api/tenant`: effective values, and the tenant's own where it is the only one to set them.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Profile")]
pub struct TenantProfile {
    tenant_id: String,
    enabled: bool,
    plan: ProfilePlan,
    branding: Branding,
    domains: ProfileDomains,
    origins: OriginsView,
    api_keys: Vec<ApiKeyView>,
    capabilities: Capabilities,
    features: Features,
    behavior: Behavior,
    transport: TransportView,
    not_applied: Vec<NotApplied>,
    created_at: Rfc3339,
    updated_at: Rfc3339,
}

/// A setting that is kept and not in effect, because the tenant's plan does not include it. With a plan that does, it is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NotApplied {
    /// Its path in requests, e.g. `branding.themeColor`.
    field: &'static str,
    /// The entitlement that it needs.
    entitlement: &'static str,
    /// The ids of the plans on offer that have it, the cheapest first.
    plans: Vec<String>,
}

impl NotApplied {
    fn of(live: &TenantState, rights: &Entitlements, platform: &Platform) -> Vec<Self> {
        let withheld = tenancy::withheld(&live.tenant.settings, rights).into_iter();
        withheld
            .map(|(field, right)| Self { field, entitlement: right.name(), plans: platform.plans_with(right) })
            .collect()
    }
}

/// How a tenant's phones reach their SIP server.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TransportView {
    mode: TransportMode,
    sip: SipConfig,
    wss: Vec<String>,
    ice_servers: Vec<IceView>,
}

impl From<Transport> for TransportView {
    fn from(transport: Transport) -> Self {
        let Transport { mode, sip, wss, ice_servers } = transport;
        Self { mode, sip, wss, ice_servers: ice_servers.into_iter().map(IceView::from).collect() }
    }
}

/// An ICE server as its owner sees it again: secrets are never shown.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct IceView {
    urls: Vec<String>,
    username: Option<String>,
    has_credential: bool,
    /// Whether each phone gets short-lived credentials of its own, made from a secret.
    has_secret: bool,
}

impl From<IceEntry> for IceView {
    fn from(entry: IceEntry) -> Self {
        Self {
            urls: entry.urls,
            username: entry.username,
            has_credential: entry.credential.is_some(),
            has_secret: entry.secret.is_some(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ProfilePlan {
    plan_id: String,
    status: PlanStatus,
    /// In effect: those of the plan, or of the default one while `status` is `paused` or `canceled`.
    entitlements: Entitlements,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Origins")]
struct OriginsView {
    allowed_origins: Vec<String>,
}

impl TenantProfile {
    pub fn of(live: &TenantState, platform: &Platform) -> Self {
        let values_of = platform.values_of(live);
        let Effective { branding, behavior, capabilities, features, transport } = values_of.effective;
        let tenant = &live.tenant;
        let allowed_origins = tenant.settings.allowed_origins.iter().map(ToString::to_string).collect();
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            not_applied: NotApplied::of(live, &values_of.rights, platform),
            plan: ProfilePlan {
                plan_id: tenant.plan_id.clone(),
                status: tenant.plan_status,
                entitlements: values_of.rights,
            },
            branding,
            domains: ProfileDomains::of(live, platform),
            origins: OriginsView { allowed_origins },
            api_keys: platform.api_keys(live).into_iter().map(ApiKeyView::from).collect(),
            capabilities,
            features,
            behavior,
            transport: transport.into(),
            created_at: Rfc3339(tenant.created_at),
            updated_at: Rfc3339(tenant.updated_at),
        }
    }
}

/// `POST /api/tenant/provision`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewTenantView {
    tenant_id: String,
    /// Shown here and never again.
    api_key: String,
    api_key_meta: ApiKeyView,
    plan_id: String,
    plan: PlanView,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PlanView {
    plan_id: String,
    name: String,
    status: PlanStatus,
    catalog_status: CatalogueStatus,
    is_default_provision: bool,
    billing: Billing,
}

#[derive(Serialize, JsonSchema)]
struct Billing {
    price: Price,
    currency: String,
    interval: Interval,
}

impl NewTenantView {
    pub fn of(new: &Provisioned) -> Self {
        let Provisioned { tenant, plan, api_key, api_key_meta } = new;
        Self {
            tenant_id: tenant.id.to_string(),
            api_key: api_key.as_str().to_owned(),
            api_key_meta: api_key_meta.clone().into(),
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
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantList {
    pub tenants: Vec<TenantSummary>,
    /// Of all that match, not only of this page.
    pub total: usize,
    /// For the `cursor` of a request for the page after this one; null on the last one.
    pub next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TenantLine")]
pub struct TenantSummary {
    tenant_id: String,
    enabled: bool,
    plan_id: String,
    plan_status: PlanStatus,
    display_name: String,
    #[serde(flatten)]
    domains: TenantDomainsView,
    /// Without those that retire: another key has taken their place.
    api_key_count: usize,
}

impl TenantSummary {
    pub fn of(live: &TenantState, platform: &Platform) -> Self {
        let tenant = &live.tenant;
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            plan_id: tenant.plan_id.clone(),
            plan_status: tenant.plan_status,
            display_name: live.name().to_owned(),
            domains: TenantDomainsView::of(live, platform),
            api_key_count: tenant.staying_keys(),
        }
    }
}

/// `POST /api/tenant/api-keys`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyView {
    #[serde(flatten)]
    pub meta: ApiKeyView,
    /// Shown here and never again.
    pub api_key: String,
}

/// `POST /api/tenant/api-keys/{id}/rotate`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotatedKeyView {
    #[serde(flatten)]
    pub new: NewKeyView,
    /// The old key, with the moment from which it is refused.
    pub replaced: ApiKeyView,
}

/// `DELETE /api/tenant/api-keys/{id}`
#[derive(Serialize, JsonSchema)]
pub struct RevokedKey {
    pub id: String,
    pub revoked: bool,
}

/// `GET /api/tenant/extensions`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionList {
    pub tenant_id: String,
    pub extensions: Vec<ExtensionView>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionView {
    username: String,
    /// The SIP domain it registers in.
    domain: String,
    display_name: Option<String>,
    created_at: Rfc3339,
}

impl From<&Extension> for ExtensionView {
    fn from(extension: &Extension) -> Self {
        Self {
            username: extension.username.to_string(),
            domain: extension.realm.clone(),
            display_name: extension.display_name.clone(),
            created_at: Rfc3339(extension.created_at),
        }
    }
}

/// `POST /api/tenant/extensions`
#[derive(Serialize, JsonSchema)]
pub struct NewExtensionView {
    #[serde(flatten)]
    pub extension: ExtensionView,
    /// Shown here and never again.
    pub password: String,
    /// False when it was there already, with this password.
    pub created: bool,
}

/// `DELETE /api/tenant/extensions/{username}`
#[derive(Serialize, JsonSchema)]
pub struct RemovedExtension {
    pub username: String,
    pub removed: bool,
}

/// A moment, RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy)]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Rfc3339 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// What everybody may see of an API key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    id: String,
    label: String,
    /// What it may be used for.
    purpose: KeyPurpose,
    prefix: &'static str,
    created_at: Rfc3339,
    /// When it is refused from, where another key has taken its place.
    retires_at: Option<Rfc3339>,
    /// To the hour.
    last_used_at: Option<Rfc3339>,
}

impl From<ApiKeyMeta> for ApiKeyView {
    fn from(meta: ApiKeyMeta) -> Self {
        Self {
            id: meta.id.0,
            label: meta.label,
            purpose: meta.purpose,
            prefix: meta.prefix,
            created_at: Rfc3339(meta.created_at),
            retires_at: meta.retires_at.map(Rfc3339),
            last_used_at: meta.last_used_at.map(Rfc3339),
        }
    }
}
