//! This server's own limits, below those of Let's Encrypt: after the authority has refused for its rate limit, it
//! is unknown for how long, up to days; with limits of its own the server knows when the next attempt is possible.
//!
//! Per name, kept with its record: failed validations (theirs: 5 an hour) and certificates
//! (theirs: 5 a week for the same names). Per account, kept beside it: orders (theirs: 300 in three hours),
//! and names below the base domain that get their first certificate (theirs: 50 a week for a registered domain
//! and all names below it). Like Let's Encrypt, the latter does not count renewals.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;
use crate::timestamp::Timestamp;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);
pub const FAILED_PER_HOUR: usize = 4;
const ISSUED_PER_WEEK: usize = 4;
const SUGGESTED_PER_DAY: usize = 1;
const ORDERS: u32 = 240;
const ORDERS_SPAN: Duration = Duration::from_hours(3);
const SLICE_LENGTH: Duration = Duration::from_mins(5);

/// The failures and certificates of one name that count towards its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IssuanceHistory {
    /// Times of failed validations within the last hour, the oldest first.
    failed: Vec<Timestamp>,
    /// Times of issuance within the last week, the oldest first.
    issued: Vec<Timestamp>,
}

impl IssuanceHistory {
    pub fn failed(&mut self, now: Timestamp) {
        self.forget(now);
        self.failed.push(now);
    }

    pub fn issued(&mut self, now: Timestamp) {
        self.forget(now);
        self.issued.push(now);
    }

    /// When an order with this many authorizations is within the limits even if all of them fail.
    pub fn free_at(&self, now: Timestamp, authorizations: usize) -> Timestamp {
        let failures = free(&self.failed, now, HOUR, FAILED_PER_HOUR.saturating_sub(authorizations));
        failures.max(free(&self.issued, now, WEEK, ISSUED_PER_WEEK - 1))
    }

    /// When a certificate may be renewed for a suggested window. A window that always lies in the past must not use
    /// up the week's certificates in a minute.
    pub fn suggestion_at(&self, now: Timestamp) -> Timestamp {
        free(&self.issued, now, DAY, SUGGESTED_PER_DAY)
    }

    fn forget(&mut self, now: Timestamp) {
        self.failed.retain(|at| at.after(HOUR) > now);
        self.issued.retain(|at| at.after(WEEK) > now);
    }
}

/// When at most `allowed` of `times` lie within the last `span`; now, if that is so already.
fn free(times: &[Timestamp], now: Timestamp, span: Duration, allowed: usize) -> Timestamp {
    let recent: Vec<_> = times.iter().filter(|at| at.after(span) > now).collect();
    match recent.len().checked_sub(allowed + 1) {
        Some(last_to_expire) => recent[last_to_expire].after(span).max(now),
        None => now,
    }
}

/// Orders that an account has placed, counted in slices of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OrderRateLimit {
    slices: Vec<(Timestamp, u32)>,
}

impl OrderRateLimit {
    /// Counts an order. An error where it would exceed the limit: when it is possible.
    pub fn order(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.slices.retain(|(start, _)| start.after(SLICE_LENGTH + ORDERS_SPAN) > now);
        let placed: u32 = self.slices.iter().map(|(_, count)| count).sum();
        if placed >= ORDERS {
            let oldest = self.slices.first().map_or(now, |(start, _)| *start);
            return Err(oldest.after(SLICE_LENGTH + ORDERS_SPAN));
        }
        match self.slices.last_mut() {
            Some((start, count)) if start.after(SLICE_LENGTH) > now => *count += 1,
            _ => self.slices.push((now, 1)),
        }
        Ok(())
    }
}

/// Names that got their first certificate within the last week, or are about to get it, with the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NewNameQuota {
    names: BTreeMap<Hostname, Timestamp>,
}

