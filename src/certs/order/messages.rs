//! What the driver exchanges with the order's states: commands and the outcomes of its work come in, effects go out.

use std::time::Duration;

use super::before_order::{CheckingReachability, OpeningAccount, PlacingOrder, ReadingRenewalInfo};
use super::placed_order::{
    AnsweringChallenges, Downloading, Finalizing, GeneratingKey, PollingOrder, ReadingAuthorizations,
};
use super::{Method, Reachability};
use crate::certs::acme_error::AcmeError;
use crate::certs::progress::Wanted;
use crate::certs::sealed::Sealed;
use crate::timestamp::Timestamp;

/// A request from outside of the order, which may come at any time.
#[derive(Clone, Debug)]
pub enum OrderCommand {
    /// What the certificate is wanted for has changed.
    Want(Wanted),
    /// A person wants it renewed now.
    Renew,
    /// A person may have corrected what preflight complained about.
    RetryPreflight,
}

/// A running state together with the result of the driver's work for it. A result that does not belong to the
/// state cannot be written down.
#[derive(Debug)]
pub enum Outcome {
    ReachabilityChecked(CheckingReachability, Vec<(Method, Reachability)>),
    AccountOpened(OpeningAccount, Result<(), AcmeError>),
    OrderPlaced(PlacingOrder, Result<OrderView, AcmeError>),
    OrderPolled(PollingOrder, Result<OrderView, AcmeError>),
    AuthorizationsRead(ReadingAuthorizations, Result<Vec<AuthorizationView>, AcmeError>),
    ChallengesAnswered(AnsweringChallenges, Result<(), AcmeError>),
    KeyGenerated(GeneratingKey, Result<Sealed, AcmeError>),
    OrderFinalized(Finalizing, Result<OrderView, AcmeError>),
    Downloaded(Downloading, Result<IssuedCertificate, AcmeError>),
    RenewalInfoRead(ReadingRenewalInfo, Result<RenewalWindow, AcmeError>),
}

/// What the driver does besides the work that the next state asks for, once that state is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderEffect {
    /// The downloaded certificate is stored in the same batch as the next state, and then served.
    StoreCertificate,
    /// The published challenges are withdrawn.
    WithdrawChallenges,
    ForgetAccount {
        directory: String,
    },
}

/// A directory that is not asked for now, by any name: it did not answer.
#[derive(Clone, Debug)]
pub struct DirectoryBackoff {
    pub until: Timestamp,
    pub why: AcmeError,
}

/// An order object (RFC 8555 section 7.1.3).
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

/// An authorization object (RFC 8555 section 7.1.4).
#[derive(Clone, Debug)]
pub struct AuthorizationView {
    pub name: String,
    pub status: AuthorizationStatus,
    /// The challenges that can still be completed: the method, and whether the challenge is pending, which means
    /// that the authority was not yet told to validate it.
    pub challenges: Vec<(Method, bool)>,
    /// Why a challenge failed.
    pub error: Option<AcmeError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    /// Expired, deactivated or revoked.
    Unusable,
}

/// The challenge that was chosen for one authorization of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenChallenge {
    /// The authorization's index in the order.
    pub authorization: usize,
    pub method: Method,
    /// The authority was not yet told to validate it.
    pub pending: bool,
}

/// A certificate that was downloaded and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub serial: String,
    /// Its unique identifier (RFC 9773 section 4.1).
    pub id: Option<String>,
}

/// The renewal window that an authority suggests (RFC 9773 section 4.2).
#[derive(Clone, Copy, Debug)]
pub struct RenewalWindow {
    pub start: Timestamp,
    pub end: Timestamp,
    /// When to ask again; none where the authority does not say.
    pub retry_after: Option<Duration>,
}
