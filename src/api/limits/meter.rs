//! One limit: so many requests a minute for each of any number of subjects, by
//! the generic cell rate algorithm (GCRA): a subject may use all of its minute at
//! once, and gets it back evenly. Time is passed in.
//!
//! A subject costs one number, and nothing once its minute is whole again:
//! the map is swept whenever it has doubled, so its size follows those who are busy.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nanoseconds.
const MINUTE: u64 = 60_000_000_000;
const SHARDS: usize = 16;
/// Subjects of a shard that are kept without sweeping.
const SMALL: usize = 64;
/// Subjects of a shard, of 17 bytes and more each: some 20 MB in all shards.
const MOST: usize = 1 << 16;

/// So many requests a minute for each subject.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What it counts by, as callers are told.
    pub policy: &'static str,
    /// Requests a minute; 0 for any number.
    pub quota: u32,
}

/// A limit for strangers: it remembers its subjects itself.
pub struct Meter {
    rate: Rate,
    /// Subjects are known by their keyed hash: small, and nobody can choose two that collide.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// When each subject's minute will be whole again, in nanoseconds since the start.
    whole_at: HashMap<u64, u64>,
    sweep_at: usize,
}

/// Where a subject stands after a request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub policy: &'static str,
    pub quota: u32,
    /// Requests that it could make at once now.
    pub remaining: u32,
    /// Until its minute is whole again.
    pub reset: Duration,
}

/// A request too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    pub policy: &'static str,
    pub quota: u32,
    /// Until the next request will be let in.
    pub wait: Duration,
}

impl Rate {
    /// Counts a request of a subject that is known anyway, in the number that is kept with it. `now` is since the
    /// start, the same for all calls. Nothing where there is no limit.
    pub fn count(self, kept: &AtomicU64, now: Duration) -> Result<Option<Mark>, TooMany> {
        let mut whole_at = kept.load(Ordering::Relaxed);
        loop {
            let Some((next, mark)) = self.weigh(whole_at, now)? else { return Ok(None) };
            match kept.compare_exchange_weak(whole_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(Some(mark)),
                Err(meanwhile) => whole_at = meanwhile,
            }
        }
    }

    /// One request more of a subject whose minute is whole again at `whole_at`, in nanoseconds since the start:
    /// when it will be whole then.
    fn weigh(self, whole_at: u64, now: Duration) -> Result<Option<(u64, Mark)>, TooMany> {
        let Self { policy, quota } = self;
        let Some(each) = MINUTE.checked_div(u64::from(quota)) else {
            return Ok(None);
        };
        let now = nanoseconds(now);
        let whole_at = whole_at.max(now).saturating_add(each);
        let used = whole_at - now;
        if used > MINUTE {
            return Err(TooMany { policy, quota, wait: Duration::from_nanos(used - MINUTE) });
        }
        let remaining = u32::try_from((MINUTE - used) / each).unwrap_or(u32::MAX);
        Ok(Some((whole_at, Mark { policy, quota, remaining, reset: Duration::from_nanos(used) })))
    }
}

impl Meter {
    pub fn new(policy: &'static str, quota: u32) -> Self {
        Self { rate: Rate { policy, quota }, hasher: RandomState::new(), shards: Default::default() }
    }

    /// As [`Rate::count`].
    pub fn count(&self, subject: impl Hash, now: Duration) -> Result<Option<Mark>, TooMany> {
        self.weigh(subject, now, true)
    }

    /// As [`Self::count`], without counting.
    pub fn ask(&self, subject: impl Hash, now: Duration) -> Result<Option<Mark>, TooMany> {
        self.weigh(subject, now, false)
    }

    fn weigh(&self, subject: impl Hash, now: Duration, counts: bool) -> Result<Option<Mark>, TooMany> {
        if self.rate.quota == 0 {
            return Ok(None);
        }
        let subject = self.hasher.hash_one(subject);
        let shard = &self.shards[usize::try_from(subject).unwrap_or_default() % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let whole_at = shard.whole_at.get(&subject).copied().unwrap_or_default();
        let Some((whole_at, mark)) = self.rate.weigh(whole_at, now)? else { return Ok(None) };
        if counts {
            shard.put(subject, whole_at, nanoseconds(now));
        }
        Ok(Some(mark))
    }
}

impl Shard {
    fn put(&mut self, subject: u64, whole_at: u64, now: u64) {
        self.whole_at.insert(subject, whole_at);
        if self.whole_at.len() > self.sweep_at {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            if self.whole_at.len() > MOST {
                // More strangers than anybody's customers: better to forget than to fill the memory.
                self.whole_at.clear();
            }
            self.whole_at.shrink_to(SMALL);
            self.sweep_at = (self.whole_at.len() * 2).max(SMALL);
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_minutes_worth_may_be_used_at_once_and_comes_back_evenly() {
        let meter = Meter::new("test", 60);
        for left in (0..60).rev() {
            let mark = meter.count("a", seconds(100)).unwrap().unwrap();
            assert_eq!((mark.remaining, mark.reset), (left, seconds(60 - u64::from(left))));
        }
        let refused = meter.count("a", seconds(100)).unwrap_err();
        assert_eq!(refused, TooMany { policy: "test", quota: 60, wait: seconds(1) });
        assert_eq!(meter.count("a", seconds(101)).unwrap().unwrap().remaining, 0);
        assert!(meter.count("a", seconds(101)).is_err());
        assert_eq!(meter.count("a", seconds(161)).unwrap().unwrap().remaining, 59, "whole again");
    }

    #[test]
    fn a_number_kept_with_its_subject_counts_as_the_meter_does() {
        let (rate, kept, meter) = (Rate { policy: "test", quota: 7 }, AtomicU64::default(), Meter::new("test", 7));
        for second in [0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 20, 20, 20, 100, 100] {
            assert_eq!(rate.count(&kept, seconds(second)), meter.count("a", seconds(second)), "at {second} s");
        }
        assert_eq!(Rate { policy: "test", quota: 0 }.count(&kept, seconds(100)), Ok(None));
    }

    #[test]
    fn subjects_do_not_meet_and_asking_costs_nothing() {
        let meter = Meter::new("test", 1);
        for _ in 0..3 {
            assert!(meter.ask("a", seconds(0)).is_ok());
        }
        assert!(meter.count("a", seconds(0)).is_ok());
        assert!(meter.ask("a", seconds(0)).is_err());
        assert!(meter.count("b", seconds(0)).is_ok());
    }

    #[test]
    fn without_a_quota_nothing_is_counted() {
        let meter = Meter::new("test", 0);
        for _ in 0..1000 {
            assert_eq!(meter.count("a", seconds(0)), Ok(None));
        }
        assert_eq!(held(&meter), 0);
    }

    #[test]
    fn memory_follows_those_who_are_busy_and_has_an_end() {
        let meter = Meter::new("test", 60);
        for n in 0..100_000_u64 {
            // Ten a second: each is whole again after one second.
            meter.count(n, Duration::from_millis(n * 100)).unwrap();
        }
        assert!(held(&meter) <= SHARDS * 2 * SMALL, "{}", held(&meter));
        for n in 0..(3 * SHARDS * MOST) {
            meter.count(n, seconds(100_000)).unwrap();
        }
        assert!(held(&meter) <= SHARDS * 2 * MOST, "{}", held(&meter));
    }

    fn held(meter: &Meter) -> usize {
        meter.shards.iter().map(|shard| shard.lock().unwrap().whole_at.len()).sum()
    }
}
