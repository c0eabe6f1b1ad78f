//! Rate limits by subject, for every room that needs one: HTTP requests by address, API key, tenant and origin, DNS
//! answers by network, failed credentials by address.
//!
//! The algorithm is GCRA by the crate `governor`: a subject may use its whole quota at once and gets it back evenly.
//! A subject is known by a keyed hash of what identifies it, so its size does not matter and nobody can choose two that
//! collide. Subjects whose quota is whole again are dropped whenever their number has doubled, so memory follows the
//! subjects that are active.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::clock::{Clock, MonotonicClock, Reference as _};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::state::keyed::HashMapStateStore;

/// Subjects that are kept without looking for idle ones.
const MIN_SWEPT: usize = 1024;
/// Checks between two looks at the number of subjects.
const CHECKS_PER_SWEEP: usize = 1024;

/// Where a subject stands after a request that was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests in each period.
    pub quota: u32,
    /// Requests that would be allowed at once now.
    pub remaining: u32,
    /// Until the whole quota is there again, at the latest.
    pub reset: Duration,
}

/// A request over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Requests in each period.
    pub quota: u32,
    /// Until the next request is allowed.
    pub retry_after: Duration,
}

/// Who counts as one caller: an IPv4 address, or the /64 that an IPv6 network gives to one household or machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(u64);

impl ClientNetwork {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(u32::from(address))),
            IpAddr::V6(address) => Self(prefix(address)),
        }
    }
}

/// A text of its own for each, which is no address.
impl fmt::Display for ClientNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", self.0)
    }
}

/// The /64 prefix. The highest bit is set to keep it apart from IPv4 addresses; global IPv6 addresses begin with 001
/// (RFC 4291 section 2.4).
fn prefix(address: Ipv6Addr) -> u64 {
    u64::try_from(u128::from(address) >> 64).unwrap_or_default() | (1 << 63)
}

/// A clock that its owner sets, for sans-IO cores, which are given the time.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// `elapsed`: since whatever its owner counts from.
    pub fn set(&self, elapsed: Duration) {
        self.0.store(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// One limit for any number of subjects. `C` is the clock, another one in tests.
pub struct RateLimiter<C: Clock = MonotonicClock> {
    /// `None` for any number of requests.
    limit: Option<Limit<C>>,
    hasher: RandomState,
    checks: AtomicUsize,
    sweep_at: AtomicUsize,
}

struct Limit<C: Clock> {
    quota: Quota,
    limiter: governor::RateLimiter<u64, HashMapStateStore<u64>, C, StateInformationMiddleware>,
}

impl RateLimiter {
    /// `quota` requests a minute; 0 for any number.
    pub fn per_minute(quota: u32) -> Self {
        Self::with_clock(NonZeroU32::new(quota).map(Quota::per_minute), MonotonicClock)
    }

    /// `quota` requests a second; 0 for any number.
    pub fn per_second(quota: u32) -> Self {
        Self::with_clock(NonZeroU32::new(quota).map(Quota::per_second), MonotonicClock)
    }
}

impl<C: Clock> RateLimiter<C> {
    pub(crate) fn with_clock(quota: Option<Quota>, clock: C) -> Self {
        let limit = quota.map(|quota| {
            let limiter = governor::RateLimiter::<_, _, _, NoOpMiddleware<C::Instant>>::new(
                quota,
                HashMapStateStore::default(),
                clock,
            );
            Limit { quota, limiter: limiter.with_middleware() }
        });
        let (checks, sweep_at) = (AtomicUsize::new(0), AtomicUsize::new(MIN_SWEPT));
        Self { limit, hasher: RandomState::new(), checks, sweep_at }
    }

    /// Counts a request of `subject`. `None` where there is no limit.
    ///
    /// # Errors
    /// [`Exceeded`] when its quota is used up; the request is not counted then.
    pub fn check(&self, subject: impl Hash) -> Result<Option<Standing>, Exceeded> {
        let Some(limit) = &self.limit else { return Ok(None) };
        let Limit { quota, limiter } = limit;
        let burst = quota.burst_size().get();
        let outcome = match limiter.check_key(&self.hasher.hash_one(subject)) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = quota.replenish_interval() * burst.saturating_sub(remaining);
                Ok(Some(Standing { quota: burst, remaining, reset }))
            }
            Err(refused) => Err(Exceeded { quota: burst, retry_after: refused.wait_time_from(limiter.clock().now()) }),
        };
        let is_due = self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKS_PER_SWEEP);
        if is_due && limiter.len() > self.sweep_at.load(Ordering::Relaxed) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
            self.sweep_at.store((limiter.len() * 2).max(MIN_SWEPT), Ordering::Relaxed);
        }
        outcome
    }
}