impl NewNameQuota {
    /// Counts a name unless it is counted already. An error where `limit` names are: when one of them expires.
    pub fn enter(&mut self, name: &Hostname, limit: usize, now: Timestamp) -> Result<(), Timestamp> {
        self.forget(now);
        if self.names.contains_key(name) {
            return Ok(());
        }
        let mut since: Vec<_> = self.names.values().copied().collect();
        since.sort_unstable();
        if let Some(last_to_expire) = since.len().checked_sub(limit) {
            return Err(since.get(last_to_expire).map_or(now, |since| since.after(WEEK)));
        }
        self.names.insert(name.clone(), now);
        Ok(())
    }

    /// The authority's week for a name begins when its certificate is issued.
    pub fn issued(&mut self, name: &Hostname, now: Timestamp) {
        if let Some(since) = self.names.get_mut(name) {
            *since = now;
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.names.retain(|_, since| since.after(WEEK) > now);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_773_489_600_000);

    #[test]
    fn a_fifth_validation_waits_until_the_first_failure_is_an_hour_old() {
        let mut history = IssuanceHistory::default();
        for minute in 0..4 {
            let at = NOW.after(Duration::from_mins(minute));
            assert_eq!(history.free_at(at, 1), at, "after {minute}");
            history.failed(at);
        }
        let late = NOW.after(Duration::from_mins(5));
        assert_eq!(history.free_at(late, 1), NOW.after(HOUR));
        assert_eq!(history.free_at(late, 2), NOW.after(HOUR + Duration::from_mins(1)), "two could fail at once");
        let later = NOW.after(HOUR);
        assert_eq!(history.free_at(later, 1), later);
    }

    #[test]
    fn a_name_gets_four_certificates_a_week_and_one_suggested_renewal_a_day() {
        let mut history = IssuanceHistory::default();
        for hour in 0..4 {
            let at = NOW.after(Duration::from_hours(hour));
            assert_eq!(history.free_at(at, 1), at);
            history.issued(at);
        }
        let late = NOW.after(Duration::from_hours(5));
        assert_eq!(history.free_at(late, 1), NOW.after(WEEK));
        assert_eq!(history.suggestion_at(late), NOW.after(Duration::from_hours(2) + DAY));
    }

    #[test]
    fn new_names_are_limited_per_week_and_a_repeated_attempt_is_not_counted_again() {
        let name = |n: usize| format!("t{n}.bitcall.example").parse::<Hostname>().unwrap();
        let mut new_names = NewNameQuota::default();
        for hour in 0..3 {
            let at = NOW.after(Duration::from_hours(hour as u64));
            assert_eq!(new_names.enter(&name(hour), 3, at), Ok(()));
        }
        let later = NOW.after(Duration::from_hours(5));
        assert_eq!(new_names.enter(&name(9), 3, later), Err(NOW.after(WEEK)));
        assert_eq!(new_names.enter(&name(1), 3, later), Ok(()), "it is counted already");
        new_names.issued(&name(0), later);
        assert_eq!(new_names.enter(&name(9), 3, later), Err(NOW.after(Duration::from_hours(1) + WEEK)));
        assert_eq!(new_names.enter(&name(9), 3, NOW.after(Duration::from_hours(1) + WEEK)), Ok(()));
    }

    proptest! {
        #[test]
        fn an_account_never_exceeds_its_order_limit(steps in prop::collection::vec(0_u64..120, 0..2000)) {
            let (mut orders, mut now, mut placed) = (OrderRateLimit::default(), NOW, Vec::new());
            for seconds in steps {
                now = now.after(Duration::from_secs(seconds));
                match orders.order(now) {
                    Ok(()) => placed.push(now),
                    Err(free) => prop_assert!(free > now),
                }
            }
            for (index, at) in placed.iter().enumerate() {
                let within = placed[..=index].iter().filter(|earlier| earlier.after(ORDERS_SPAN) > *at).count();
                prop_assert!(within <= ORDERS as usize, "{within}");
            }
        }
    }
}
