//! Our own limits, below those of Let's Encrypt: an appliance that is turned
//! away by the authority has to wait for hours or days, one that turns itself
//! away knows exactly how long.
//!
//! Per name, kept with its record: failed validations (theirs: 5 an hour) and certificates
//! (theirs: 5 a week for the same names). Per account, kept beside it: orders (theirs: 300 in three hours),
//! and names below the base domain that get their first certificate (theirs: 50 a week for a registered domain
//! and all names below it). Renewals are not counted there, as little as they are by Let's Encrypt.

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

/// What a name has used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IssuanceHistory {
    /// When the authority found a challenge unanswered; those of the last hour, the oldest first.
    failed: Vec<Timestamp>,
    /// When certificates were issued; those of the last week, the oldest first.
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

    /// From when on an order with so many `authorizations` is within the limits, all of them failing.
    pub fn free_at(&self, now: Timestamp, authorizations: usize) -> Timestamp {
        let failures = free(&self.failed, now, HOUR, FAILED_PER_HOUR.saturating_sub(authorizations));
        failures.max(free(&self.issued, now, WEEK, ISSUED_PER_WEEK - 1))
    }

    /// From when on a certificate may be replaced just because the authority suggests it: a window
    /// that always lies in the past must not use up the week's certificates in a minute.
    pub fn suggestion_at(&self, now: Timestamp) -> Timestamp {
        free(&self.issued, now, DAY, SUGGESTED_PER_DAY)
    }

    fn forget(&mut self, now: Timestamp) {
        self.failed.retain(|at| at.after(HOUR) > now);
        self.issued.retain(|at| at.after(WEEK) > now);
    }
}

/// From when on at most `allowed` of the moments lie within `span`; now, if that is so already.
fn free(moments: &[Timestamp], now: Timestamp, span: Duration, allowed: usize) -> Timestamp {
    let lately: Vec<_> = moments.iter().filter(|at| at.after(span) > now).collect();
    match lately.len().checked_sub(allowed + 1) {
        Some(last_to_go) => lately[last_to_go].after(span).max(now),
        None => now,
    }
}

/// How many orders an account has placed, in slices of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OrderRateLimit {
    slices: Vec<(Timestamp, u32)>,
}

impl OrderRateLimit {
    /// Counts an order, unless it would be one too many: then the moment from which on it is not.
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

/// Names that got, or are about to get, their first certificate within the last week, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NewNameQuota {
    names: BTreeMap<Hostname, Timestamp>,
}

impl NewNameQuota {
    /// Counts a name that is not counted yet, unless there are `most` already: then the moment from which on
    /// there are not.
    pub fn enter(&mut self, name: &Hostname, most: usize, now: Timestamp) -> Result<(), Timestamp> {
        self.forget(now);
        if self.names.contains_key(name) {
            return Ok(());
        }
        let mut since: Vec<_> = self.names.values().copied().collect();
        since.sort_unstable();
        if let Some(last_to_go) = since.len().checked_sub(most) {
            return Err(since.get(last_to_go).map_or(now, |since| since.after(WEEK)));
        }
        self.names.insert(name.clone(), now);
        Ok(())
    }

    /// Of a name that is counted: the authority's week for it begins with the certificate.
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
    fn the_fifth_failure_in_an_hour_has_to_wait_for_the_first_to_be_an_hour_old() {
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
    fn four_certificates_a_week_and_one_extra_a_day() {
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
    fn first_certificates_are_so_many_a_week_and_a_name_that_failed_takes_no_second_place() {
        let name = |n: usize| format!("t{n}.bitcall.example").parse::<Hostname>().unwrap();
        let mut debuts = NewNameQuota::default();
        for hour in 0..3 {
            let at = NOW.after(Duration::from_hours(hour as u64));
            assert_eq!(debuts.enter(&name(hour), 3, at), Ok(()));
        }
        let later = NOW.after(Duration::from_hours(5));
        assert_eq!(debuts.enter(&name(9), 3, later), Err(NOW.after(WEEK)));
        assert_eq!(debuts.enter(&name(1), 3, later), Ok(()), "it has its place");
        debuts.issued(&name(0), later);
        assert_eq!(debuts.enter(&name(9), 3, later), Err(NOW.after(Duration::from_hours(1) + WEEK)));
        assert_eq!(debuts.enter(&name(9), 3, NOW.after(Duration::from_hours(1) + WEEK)), Ok(()));
    }

    proptest! {
        #[test]
        fn an_account_never_places_more_orders_than_its_share(steps in prop::collection::vec(0_u64..120, 0..2000)) {
            let (mut pace, mut now, mut placed) = (OrderRateLimit::default(), NOW, Vec::new());
            for seconds in steps {
                now = now.after(Duration::from_secs(seconds));
                match pace.order(now) {
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
