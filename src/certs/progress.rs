//! How far a name is on its way to a certificate, as everybody outside this
//! room sees it: the life cycle of domains, the API, the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;
use crate::tenancy::Timestamp;

/// A name that shall have a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    pub name: Hostname,
    /// Also for `*.<name>`, as far as DNS-01 is possible for it.
    pub wildcard: bool,
    /// `_acme-challenge.<name>` is a CNAME to our own zone, so that DNS-01 is possible.
    pub delegated: bool,
}

/// Where one name stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub stage: Stage,
    /// What went wrong last, until a certificate is there.
    pub problem: Option<Problem>,
    /// When something happens next by itself.
    pub next_try_at: Option<Timestamp>,
    /// The certificate that is served, also while another one is under way.
    pub certificate: Option<Facts>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
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

/// What a certificate says of itself, and when its successor is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// A wildcard as `*.<name>`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub renew_at: Timestamp,
    /// URL of the ACME directory that it came from.
    pub directory: String,
    /// Hexadecimal, lower case.
    pub serial: String,
}

/// Why there is no certificate yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub kind: ProblemKind,
    /// One sentence for the tenant.
    pub message: String,
    pub at: Timestamp,
}

/// Whose business a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The authority's limit, or our own below it, is reached. Passes.
    RateLimited,
    /// The authority does not answer, or not with sense. Passes.
    CaUnreachable,
    /// The authority takes its time. Passes.
    CaSlow,
    /// The domain's CAA records forbid this authority. The domain's owner.
    Caa,
    /// The authority could not look the name up. The domain's owner.
    Dns,
    /// The authority could not connect to the name. Whoever runs firewall and DNS.
    Connection,
    /// Somebody else answered under the name. The domain's owner.
    Unauthorized,
    /// The authority will not do it. The administrator.
    Refused,
    /// The account with the authority is not in order. The administrator.
    Account,
    /// Ours.
    Internal,
}
