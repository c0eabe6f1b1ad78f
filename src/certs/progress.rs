//! How far a name is on its way to a certificate, as everybody outside this
//! room sees it: the life cycle of domains, the API, the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;
pub use crate::tenancy::CertificateStage as Stage;
use crate::timestamp::Timestamp;

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
    /// What went wrong last, until a certificate is there; then, why it is not the one that is served.
    pub problem: Option<Problem>,
    /// When something happens next by itself.
    pub next_try_at: Option<Timestamp>,
    /// The certificate that is served, also while another one is under way.
    pub certificate: Option<Facts>,
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

/// Why there is no certificate yet, or why it is of no use.
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
    /// There is a certificate, and clients do not get it. The administrator.
    NotServed,
    /// Ours.
    Internal,
}
