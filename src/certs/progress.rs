//! The progress of a name's certificate as other modules see it: the life cycle of domains, the API, the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;
pub use crate::tenancy::CertificateStage as Stage;
use crate::timestamp::Timestamp;

/// A name for which a certificate is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    pub name: Hostname,
    /// Also for `*.<name>`, as far as DNS-01 is possible for it.
    pub wildcard: bool,
    /// `_acme-challenge.<name>` is a CNAME to this server's own zone, so that DNS-01 is possible.
    pub delegated: bool,
}

/// The progress of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub stage: Stage,
    /// The last problem while there is no new certificate; afterwards, why clients do not get the certificate.
    pub problem: Option<Problem>,
    /// When the next step happens without anybody's action.
    pub next_try_at: Option<Timestamp>,
    /// The current certificate, also while it is being renewed.
    pub certificate: Option<Facts>,
}

/// The fields of a certificate that are shown, and when it is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// A wildcard as `*.<name>`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub renew_at: Timestamp,
    /// URL of the ACME directory that issued it.
    pub directory: String,
    /// Hexadecimal, lower case.
    pub serial: String,
}

/// Why there is no certificate yet, or why clients do not get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub kind: ProblemKind,
    /// One sentence for the tenant.
    pub message: String,
    pub at: Timestamp,
}

/// The kind of a problem: whether it passes, and else who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A limit of the authority, or this server's own below it, is reached. Passes.
    RateLimited,
    /// The authority does not answer, or not in a form that is understood. Passes.
    CaUnreachable,
    /// The authority takes unusually long. Passes.
    CaSlow,
    /// The domain's CAA records forbid this authority. The domain's owner.
    Caa,
    /// The authority could not look the name up. The domain's owner.
    Dns,
    /// The authority could not connect to the name. Whoever runs firewall and DNS.
    Connection,
    /// Another server answered for the name. The domain's owner.
    Unauthorized,
    /// The authority refuses. The administrator.
    Refused,
    /// The account with the authority is not in order. The administrator.
    Account,
    /// There is a certificate, but clients do not get it. The administrator.
    NotServed,
    /// A fault of this server.
    Internal,
}
