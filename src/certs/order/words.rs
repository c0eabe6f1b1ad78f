//! What a course hears of, and what it wants done: the words between it and the driver.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reachability;
use super::{Answer, Method, PlacedOrder};
use crate::certs::acme_error::AcmeError;
use crate::certs::progress::Wanted;
use crate::certs::sealed::Sealed;
use crate::timestamp::Timestamp;

/// Something that a course must hear of.
#[derive(Clone, Debug)]
pub enum Event {
    /// The rest is over. Nobody asks these directories now.
    Due(BTreeMap<String, DirectoryBackoff>),
    /// Whether the name leads here, by each method.
    Looked(Vec<(Method, Reachability)>),
    OpenedAccount,
    Order(OrderView),
    Authorizations(Vec<AuthorizationView>),
    Answered,
    KeyMade(Sealed),
    Collected(Collected),
    Suggested {
        start: Timestamp,
        end: Timestamp,
        ask_again: Option<Duration>,
    },
    Failed(AcmeError),
    /// Something else is wanted of the name now.
    Wanted(Wanted),
    /// A person wants it renewed now.
    Renew,
    /// A person may have mended what held it back in preflight.
    RetryPreflight,
}

/// A directory that did not answer, or turned everybody away.
#[derive(Clone, Debug)]
pub struct DirectoryBackoff {
    pub until: Timestamp,
    pub why: AcmeError,
}

/// An order as the authority tells of it (RFC 8555 section 7.1.3).
#[derive(Clone, Debug)]
pub struct OrderView {
    pub url: String,
    pub status: OrderStatus,
    pub error: Option<AcmeError>,
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// An authorization (RFC 8555 section 7.1.4).
#[derive(Clone, Debug)]
pub struct AuthorizationView {
    pub name: String,
    pub status: AuthorizationStatus,
    /// Each possible method, and whether the authority has yet to hear that it may look.
    pub offers: Vec<(Method, bool)>,
    /// Why a challenge failed.
    pub error: Option<AcmeError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    /// Expired, deactivated or revoked.
    Over,
}

/// A certificate that was fetched, examined, and found to be the one that was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub serial: String,
    pub id: Option<String>,
}

/// What the driver does next. All but the last three end in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    WaitReason(Timestamp),
    CheckReachability {
        methods: Vec<Method>,
    },
    Open {
        directory: String,
    },
    Place {
        directory: String,
        names: Vec<String>,
        replaces: Option<String>,
    },
    Review {
        placed: PlacedOrder,
        at: Timestamp,
    },
    Authorizations(PlacedOrder),
    Answer {
        placed: PlacedOrder,
        answers: Vec<Answer>,
    },
    MakeKey(PlacedOrder),
    Finalize(PlacedOrder),
    Collect {
        placed: PlacedOrder,
        at: Timestamp,
    },
    Ask {
        directory: String,
        id: String,
    },
    /// In one with the course: the certificate that was collected is stored, and then served.
    Keep,
    /// Challenges are answered no more.
    Withdraw,
    ForgetAccount {
        directory: String,
    },
}
