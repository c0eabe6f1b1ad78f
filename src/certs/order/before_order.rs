//! The states before the authority has an order: waiting, and the steps up to a new order; and the question when to
//! renew.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::messages::{DirectoryBackoff, OrderCommand, OrderView, RenewalWindow};
use super::placed_order::{PlacedOrder, PollingOrder};
use super::record::{CurrentCertificate, PreflightFailures};
use super::state::State;
use super::{Context, Method, Reachability};
use crate::certs::acme_error::{AcmeError, Kind};
use crate::certs::progress::{ProblemKind, Wanted};
use crate::certs::schedule::{self, back_off};
use crate::timestamp::Timestamp;

/// Preflight checks cost none of the authority's limits, so that they may be frequent.
const MIN_PREFLIGHT_INTERVAL: Duration = Duration::from_mins(1);
const MAX_PREFLIGHT_INTERVAL: Duration = Duration::from_mins(10);
/// After this time of preflight checks that reach another server, an order is placed all the same: what this
/// machine resolves and reaches need not be what the authority does.
const PREFLIGHT_OVERRIDE_AFTER: Duration = Duration::from_hours(24);
/// How long an order waits for a change of the configuration where no challenge method is possible.
const NO_METHOD_RETRY_DELAY: Duration = Duration::from_hours(1);

#[derive(Debug, PartialEq, Eq)]
pub struct Waiting {
    until: Timestamp,
    reason: WaitReason,
    /// An order at the authority that is continued afterwards.
    order: Option<PlacedOrder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    New,
    Issued,
    /// Another server answers for the name.
    Preflight,
    Backoff,
    Blocked,
}

impl Waiting {
    /// A name that has no certificate yet and is due now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { until: now, reason: WaitReason::New, order: None }
    }

    pub(super) fn stored(until: Timestamp, reason: WaitReason, order: Option<PlacedOrder>) -> Self {
        Self { until, reason, order }
    }

    pub(super) fn failed(until: Timestamp, reason: WaitReason) -> Self {
        Self { until, reason, order: None }
    }

    pub(super) fn with_order(until: Timestamp, order: PlacedOrder) -> Self {
        Self { until, reason: WaitReason::Backoff, order: Some(order) }
    }

    /// Until the certificate is to be renewed, or the authority to be asked when that is.
    pub(super) fn for_renewal(certificate: &CurrentCertificate) -> Self {
        let renew_at = certificate.facts.renew_at;
        let until = if certificate.id.is_some() { renew_at.min(certificate.ask_at) } else { renew_at };
        Self { until, reason: WaitReason::Issued, order: None }
    }

    pub fn until(&self) -> Timestamp {
        self.until
    }

    pub fn reason(&self) -> WaitReason {
        self.reason
    }

    pub(super) fn order(&self) -> Option<&PlacedOrder> {
        self.order.as_ref()
    }

    pub(super) fn command(self, cx: &mut Context<'_>, command: &OrderCommand) -> Self {
        match command {
            OrderCommand::Want(wanted) => self.want(cx, wanted),
            OrderCommand::Renew => self.renew(cx),
            OrderCommand::RetryPreflight => self.retry_preflight(cx),
        }
    }

    fn want(mut self, cx: &mut Context<'_>, wanted: &Wanted) -> Self {
        if *wanted == cx.name.wanted {
            return self;
        }
        let now = cx.moment.now;
        cx.name.wanted = wanted.clone();
        let names = cx.rules.names(wanted);
        if self.order.is_some() {
            return self;
        }
        match &mut cx.name.certificate {
            Some(certificate) => {
                if !names.iter().all(|name| certificate.facts.names.contains(name)) {
                    certificate.facts.renew_at = now;
                    self.until = now;
                }
            }
            None => {
                if self.reason == WaitReason::Blocked {
                    self.until = now;
                }
            }
        }
        self
    }

    fn renew(mut self, cx: &mut Context<'_>) -> Self {
        // Our own back-offs are no limit of the authority.
        if cx.name.problem.as_ref().is_none_or(|problem| problem.kind != ProblemKind::RateLimited) {
            cx.name.directory_backoffs.clear();
        }
        if let Some(certificate) = &mut cx.name.certificate {
            certificate.facts.renew_at = cx.moment.now;
        }
        self.until = cx.moment.now;
        self
    }

    /// Ends no other wait than that for the name to lead here: only preflight is free of limits.
    fn retry_preflight(mut self, cx: &Context<'_>) -> Self {
        if self.reason == WaitReason::Preflight {
            self.until = cx.moment.now;
        }
        self
    }

    /// Goes on if it is time. `unavailable`: directories that are not used now, by any name.
    pub(super) fn due(self, cx: &mut Context<'_>, unavailable: &BTreeMap<String, DirectoryBackoff>) -> State {
        let now = cx.moment.now;
        if self.until > now {
            return self.into();
        }
        if let Some(order) = self.order {
            return PollingOrder::at(order, now).into();
        }
        match &cx.name.certificate {
            Some(certificate) if certificate.facts.renew_at > now => match &certificate.id {
                Some(id) if certificate.ask_at <= now => {
                    ReadingRenewalInfo { directory: certificate.facts.directory.clone(), certificate_id: id.clone() }
                        .into()
                }
                Some(_) | None => Self::for_renewal(certificate).into(),
            },
            Some(_) | None => CheckingReachability::begin(cx, unavailable).into(),
        }
    }
}

