//! Limits how many UDP queries of one network are answered. The source address of a datagram can be forged, and every
//! answer then goes to a host that never asked. Of the queries over the limit every second one gets an empty truncated
//! answer, which makes a real resolver repeat it over TCP; the others get no answer.

use std::net::{IpAddr, Ipv6Addr};

use governor::clock::{Clock, MonotonicClock};

use crate::rate_limiter::RateLimiter;

/// Prefixes that providers assign to one customer at the least. A limit by single address would be evaded with the
/// other addresses of the prefix.
const IPV4_PREFIX_BITS: u32 = 24;
const IPV6_PREFIX_BITS: u32 = 56;

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAction {
    Answer,
    /// Answer with the TC bit set and no records.
    Truncate,
    Drop,
}

/// One limit for each network. `C` is the clock, another one in tests.
pub struct ResponseLimiter<C: Clock = MonotonicClock> {
    limiter: RateLimiter<C>,
    /// Whether the last query over the limit was dropped.
    was_dropped: bool,
}

impl ResponseLimiter {
    /// `quota` answers a second for each network; 0 for any number.
    pub fn per_second(quota: u32) -> Self {
        Self { limiter: RateLimiter::per_second(quota), was_dropped: false }
    }
}

impl<C: Clock> ResponseLimiter<C> {
    /// Counts one query from this address.
    pub fn check(&mut self, from: IpAddr) -> RateAction {
        if self.limiter.check(network(from)).is_ok() {
            return RateAction::Answer;
        }
        self.was_dropped = !self.was_dropped;
        if self.was_dropped { RateAction::Drop } else { RateAction::Truncate }
    }
}

/// The network of an address, as whether it is an IPv4 one and its prefix.
fn network(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits() >> (u32::BITS - IPV4_PREFIX_BITS))),
        IpAddr::V6(v6) => (false, v6.to_bits() >> (Ipv6Addr::BITS - IPV6_PREFIX_BITS)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::Quota;
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(quota: u32) -> (ResponseLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = NonZeroU32::new(quota).map(Quota::per_second);
        (ResponseLimiter { limiter: RateLimiter::with_clock(quota, clock.clone()), was_dropped: false }, clock)
    }

    fn answered(limiter: &mut ResponseLimiter<FakeRelativeClock>, from: &str, count: u32) -> usize {
        let from = from.parse().unwrap();
        (0..count).filter(|_| limiter.check(from) == RateAction::Answer).count()
    }

    #[test]
    fn a_network_gets_its_quota_and_no_more() {
        let (mut limiter, clock) = limiter(100);
        assert_eq!(answered(&mut limiter, "192.0.2.1", 1000), 100);
        assert_eq!(answered(&mut limiter, "192.0.2.200", 1000), 0, "another address of the same /24");
        assert_eq!(answered(&mut limiter, "::ffff:192.0.2.7", 1000), 0, "the same network, mapped into IPv6");
        assert_eq!(answered(&mut limiter, "192.0.3.1", 1000), 100, "another /24");
        assert_eq!(answered(&mut limiter, "2001:db8:0:1::1", 1000), 100);
        assert_eq!(answered(&mut limiter, "2001:db8:0:ff::1", 1000), 0, "the same /56");
        clock.advance(Duration::from_millis(500));
        assert_eq!(answered(&mut limiter, "192.0.2.1", 1000), 50, "half a second later");
        clock.advance(Duration::from_hours(1));
        assert_eq!(answered(&mut limiter, "192.0.2.1", 1000), 100, "no more after an hour");
    }

    #[test]
    fn a_quota_of_zero_is_no_limit() {
        assert_eq!(answered(&mut limiter(0).0, "192.0.2.1", 100_000), 100_000);
    }

    #[test]
    fn every_second_query_over_the_limit_is_truncated_and_the_others_are_dropped() {
        let (mut limiter, clock) = limiter(20);
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let mut count = |queries: u32| {
            let actions: Vec<_> = (0..queries).map(|_| limiter.check(from)).collect();
            [RateAction::Answer, RateAction::Truncate, RateAction::Drop]
                .map(|wanted| actions.iter().filter(|action| **action == wanted).count())
        };
        assert_eq!(count(200), [20, 90, 90], "within one instant");
        clock.advance(Duration::from_secs(1));
        assert_eq!(count(40), [20, 10, 10]);
    }
}
