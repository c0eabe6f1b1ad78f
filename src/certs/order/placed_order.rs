//! The states in which the authority has the order: from its authorizations to the download of the certificate.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::before_order::Waiting;
use super::messages::{
    AuthorizationStatus, AuthorizationView, ChosenChallenge, IssuedCertificate, OrderEffect, OrderStatus, OrderView,
};
use super::record::CurrentCertificate;
use super::state::State;
use super::{Context, Method};
use crate::certs::acme_error::{AcmeError, Kind};
use crate::certs::progress::{Facts, Problem};
use crate::certs::schedule;
use crate::certs::sealed::Sealed;
use crate::timestamp::Timestamp;

/// How long an authority may take to validate the challenges. Some repeat a failed validation for a while.
const VALIDATION_TIMEOUT: Duration = Duration::from_mins(10);
/// How long an order may be processed before that counts as a problem.
const NORMAL_PROCESSING_TIME: Duration = Duration::from_secs(12);
const PROCESSING_TIMEOUT: Duration = Duration::from_hours(24);
const MAX_PROCESSING_POLL_INTERVAL: Duration = Duration::from_hours(1);
const MAX_DOWNLOAD_ATTEMPTS: u32 = 20;
/// The first wait after a failed request.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_hours(1);
/// The longest Retry-After that is honoured for an order.
const MAX_ORDER_RETRY_AFTER: Duration = Duration::from_hours(24);
/// A wait up to this long shows as progress; a longer one as back-off, with the problem.
const MAX_IN_PLACE_WAIT: Duration = Duration::from_secs(20);

/// An order that the authority has. Where a field is renamed, the older name is the one in stored records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedOrder {
    pub directory: String,
    pub url: String,
    /// When it was placed.
    pub at: Timestamp,
    pub names: Vec<String>,
    /// The private key, once it is generated.
    pub key: Option<Sealed>,
    pub finalized_at: Option<Timestamp>,
    /// Authorizations that the authority was asked to validate, and whose result is not known.
    #[serde(default, rename = "told")]
    pub validations: usize,
    /// Why the authority made the order invalid.
    #[serde(rename = "verdict")]
    pub rejection: Option<Problem>,
    /// When the challenges were answered. Not stored: their answers are in memory only.
    #[serde(skip)]
    pub answered_at: Option<Timestamp>,
    #[serde(skip)]
    pub polls: u32,
    /// Requests in a row that failed.
    #[serde(skip)]
    pub failed_requests: u32,
}

impl PlacedOrder {
    pub(super) fn new(directory: String, names: Vec<String>, view: &OrderView, now: Timestamp) -> Self {
        Self {
            directory,
            url: view.url.clone(),
            at: now,
            names,
            key: None,
            finalized_at: None,
            validations: 0,
            rejection: None,
            answered_at: None,
            polls: 0,
            failed_requests: 0,
        }
    }

    /// The order's status at the authority decides what comes next (RFC 8555 section 7.4).
    pub(super) fn reviewed(mut self, cx: &mut Context<'_>, view: &OrderView) -> State {
        let now = cx.moment.now;
        self.failed_requests = 0;
        match view.status {
            OrderStatus::Pending => match self.answered_at {
                None => ReadingAuthorizations { order: self }.into(),
                Some(answered_at) if answered_at.until(now) > VALIDATION_TIMEOUT => {
                    let message =
                        "The certificate authority accepted the answers to its challenges, but does not look at them.";
                    self.abandoned(cx, &AcmeError::new(Kind::Slow, message)).into()
                }
                Some(_) => self.poll_again(cx, view.retry_after).into(),
            },
            OrderStatus::Ready => {
                self.validations = 0;
                match self.keyed() {
                    ControlFlow::Continue(order) => Finalizing { order }.into(),
                    ControlFlow::Break(order) => GeneratingKey { order }.into(),
                }
            }
            OrderStatus::Processing => {
                self.validations = 0;
                self.processing(cx, view.retry_after)
            }
            OrderStatus::Valid => {
                (self.validations, self.polls) = (0, 0);
                match self.keyed() {
                    ControlFlow::Continue(order) => Downloading { order, not_before: now }.into(),
                    ControlFlow::Break(order) => {
                        let message = "The certificate authority has made a certificate for a key that is not here.";
                        order.abandoned(cx, &AcmeError::new(Kind::Internal, message)).into()
                    }
                }
            }
            OrderStatus::Invalid => {
                let error = view.error.clone().unwrap_or_else(|| {
                    AcmeError::new(
                        Kind::Unauthorized,
                        "The certificate authority gave the order up without saying why.",
                    )
                });
                if self.finalized_at.is_some() {
                    return self.abandoned(cx, &error).into();
                }
                // The authorizations tell the cause, and how many validations failed.
                self.rejection = Some(error.problem(now));
                ReadingAuthorizations { order: self }.into()
            }
        }
    }

