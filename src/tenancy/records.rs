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
pub use crate::store::{Layout, decode, encode};
use crate::timestamp::Timestamp;

pub const TENANTS: &str = "tenant/";
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

/// The course of a domain's order, as [`crate::certs`] keeps it.
fn order_key(domain: &Hostname) -> String {
    format!("order/{domain}")
}

/// The certificate of a domain, as [`crate::certs`] keeps it.
fn certificate_key(domain: &Hostname) -> String {
    format!("certificate/{domain}")
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
pub enum Place {
    Key(String),
    Prefix(String),
    /// All keys with this prefix that end so.
    Ending(&'static str, String),
}

/// Everything that the store holds of a tenant, by kind: what is removed with it. A kind of record that
/// is not found from here would outlive its tenant.
pub fn belongings(tenant: &Tenant) -> Vec<(&'static str, Place)> {
    let id = &tenant.id;
    let subdomain = tenant.subdomain.iter().map(|label| ("subdomains", Place::Key(subdomain_key(label))));
    let domain = tenant.custom_domain.iter().map(|domain| ("customDomains", Place::Key(claim_key(domain))));
    let mut all = vec![
        ("tenants", Place::Key(tenant_key(id.as_str()))),
        ("labels", Place::Key(label_key(&id.dns_label()))),
        ("extensions", Place::Prefix(format!("{EXTENSIONS}{id}/"))),
        ("tokens", Place::Prefix(format!("{TOKENS}{id}/"))),
        ("keyUses", Place::Prefix(format!("{KEY_USES}{id}/"))),
        ("auditEntries", Place::Ending(AUDIT, format!("/{id}"))),
    ];
    let certificate = tenant.custom_domain.iter().map(|domain| ("certificates", Place::Key(certificate_key(domain))));
    let order = tenant.custom_domain.iter().map(|domain| ("orders", Place::Key(order_key(domain))));
    all.extend(subdomain.chain(domain).chain(certificate).chain(order));
    all
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

/// When the answer was kept, and about which tenant: so that both are found without reading answers.
pub fn replay_of_key(tenant: &TenantId, name: &str) -> String {
    format!("{}{name}", replays_of(tenant))
}

/// The prefix of all records about answers that concern a tenant.
pub fn replays_of(tenant: &TenantId) -> String {
    format!("{REPLAYS_OF}{tenant}/")
}