/// Whether the authority's validation would reach this server is checked, by each method.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckingReachability {
    directory: String,
    methods: Vec<Method>,
}

impl CheckingReachability {
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The first step of a new order, as far as methods, limits and directories allow one now.
    fn begin(cx: &mut Context<'_>, unavailable: &BTreeMap<String, DirectoryBackoff>) -> ControlFlow<Waiting, Self> {
        let now = cx.moment.now;
        let methods = cx.rules.methods(&cx.name.wanted);
        if methods.is_empty() {
            let message = format!(
                "No kind of challenge is possible for {}: listen on port 443 or 80, or delegate _acme-challenge.{} to this server.",
                cx.name.wanted.name, cx.name.wanted.name
            );
            cx.name.problem = Some(AcmeError::new(Kind::Refused, message).problem(now));
            return ControlFlow::Break(Waiting::failed(cx.moment.about(NO_METHOD_RETRY_DELAY), WaitReason::Blocked));
        }
        let names = cx.rules.names(&cx.name.wanted);
        let allowed_at = cx.name.history.free_at(now, names.len());
        if allowed_at > now {
            let limit = format!(
                "As many attempts for {} were made as the certificate authority's limits allow; the next one is made at {allowed_at}.",
                cx.name.wanted.name
            );
            // An earlier problem is the reason for the attempts.
            match &mut cx.name.problem {
                Some(problem) if problem.message.ends_with(&limit) => {}
                Some(problem) => problem.message = format!("{} {limit}", problem.message),
                none => *none = Some(AcmeError::new(Kind::RateLimited, limit).problem(now)),
            }
            return ControlFlow::Break(Waiting::failed(allowed_at, WaitReason::Backoff));
        }
        let directories = &cx.rules.directories;
        let count = directories.len();
        let in_turn = (0..count).filter_map(|n| directories.get((cx.name.next_directory + n) % count));
        let mut soonest: Option<(Timestamp, Option<&AcmeError>)> = None;
        for directory in in_turn {
            let for_this_name = cx.name.directory_backoffs.get(directory).copied().unwrap_or(now);
            let for_all = unavailable.get(directory).filter(|backoff| backoff.until > for_this_name);
            let from = for_all.map_or(for_this_name, |backoff| backoff.until);
            if from <= now {
                return ControlFlow::Continue(Self { directory: directory.clone(), methods });
            }
            if soonest.is_none_or(|(soonest, _)| from < soonest) {
                soonest = Some((from, for_all.map(|backoff| &backoff.why)));
            }
        }
        if let Some((_, Some(why))) = soonest {
            cx.name.problem = Some(why.problem(now));
        }
        let until = soonest.map_or_else(|| cx.moment.about(back_off(u32::MAX)), |(soonest, _)| soonest);
        ControlFlow::Break(Waiting::failed(until, WaitReason::Backoff))
    }

