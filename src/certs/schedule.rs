//! When to retry and when to renew. Pure: the random part of each time is an argument.

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

/// Time and randomness of one transition, passed in so that it stays a function of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// A random number.
    pub random: u64,
}

impl Moment {
    /// `time` from now, give or take 15 %, so that names which failed together do not retry together.
    pub fn about(self, time: Duration) -> Timestamp {
        let per_mille = 850 + self.random % 301;
        self.now.after(scaled(time, per_mille, 1000))
    }

    /// `time` from now, or up to 10 % and a minute later: for a time that the authority has set.
    pub fn no_earlier(self, time: Duration) -> Timestamp {
        let slack = scaled(time, self.random % 101, 1000).min(Duration::from_mins(1));
        self.now.after(time + slack)
    }
}

/// The wait after this many failures in a row.
pub fn back_off(failures: u32) -> Duration {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    FIRST_BACKOFF.get(index).copied().unwrap_or(MAX_BACKOFF)
}

/// When a certificate is renewed if the authority suggests no window: after about two thirds of its lifetime, with
/// some jitter, so that certificates issued in the same hour are not all renewed in the same hour.
pub fn renewal(not_before: Timestamp, not_after: Timestamp, random: u64) -> Timestamp {
    let life = not_before.until(not_after);
    not_before.after(scaled(life, 650 + random % 31, 1000))
}

/// A random time in the window that the authority suggests (RFC 9773 section 4.2); now when it has passed.
pub fn within(start: Timestamp, end: Timestamp, moment: Moment) -> Timestamp {
    let pick = start.after(scaled(start.until(end), moment.random % 1001, 1000));
    pick.max(moment.now)
}

/// When to ask for the renewal window again: the authority's Retry-After within limits (RFC 9773 section 4.3).
pub fn ask_again(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or(ARI_INTERVAL).clamp(MIN_ARI_INTERVAL, MAX_ARI_INTERVAL)
}

/// The wait before an order is polled again: the authority's Retry-After within limits, else longer each time.
pub fn poll(polls: u32, retry_after: Option<Duration>) -> Duration {
    match retry_after {
        Some(retry_after) => retry_after.clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL),
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
        fn renewal_is_due_after_about_two_thirds_of_any_lifetime(days in 1_u64..400, random: u64) {
            let start = Timestamp(1_773_489_600_000);
            let life = Duration::from_hours(24 * days);
            let at = renewal(start, start.after(life), random);
            let part = start.until(at).as_secs_f64() / life.as_secs_f64();
            prop_assert!((0.64..=0.69).contains(&part), "{part}");
        }

        #[test]
        fn a_time_chosen_from_a_window_is_in_it_or_now(start in 0_i64..4_000, length in 0_i64..4_000, now in 0_i64..10_000, random: u64) {
            let moment = Moment { now: Timestamp(now), random };
            let at = within(Timestamp(start), Timestamp(start + length), moment);
            prop_assert!(at >= moment.now);
            prop_assert!(at == moment.now || (at.0 >= start && at.0 <= start + length));
        }

        #[test]
        fn retry_after_is_never_undercut(seconds in 0_u64..1_000_000, random: u64) {
            let moment = Moment { now: Timestamp(0), random };
            prop_assert!(moment.no_earlier(Duration::from_secs(seconds)) >= Timestamp(0).after(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn back_off_grows_up_to_one_day() {
        let waits: Vec<_> = (1..=9).map(back_off).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&Duration::from_hours(24)));
    }
}
