//! A tenant's claim on a domain of its own: what its owner has to publish in
//! DNS, what was seen of that, and how far it has come. These are the facts
//! alone; how they follow from each other is decided in [`crate::domains`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::TenantId;
use crate::hostname::Hostname;
use crate::timestamp::Timestamp;

/// The first label of the TXT record's name.
pub const CHALLENGE: &str = "_bitcall-challenge";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub tenant: TenantId,
    pub domain: Hostname,
    /// What the TXT record must hold. Public, but nobody can know it beforehand.
    pub token: String,
    pub status: DomainStatus,
    pub tls_status: TlsStatus,
    pub phase: ClaimPhase,
    /// Empty: none.
    pub last_error: String,
    pub claimed_at: Timestamp,
    /// When the TXT record proved that the domain is the tenant's. None: not proved, or not any more.
    pub verified_at: Option<Timestamp>,
    /// When the claim ends if it is not proved before. None while it is.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    pub last_checked_at: Option<Timestamp>,
    pub next_check_at: Option<Timestamp>,
    /// From when on the tenant may ask for a check.
    pub recheck_available_at: Option<Timestamp>,
    /// When the present series of checks began in which nothing has got better.
    #[serde(default)]
    pub trying_since: Option<Timestamp>,
    /// Checks in a row since then that changed nothing.
    #[serde(default, rename = "fruitless")]
    pub checks_without_progress: u32,
    /// Why hardly anything is tried by itself any more.
    pub paused: Option<String>,
    /// Why the tenant may not use it now, whatever DNS says.
    #[serde(default)]
    pub barred: Option<String>,
    pub txt: RecordObservation,
    pub cname: RecordObservation,
    /// How the domain leads here; none: it was not seen to.
    #[serde(default)]
    pub way: Option<RoutingMatch>,
    /// What is wrong in DNS besides.
    #[serde(default)]
    pub problems: Vec<DnsProblem>,
    /// Which lookup could not be made when DNS was last asked, and why.
    #[serde(default)]
    pub unsure: Option<String>,
    /// Whether `_acme-challenge.<domain>` leads to our own DNS.
    #[serde(default)]
    pub challenge_delegated: bool,
    /// Set while a domain that led here does not.
    #[serde(default)]
    pub away: Option<MovedAway>,
    /// Since when it counts as moved.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// Set while it is active because the operator said so, and DNS did not.
    #[serde(default)]
    pub activated_by_hand_at: Option<Timestamp>,
    #[serde(default)]
    pub certificate: Option<Certificate>,
}

/// Whether the domain is the tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// Not proved yet, or it leads elsewhere: the name opens nothing here.
    Pending,
    /// Proved, and it leads here; its certificate is still to come.
    Verified,
    Active,
}

/// How the domain's certificate is coming along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsStatus {
    /// Not ordered yet.
    Pending,
    /// Being ordered.
    Issuing,
    /// In service; a renewal may be on its way.
    Active,
    /// There is none, and the last try failed.
    Failed,
    /// There was one, and its time is over.
    Expired,
    /// This server gets none: the administrator's certificate files, or whoever ends TLS before it, must cover the domain.
    External,
}

/// What is going on, or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimPhase {
    /// The owner's DNS records.
    DnsPending,
    /// One of the owner's two records; the other was seen.
    DnsPartial,
    /// The start of the certificate's order: both records were seen.
    Verified,
    /// The last look before the order.
    Preflight,
    /// The authority's answer to the order.
    Ordering,
    /// The authority's look at the challenge.
    Challenge,
    /// The certificate itself.
    Finalizing,
    /// Nothing.
    Active,
    /// A new certificate; the one before is in service.
    Renewing,
    /// The next try for a certificate, after one that failed.
    Backoff,
    /// The domain's way back: it leads elsewhere. It is still served for a while.
    Moved,
    /// Somebody who asks for a recheck: nothing has got better for long.
    Paused,
    /// Something that does not pass by waiting.
    Blocked,
}

/// What DNS answered when it was last asked for one of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordObservation {
    /// Null: not asked yet, or it could never be asked.
    pub matched: Option<bool>,
    pub observed: Vec<String>,
}

