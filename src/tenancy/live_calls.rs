//! The calls that phones are in at this moment, as the phones report them.
//!
//! A phone tells its whole state in every report: at each change, and every
//! [`bitcall_wire::call_reports::REPORT_INTERVAL`] while it is in a call. So a report that is lost is made good
//! by the next one, and a repeated one changes nothing. Reports overtake each
//! other on the way; each has a number, and what is older than the last one heard
//! is passed over. A phone that has ended its calls is remembered for a while for
//! that reason only: a late report of it must not bring a call back. A phone that
//! falls silent is forgotten after [`CLIENT_TIMEOUT`].
//!
//! Time is passed in: `now` runs on whatever the wall clock does, `at` is shown to people.

use std::collections::HashMap;
use std::time::Duration;

use super::id::TenantId;
use crate::timestamp::Timestamp;

/// After this long without a word a phone is gone: two heartbeats may get lost.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(50);

/// Of one phone.
pub const MAX_CALLS: usize = 16;
const MAX_CLIENTS_OF_TENANT: usize = 5_000;
const MAX_CLIENTS: usize = 20_000;

/// One phone's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedCalls {
    /// Chosen by the phone, unique for the life of one page.
    pub client_id: String,
    /// Grows with every report of the client.
    pub sequence: u64,
    pub calls: Vec<ReportedCall>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedCall {
    pub call_id: String,
    pub number: Option<String>,
    pub direction: Direction,
    pub state: CallState,
    /// How long ago the call began. A span, because phones' clocks may be wrong.
    pub age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Outbound,
    Inbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// Not answered yet, in either direction.
    Ringing,
    Active,
    Held,
}

/// A call that is up now. One that two phones of a tenant have with each other is two: each takes a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCall {
    pub client_id: String,
    pub call_id: String,
    pub number: Option<String>,
    pub direction: Direction,
    pub state: CallState,
    pub started_at: Timestamp,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    News,
    /// A later report of the client is known already.
    Outdated,
    /// So many phones are known that there is no room for another.
    NoRoom,
}

#[derive(Debug, Default)]
pub struct LiveCalls {
    tenants: HashMap<TenantId, HashMap<String, ReportingClient>>,
    /// In all tenants.
    clients: usize,
    next_sweep: Duration,
}

#[derive(Debug)]
struct ReportingClient {
    sequence: u64,
    heard: Duration,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    reported: ReportedCall,
    started_at: Timestamp,
}

impl ReportingClient {
    fn is_there(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard) < CLIENT_TIMEOUT
    }
}

impl LiveCalls {
    pub fn take_report(
        &mut self,
        tenant: &TenantId,
        report: ReportedCalls,
        now: Duration,
        at: Timestamp,
    ) -> ReportOutcome {
        if now >= self.next_sweep {
            self.sweep(now);
        }
        let known = self.tenants.get(tenant);
        let before = known.and_then(|clients| clients.get(&report.client_id));
        if before.is_some_and(|before| before.is_there(now) && report.sequence <= before.sequence) {
            return ReportOutcome::Outdated;
        }
        if before.is_none() {
            let of_tenant = known.map_or(0, HashMap::len);
            if of_tenant >= MAX_CLIENTS_OF_TENANT || self.clients >= MAX_CLIENTS {
                return ReportOutcome::NoRoom;
            }
            self.clients += 1;
        }
        let mut calls: Vec<Call> = Vec::with_capacity(report.calls.len().min(MAX_CALLS));
        for reported in report.calls {
            let is_new = calls.iter().all(|call| call.reported.call_id != reported.call_id);
            if is_new && calls.len() < MAX_CALLS {
                let earlier = before.and_then(|before| before.calls.iter().find(|call| call.is(&reported)));
                let began = || Timestamp(at.0.saturating_sub(reported.age.as_millis().try_into().unwrap_or(i64::MAX)));
                // Once said it stands: it would tremble with the time that reports are under way.
                let started_at = earlier.map_or_else(began, |earlier| earlier.started_at);
                calls.push(Call { reported, started_at });
            }
        }
        let client = ReportingClient { sequence: report.sequence, heard: now, calls };
        self.tenants.entry(tenant.clone()).or_default().insert(report.client_id, client);
        ReportOutcome::News
    }

    /// A tenant's calls, oldest first.
    pub fn of(&self, tenant: &TenantId, now: Duration) -> Vec<LiveCall> {
        let clients = self.tenants.get(tenant).into_iter().flatten();
        let there = clients.filter(|(_, client)| client.is_there(now));
        let mut calls: Vec<_> = there.flat_map(|(id, client)| client.calls.iter().map(|call| call.shown(id))).collect();
        calls.sort_by(|one, other| {
            let order = |call: &LiveCall| (call.started_at, call.client_id.clone(), call.call_id.clone());
            order(one).cmp(&order(other))
        });
        calls
    }