    fn processing(mut self, cx: &mut Context<'_>, retry_after: Option<Duration>) -> State {
        let now = cx.moment.now;
        let since = *self.finalized_at.get_or_insert(now);
        let waited = since.until(now);
        if waited < NORMAL_PROCESSING_TIME {
            return self.poll_again(cx, retry_after).into();
        }
        let error = AcmeError::new(
            Kind::Slow,
            "The certificate authority has been making the certificate for unusually long; it is asked again and again.",
        );
        if waited > PROCESSING_TIMEOUT {
            return self.abandoned(cx, &error).into();
        }
        cx.name.problem = Some(error.problem(now));
        let wait = retry_after.unwrap_or(waited / 4).clamp(NORMAL_PROCESSING_TIME, MAX_PROCESSING_POLL_INTERVAL);
        Waiting::with_order(cx.moment.no_earlier(wait), self).into()
    }

    fn poll_again(mut self, cx: &Context<'_>, retry_after: Option<Duration>) -> PollingOrder {
        self.polls += 1;
        let not_before = cx.moment.now.after(schedule::poll(self.polls, retry_after));
        PollingOrder { order: self, not_before }
    }

    /// A request failed. If it may succeed later, the order is read again after a while.
    fn request_failed(mut self, cx: &mut Context<'_>, error: &AcmeError) -> State {
        if !error.passes() {
            return self.abandoned(cx, error).into();
        }
        let moment = cx.moment;
        self.failed_requests += 1;
        let wait = FIRST_RETRY_DELAY.saturating_mul(1 << (2 * (self.failed_requests - 1)).min(20)).min(MAX_RETRY_DELAY);
        let until = match error.retry_after {
            Some(retry_after) => moment.no_earlier(retry_after.min(MAX_ORDER_RETRY_AFTER)),
            None => moment.about(wait),
        };
        if moment.now.until(until) <= MAX_IN_PLACE_WAIT {
            PollingOrder { order: self, not_before: until }.into()
        } else {
            cx.name.problem = Some(error.problem(moment.now));
            Waiting::with_order(until, self).into()
        }
    }

    /// No certificate will come of the order.
    fn abandoned(self, cx: &mut Context<'_>, error: &AcmeError) -> Waiting {
        // The result of these validations will not be known: they count as failed.
        for _ in 0..self.validations {
            cx.name.history.failed(cx.moment.now);
        }
        cx.attempt_failed(&self.directory, error)
    }

    fn keyed(mut self) -> ControlFlow<Self, KeyedOrder> {
        match self.key.take() {
            Some(key) => ControlFlow::Continue(KeyedOrder { order: self, key }),
            None => ControlFlow::Break(self),
        }
    }
}

/// An order whose private key is generated.
#[derive(Debug, PartialEq, Eq)]
struct KeyedOrder {
    /// Without the key.
    order: PlacedOrder,
    key: Sealed,
}

impl KeyedOrder {
    fn to_order(&self) -> PlacedOrder {
        PlacedOrder { key: Some(self.key.clone()), ..self.order.clone() }
    }

    fn into_order(self) -> PlacedOrder {
        PlacedOrder { key: Some(self.key), ..self.order }
    }
}

/// The order is read from the authority.
#[derive(Debug, PartialEq, Eq)]
pub struct PollingOrder {
    order: PlacedOrder,
    not_before: Timestamp,
}

impl PollingOrder {
    pub(super) fn at(order: PlacedOrder, not_before: Timestamp) -> Self {
        Self { order, not_before }
    }