/// How a domain leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingMatch {
    Cname,
    /// Its addresses are the ingress host's: a CNAME that its DNS provider resolves.
    Flattened,
}

/// Something that is wrong in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsProblem {
    /// `stale_address`, `caa_forbids` …
    pub kind: String,
    /// What is wrong, and the record to change.
    pub message: String,
    /// Whether no certificate could be had with it.
    pub blocks: bool,
}

/// Looks that did not see the domain lead here, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MovedAway {
    pub since: Timestamp,
    /// Checks that saw it elsewhere.
    #[serde(rename = "looks")]
    pub checks: u32,
}

/// The domain's certificate, as who gets it told last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    pub stage: CertificateStage,
    /// Why the last try failed, in a sentence for the tenant.
    pub problem: Option<String>,
    pub next_try_at: Option<Timestamp>,
    /// Of the one in service: the end of its time.
    pub expires_at: Option<Timestamp>,
}

/// What is being done about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStage {
    /// For its turn.
    Waiting,
    /// Whether the name leads here is looked at, and directory and account are made ready. With a problem: the
    /// name leads elsewhere, and no order is placed yet.
    Preflight,
    /// The order is placed.
    Ordering,
    /// The authority checks that we hold the name.
    Challenge,
    /// The authority makes the certificate.
    Finalizing,
    /// Nothing until the renewal.
    Issued,
    /// A certificate is there, and its successor under way.
    Renewing,
    /// It failed, and is tried again.
    Backoff,
    /// It failed for a reason that does not pass by itself; it is still tried again, but rarely.
    Blocked,
}

/// A domain that a tenant claimed until somebody else than itself ended that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LostDomain {
    pub domain: Hostname,
    pub why: DomainLoss,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainLoss {
    /// It was not proved in time.
    Expired,
    /// Another tenant proved that it is its own.
    Superseded,
}

impl Claim {
    pub fn new(tenant: TenantId, domain: Hostname, token: String, now: Timestamp) -> Self {
        Self {
            tenant,
            domain,
            token,
            status: DomainStatus::Pending,
            tls_status: TlsStatus::Pending,
            phase: ClaimPhase::DnsPending,
            last_error: String::new(),
            claimed_at: now,
            verified_at: None,
            expires_at: None,
            last_checked_at: None,
            next_check_at: None,
            recheck_available_at: None,
            trying_since: None,
            checks_without_progress: 0,
            paused: None,
            barred: None,
            txt: RecordObservation::default(),
            cname: RecordObservation::default(),
            way: None,
            problems: Vec::new(),
            unsure: None,
            challenge_delegated: false,
            away: None,
            moved_at: None,
            activated_by_hand_at: None,
            certificate: None,
        }
    }

    /// Where the TXT record belongs.
    pub fn challenge_host(&self) -> String {
        challenge_host(&self.domain)
    }

    /// Whether it may stay as long as the tenant wants.
    pub fn is_proved(&self) -> bool {
        self.verified_at.is_some() || self.activated_by_hand_at.is_some()
    }

    /// Whether another tenant gets the domain by proving it: verified beats unverified, and a domain that
    /// has moved away is nobody's any more.
    pub fn may_be_taken_over(&self) -> bool {
        !self.is_proved() || self.moved_at.is_some()
    }

    /// What the audit tells of it.
    pub fn audit_value(&self) -> Value {
        json!({
            "domain": self.domain,
            "status": self.status,
            "tlsStatus": self.tls_status,
            "phase": self.phase,
            "lastError": self.last_error,
        })
    }
}

impl Certificate {
    /// Nothing is ordered, because the domain leads to another server.
    pub fn held_back(&self) -> bool {
        self.stage == CertificateStage::Preflight && self.problem.is_some() && self.next_try_at.is_some()
    }

    /// Whether one is there and in its time.
    pub fn in_service(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now < end)
    }
}

/// Where the TXT record of a domain belongs.
pub fn challenge_host(domain: &Hostname) -> String {
    format!("{CHALLENGE}.{domain}")
}
