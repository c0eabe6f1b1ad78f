//! Errors between this server and a certificate authority, by their consequences.

use std::time::Duration;

use super::progress::{Problem, ProblemKind};
use crate::timestamp::Timestamp;

/// Why a request to an authority, or its preparation, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeError {
    pub kind: Kind,
    /// One sentence for the tenant.
    pub message: String,
    /// The authority's Retry-After.
    pub retry_after: Option<Duration>,
}

/// The errors of RFC 8555 section 6.7 and RFC 9773, and those outside of ACME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection, no answer in time, or one that is not understood.
    Unreachable,
    /// A server error (5xx, `serverInternal`), or one refused nonce after the other.
    Unwell,
    /// It accepted a request, but takes too long to carry it out.
    Slow,
    RateLimited,
    /// The certificate to be replaced has a successor (RFC 9773 section 5).
    AlreadyReplaced,
    /// The authority has no such account.
    AccountGone,
    /// The account, or the binding to an external one, is not in order.
    Account,
    /// The resource does not exist, or not yet (404).
    Missing,
    /// The order is not in the state for this.
    NotReady,
    Caa,
    Dns,
    Connection,
    Unauthorized,
    /// The authority refuses, and will do so until somebody changes something.
    Refused,
    /// The authority does not support a feature.
    Unsupported,
    /// A fault of this server.
    Internal,
}

impl AcmeError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Whether the same request may succeed later.
    pub fn passes(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Unwell | Kind::Slow | Kind::RateLimited)
    }

    pub fn problem(&self, at: Timestamp) -> Problem {
        Problem { kind: self.kind.into(), message: self.message.clone(), at }
    }
}

impl From<Kind> for ProblemKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Unreachable | Kind::Unwell => Self::CaUnreachable,
            Kind::Slow => Self::CaSlow,
            Kind::RateLimited => Self::RateLimited,
            Kind::AccountGone | Kind::Account => Self::Account,
            Kind::Caa => Self::Caa,
            Kind::Dns => Self::Dns,
            Kind::Connection => Self::Connection,
            Kind::Unauthorized => Self::Unauthorized,
            Kind::AlreadyReplaced | Kind::Missing | Kind::NotReady | Kind::Refused | Kind::Unsupported => Self::Refused,
            Kind::Internal => Self::Internal,
        }
    }
}
