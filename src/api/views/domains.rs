//! Answers about tenants' names.

use schemars::JsonSchema;
use serde::Serialize;

use super::Rfc3339;
use crate::domains::{loss, next_action, next_action_without};
use crate::tenancy::{
    Claim, ClaimPhase, DnsProblem, DomainStatus, Platform, RecordObservation, RoutingMatch, Tenant, TenantState,
    TlsStatus,
};

/// `GET /api/tenant/subdomains/check`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CheckedSubdomain")]
pub struct SubdomainAvailability {
    /// As it was asked for.
    pub value: String,
    /// As it would be kept; null where the value is no label.
    pub normalized: Option<String>,
    /// As people read it.
    pub unicode: Option<String>,
    /// Whether assigning it would succeed now.
    pub available: bool,
    /// The code with which assigning it would be refused.
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    /// The full name.
    pub host: Option<String>,
}

/// `POST /api/tenant/subdomains`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignedSubdomain {
    pub tenant_id: String,
    pub subdomain: String,
    /// As people read it.
    pub unicode: String,
    /// The full name.
    pub host: Option<String>,
}

/// `DELETE /api/tenant/subdomains`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedSubdomain {
    pub tenant_id: String,
    /// The one that was taken back; null where there was none.
    pub subdomain: Option<String>,
    pub removed: bool,
}

/// `POST` and `GET /api/tenant/domains`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainView {
    tenant_id: String,
    /// Whether the tenant claims a domain at all.
    configured: bool,
    /// Whether this request has made the claim.
    created: bool,
    domain: Option<String>,
    /// As people read it.
    domain_unicode: Option<String>,
    status: Option<DomainStatus>,
    tls_status: Option<TlsStatus>,
    last_error: String,
    created_at: Option<Rfc3339>,
    verified_at: Option<Rfc3339>,
    checks: DomainChecksView,
    automation: DomainAutomationView,
    /// What is to be done now, in one sentence for the domain's owner.
    next_action: String,
    /// What is wrong in DNS besides the two records.
    problems: Vec<DnsProblem>,
    txt: DnsRecordView,
    cname: CnameRecordView,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Checks")]
struct DomainChecksView {
    last_checked_at: Option<Rfc3339>,
    /// Which lookup could not be made then, and why: nothing was concluded from what it did not see.
    unsure: Option<String>,
}

#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Automation")]
struct DomainAutomationView {
    phase: Option<ClaimPhase>,
    /// Why hardly anything is tried by itself any more.
    paused: Option<String>,
    next_check_at: Option<Rfc3339>,
    recheck_available_at: Option<Rfc3339>,
    /// When the claim ends if the TXT record is not seen before.
    expires_at: Option<Rfc3339>,
    /// Since when the domain leads elsewhere.
    moved_at: Option<Rfc3339>,
    /// When the operator activated it by hand; null once DNS says the same.
    activated_by_hand_at: Option<Rfc3339>,
}

/// A record that the domain's owner publishes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DnsRecord")]
struct DnsRecordView {
    host: Option<String>,
    value: Option<String>,
    #[serde(flatten)]
    seen: RecordObservation,
}

/// The record by which the domain leads here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pointer")]
struct CnameRecordView {
    #[serde(flatten)]
    record: DnsRecordView,
    /// How the domain leads here; null while it was not seen to.
    way: Option<RoutingMatch>,
}

/// `POST /api/admin/domains/sync`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncedDomains {
    /// How many domains were looked at, or are being looked at.
    pub started: usize,
    /// Those that were named.
    pub domains: Vec<DomainView>,
    /// Those that were named, and nobody claims.
    pub unknown: Vec<String>,
}

/// `DELETE /api/tenant/domains`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Released")]
pub struct ReleasedDomain {
    pub tenant_id: String,
    /// The one that was given up; null where there was none.
    pub domain: Option<String>,
    pub removed: bool,
}

/// `GET /api/admin/domains`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainList {
    pub domains: Vec<DomainSummary>,
    /// Of all, not only of this page.
    pub total: usize,
    /// For the page after this one; null on the last.
    pub next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DomainLine")]
pub struct DomainSummary {
    pub domain: String,
    domain_unicode: String,
    tenant_id: String,
    status: DomainStatus,
    tls_status: TlsStatus,
    phase: ClaimPhase,
    last_error: String,
    created_at: Rfc3339,
    verified_at: Option<Rfc3339>,
    next_check_at: Option<Rfc3339>,
}

