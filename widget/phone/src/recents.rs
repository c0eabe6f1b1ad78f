//! The list of past calls of one person on this device.

use bitcall_wire::agent_protocol::{CallDirection, CallEndCause, CallSnapshot};
use serde::{Deserialize, Serialize};

use crate::time::LocalClock;

/// One call that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentCall {
    pub id: String,
    pub number: String,
    pub name: Option<String>,
    pub direction: CallDirection,
    pub answered: bool,
    /// Inbound, and nobody answered or declined it.
    #[serde(default)]
    pub missed: bool,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Whole seconds since the answer.
    pub seconds: u64,
    /// Why it ended, as text.
    pub cause: String,
}

/// Calls of one day, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentsDay {
    pub name: String,
    pub calls: Vec<RecentCall>,
}

/// 200 calls are more than people scroll through, and are parsed within milliseconds.
const MAX_RECENT_CALLS: usize = 200;

impl RecentCall {
    pub fn of(call: &CallSnapshot, cause: &CallEndCause, seconds: u64) -> Self {
        let answered = call.answered_at.is_some();
        // 603 is a decline. A CANCEL says in its Reason header (RFC 3326), and so in the text, that the
        // call was answered elsewhere.
        let dealt_with = cause.sip_code == Some(603) || cause.text.ends_with("elsewhere");
        Self {
            id: call.id.clone(),
            number: call.number.clone(),
            name: call.display_name.clone(),
            direction: call.direction,
            answered,
            missed: call.direction == CallDirection::Inbound && !answered && !dealt_with,
            at: call.started_at,
            seconds,
            cause: cause.text.clone(),
        }
    }
}

/// Inserts a call by its time. A call that another tab has added already is replaced.
pub fn add(list: &mut Vec<RecentCall>, call: RecentCall) {
    list.retain(|old| old.id != call.id);
    let place = list.partition_point(|old| old.at > call.at);
    list.insert(place, call);
    list.truncate(MAX_RECENT_CALLS);
}

/// The calls whose name or number contains `query`, grouped by day.
pub fn by_day(list: &[RecentCall], query: &str, zone: LocalClock, now: u64) -> Vec<RecentsDay> {
    let query = lower(query.trim());
    let digits: String = query.chars().filter(char::is_ascii_digit).collect();
    let mut days: Vec<(u64, RecentsDay)> = Vec::new();
    for call in list.iter().filter(|call| call.matches(&query, &digits)) {
        let day = zone.day(call.at);
        match days.last_mut() {
            Some((current, group)) if *current == day => group.calls.push(call.clone()),
            _ => days.push((day, RecentsDay { name: zone.day_name(day, now), calls: vec![call.clone()] })),
        }
    }
    days.into_iter().map(|(_, day)| day).collect()
}

impl RecentCall {
    fn matches(&self, query: &str, digits: &str) -> bool {
        let number: String = self.number.chars().filter(char::is_ascii_digit).collect();
        query.is_empty()
            || contains(&lower(&self.number), query)
            || (!digits.is_empty() && contains(&number, digits))
            || self.name.as_ref().is_some_and(|name| contains(&lower(name), query))
    }
}

/// Maps each character on its own: `str::to_lowercase` also handles the final sigma of Greek, which is more
/// code than a search needs.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// A simple search: the standard library's substring search is 2 KB of code in the module.
fn contains(text: &str, part: &str) -> bool {
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use bitcall_wire::agent_protocol::CallState;

    use crate::test_call;

    const NOON: u64 = 1_795_348_800_000;
    const HOUR: u64 = 3_600_000;

    fn call(id: &str, at: u64) -> RecentCall {
        RecentCall {
            id: id.to_owned(),
            number: "+4930901820".to_owned(),
            name: Some("Anna Schmidt".to_owned()),
            direction: CallDirection::Inbound,
            answered: false,
            missed: true,
            at,
            seconds: 0,
            cause: "Missed".to_owned(),
        }
    }

    #[test]
    fn a_call_reported_twice_is_listed_once() {
        let mut list = Vec::new();
        add(&mut list, call("a", NOON));
        add(&mut list, call("a", NOON));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn the_newest_call_is_first_and_the_list_is_limited() {
        let mut list = Vec::new();
        for n in 0..300 {
            add(&mut list, call(&n.to_string(), NOON + n));
        }
        assert_eq!(list.len(), MAX_RECENT_CALLS);
        assert_eq!(list[0].at, NOON + 299);
    }

    #[test]
    fn a_call_declined_or_answered_elsewhere_is_not_missed() {
        let call = CallSnapshot { direction: CallDirection::Inbound, ..test_call::call("a", CallState::Incoming) };
        let ended =
            |text: &str, sip_code| RecentCall::of(&call, &CallEndCause { text: text.to_owned(), sip_code }, 0).missed;
        assert!(ended("Caller hung up", Some(487)));
        assert!(ended("Connection lost", None));
        assert!(!ended("Declined", Some(603)));
        assert!(!ended("Answered elsewhere", Some(487)));
        let outbound = CallSnapshot { direction: CallDirection::Outbound, ..call };
        assert!(!RecentCall::of(&outbound, &CallEndCause { text: "Busy".to_owned(), sip_code: Some(486) }, 0).missed);
    }

    #[test]
    fn calls_are_grouped_by_day_and_found_by_name_or_digits() {
        let list = [call("a", NOON), call("b", NOON - HOUR), call("c", NOON - 25 * HOUR)];
        let days = by_day(&list, "", LocalClock::default(), NOON);
        assert_eq!(
            days.iter().map(|day| (day.name.as_str(), day.calls.len())).collect::<Vec<_>>(),
            [("Today", 2), ("Yesterday", 1)]
        );
        assert_eq!(by_day(&list, "anna", LocalClock::default(), NOON).len(), 2);
        assert_eq!(by_day(&list, "30 90", LocalClock::default(), NOON).len(), 2);
        assert_eq!(by_day(&list, "bob", LocalClock::default(), NOON).len(), 0);
    }
}