    /// An order is placed unless another server answers by every method.
    pub(super) fn checked(
        self,
        cx: &mut Context<'_>,
        results: &[(Method, Reachability)],
    ) -> ControlFlow<Waiting, OpeningAccount> {
        let now = cx.moment.now;
        let possible = cx.rules.methods(&cx.name.wanted);
        let count = possible.len().max(1);
        let result = |index: usize| {
            let method = possible.get(index)?;
            results.iter().find(|(checked, _)| checked == method).map(|(_, result)| result)
        };
        let in_turn = || (0..possible.len()).map(|n| (cx.name.next_method.wrapping_add(n)) % count);
        let not_elsewhere = in_turn().find(|index| !matches!(result(*index), Some(Reachability::Elsewhere(_))));
        let here = in_turn().find(|index| matches!(result(*index), Some(Reachability::Here)));
        // After a failure each method gets its turn: what was reachable from here did not suffice.
        let chosen = if cx.name.failures == 0 { here.or(not_elsewhere) } else { not_elsewhere };
        if let Some(index) = chosen {
            (cx.name.next_method, cx.name.preflight_failures) = (index, None);
            return ControlFlow::Continue(OpeningAccount { directory: self.directory });
        }
        let failures = cx.name.preflight_failures.get_or_insert(PreflightFailures { since: now, checks: 0 });
        if failures.since.until(now) >= PREFLIGHT_OVERRIDE_AFTER {
            failures.since = now;
            return ControlFlow::Continue(OpeningAccount { directory: self.directory });
        }
        failures.checks = failures.checks.saturating_add(1);
        let wait = back_off(failures.checks).clamp(MIN_PREFLIGHT_INTERVAL, MAX_PREFLIGHT_INTERVAL);
        let errors = results.iter().filter_map(|(_, result)| match result {
            Reachability::Elsewhere(error) => Some(error),
            Reachability::Here | Reachability::Unknown(_) => None,
        });
        let message = errors.clone().map(|error| error.message.as_str()).collect::<Vec<_>>().join(" ");
        let kind = errors.map(|error| error.kind).next().unwrap_or(Kind::Unauthorized);
        cx.name.problem = Some(AcmeError::new(kind, message).problem(now));
        ControlFlow::Break(Waiting::failed(cx.moment.about(wait), WaitReason::Preflight))
    }
}

/// The account with the authority is opened, or registered.
#[derive(Debug, PartialEq, Eq)]
pub struct OpeningAccount {
    directory: String,
}

impl OpeningAccount {
    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub(super) fn opened(
        self,
        cx: &mut Context<'_>,
        result: Result<(), AcmeError>,
    ) -> ControlFlow<Waiting, PlacingOrder> {
        if let Err(error) = result {
            return ControlFlow::Break(cx.attempt_failed(&self.directory, &error));
        }
        let from_here = |certificate: &&CurrentCertificate| certificate.facts.directory == self.directory;
        let certificate = cx.name.certificate.as_ref().filter(from_here);
        let replaces = certificate.and_then(|certificate| certificate.id.clone());
        let names = cx.rules.names(&cx.name.wanted);
        ControlFlow::Continue(PlacingOrder { directory: self.directory, names, replaces })
    }
}

/// An order is sent to the authority (RFC 8555 section 7.4).
#[derive(Debug, PartialEq, Eq)]
pub struct PlacingOrder {
    directory: String,
    names: Vec<String>,
    /// The certificate that it replaces (RFC 9773 section 5).
    replaces: Option<String>,
}

impl PlacingOrder {
    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn replaces(&self) -> Option<&str> {
        self.replaces.as_deref()
    }

    pub(super) fn placed(self, cx: &mut Context<'_>, result: Result<OrderView, AcmeError>) -> State {
        match result {
            Ok(view) => PlacedOrder::new(self.directory, self.names, &view, cx.moment.now).reviewed(cx, &view),
            // The authority refuses the order as a replacement: it is sent once more, as one like any other.
            Err(error) if self.replaces.is_some() && !error.passes() && error.kind != Kind::AccountGone => {
                Self { replaces: None, ..self }.into()
            }
            Err(error) => cx.attempt_failed(&self.directory, &error).into(),
        }
    }
}

/// The authority is asked when the certificate should be renewed (RFC 9773).
#[derive(Debug, PartialEq, Eq)]
pub struct ReadingRenewalInfo {
    directory: String,
    certificate_id: String,
}

impl ReadingRenewalInfo {
    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn certificate_id(&self) -> &str {
        &self.certificate_id
    }

    #[allow(clippy::unused_self)] // It is consumed: the state ends here.
    pub(super) fn read(self, cx: &mut Context<'_>, result: Result<RenewalWindow, AcmeError>) -> Waiting {
        let moment = cx.moment;
        let earliest = cx.name.history.suggestion_at(moment.now);
        let Some(certificate) = &mut cx.name.certificate else { return Waiting::new(moment.now) };
        match result {
            Ok(RenewalWindow { start, end, retry_after }) => {
                certificate.ask_at = moment.no_earlier(schedule::ask_again(retry_after));
                // While the window stays the same, so does the time that was chosen in it.
                if certificate.window != Some((start, end)) || certificate.facts.renew_at > end {
                    certificate.window = Some((start, end));
                    let not_after = certificate.facts.not_after;
                    certificate.facts.renew_at = schedule::within(start, end, moment).max(earliest).min(not_after);
                }
            }
            Err(error) => {
                let retry_after = error.retry_after.filter(|_| error.passes());
                certificate.ask_at = moment.no_earlier(schedule::ask_again(retry_after));
            }
        }
        Waiting::for_renewal(certificate)
    }
}
