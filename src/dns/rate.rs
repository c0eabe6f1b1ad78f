//! How many datagrams one network is answered: addresses can be forged in UDP, and then every answer goes to
//! somebody who never asked. Beyond the limit every second query is told to come back over TCP, which a real
//! resolver does, and the others get nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};

/// 192 KiB for each socket.
const BUCKETS: usize = 16_384;
const THOUSAND: u32 = 1000;

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAction {
    Answer,
    /// Tell it to come back over TCP.
    Truncate,
    Ignore,
}

/// Buckets by network: a /24, by IPv6 a /56. Different networks may share one; which ones do is
/// another secret of each start, so nobody can spend another's share on purpose.
pub struct Rate {
    /// Answers in a second, and at once; 0 for any number.
    limit: u32,
    hasher: RandomState,
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Thousandths of an answer that are left.
    left: u32,
    /// Milliseconds, of the last look; 0: never.
    at: u32,
    /// Whether the last one beyond the limit was ignored.
    ignored: bool,
}

impl Rate {
    pub fn new(limit: u32) -> Self {
        let count = if limit == 0 { 0 } else { BUCKETS };
        Self { limit, hasher: RandomState::new(), buckets: vec![Bucket::default(); count].into() }
    }

    /// Counts one query. `now` is in milliseconds since any moment, and may wrap.
    pub fn ask(&mut self, from: IpAddr, now: u32) -> RateAction {
        let place = usize::try_from(self.hasher.hash_one(network(from)) % (BUCKETS as u64)).unwrap_or_default();
        let Some(bucket) = self.buckets.get_mut(place) else { return RateAction::Answer };
        let full = self.limit.saturating_mul(THOUSAND);
        // The zero stands for "never".
        let now = now.max(1);
        let gained = if bucket.at == 0 { full } else { now.wrapping_sub(bucket.at).saturating_mul(self.limit) };
        bucket.at = now;
        bucket.left = bucket.left.saturating_add(gained).min(full);
        if bucket.left >= THOUSAND {
            bucket.left -= THOUSAND;
            return RateAction::Answer;
        }
        bucket.ignored = !bucket.ignored;
        if bucket.ignored { RateAction::Ignore } else { RateAction::Truncate }
    }
}

/// Whose networks these are, one customer of a provider has at the least.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => v6.to_bits() >> (Ipv6Addr::BITS - 56),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn answered(rate: &mut Rate, from: &str, count: u32, now: u32) -> usize {
        let from = from.parse().unwrap();
        (0..count).filter(|_| rate.ask(from, now) == RateAction::Answer).count()
    }

    #[test]
    fn a_network_gets_its_share_and_no_more() {
        let mut rate = Rate::new(100);
        assert_eq!(answered(&mut rate, "192.0.2.1", 1000, 5_000), 100);
        assert_eq!(answered(&mut rate, "192.0.2.200", 1000, 5_000), 0, "a neighbour in the same /24");
        assert_eq!(answered(&mut rate, "192.0.2.1", 1000, 5_500), 50, "half a second later");
        assert_eq!(answered(&mut rate, "192.0.2.1", 1000, 3_600_000), 100, "no more after an hour");
        assert_eq!(answered(&mut rate, "2001:db8:0:1::1", 1000, 5_000), 100);
        assert_eq!(answered(&mut rate, "2001:db8:0:ff::1", 1000, 5_000), 0, "the same /56");
    }

    #[test]
    fn about_half_of_the_rest_is_told_to_use_tcp() {
        let mut rate = Rate::new(1);
        let from = "198.51.100.7".parse().unwrap();
        let mut told = 0;
        for now in 1..=1000 {
            told += u32::from(rate.ask(from, now) == RateAction::Truncate);
        }
        assert!((300..700).contains(&told), "{told}");
    }

    #[test]
    fn zero_is_no_limit_and_a_wrapping_clock_is_no_hurdle() {
        assert_eq!(answered(&mut Rate::new(0), "192.0.2.1", 100_000, 1), 100_000);
        let mut rate = Rate::new(10);
        assert_eq!(answered(&mut rate, "192.0.2.1", 100, u32::MAX - 500), 10);
        assert_eq!(answered(&mut rate, "192.0.2.1", 100, 500), 10, "a second later, past the end");
    }

    #[test]
    fn of_a_burst_within_one_millisecond_every_second_query_beyond_the_limit_is_sent_to_tcp() {
        let mut rate = Rate::new(20);
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let verdicts: Vec<_> = (0..200).map(|_| rate.ask(from, 7)).collect();
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        assert_eq!([RateAction::Answer, RateAction::Truncate, RateAction::Ignore].map(count), [20, 90, 90]);
    }
}