    /// The tenants that have calls now.
    pub fn tenants(&self, now: Duration) -> Vec<TenantId> {
        let in_call = |client: &ReportingClient| client.is_there(now) && !client.calls.is_empty();
        let busy = self.tenants.iter().filter(|(_, clients)| clients.values().any(in_call));
        busy.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// The tenant is gone or disabled, and its calls with it.
    pub fn forget(&mut self, tenant: &TenantId) {
        self.clients -= self.tenants.remove(tenant).map_or(0, |clients| clients.len());
    }

    fn sweep(&mut self, now: Duration) {
        self.next_sweep = now + CLIENT_TIMEOUT;
        self.tenants.retain(|_, clients| {
            clients.retain(|_, client| client.is_there(now));
            !clients.is_empty()
        });
        self.clients = self.tenants.values().map(HashMap::len).sum();
    }
}

impl Call {
    fn is(&self, reported: &ReportedCall) -> bool {
        self.reported.call_id == reported.call_id
    }

    fn shown(&self, client_id: &str) -> LiveCall {
        LiveCall {
            client_id: client_id.to_owned(),
            call_id: self.reported.call_id.clone(),
            number: self.reported.number.clone(),
            direction: self.reported.direction,
            state: self.reported.state,
            started_at: self.started_at,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;

    use bitcall_wire::call_reports::REPORT_INTERVAL;
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp(1_000_000);

    fn acme() -> TenantId {
        "acme".parse().unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call(id: &str, state: CallState) -> ReportedCall {
        let (number, direction) = (Some("102".into()), Direction::Outbound);
        ReportedCall { call_id: id.into(), number, direction, state, age: seconds(3) }
    }

    fn report(client: &str, sequence: u64, calls: Vec<ReportedCall>) -> ReportedCalls {
        ReportedCalls { client_id: client.into(), sequence, calls }
    }

    fn ids(state: &LiveCalls, now: Duration) -> Vec<String> {
        state.of(&acme(), now).into_iter().map(|call| format!("{}/{}", call.client_id, call.call_id)).collect()
    }

    #[test]
    fn a_call_is_there_from_its_first_report_to_its_last() {
        let mut state = LiveCalls::default();
        state.take_report(&acme(), report("a", 1, vec![call("x", CallState::Ringing)]), seconds(0), AT);
        let shown = state.of(&acme(), seconds(0));
        assert_eq!((shown[0].state, shown[0].started_at), (CallState::Ringing, Timestamp(997_000)));
        state.take_report(
            &acme(),
            report("a", 2, vec![call("x", CallState::Active)]),
            seconds(20),
            Timestamp(1_020_500),
        );
        let shown = state.of(&acme(), seconds(20));
        assert_eq!((shown[0].state, shown[0].started_at), (CallState::Active, Timestamp(997_000)), "it began once");
        assert_eq!(state.tenants(seconds(20)), [acme()]);
        state.take_report(&acme(), report("a", 3, vec![]), seconds(30), AT);
        assert_eq!((state.of(&acme(), seconds(30)), state.tenants(seconds(30))), (vec![], vec![]));
    }

    #[test]
    fn a_late_report_does_not_bring_an_ended_call_back() {
        let mut state = LiveCalls::default();
        assert_eq!(state.take_report(&acme(), report("a", 2, vec![]), seconds(0), AT), ReportOutcome::News);
        let late = report("a", 1, vec![call("x", CallState::Active)]);
        assert_eq!(state.take_report(&acme(), late, seconds(1), AT), ReportOutcome::Outdated);
        assert_eq!(ids(&state, seconds(1)), Vec::<String>::new());
    }

    #[test]
    fn a_phone_that_falls_silent_is_gone_within_a_minute_and_takes_no_room() {
        let mut state = LiveCalls::default();
        state.take_report(&acme(), report("a", 1, vec![call("x", CallState::Active)]), seconds(0), AT);
        assert_eq!(ids(&state, CLIENT_TIMEOUT.saturating_sub(Duration::from_millis(1))), ["a/x"]);
        assert_eq!(ids(&state, CLIENT_TIMEOUT), Vec::<String>::new());
        state.take_report(&acme(), report("b", 1, vec![]), seconds(120), AT);
        assert_eq!((state.clients, state.tenants[&acme()].len()), (1, 1));
        assert!(CLIENT_TIMEOUT < seconds(60) && CLIENT_TIMEOUT > 2 * REPORT_INTERVAL);
    }

    #[test]
    fn a_tenant_that_goes_takes_its_calls_along_and_no_others() {
        let mut state = LiveCalls::default();
        let other: TenantId = "other".parse().unwrap();
        for tenant in [&acme(), &other] {
            state.take_report(tenant, report("a", 1, vec![call("x", CallState::Active)]), seconds(0), AT);
        }
        state.forget(&acme());
        assert_eq!((state.of(&acme(), seconds(0)), state.of(&other, seconds(0)).len()), (vec![], 1));
        assert_eq!(state.clients, 1);
    }

    #[test]
    fn what_phones_can_make_the_server_remember_is_bounded() {
        let mut state = LiveCalls::default();
        let many: Vec<_> = (0..100).map(|number| call(&number.to_string(), CallState::Active)).collect();
        state.take_report(&acme(), report("a", 1, many), seconds(0), AT);
        assert_eq!(state.of(&acme(), seconds(0)).len(), MAX_CALLS);
        let twice = vec![call("x", CallState::Active), call("x", CallState::Held)];
        state.take_report(&acme(), report("a", 2, twice), seconds(0), AT);
        assert_eq!(ids(&state, seconds(0)), ["a/x"], "a call counts once");
        for tenant in 0..=MAX_CLIENTS / MAX_CLIENTS_OF_TENANT {
            let tenant = format!("tenant{tenant}").parse().unwrap();
            for client in 0..=MAX_CLIENTS_OF_TENANT {
                let heard = state.take_report(&tenant, report(&client.to_string(), 1, vec![]), seconds(0), AT);
                let has_room = client < MAX_CLIENTS_OF_TENANT && state.clients < MAX_CLIENTS;
                assert!(heard == ReportOutcome::News || !has_room || state.clients == MAX_CLIENTS);
            }
        }
        assert_eq!(state.clients, MAX_CLIENTS);
        let known = report("a", 3, vec![call("y", CallState::Active)]);
        assert_eq!(state.take_report(&acme(), known, seconds(1), AT), ReportOutcome::News, "who is known has room");
        assert_eq!(
            state.take_report(&acme(), report("new", 1, vec![]), CLIENT_TIMEOUT + seconds(1), AT),
            ReportOutcome::News
        );
    }

    /// What a client's report number `sequence` says: some calls, different for each number.
    fn said(client: u8, sequence: u64) -> ReportedCalls {
        let calls = (0..sequence % 3).map(|n| call(&format!("{n}"), CallState::Active)).collect();
        report(&client.to_string(), sequence, calls)
    }

    proptest! {
        /// However reports are lost, repeated, reordered and spaced, a client's calls are those of the newest
        /// report that arrived, for as long as it is not silent.
        #[test]
        fn counts_follow_the_newest_report_of_every_client(
            events in prop::collection::vec((0u8..4, 1u64..40, 0u64..15), 0..120)
        ) {
            let mut state = LiveCalls::default();
            let mut model: BTreeMap<u8, (u64, Duration)> = BTreeMap::new();
            let mut now = seconds(0);
            for (client, sequence, pause) in events {
                now += seconds(pause);
                model.retain(|_, (_, heard)| now.saturating_sub(*heard) < CLIENT_TIMEOUT);
                let newest = model.get(&client).is_none_or(|(known, _)| sequence > *known);
                if newest {
                    model.insert(client, (sequence, now));
                }
                let heard = state.take_report(&acme(), said(client, sequence), now, AT);
                prop_assert_eq!(heard == ReportOutcome::News, newest);
                let expected: u64 = model.values().map(|(sequence, _)| sequence % 3).sum();
                prop_assert_eq!(state.of(&acme(), now).len() as u64, expected);
                prop_assert_eq!(state.tenants(now).is_empty(), expected == 0);
                prop_assert!(state.clients >= model.len() && state.clients <= 4);
            }
            state.take_report(&acme(), said(9, 3), now + CLIENT_TIMEOUT * 2, AT);
            prop_assert_eq!(state.clients, 1);
        }

        /// The order in which reports arrive makes no difference.
        #[test]
        fn any_order_of_the_same_reports_ends_the_same(
            reports in prop::collection::vec((0u8..3, 1u64..20), 1..20).prop_shuffle()
        ) {
            let mut state = LiveCalls::default();
            let mut newest: BTreeMap<u8, u64> = BTreeMap::new();
            for (client, sequence) in reports {
                state.take_report(&acme(), said(client, sequence), seconds(1), AT);
                let known = newest.entry(client).or_default();
                *known = (*known).max(sequence);
            }
            let expected: u64 = newest.values().map(|sequence| sequence % 3).sum();
            prop_assert_eq!(state.of(&acme(), seconds(1)).len() as u64, expected);
        }
    }
}