/// A limit of failures, such as wrong credentials. A subject that has used it up is locked out: refused before anything
/// is tried. A failure after a lock-out begins another one, twice as long, up to a maximum; a subject that has not failed
/// for that maximum after its lock-out begins anew.
pub struct FailureLimiter<C: Clock = MonotonicClock> {
    failures: RateLimiter<C>,
    max_lock_out: Duration,
    clock: C,
    lock_outs: Mutex<LockOuts<C::Instant>>,
}

struct LockOuts<I> {
    /// By the subject's keyed hash.
    by_subject: HashMap<u64, LockOut<I>>,
    sweep_at: usize,
}

#[derive(Clone, Copy)]
struct LockOut<I> {
    until: I,
    length: Duration,
}

impl FailureLimiter {
    /// `quota` failures a minute; 0 for any number. Lock-outs do not grow.
    pub fn per_minute(quota: u32) -> Self {
        let quota = NonZeroU32::new(quota).map(Quota::per_minute);
        Self::with_clock(quota, Duration::ZERO, MonotonicClock)
    }
}

impl<C: Clock + Clone> FailureLimiter<C> {
    /// `burst` failures at once and one more each second. Lock-outs grow from one second up to `max_lock_out`.
    pub fn per_second(burst: NonZeroU32, max_lock_out: Duration, clock: C) -> Self {
        Self::with_clock(Some(Quota::per_second(NonZeroU32::MIN).allow_burst(burst)), max_lock_out, clock)
    }

    fn with_clock(quota: Option<Quota>, max_lock_out: Duration, clock: C) -> Self {
        let max_lock_out = quota.map_or(max_lock_out, |quota| max_lock_out.max(quota.replenish_interval()));
        let lock_outs = LockOuts { by_subject: HashMap::new(), sweep_at: MIN_SWEPT };
        let failures = RateLimiter::with_clock(quota, clock.clone());
        Self { failures, max_lock_out, clock, lock_outs: Mutex::new(lock_outs) }
    }

    /// Whether `subject` may try.
    ///
    /// # Errors
    /// [`Exceeded`] while it is locked out.
    pub fn may_try(&self, subject: impl Hash) -> Result<(), Exceeded> {
        let Some(limit) = &self.failures.limit else { return Ok(()) };
        let subject = self.failures.hasher.hash_one(subject);
        let Some(lock_out) = self.lock_outs().by_subject.get(&subject).copied() else { return Ok(()) };
        let retry_after = Duration::from(lock_out.until.duration_since(self.clock.now()));
        if retry_after.is_zero() {
            return Ok(());
        }
        Err(Exceeded { quota: limit.quota.burst_size().get(), retry_after })
    }

    /// Counts a failure of `subject`, and returns the length of the lock-out that it begins, if it begins one.
    ///
    /// # Errors
    /// [`Exceeded`] when the subject was locked out already, as by failures that were tried at the same time.
    pub fn failed(&self, subject: impl Hash) -> Result<Option<Duration>, Exceeded> {
        self.may_try(&subject)?;
        let Some(limit) = &self.failures.limit else { return Ok(None) };
        let is_last_allowed =
            self.failures.check(&subject).ok().flatten().is_none_or(|standing| standing.remaining == 0);
        let subject = self.failures.hasher.hash_one(subject);
        let now = self.clock.now();
        let mut lock_outs = self.lock_outs();
        let is_remembered = |lock_out: &LockOut<C::Instant>| lock_out.until + self.max_lock_out.into() > now;
        let previous = lock_outs.by_subject.get(&subject).copied().filter(is_remembered);
        let length = match previous {
            Some(previous) => (previous.length * 2).min(self.max_lock_out),
            None if is_last_allowed => limit.quota.replenish_interval(),
            None => return Ok(None),
        };
        if lock_outs.by_subject.len() >= lock_outs.sweep_at {
            lock_outs.by_subject.retain(|_, lock_out| is_remembered(lock_out));
            lock_outs.sweep_at = (lock_outs.by_subject.len() * 2).max(MIN_SWEPT);
        }
        lock_outs.by_subject.insert(subject, LockOut { until: now + length.into(), length });
        Ok(Some(length))
    }

