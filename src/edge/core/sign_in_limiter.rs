//! How many wrong passwords are compared, so that none is found by trying.
//!
//! Failures are counted for an extension as seen from one network, for a network whatever extensions it tries, and for
//! an extension whatever networks try it. The first of these grows its lock-outs, which concern nobody else. The other two
//! must not lock out those who share the network or the extension with an attacker: they do not apply where the extension
//! has signed in from the same network before. Neither a new connection nor a success takes failures back.
//!
//! Failures are counted for a tenant and for all together as well. That many are an attack from many networks, and nobody
//! is locked out for it: while it lasts, a network from which a password was wrong waits after each, longer every time,
//! and everybody else goes on as before.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::location::Extension;
use crate::rate_limiter::{ClientNetwork, FailureLimiter, ManualClock};

/// Wrong passwords at once for one extension from one network: people mistype.
const FAILURES_PER_EXTENSION_AND_NETWORK: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Wrong passwords at once from one network, which may be a whole company's.
const FAILURES_PER_NETWORK: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Wrong passwords at once for one extension, from wherever.
const FAILURES_PER_EXTENSION: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Wrong passwords at once for the extensions of one tenant, from wherever, before it is taken for an attack.
const FAILURES_PER_TENANT: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// Wrong passwords at once in all before it is taken for an attack.
const FAILURES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// How long an attack is taken to last after it was noticed, at most, unless there are further failures.
const MAX_ATTACK: Duration = Duration::from_mins(1);
/// The longest time between two tries for an extension from one network, and of one network.
const MAX_LOCK_OUT: Duration = Duration::from_mins(5);
/// Without growth: an extension that is attacked from many networks is compared once a second.
const EXTENSION_LOCK_OUT: Duration = Duration::from_secs(1);
/// How long it is remembered that an extension has signed in from a network. Phones register again every few minutes.
const SUCCESS_TTL: Duration = Duration::from_hours(24 * 7);
/// Pairs of extension and network that are remembered at a time.
const MAX_SUCCESSES: usize = 100_000;

pub struct SignInLimiter {
    by_extension_and_network: FailureLimiter<ManualClock>,
    by_network: FailureLimiter<ManualClock>,
    by_extension: FailureLimiter<ManualClock>,
    /// "Locked out" is who is under attack; and so for `all`.
    by_tenant: FailureLimiter<ManualClock>,
    all: FailureLimiter<ManualClock>,
    /// Applies during attacks only.
    by_network_under_attack: FailureLimiter<ManualClock>,
    /// When an extension last signed in from a network, by the keyed hash of both.
    successes: HashMap<u64, Instant>,
    hasher: RandomState,
    clock: ManualClock,
    start: Instant,
}

impl SignInLimiter {
    pub fn new(now: Instant) -> Self {
        let clock = ManualClock::default();
        let limiter = |burst, max_lock_out| FailureLimiter::per_second(burst, max_lock_out, clock.clone());
        Self {
            by_extension_and_network: limiter(FAILURES_PER_EXTENSION_AND_NETWORK, MAX_LOCK_OUT),
            by_network: limiter(FAILURES_PER_NETWORK, MAX_LOCK_OUT),
            by_extension: limiter(FAILURES_PER_EXTENSION, EXTENSION_LOCK_OUT),
            by_tenant: limiter(FAILURES_PER_TENANT, MAX_ATTACK),
            all: limiter(FAILURES, MAX_ATTACK),
            by_network_under_attack: limiter(NonZeroU32::MIN, MAX_LOCK_OUT),
            successes: HashMap::new(),
            hasher: RandomState::new(),
            clock,
            start: now,
        }
    }

    /// Whether a password for this extension from this network is compared.
    ///
    /// # Errors
    /// The time until one is.
    pub fn may_try(&self, extension: &Extension, network: ClientNetwork, now: Instant) -> Result<(), Duration> {
        self.set_time(now);
        let mut outcome = self.by_extension_and_network.may_try((extension, network));
        if !self.has_succeeded(extension, network, now) {
            let outcomes = [self.by_network.may_try(network), self.by_extension.may_try(extension)];
            outcome = outcomes.into_iter().fold(outcome, Result::and);
            if self.by_tenant.may_try(&extension.domain).and(self.all.may_try(())).is_err() {
                outcome = outcome.and(self.by_network_under_attack.may_try(network));
            }
        }
        outcome.map_err(|exceeded| exceeded.retry_after)
    }

    /// Counts a wrong password. Returns the length of the longest lock-out that it begins.
    pub fn failed(&self, extension: &Extension, network: ClientNetwork, now: Instant) -> Option<Duration> {
        self.set_time(now);
        // Errors: it is on already.
        let _ = self.by_tenant.failed(&extension.domain);
        let _ = self.all.failed(());
        let _ = self.by_network_under_attack.failed(network);
        let lock_outs = [
            self.by_extension_and_network.failed((extension, network)),
            self.by_network.failed(network),
            self.by_extension.failed(extension),
        ];
        // An error says that a lock-out is on already.
        lock_outs.into_iter().filter_map(Result::ok).flatten().max()
    }

    pub fn succeeded(&mut self, extension: &Extension, network: ClientNetwork, now: Instant) {
        let pair = self.hasher.hash_one((extension, network));
        if self.successes.len() >= MAX_SUCCESSES && !self.successes.contains_key(&pair) {
            self.successes.retain(|_, at| now.saturating_duration_since(*at) < SUCCESS_TTL);
            if self.successes.len() >= MAX_SUCCESSES {
                return;
            }
        }
        self.successes.insert(pair, now);
    }

    fn has_succeeded(&self, extension: &Extension, network: ClientNetwork, now: Instant) -> bool {
        let last = self.successes.get(&self.hasher.hash_one((extension, network)));
        last.is_some_and(|at| now.saturating_duration_since(*at) < SUCCESS_TTL)
    }

    fn set_time(&self, now: Instant) {
        self.clock.set(now.saturating_duration_since(self.start));
    }
}