    /// An order that is continued after a restart.
    pub(super) fn stored(order: PlacedOrder) -> Self {
        Self { order, not_before: Timestamp(0) }
    }

    pub fn order(&self) -> &PlacedOrder {
        &self.order
    }

    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    pub(super) fn polled(self, cx: &mut Context<'_>, result: Result<OrderView, AcmeError>) -> State {
        match result {
            Ok(view) => self.order.reviewed(cx, &view),
            Err(error) => self.order.request_failed(cx, &error),
        }
    }
}

/// The order's authorizations are read from the authority.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadingAuthorizations {
    order: PlacedOrder,
}

impl ReadingAuthorizations {
    pub fn order(&self) -> &PlacedOrder {
        &self.order
    }

    pub(super) fn read(self, cx: &mut Context<'_>, result: Result<Vec<AuthorizationView>, AcmeError>) -> State {
        match result {
            Ok(authorizations) => self.choose(cx, &authorizations).into(),
            Err(error) => self.order.request_failed(cx, &error),
        }
    }

    fn choose(
        self,
        cx: &mut Context<'_>,
        authorizations: &[AuthorizationView],
    ) -> ControlFlow<Waiting, AnsweringChallenges> {
        let mut order = self.order;
        let invalid: Vec<_> =
            authorizations.iter().filter(|view| view.status == AuthorizationStatus::Invalid).collect();
        order.validations = invalid.len();
        if let Some(first) = invalid.first() {
            let error = first.error.clone().unwrap_or_else(|| {
                AcmeError::new(
                    Kind::Unauthorized,
                    format!("The certificate authority could not verify {}.", first.name),
                )
            });
            return ControlFlow::Break(order.abandoned(cx, &error));
        }
        if let Some(problem) = order.rejection.take() {
            return ControlFlow::Break(order.abandoned(cx, &AcmeError::new(Kind::Unwell, problem.message)));
        }
        if authorizations.iter().any(|view| view.status == AuthorizationStatus::Unusable) {
            let message = "An authorization of the order expired on the way.";
            return ControlFlow::Break(order.abandoned(cx, &AcmeError::new(Kind::Unwell, message)));
        }
        let mut challenges = Vec::new();
        for (authorization, view) in authorizations.iter().enumerate() {
            if view.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some((method, pending)) = choose_challenge(cx, view) else {
                let message = format!(
                    "The certificate authority offers no challenge for {} that can be answered here.",
                    view.name
                );
                return ControlFlow::Break(order.abandoned(cx, &AcmeError::new(Kind::Refused, message)));
            };
            challenges.push(ChosenChallenge { authorization, method, pending });
        }
        order.validations = challenges.len();
        ControlFlow::Continue(AnsweringChallenges { order, challenges })
    }
}

/// One that the authority is validating already; else the next method in turn that both sides support.
fn choose_challenge(cx: &Context<'_>, view: &AuthorizationView) -> Option<(Method, bool)> {
    let possible = cx.rules.methods(&cx.name.wanted);
    let supported = |(method, _): &&(Method, bool)| possible.contains(method);
    let under_validation = view.challenges.iter().filter(supported).find(|(_, pending)| !pending);
    let next_in_turn = || {
        let count = possible.len();
        let mut in_turn = (0..count).filter_map(|n| possible.get((cx.name.next_method + n) % count));
        in_turn.find_map(|method| view.challenges.iter().find(|(offered, _)| offered == method))
    };
    under_validation.or_else(next_in_turn).copied()
}

/// The challenges' answers are published, and the authority is told to validate them (RFC 8555 section 7.5.1).
#[derive(Debug, PartialEq, Eq)]
pub struct AnsweringChallenges {
    order: PlacedOrder,
    challenges: Vec<ChosenChallenge>,
}

impl AnsweringChallenges {
    pub fn order(&self) -> &PlacedOrder {
        &self.order
    }

    pub fn challenges(&self) -> &[ChosenChallenge] {
        &self.challenges
    }

    pub(super) fn answered(mut self, cx: &mut Context<'_>, result: Result<(), AcmeError>) -> State {
        match result {
            Ok(()) => {
                (self.order.answered_at, self.order.polls) = (Some(cx.moment.now), 0);
                self.order.poll_again(cx, None).into()
            }
            Err(error) => self.order.request_failed(cx, &error),
        }
    }
}

