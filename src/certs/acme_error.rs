//! What can go wrong between us and a certificate authority, by what follows from it.

use std::time::Duration;

use super::progress::{Problem, ProblemKind};
use crate::timestamp::Timestamp;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeError {
    pub kind: Kind,
    /// One sentence that names what happened.
    pub message: String,
    /// The authority's own words on when to come back.
    pub retry_after: Option<Duration>,
}

/// The errors of RFC 8555 section 6.7 and RFC 9773, and what lies outside of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection, no answer in time, or one that makes no sense.
    Unreachable,
    /// It says that it is not well (5xx, `serverInternal`), or refuses one nonce after the other.
    Unwell,
    /// It takes too long over something it has accepted.
    Slow,
    RateLimited,
    /// The certificate to be replaced has a successor (RFC 9773 section 5).
    AlreadyReplaced,
    /// It knows no such account.
    AccountGone,
    /// The account, or the binding to an external one, is not in order.
    Account,
    /// There is nothing at this address, or not yet.
    Missing,
    /// The order is not in the state for this.
    NotReady,
    Caa,
    Dns,
    Connection,
    Unauthorized,
    /// It will not do it, and nothing will change that by itself.
    Refused,
    /// It lacks a feature.
    Unsupported,
    /// Ours.
    Internal,
}

impl AcmeError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Whether the very same request may succeed later.
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
