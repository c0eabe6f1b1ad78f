//! How the model lies in the store: one record per tenant, name, extension, plan
//! and key use.

use super::audit::{AuditEntry, AuditId};
use super::claim::Claim;
use super::extension::Extension;
use super::id::{TenantId, Username};
use super::key::{KeyHash, KeyId};
use super::plan::Plan;
use super::tenant::Tenant;
use super::token::StoredToken;
use super::transport::TransportDefaults;
use crate::hostname::{Hostname, Label};
use crate::store::keys::{certificate_key, order_key};
pub use crate::store::{Layout, decode, encode};
use crate::timestamp::Timestamp;

pub const TENANTS: &str = "tenant/";
pub const REMOVALS: &str = "removal/";
pub const EXTENSIONS: &str = "extension/";
pub const CLAIMS: &str = "domain/";
pub const PLANS: &str = "plan/";
pub const AUDIT: &str = "audit/";
/// The last moment that has 13 digits, in the year 2286.
const AUDIT_END: i64 = 9_999_999_999_999;
pub const TOKENS: &str = "token/";
pub const KEY_USES: &str = "key-use/";
pub const REPLAYS_OF: &str = "replay-of/";
pub const TRANSPORT_DEFAULTS: &str = "settings/transport-defaults";

impl Layout for Tenant {}
impl Layout for Extension {}
impl Layout for Plan {}
impl Layout for TransportDefaults {}
impl Layout for Timestamp {}
impl Layout for TenantId {}
impl Layout for AuditEntry {}
impl Layout for StoredToken {}

/// 1 knew no looks at DNS: what they would have left is absent, and so is the next one's moment, which makes it due.
impl Layout for Claim {
    const VERSION: u32 = 2;
}

pub fn tenant_key(id: &str) -> String {
    format!("{TENANTS}{id}")
}

/// Holds a tenant's label in domain names, for which `a_b` and `a-b` would be the same.
pub fn label_key(label: &str) -> String {
    format!("label/{label}")
}

/// Holds a subdomain for its tenant.
pub fn subdomain_key(label: &Label) -> String {
    format!("subdomain/{label}")
}

/// Holds a domain for its tenant, with what is known of it.
pub fn claim_key(domain: &Hostname) -> String {
    format!("{CLAIMS}{domain}")
}

pub fn plan_key(id: &str) -> String {
    format!("{PLANS}{id}")
}

pub fn extension_key(tenant: &TenantId, username: &Username) -> String {
    format!("{EXTENSIONS}{tenant}/{username}")
}

/// Tenant and user name of an extension's key.
pub fn extension_owner(key: &str) -> Option<(TenantId, Username)> {
    let (tenant, username) = key.strip_prefix(EXTENSIONS)?.split_once('/')?;
    Some((tenant.parse().ok()?, username.parse().ok()?))
}

pub fn token_key(tenant: &TenantId, hash: &KeyHash) -> String {
    format!("{TOKENS}{tenant}/{}", String::from(*hash))
}

/// Tenant and hash of a token's key.
pub fn token_owner(key: &str) -> Option<(TenantId, KeyHash)> {
    let (tenant, hash) = key.strip_prefix(TOKENS)?.split_once('/')?;
    Some((tenant.parse().ok()?, KeyHash::try_from(hash.to_owned()).ok()?))
}

pub fn key_use_key(tenant: &TenantId, id: &KeyId) -> String {
    format!("{KEY_USES}{tenant}/{}", id.0)
}

/// The API key whose use this is, and its tenant.
pub fn key_used(key: &str) -> Option<(&str, KeyId)> {
    let (tenant, id) = key.strip_prefix(KEY_USES)?.split_once('/')?;
    Some((tenant, KeyId(id.to_owned())))
}

/// Where the store holds something of a tenant.
pub enum RecordLocation {
    Key(String),
    Prefix(String),
    /// All keys with this prefix that end so.
    Ending(&'static str, String),
}

/// Everything that the store holds of a tenant, by kind, except the answers kept for repeated requests: what is removed
/// with it. A kind of record that is not found from here would outlive its tenant.
pub fn belongings(tenant: &Tenant) -> Vec<(&'static str, RecordLocation)> {
    let id = &tenant.id;
    let key = |kind, key| (kind, RecordLocation::Key(key));
    let mut all = vec![key("tenants", tenant_key(id.as_str())), key("labels", label_key(&id.dns_label()))];
    all.extend(tenant.subdomain.iter().map(|label| key("subdomains", subdomain_key(label))));
    if let Some(domain) = &tenant.custom_domain {
        all.extend([
            key("customDomains", claim_key(domain)),
            key("certificates", certificate_key(domain.as_str())),
            key("orders", order_key(domain)),
        ]);
    }
    all.extend(["extensions", "tokens", "keyUses", "auditEntries"].into_iter().zip(collections(id)));
    all
}

/// The records of a tenant that are found by its id alone: any number of extensions, tokens, key uses and audit entries.
pub fn collections(id: &TenantId) -> [RecordLocation; 4] {
    [
        RecordLocation::Prefix(format!("{EXTENSIONS}{id}/")),
        RecordLocation::Prefix(format!("{TOKENS}{id}/")),
        RecordLocation::Prefix(format!("{KEY_USES}{id}/")),
        RecordLocation::Ending(AUDIT, format!("/{id}")),
    ]
}

/// Marks a tenant whose removal is not finished.
pub fn removal_key(id: &TenantId) -> String {
    format!("{REMOVALS}{id}")
}

/// The tenant of a removal's key.
pub fn removed_tenant(key: &str) -> Option<TenantId> {
    key.strip_prefix(REMOVALS)?.parse().ok()
}

/// The tenant stands at the end, so that its entries are found without reading them.
pub fn audit_key(id: &AuditId, tenant: Option<&TenantId>) -> String {
    format!("{AUDIT}{id}/{}", tenant.map(TenantId::as_str).unwrap_or_default())
}

/// Before this come all entries that are older than `moment`, and after it all others.
pub fn audit_from(moment: Timestamp) -> String {
    format!("{AUDIT}{:013}", moment.0.clamp(0, AUDIT_END))
}

/// Before this come all entries that are older than the one called `id`.
pub fn audit_before(id: &AuditId) -> String {
    format!("{AUDIT}{id}")
}

/// The entry's name, and its tenant's, which is empty where it has none.
pub fn audit_owner(key: &str) -> Option<(AuditId, &str)> {
    let (id, tenant) = key.strip_prefix(AUDIT)?.split_once('/')?;
    Some((id.parse().ok()?, tenant))
}

/// The answer kept for repetitions of a request, by the request's hashed name.
pub fn replay_key(name: &str) -> String {
    format!("replay/{name}")
}

/// Where the [`AnswerRecord`](super::idempotency::AnswerRecord) of an answer about a tenant is.
pub fn replay_of_key(tenant: &TenantId, name: &str) -> String {
    format!("{}{name}", replays_of(tenant))
}

/// The tenant of a kept answer, and the request's hashed name.
pub fn answer_owner(key: &str) -> Option<(TenantId, &str)> {
    let (tenant, name) = key.strip_prefix(REPLAYS_OF)?.split_once('/')?;
    Some((tenant.parse().ok()?, name))
}

/// The prefix of all records about answers that concern a tenant.
pub fn replays_of(tenant: &TenantId) -> String {
    format!("{REPLAYS_OF}{tenant}/")
}

/// The two records of a kept answer, by the key of the one that names its tenant.
pub fn replay_keys(of_tenant: String) -> [String; 2] {
    [replay_key(of_tenant.rsplit('/').next().unwrap_or_default()), of_tenant]
}