impl DomainSummary {
    pub fn of(claim: &Claim) -> Self {
        Self {
            domain: claim.domain.to_string(),
            domain_unicode: claim.domain.unicode(),
            tenant_id: claim.tenant.to_string(),
            status: claim.status,
            tls_status: claim.tls_status,
            phase: claim.phase,
            last_error: claim.last_error.clone(),
            created_at: Rfc3339(claim.claimed_at),
            verified_at: claim.verified_at.map(Rfc3339),
            next_check_at: claim.next_check_at.map(Rfc3339),
        }
    }
}

/// A tenant's names, as its other reads show them.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Domains")]
pub struct TenantDomainsView {
    subdomain: Option<String>,
    custom_domain: Option<String>,
    custom_domain_status: Option<DomainStatus>,
    custom_domain_tls_status: Option<TlsStatus>,
}

/// The same, in the tenant's profile.
#[derive(Serialize, JsonSchema)]
pub struct ProfileDomains {
    #[serde(flatten)]
    names: TenantDomainsView,
    /// Full names that lead to the tenant now: ready, and part of its plan.
    hosts: Vec<String>,
}

impl TenantDomainsView {
    pub fn of(live: &TenantState, platform: &Platform) -> Self {
        let claim = platform.claim(&live.tenant.id).ok().flatten();
        Self {
            subdomain: live.tenant.subdomain.as_ref().map(ToString::to_string),
            custom_domain: live.tenant.custom_domain.as_ref().map(ToString::to_string),
            custom_domain_status: claim.as_ref().map(|claim| claim.status),
            custom_domain_tls_status: claim.as_ref().map(|claim| claim.tls_status),
        }
    }
}

impl ProfileDomains {
    pub fn of(live: &TenantState, platform: &Platform) -> Self {
        Self { names: TenantDomainsView::of(live, platform), hosts: platform.hosts(live) }
    }
}

impl DomainView {
    pub fn of(claim: &Claim, created: bool, ingress: &str) -> Self {
        Self {
            tenant_id: claim.tenant.to_string(),
            configured: true,
            created,
            domain: Some(claim.domain.to_string()),
            domain_unicode: Some(claim.domain.unicode()),
            status: Some(claim.status),
            tls_status: Some(claim.tls_status),
            last_error: claim.last_error.clone(),
            created_at: Some(Rfc3339(claim.claimed_at)),
            verified_at: claim.verified_at.map(Rfc3339),
            checks: DomainChecksView {
                last_checked_at: claim.last_checked_at.map(Rfc3339),
                unsure: claim.unsure.clone(),
            },
            automation: DomainAutomationView {
                phase: Some(claim.phase),
                paused: claim.paused.clone(),
                next_check_at: claim.next_check_at.map(Rfc3339),
                recheck_available_at: claim.recheck_available_at.map(Rfc3339),
                expires_at: claim.expires_at.map(Rfc3339),
                moved_at: claim.moved_at.map(Rfc3339),
                activated_by_hand_at: claim.activated_by_hand_at.map(Rfc3339),
            },
            next_action: next_action(claim, ingress),
            problems: claim.problems.clone(),
            txt: DnsRecordView {
                host: Some(claim.challenge_host()),
                value: Some(claim.token.clone()),
                seen: claim.txt.clone(),
            },
            cname: CnameRecordView {
                record: DnsRecordView {
                    host: Some(claim.domain.to_string()),
                    value: Some(ingress.to_owned()),
                    seen: claim.cname.clone(),
                },
                way: claim.way,
            },
        }
    }

    /// Of a tenant that claims none.
    pub fn none(tenant: &Tenant, ingress: &str) -> Self {
        Self {
            tenant_id: tenant.id.to_string(),
            configured: false,
            created: false,
            domain: None,
            domain_unicode: None,
            status: None,
            tls_status: None,
            last_error: tenant.lost_domain.as_ref().map(loss).unwrap_or_default(),
            created_at: None,
            verified_at: None,
            checks: DomainChecksView { last_checked_at: None, unsure: None },
            automation: DomainAutomationView::default(),
            next_action: next_action_without(tenant.lost_domain.as_ref()),
            problems: Vec::new(),
            txt: DnsRecordView { host: None, value: None, seen: RecordObservation::default() },
            cname: CnameRecordView {
                record: DnsRecordView {
                    host: None,
                    value: Some(ingress.to_owned()),
                    seen: RecordObservation::default(),
                },
                way: None,
            },
        }
    }

    pub fn name(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}
