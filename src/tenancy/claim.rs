//! A tenant's claim on a domain of its own: what the owner has to publish in
//! DNS, and how far that has come. A claim starts as pending.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::TenantId;
use super::timestamp::Timestamp;
use crate::hostname::Hostname;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub tenant: TenantId,
    pub domain: Hostname,
    /// What the TXT record must hold. Public, but nobody can know it beforehand.
    pub token: String,
    pub status: DomainStatus,
    pub tls_status: TlsStatus,
    /// Empty: none.
    pub last_error: String,
    pub claimed_at: Timestamp,
    pub verified_at: Option<Timestamp>,
    pub last_checked_at: Option<Timestamp>,
    pub phase: Phase,
    /// Why nothing more is tried by itself.
    pub paused: Option<String>,
    pub next_check_at: Option<Timestamp>,
    /// From when on the tenant may ask for a check.
    pub recheck_available_at: Option<Timestamp>,
    pub txt: Seen,
    pub cname: Seen,
}

/// Whether the domain is the tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// Not proved yet: the name leads nowhere.
    Pending,
    Active,
}

/// How the domain's certificate is coming along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsStatus {
    Pending,
    Active,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The owner's DNS records.
    DnsPending,
    /// Nothing.
    Active,
}

/// What DNS answered when it was last asked for one of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Null: not asked yet.
    pub matched: Option<bool>,
    pub observed: Vec<String>,
}

impl Claim {
    pub fn new(tenant: TenantId, domain: Hostname, token: String, now: Timestamp) -> Self {
        Self {
            tenant,
            domain,
            token,
            status: DomainStatus::Pending,
            tls_status: TlsStatus::Pending,
            last_error: String::new(),
            claimed_at: now,
            verified_at: None,
            last_checked_at: None,
            phase: Phase::DnsPending,
            paused: None,
            next_check_at: None,
            recheck_available_at: None,
            txt: Seen::default(),
            cname: Seen::default(),
        }
    }

    /// Where the TXT record belongs.
    pub fn challenge_host(&self) -> String {
        format!("{CHALLENGE}.{}", self.domain)
    }

    /// One sentence: what the owner should do now.
    pub fn next_action(&self) -> &'static str {
        match self.phase {
            Phase::DnsPending => "Create the TXT and the CNAME record at the domain's DNS provider, without its proxy.",
            Phase::Active => "Nothing: the domain is in use.",
        }
    }
}

/// The first label of the TXT record's name.
pub const CHALLENGE: &str = "_bitcall-challenge";
/// Letters of a token, 5 bits each.
pub const TOKEN: usize = 32;
