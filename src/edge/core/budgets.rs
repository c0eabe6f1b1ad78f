//! What all share and one could use up: sockets, requests in flight, calls to the echo, and the time it takes to read
//! messages. One budget for each; whoever takes something takes it for all the subjects it counts for.
//!
//! An extension has a share of fixed size. A network takes at most what is free, a tenant at most half of that (dynamic
//! thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). So one tenant alone holds at most a
//! third, n tenants that take all they can leave 2/(n+2) to the others, and whoever holds nothing is never refused for
//! what one other holds.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::Quota;

use super::location::Extension;
use crate::rate_limiter::{ClientNetwork, ManualClock, RateLimiter};

/// Messages a second that are read from the connections of one network on which nobody has signed in. Each phone takes two,
/// so an office of 500 that all connect again is back within five seconds.
const STRANGERS_MESSAGES: NonZeroU32 = NonZeroU32::new(100).unwrap();
const STRANGERS_BURST: NonZeroU32 = NonZeroU32::new(500).unwrap();
/// Messages a second that are read from the connections of one extension: a call that rings on ten devices is about 50.
const EXTENSION_MESSAGES: NonZeroU32 = NonZeroU32::new(100).unwrap();
const EXTENSION_BURST: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// Messages a second that are read from the connections of one tenant.
const TENANT_MESSAGES: NonZeroU32 = NonZeroU32::new(2_000).unwrap();

/// For whom something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    Network(ClientNetwork),
    Extension(&'a Extension),
    /// By its SIP domain.
    Tenant(&'a str),
}

/// For whom a request or a call counts as long as it lasts, whatever becomes of its connection.
#[derive(Debug, Clone)]
pub struct Holder {
    pub source: IpAddr,
    pub extension: Extension,
}

impl Holder {
    pub fn subjects(&self) -> [Subject<'_>; 3] {
        let Self { source, extension } = self;
        [
            Subject::Network(ClientNetwork::of(*source)),
            Subject::Extension(extension),
            Subject::Tenant(&extension.domain),
        ]
    }
}

/// Whose part of a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    All,
    Network,
    Extension,
    Tenant,
}

impl Exhausted {
    /// The end of a reason phrase.
    pub fn reason(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Network => " of This Address",
            Self::Extension => " of This Extension",
            Self::Tenant => " of This Tenant",
        }
    }
}

/// How much of one resource is held, and for whom. It has at most three entries for each unit that is held.
pub struct Budget {
    size: usize,
    per_extension: usize,
    used: usize,
    /// By the subject's keyed hash; no entry is zero.
    held: HashMap<u64, usize>,
    hasher: RandomState,
}

impl Budget {
    pub fn new(size: usize, per_extension: usize) -> Self {
        Self { size, per_extension, used: 0, held: HashMap::new(), hasher: RandomState::new() }
    }

    /// Takes one unit for all of `subjects`, or none.
    ///
    /// # Errors
    /// Whose part is used up.
    pub fn take(&mut self, subjects: &[Subject<'_>]) -> Result<(), Exhausted> {
        let free = self.size.saturating_sub(self.used);
        if free == 0 {
            return Err(Exhausted::All);
        }
        for subject in subjects {
            let (limit, exhausted) = match subject {
                Subject::Network(_) => (free, Exhausted::Network),
                Subject::Extension(_) => (self.per_extension, Exhausted::Extension),
                Subject::Tenant(_) => (free.div_ceil(2), Exhausted::Tenant),
            };
            if self.held.get(&self.hasher.hash_one(subject)).is_some_and(|held| *held >= limit) {
                return Err(exhausted);
            }
        }
        self.used += 1;
        for subject in subjects {
            *self.held.entry(self.hasher.hash_one(subject)).or_default() += 1;
        }
        Ok(())
    }

    /// Gives back what was taken for the same subjects.
    pub fn release(&mut self, subjects: &[Subject<'_>]) {
        self.used = self.used.saturating_sub(1);
        for subject in subjects {
            let key = self.hasher.hash_one(subject);
            if let Some(held) = self.held.get_mut(&key) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&key);
                }
            }
        }
    }
}

/// How fast messages are read, ACKs and pings among them. What comes faster waits in the sender's own socket, so nothing is
/// lost and nobody else waits; hence there is no limit for all together, which would make everybody wait.
pub struct MessageRates {
    of_strangers: RateLimiter<ManualClock>,
    by_extension: RateLimiter<ManualClock>,
    by_tenant: RateLimiter<ManualClock>,
    clock: ManualClock,
    start: Instant,
}

