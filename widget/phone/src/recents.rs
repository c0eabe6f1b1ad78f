//! The list of past calls of one person on this device.

use bitcall_wire::agent_protocol::{CallDirection, CallEndCause, CallSnapshot};
use bitcall_wire::number::call_target;
use serde::{Deserialize, Serialize};

use crate::text::uppercase;
use crate::time::LocalClock;
use crate::ui::UserAction;

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
    /// Outbound, and the server does not know the number: calling it again is of no use.
    #[serde(default)]
    pub wrong_number: bool,
    /// Inbound: whom the caller had called, e.g. a queue.
    #[serde(default)]
    pub diverted_from: Option<String>,
}

/// Final statuses of a number that is wrong (RFC 3261 §21.4.5, §21.4.11, §21.4.22, §21.4.23, §21.6.3).
const WRONG_NUMBER_STATUSES: [u16; 5] = [404, 410, 484, 485, 604];

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
        // The person declined here, with the status that the tenant has set. A CANCEL says in its Reason header
        // (RFC 3326), and so in the text, that the call was answered elsewhere.
        let dealt_with = cause.text == "Declined" || cause.text.ends_with("elsewhere");
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
            wrong_number: call.direction == CallDirection::Outbound
                && !answered
                && cause.sip_code.is_some_and(|code| WRONG_NUMBER_STATUSES.contains(&code)),
            diverted_from: call.diverted_from.clone(),
        }
    }

    /// What a press on the call does: call the number, or edit a wrong one. `None`: the caller withheld the number.
    pub fn next_action(&self) -> Option<UserAction> {
        // Entries of older versions have a name for it.
        if call_target(&self.number).is_err() {
            None
        } else if self.wrong_number {
            Some(UserAction::EditNumber(self.number.clone()))
        } else {
            Some(UserAction::CallNumber(self.number.clone()))
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
    let query = uppercase(query.trim());
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
            || contains(&uppercase(&self.number), query)
            || (!digits.is_empty() && contains(&number, digits))
            || self.name.as_ref().is_some_and(|name| contains(&uppercase(name), query))
    }
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
            wrong_number: false,
            diverted_from: None,
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
        assert!(!ended("Declined", Some(486)));
        assert!(!ended("Declined", Some(603)));
        assert!(!ended("Declined elsewhere", Some(487)));
        assert!(!ended("Answered elsewhere", Some(487)));
        let outbound = CallSnapshot { direction: CallDirection::Outbound, ..call };
        assert!(!RecentCall::of(&outbound, &CallEndCause { text: "Busy".to_owned(), sip_code: Some(486) }, 0).missed);
    }

    #[test]
    fn a_wrong_number_is_edited_and_a_withheld_one_is_not_called() {
        let outbound = CallSnapshot { number: "20x".to_owned(), ..test_call::call("a", CallState::Dialing) };
        let outbound = CallSnapshot { direction: CallDirection::Outbound, answered_at: None, ..outbound };
        let after = |call: &CallSnapshot, sip_code| {
            RecentCall::of(call, &CallEndCause { text: String::new(), sip_code }, 0).next_action()
        };
        for code in [404, 484, 604] {
            assert_eq!(after(&outbound, Some(code)), Some(UserAction::EditNumber("20x".to_owned())));
        }
        for code in [Some(486), Some(408), None] {
            assert_eq!(after(&outbound, code), Some(UserAction::CallNumber("20x".to_owned())));
        }
        for number in ["", "anonymous", "sip:anonymous@anonymous.invalid"] {
            let inbound = CallSnapshot {
                number: number.to_owned(),
                direction: CallDirection::Inbound,
                ..test_call::call("a", CallState::Incoming)
            };
            assert_eq!(after(&inbound, Some(487)), None, "{number}");
        }
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
