//! When to try again, and when to renew: pure arithmetic, chance included.

use std::time::Duration;

use crate::timestamp::Timestamp;

const FIRST_BACKOFF: [Duration; 7] = [
    Duration::from_secs(15),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(4),
    Duration::from_hours(12),
];
const MAX_BACKOFF: Duration = Duration::from_hours(24);
const ARI_INTERVAL: Duration = Duration::from_hours(6);
const MIN_ARI_INTERVAL: Duration = Duration::from_mins(10);
const MAX_ARI_INTERVAL: Duration = Duration::from_hours(24);
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(250);
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);

/// The moment of a step. Chance is part of it, so that a step stays a function of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// Any number; two steps rarely have the same.
    pub dice: u64,
}

impl Moment {
    /// `time` from now, somewhat more or less: so that many who failed together do not return together.
    pub fn about(self, time: Duration) -> Timestamp {
        let per_mille = 850 + self.dice % 301;
        self.now.after(scaled(time, per_mille, 1000))
    }

    /// `time` from now, or somewhat later: for a time that somebody else has set.
    pub fn no_earlier(self, time: Duration) -> Timestamp {
        let slack = scaled(time, self.dice % 101, 1000).min(Duration::from_mins(1));
        self.now.after(time + slack)
    }
}

/// How long to wait after so many failures in a row.
pub fn back_off(failures: u32) -> Duration {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    FIRST_BACKOFF.get(index).copied().unwrap_or(MAX_BACKOFF)
}

/// When a certificate is renewed whose authority does not say: after two thirds of its life, and a
/// little before or after, so that those made in one hour are not renewed in one.
pub fn renewal(not_before: Timestamp, not_after: Timestamp, dice: u64) -> Timestamp {
    let life = not_before.until(not_after);
    not_before.after(scaled(life, 650 + dice % 31, 1000))
}

/// A moment in the window that the authority suggests (RFC 9773 section 4.2); at once when it has passed.
pub fn within(start: Timestamp, end: Timestamp, moment: Moment) -> Timestamp {
    let pick = start.after(scaled(start.until(end), moment.dice % 1001, 1000));
    pick.max(moment.now)
}

/// When to ask for that window again: as the authority says, within reason.
pub fn ask_again(said: Option<Duration>) -> Duration {
    said.unwrap_or(ARI_INTERVAL).clamp(MIN_ARI_INTERVAL, MAX_ARI_INTERVAL)
}

/// How long to leave a running order alone: as the server says, else longer every time.
pub fn poll(polls: u32, said: Option<Duration>) -> Duration {
    match said {
        Some(said) => said.clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL),
        None => MIN_POLL_INTERVAL.saturating_mul(1 << (polls / 2).min(5)).min(Duration::from_secs(5)),
    }
}

fn scaled(time: Duration, by: u64, of: u64) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(u64::try_from(u128::from(millis) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_renewal_lies_about_two_thirds_into_any_lifetime(days in 1_u64..400, dice: u64) {
            let start = Timestamp(1_773_489_600_000);
            let life = Duration::from_hours(24 * days);
            let at = renewal(start, start.after(life), dice);
            let part = start.until(at).as_secs_f64() / life.as_secs_f64();
            prop_assert!((0.64..=0.69).contains(&part), "{part}");
        }

        #[test]
        fn the_moment_within_a_window_is_in_it_or_now(start in 0_i64..4_000, length in 0_i64..4_000, now in 0_i64..10_000, dice: u64) {
            let moment = Moment { now: Timestamp(now), dice };
            let at = within(Timestamp(start), Timestamp(start + length), moment);
            prop_assert!(at >= moment.now);
            prop_assert!(at == moment.now || (at.0 >= start && at.0 <= start + length));
        }

        #[test]
        fn nobody_returns_earlier_than_told(seconds in 0_u64..1_000_000, dice: u64) {
            let moment = Moment { now: Timestamp(0), dice };
            prop_assert!(moment.no_earlier(Duration::from_secs(seconds)) >= Timestamp(0).after(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn waiting_grows_and_ends_at_a_day() {
        let waits: Vec<_> = (1..=9).map(back_off).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&Duration::from_hours(24)));
    }
}