/// The private key is generated.
#[derive(Debug, PartialEq, Eq)]
pub struct GeneratingKey {
    order: PlacedOrder,
}

impl GeneratingKey {
    pub fn order(&self) -> &PlacedOrder {
        &self.order
    }

    pub(super) fn generated(self, cx: &mut Context<'_>, result: Result<Sealed, AcmeError>) -> State {
        match result {
            Ok(key) => Finalizing { order: KeyedOrder { order: self.order, key } }.into(),
            Err(error) => self.order.request_failed(cx, &error),
        }
    }
}

/// The signing request is sent (RFC 8555 section 7.4).
#[derive(Debug, PartialEq, Eq)]
pub struct Finalizing {
    order: KeyedOrder,
}

impl Finalizing {
    pub fn order(&self) -> &PlacedOrder {
        &self.order.order
    }

    pub fn key(&self) -> &Sealed {
        &self.order.key
    }

    /// With the key, as it is stored.
    pub(super) fn to_order(&self) -> PlacedOrder {
        self.order.to_order()
    }

    pub(super) fn finalized(self, cx: &mut Context<'_>, result: Result<OrderView, AcmeError>) -> State {
        let mut order = self.order.into_order();
        match result {
            Ok(view) => {
                order.finalized_at = Some(cx.moment.now);
                order.reviewed(cx, &view)
            }
            Err(error) if error.kind == Kind::NotReady => order.poll_again(cx, error.retry_after).into(),
            Err(error) => order.request_failed(cx, &error),
        }
    }
}

/// The certificate is downloaded (RFC 8555 section 7.4.2).
#[derive(Debug, PartialEq, Eq)]
pub struct Downloading {
    order: KeyedOrder,
    not_before: Timestamp,
}

impl Downloading {
    pub fn order(&self) -> &PlacedOrder {
        &self.order.order
    }

    pub fn key(&self) -> &Sealed {
        &self.order.key
    }

    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// With the key, as it is stored.
    pub(super) fn to_order(&self) -> PlacedOrder {
        self.order.to_order()
    }

    pub(super) fn downloaded(mut self, cx: &mut Context<'_>, result: Result<IssuedCertificate, AcmeError>) -> State {
        let polls = &mut self.order.order.polls;
        match result {
            Ok(certificate) => self.issued(cx, certificate).into(),
            // A valid order's certificate may appear a little later on another of the authority's servers.
            Err(error) if error.kind == Kind::Missing && *polls < MAX_DOWNLOAD_ATTEMPTS => {
                *polls += 1;
                let not_before = cx.moment.now.after(schedule::poll(*polls, error.retry_after));
                Self { not_before, ..self }.into()
            }
            Err(error) => self.order.into_order().request_failed(cx, &error),
        }
    }

    fn issued(self, cx: &mut Context<'_>, certificate: IssuedCertificate) -> Waiting {
        let now = cx.moment.now;
        let order = self.order.into_order();
        let IssuedCertificate { names, not_before, not_after, serial, id } = certificate;
        if let Some(missing) = order.names.iter().find(|name| !names.contains(name)) {
            let message = format!("The certificate authority made a certificate without {missing}.");
            return order.abandoned(cx, &AcmeError::new(Kind::Refused, message));
        }
        // What is wanted may have changed since the order was placed. Then the next one is placed at once: it has all names,
        // so that this happens once.
        let has_all = cx.rules.names(&cx.name.wanted).iter().all(|name| order.names.contains(name));
        let renew_at = if has_all { schedule::renewal(not_before, not_after, cx.moment.random) } else { now };
        let facts = Facts { names, not_before, not_after, renew_at, directory: order.directory, serial };
        cx.effects.push(OrderEffect::StoreCertificate);
        cx.effects.push(OrderEffect::WithdrawChallenges);
        cx.name.history.issued(now);
        (cx.name.failures, cx.name.problem) = (0, None);
        cx.name.directory_backoffs.clear();
        let certificate = CurrentCertificate { facts, id, window: None, ask_at: now };
        let waiting = Waiting::for_renewal(&certificate);
        cx.name.certificate = Some(certificate);
        waiting
    }
}
