//! Rate limits by subject, for every room that needs one: HTTP requests by address, API key, tenant and origin, DNS
//! answers by network, failed credentials by address.
//!
//! The algorithm is GCRA by the crate `governor`: a subject may use its whole quota at once and gets it back evenly.
//! A subject is known by a keyed hash of what identifies it, so its size does not matter and nobody can choose two that
//! collide. Subjects whose quota is whole again are dropped whenever their number has doubled, so memory follows the
//! subjects that are active.

use std::collections::HashMap;
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

/// A limit of failures, such as wrong credentials. Who has used it up is refused before anything is tried.
pub struct FailureLimiter<C: Clock = MonotonicClock> {
    failures: RateLimiter<C>,
    clock: C,
    /// Until when each subject is locked out, by its keyed hash.
    locked_out: Mutex<HashMap<u64, C::Instant>>,
}

impl FailureLimiter {
    /// `quota` failures a minute; 0 for any number.
    pub fn per_minute(quota: u32) -> Self {
        Self::with_clock(NonZeroU32::new(quota).map(Quota::per_minute), MonotonicClock)
    }
}

impl<C: Clock + Clone> FailureLimiter<C> {
    /// `burst` failures at once and one more each second; 0 for any number.
    pub fn per_second(burst: u32, clock: C) -> Self {
        let quota = NonZeroU32::new(burst).map(|burst| Quota::per_second(NonZeroU32::MIN).allow_burst(burst));
        Self::with_clock(quota, clock)
    }

    fn with_clock(quota: Option<Quota>, clock: C) -> Self {
        Self { failures: RateLimiter::with_clock(quota, clock.clone()), clock, locked_out: Mutex::default() }
    }

    /// Whether `subject` may try.
    ///
    /// # Errors
    /// [`Exceeded`] while it has used up its failures.
    pub fn may_try(&self, subject: impl Hash) -> Result<(), Exceeded> {
        let Some(limit) = &self.failures.limit else { return Ok(()) };
        let mut locked_out = self.locked_out();
        let subject = self.failures.hasher.hash_one(subject);
        let Some(until) = locked_out.get(&subject) else { return Ok(()) };
        let retry_after = Duration::from(until.duration_since(self.clock.now()));
        if retry_after.is_zero() {
            locked_out.remove(&subject);
            return Ok(());
        }
        Err(Exceeded { quota: limit.quota.burst_size().get(), retry_after })
    }

    /// Counts a failure of `subject`. The last one that is allowed locks it out until one more would be.
    ///
    /// # Errors
    /// [`Exceeded`] when it was locked out already, as by failures that were tried at the same time.
    pub fn failed(&self, subject: impl Hash) -> Result<(), Exceeded> {
        let Some(limit) = &self.failures.limit else { return Ok(()) };
        let (outcome, wait) = match self.failures.check(&subject) {
            Ok(Some(standing)) if standing.remaining == 0 => (Ok(()), limit.quota.replenish_interval()),
            Ok(_) => return Ok(()),
            Err(exceeded) => (Err(exceeded), exceeded.retry_after),
        };
        let now = self.clock.now();
        let mut locked_out = self.locked_out();
        if locked_out.len() >= MIN_SWEPT {
            locked_out.retain(|_, until| *until > now);
        }
        locked_out.insert(self.failures.hasher.hash_one(subject), now + wait.into());
        outcome
    }

    fn locked_out(&self) -> MutexGuard<'_, HashMap<u64, C::Instant>> {
        self.locked_out.lock().unwrap_or_else(PoisonError::into_inner)
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
        let limiter = FailureLimiter::with_clock(NonZeroU32::new(3).map(Quota::per_minute), clock.clone());
        for _ in 0..3 {
            assert_eq!(limiter.may_try("a"), Ok(()));
            assert_eq!(limiter.may_try("a"), Ok(()));
            assert_eq!(limiter.failed("a"), Ok(()));
        }
        assert_eq!(limiter.may_try("a"), Err(Exceeded { quota: 3, retry_after: seconds(20) }));
        assert_eq!(limiter.may_try("b"), Ok(()));
        assert!(limiter.failed("a").is_err(), "tried at the same time");
        clock.advance(seconds(20));
        assert_eq!(limiter.may_try("a"), Ok(()));
        assert_eq!(limiter.failed("a"), Ok(()));
        assert!(limiter.may_try("a").is_err());
        let unlimited = FailureLimiter::with_clock(None, clock);
        assert!((0..100).all(|_| unlimited.failed("a").is_ok() && unlimited.may_try("a").is_ok()));
    }
}