    fn lock_outs(&self) -> MutexGuard<'_, LockOuts<C::Instant>> {
        self.lock_outs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(per_minute: u32) -> (RateLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RateLimiter::with_clock(NonZeroU32::new(per_minute).map(Quota::per_minute), clock.clone()), clock)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_quota_may_be_used_at_once_and_is_replenished_evenly() {
        let (limiter, clock) = limiter(60);
        for left in (0..60).rev() {
            let standing = limiter.check("a").unwrap().unwrap();
            assert_eq!((standing.quota, standing.remaining, standing.reset), (60, left, seconds(60 - u64::from(left))));
        }
        assert_eq!(limiter.check("a"), Err(Exceeded { quota: 60, retry_after: seconds(1) }));
        clock.advance(seconds(1));
        assert_eq!(limiter.check("a").unwrap().unwrap().remaining, 0);
        assert!(limiter.check("a").is_err());
        clock.advance(seconds(60));
        assert_eq!(limiter.check("a").unwrap().unwrap().remaining, 59, "whole again");
    }

    #[test]
    fn subjects_have_quotas_of_their_own() {
        let (limiter, _clock) = limiter(1);
        assert!(limiter.check("a").is_ok());
        assert!(limiter.check("a").is_err());
        assert!(limiter.check("b").is_ok());
        assert!(limiter.check(7_u64).is_ok());
    }

    #[test]
    fn zero_is_no_limit_and_keeps_nothing() {
        let (limiter, _clock) = limiter(0);
        for _ in 0..1000 {
            assert_eq!(limiter.check("a"), Ok(None));
        }
        assert!(limiter.limit.is_none());
    }

    #[test]
    fn memory_follows_the_subjects_that_are_active() {
        let (limiter, clock) = limiter(60);
        for n in 0..200_000_u64 {
            // Ten a second: each is whole again after one second.
            clock.advance(Duration::from_millis(100));
            limiter.check(n).unwrap();
        }
        let held = limiter.limit.as_ref().unwrap().limiter.len();
        assert!(held <= 2 * MIN_SWEPT + CHECKS_PER_SWEEP, "{held}");
    }

    #[test]
    fn failures_lock_out_until_one_more_would_be_allowed_and_asking_costs_nothing() {
        let clock = FakeRelativeClock::default();
        let per_minute = NonZeroU32::new(3).map(Quota::per_minute);
        let limiter = FailureLimiter::with_clock(per_minute, Duration::ZERO, clock.clone());
        for lock_out in [None, None, Some(seconds(20))] {
            assert_eq!(limiter.may_try("a"), Ok(()));
            assert_eq!(limiter.may_try("a"), Ok(()));
            assert_eq!(limiter.failed("a"), Ok(lock_out));
        }
        assert_eq!(limiter.may_try("a"), Err(Exceeded { quota: 3, retry_after: seconds(20) }));
        assert_eq!(limiter.may_try("b"), Ok(()));
        assert!(limiter.failed("a").is_err(), "tried at the same time");
        for _ in 0..5 {
            clock.advance(seconds(20));
            assert_eq!(limiter.may_try("a"), Ok(()));
            assert_eq!(limiter.failed("a"), Ok(Some(seconds(20))), "lock-outs do not grow here");
            assert!(limiter.may_try("a").is_err());
        }
        let unlimited = FailureLimiter::with_clock(None, Duration::ZERO, clock);
        assert!((0..100).all(|_| unlimited.failed("a").is_ok() && unlimited.may_try("a").is_ok()));
    }

    #[test]
    fn lock_outs_double_up_to_the_maximum_and_are_forgotten_after_as_long_without_a_failure() {
        let clock = FakeRelativeClock::default();
        let limiter = FailureLimiter::per_second(NonZeroU32::new(2).unwrap(), seconds(10), clock.clone());
        assert_eq!(limiter.failed("a"), Ok(None));
        for length in [1, 2, 4, 8, 10, 10] {
            assert_eq!(limiter.failed("a"), Ok(Some(seconds(length))));
            assert_eq!(limiter.may_try("a"), Err(Exceeded { quota: 2, retry_after: seconds(length) }));
            clock.advance(seconds(length));
            assert_eq!(limiter.may_try("a"), Ok(()));
        }
        clock.advance(seconds(9));
        assert_eq!(limiter.failed("a"), Ok(Some(seconds(10))));
        clock.advance(seconds(20));
        assert_eq!(limiter.failed("a"), Ok(None), "as if it had never failed");
    }

    #[test]
    fn memory_follows_the_lock_outs_that_are_remembered() {
        let clock = FakeRelativeClock::default();
        let limiter = FailureLimiter::per_second(NonZeroU32::MIN, seconds(10), clock.clone());
        for n in 0..100_000_u64 {
            // A hundred a second, each remembered for eleven seconds.
            clock.advance(Duration::from_millis(10));
            limiter.failed(n).unwrap();
        }
        let held = limiter.lock_outs().by_subject.len();
        assert!(held <= 4 * MIN_SWEPT, "{held}");
    }
}