impl MessageRates {
    pub fn new(now: Instant) -> Self {
        let clock = ManualClock::default();
        let limiter =
            |rate, burst| RateLimiter::with_clock(Some(Quota::per_second(rate).allow_burst(burst)), clock.clone());
        Self {
            of_strangers: limiter(STRANGERS_MESSAGES, STRANGERS_BURST),
            by_extension: limiter(EXTENSION_MESSAGES, EXTENSION_BURST),
            by_tenant: limiter(TENANT_MESSAGES, TENANT_MESSAGES),
            clock,
            start: now,
        }
    }

    /// Counts a message from a connection of this network, on which `identity` has signed in.
    ///
    /// # Errors
    /// The time until it may be tried again; it was not counted.
    pub fn count(&self, network: ClientNetwork, identity: Option<&Extension>, now: Instant) -> Result<(), Duration> {
        self.clock.set(now.saturating_duration_since(self.start));
        let outcome = match identity {
            None => self.of_strangers.check(network),
            Some(extension) => self.by_extension.check(extension).and_then(|_| self.by_tenant.check(&extension.domain)),
        };
        outcome.map(|_| ()).map_err(|exceeded| exceeded.retry_after)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn network(last: u8) -> Subject<'static> {
        Subject::Network(ClientNetwork::of([192, 0, 2, last].into()))
    }

    fn take_all(budget: &mut Budget, subject: Subject<'_>) -> usize {
        (0..10_000).take_while(|_| budget.take(&[subject]).is_ok()).count()
    }

    #[test]
    fn one_tenant_holds_a_third_at_most_and_several_leave_room_for_the_next() {
        let mut budget = Budget::new(600, 600);
        assert_eq!(take_all(&mut budget, Subject::Tenant("a")), 200);
        for (tenant, least) in [("b", 100), ("c", 50), ("d", 25)] {
            assert!(take_all(&mut budget, Subject::Tenant(tenant)) >= least, "{tenant}");
        }
        assert_eq!(budget.take(&[Subject::Tenant("a")]), Err(Exhausted::Tenant));
    }

    #[test]
    fn one_network_holds_half_at_most_and_a_tenant_of_it_leaves_room_for_its_neighbours() {
        let mut budget = Budget::new(600, 600);
        assert_eq!(take_all(&mut budget, network(1)), 300);
        assert_eq!(budget.take(&[network(1)]), Err(Exhausted::Network));
        assert_eq!(take_all(&mut budget, network(2)), 150);
        let mut budget = Budget::new(600, 600);
        while budget.take(&[network(1), Subject::Tenant("a")]).is_ok() {}
        assert_eq!(budget.take(&[network(1), Subject::Tenant("b")]), Ok(()));
    }

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_given_back_is_forgotten() {
        let extension = Extension { domain: "a".to_owned(), user: "1".to_owned() };
        let subjects = [network(1), Subject::Extension(&extension), Subject::Tenant("a")];
        let mut budget = Budget::new(100, 2);
        for _ in 0..2 {
            budget.take(&subjects).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(budget.take(&subjects), Err(Exhausted::Extension));
        }
        assert_eq!((budget.used, budget.held.len()), (2, 3));
        budget.release(&subjects);
        budget.take(&subjects).unwrap();
        for _ in 0..2 {
            budget.release(&subjects);
        }
        assert_eq!((budget.used, budget.held.len()), (0, 0));
    }

    #[test]
    fn the_last_unit_is_for_whoever_holds_nothing() {
        let mut budget = Budget::new(1, 1);
        budget.take(&[network(1), Subject::Tenant("a")]).unwrap();
        assert_eq!(budget.take(&[network(2), Subject::Tenant("b")]), Err(Exhausted::All));
    }

    #[test]
    fn messages_of_an_extension_are_counted_over_its_connections_and_slow_nobody_else() {
        let start = Instant::now();
        let rates = MessageRates::new(start);
        let [one, two] = ["1", "2"].map(|user| Extension { domain: "a".to_owned(), user: user.to_owned() });
        let [here, there] = [1, 2].map(|last| ClientNetwork::of([192, 0, 2, last].into()));
        for n in 0..EXTENSION_BURST.get() {
            let network = if n % 2 == 0 { here } else { there };
            rates.count(network, Some(&one), start).unwrap();
        }
        let wait = rates.count(here, Some(&one), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(10));
        rates.count(here, Some(&two), start).unwrap();
        rates.count(here, None, start).unwrap();
        rates.count(here, Some(&one), start + wait).unwrap();
        rates.count(here, Some(&one), start + wait).unwrap_err();
        while rates.count(here, None, start).is_ok() {}
        rates.count(there, None, start).unwrap();
    }
}
