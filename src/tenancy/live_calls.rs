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
//! Each report is of a [`PhoneSession`], by which what one caller can make up is limited.
//!
//! Time is passed in: `now` runs on whatever the wall clock does, `at` is shown to people.

use std::collections::HashMap;
use std::time::Duration;

use super::id::{TenantId, Username};
use super::phone_session::PhoneSession;
use crate::rate_limiter::ClientNetwork;
use crate::timestamp::Timestamp;

/// After this long without a word a phone is gone: two heartbeats may get lost.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(50);

/// Of one report.
pub const MAX_CALLS: usize = 16;
/// How many phones are known at a time.
#[derive(Clone, Copy, Debug)]
struct ClientLimits {
    /// Pages of one agent.
    of_extension: usize,
    /// A page that was loaded once is one phone.
    of_page: usize,
    /// Of those whose sign-in this server has not seen.
    of_network: usize,
    of_tenant: usize,
    in_all: usize,
}

/// As many pages of an agent as there are connections of an extension on the built-in edge; as many phones in one network
/// as are in calls at a time in a large office.
const CLIENT_LIMITS: ClientLimits =
    ClientLimits { of_extension: 30, of_page: 1, of_network: 250, of_tenant: 5_000, in_all: 20_000 };

/// Who reports, and what the calls are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    pub tenant: TenantId,
    pub session: PhoneSession,
    /// None: from this machine.
    pub network: Option<ClientNetwork>,
    /// What a phone of the tenant may have at a time; more are not believed.
    pub max_calls: usize,
}

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
    /// So many phones of the session or the network are known that there is no room for another.
    NoRoom,
}

#[derive(Debug)]
pub struct LiveCalls {
    limits: ClientLimits,
    tenants: HashMap<TenantId, HashMap<ClientKey, ReportingClient>>,
    /// In all tenants.
    clients: usize,
    next_sweep: Duration,
}

/// Nobody reports for the phone of another session, whatever they know of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientKey {
    session: PhoneSession,
    client_id: String,
}

/// What makes phones alike for the limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Extension(Username),
    Network(Option<ClientNetwork>),
}

#[derive(Debug)]
struct ReportingClient {
    network: Option<ClientNetwork>,
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
    fn source(&self, key: &ClientKey) -> Source {
        match &key.session {
            PhoneSession::Extension(username) => Source::Extension(username.clone()),
            PhoneSession::Page(_) => Source::Network(self.network),
        }
    }

    fn is_there(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard) < CLIENT_TIMEOUT
    }
}

impl Default for LiveCalls {
    fn default() -> Self {
        Self::new(CLIENT_LIMITS)
    }
}

impl LiveCalls {
    fn new(limits: ClientLimits) -> Self {
        Self { limits, tenants: HashMap::new(), clients: 0, next_sweep: Duration::ZERO }
    }

    pub fn take_report(
        &mut self,
        reporter: Reporter,
        report: ReportedCalls,
        now: Duration,
        at: Timestamp,
    ) -> ReportOutcome {
        if now >= self.next_sweep {
            self.sweep(now);
        }
        let Reporter { tenant, session, network, max_calls } = reporter;
        let key = ClientKey { session, client_id: report.client_id };
        let known = self.tenants.get(&tenant).and_then(|clients| clients.get(&key));
        if known.is_some_and(|known| known.is_there(now) && report.sequence <= known.sequence) {
            return ReportOutcome::Outdated;
        }
        if known.is_none() {
            if !self.has_room(&tenant, &key.session, network) {
                return ReportOutcome::NoRoom;
            }
            self.make_room(&tenant);
            self.clients += 1;
        }
        let clients = self.tenants.entry(tenant).or_default();
        let before = clients.get(&key);
        let mut calls: Vec<Call> = Vec::with_capacity(report.calls.len().min(max_calls));
        for reported in report.calls {
            let is_new = calls.iter().all(|call| call.reported.call_id != reported.call_id);
            if is_new && calls.len() < max_calls {
                let earlier = before.and_then(|before| before.calls.iter().find(|call| call.is(&reported)));
                let began = || Timestamp(at.0.saturating_sub(reported.age.as_millis().try_into().unwrap_or(i64::MAX)));
                // Once said it stands: it would tremble with the time that reports are under way.
                let started_at = earlier.map_or_else(began, |earlier| earlier.started_at);
                calls.push(Call { reported, started_at });
            }
        }
        clients.insert(key, ReportingClient { network, sequence: report.sequence, heard: now, calls });
        ReportOutcome::News
    }

    /// Whether the session and the network may have one phone more.
    fn has_room(&self, tenant: &TenantId, session: &PhoneSession, network: Option<ClientNetwork>) -> bool {
        let Some(clients) = self.tenants.get(tenant) else { return true };
        let of_session = clients.keys().filter(|key| key.session == *session).count();
        match session {
            PhoneSession::Extension(_) => of_session < self.limits.of_extension,
            PhoneSession::Page(_) => {
                let source = Source::Network(network);
                let of_network = clients.iter().filter(|(key, client)| client.source(key) == source).count();
                of_session < self.limits.of_page && of_network < self.limits.of_network
            }
        }
    }

    /// Where there are as many phones as can be, of the tenant or in all, the one is forgotten that has been silent for the
    /// longest time among those of the extension or network that has most: so those that report for very many phones keep
    /// nobody else's out.
    fn make_room(&mut self, tenant: &TenantId) {
        let is_full = self.tenants.get(tenant).is_some_and(|clients| clients.len() >= self.limits.of_tenant);
        let crowded = if is_full {
            self.tenants.get_mut(tenant)
        } else if self.clients >= self.limits.in_all {
            self.tenants.values_mut().max_by_key(|clients| clients.len())
        } else {
            None
        };
        let Some(clients) = crowded else { return };
        let mut sources: HashMap<Source, (usize, Duration, &ClientKey)> = HashMap::new();
        for (key, client) in clients.iter() {
            let (count, heard, silent) = sources.entry(client.source(key)).or_insert_with(|| (0, client.heard, key));
            *count += 1;
            if client.heard < *heard {
                (*heard, *silent) = (client.heard, key);
            }
        }
        let most = sources.into_values().max_by_key(|(count, ..)| *count);
        if let Some(key) = most.map(|(_, _, key)| key.clone()) {
            clients.remove(&key);
            self.clients -= 1;
        }
    }

    /// A tenant's calls, oldest first.
    pub fn of(&self, tenant: &TenantId, now: Duration) -> Vec<LiveCall> {
        let clients = self.tenants.get(tenant).into_iter().flatten();
        let there = clients.filter(|(_, client)| client.is_there(now));
        let mut calls: Vec<_> =
            there.flat_map(|(key, client)| client.calls.iter().map(|call| call.shown(&key.client_id))).collect();
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
    use std::net::Ipv4Addr;

    use bitcall_wire::call_reports::REPORT_INTERVAL;
    use proptest::prelude::*;

    use super::*;

    const LIMITS: ClientLimits = ClientLimits { of_extension: 3, of_page: 1, of_network: 4, of_tenant: 20, in_all: 60 };
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

    /// The calls of an agent who is signed in on the built-in edge.
    fn by(username: &str) -> Reporter {
        let session = PhoneSession::Extension(username.parse().unwrap());
        Reporter { tenant: acme(), session, network: None, max_calls: MAX_CALLS }
    }

    /// Those of a page whose phone signs in elsewhere.
    fn from_page(tenant: &TenantId, session: usize, network: u32) -> Reporter {
        let network = ClientNetwork::of(Ipv4Addr::from(network).into());
        let session = PhoneSession::Page(session.to_string());
        Reporter { tenant: tenant.clone(), session, network: Some(network), max_calls: 2 }
    }

    fn ids(state: &LiveCalls, now: Duration) -> Vec<String> {
        state.of(&acme(), now).into_iter().map(|call| format!("{}/{}", call.client_id, call.call_id)).collect()
    }

    #[test]
    fn a_call_is_there_from_its_first_report_to_its_last() {
        let mut state = LiveCalls::default();
        state.take_report(by("101"), report("a", 1, vec![call("x", CallState::Ringing)]), seconds(0), AT);
        let shown = state.of(&acme(), seconds(0));
        assert_eq!((shown[0].state, shown[0].started_at), (CallState::Ringing, Timestamp(997_000)));
        state.take_report(
            by("101"),
            report("a", 2, vec![call("x", CallState::Active)]),
            seconds(20),
            Timestamp(1_020_500),
        );
        let shown = state.of(&acme(), seconds(20));
        assert_eq!((shown[0].state, shown[0].started_at), (CallState::Active, Timestamp(997_000)), "it began once");
        assert_eq!(state.tenants(seconds(20)), [acme()]);
        state.take_report(by("101"), report("a", 3, vec![]), seconds(30), AT);
        assert_eq!((state.of(&acme(), seconds(30)), state.tenants(seconds(30))), (vec![], vec![]));
    }

    #[test]
    fn a_late_report_does_not_bring_an_ended_call_back() {
        let mut state = LiveCalls::default();
        assert_eq!(state.take_report(by("101"), report("a", 2, vec![]), seconds(0), AT), ReportOutcome::News);
        let late = report("a", 1, vec![call("x", CallState::Active)]);
        assert_eq!(state.take_report(by("101"), late, seconds(1), AT), ReportOutcome::Outdated);
        assert_eq!(ids(&state, seconds(1)), Vec::<String>::new());
    }

    #[test]
    fn a_phone_that_falls_silent_is_gone_within_a_minute_and_takes_no_room() {
        let mut state = LiveCalls::default();
        state.take_report(by("101"), report("a", 1, vec![call("x", CallState::Active)]), seconds(0), AT);
        assert_eq!(ids(&state, CLIENT_TIMEOUT.saturating_sub(Duration::from_millis(1))), ["a/x"]);
        assert_eq!(ids(&state, CLIENT_TIMEOUT), Vec::<String>::new());
        state.take_report(by("101"), report("b", 1, vec![]), seconds(120), AT);
        assert_eq!((state.clients, state.tenants[&acme()].len()), (1, 1));
        assert!(CLIENT_TIMEOUT < seconds(60) && CLIENT_TIMEOUT > 2 * REPORT_INTERVAL);
    }

    #[test]
    fn a_tenant_that_goes_takes_its_calls_along_and_no_others() {
        let mut state = LiveCalls::default();
        let other: TenantId = "other".parse().unwrap();
        for tenant in [&acme(), &other] {
            let reporter = Reporter { tenant: tenant.clone(), ..by("101") };
            state.take_report(reporter, report("a", 1, vec![call("x", CallState::Active)]), seconds(0), AT);
        }
        state.forget(&acme());
        assert_eq!((state.of(&acme(), seconds(0)), state.of(&other, seconds(0)).len()), (vec![], 1));
        assert_eq!(state.clients, 1);
    }

    #[test]
    fn what_phones_can_make_the_server_remember_is_bounded() {
        let mut state = LiveCalls::default();
        let many: Vec<_> = (0..100).map(|number| call(&number.to_string(), CallState::Active)).collect();
        state.take_report(by("101"), report("a", 1, many), seconds(0), AT);
        assert_eq!(state.of(&acme(), seconds(0)).len(), MAX_CALLS);
        let twice = vec![call("x", CallState::Active), call("x", CallState::Held)];
        state.take_report(by("101"), report("a", 2, twice), seconds(0), AT);
        assert_eq!(ids(&state, seconds(0)), ["a/x"], "a call counts once");
        let few = Reporter { max_calls: 1, ..by("101") };
        let more = vec![call("x", CallState::Active), call("y", CallState::Active)];
        state.take_report(few, report("a", 3, more), seconds(0), AT);
        assert_eq!(ids(&state, seconds(0)), ["a/x"], "no more than a phone may have");
    }

    #[test]
    fn one_session_and_one_network_have_room_for_so_many_phones_and_another_one_has_its_own() {
        let mut state = LiveCalls::new(LIMITS);
        let mut tell = |reporter: Reporter, client: usize| {
            let told = report(&client.to_string(), 1, vec![call("x", CallState::Active)]);
            state.take_report(reporter, told, seconds(0), AT)
        };
        for client in 0..LIMITS.of_extension {
            assert_eq!(tell(by("101"), client), ReportOutcome::News);
        }
        assert_eq!(tell(by("101"), 999), ReportOutcome::NoRoom);
        assert_eq!(tell(by("102"), 0), ReportOutcome::News, "the same client of another session is another phone");
        assert_eq!(tell(from_page(&acme(), 0, 1), 0), ReportOutcome::News);
        assert_eq!(tell(from_page(&acme(), 0, 1), 1), ReportOutcome::NoRoom, "one page is one phone");
        for session in 1..LIMITS.of_network {
            assert_eq!(tell(from_page(&acme(), session, 1), 0), ReportOutcome::News);
        }
        assert_eq!(tell(from_page(&acme(), 999, 1), 0), ReportOutcome::NoRoom);
        assert_eq!(tell(from_page(&acme(), 999, 2), 0), ReportOutcome::News);
    }

    #[test]
    fn made_up_phones_keep_no_real_ones_out() {
        let mut state = LiveCalls::new(LIMITS);
        let mut session = 0;
        let mut tell = |tenant: &TenantId, network: u32| {
            session += 1;
            let told = report("a", 1, vec![call(&session.to_string(), CallState::Active)]);
            state.take_report(from_page(tenant, session, network), told, seconds(0), AT)
        };
        let other: TenantId = "other".parse().unwrap();
        let real = [(acme(), 1), (other, 1)];
        for (tenant, network) in &real {
            assert_eq!(tell(tenant, *network), ReportOutcome::News);
        }
        for number in 0..LIMITS.in_all * 2 {
            let (tenant, network) = (number / (LIMITS.of_tenant + 5), number / 3);
            let tenant = if tenant == 0 { acme() } else { format!("tenant{tenant}").parse().unwrap() };
            assert_eq!(tell(&tenant, 100 + u32::try_from(network).unwrap()), ReportOutcome::News);
        }
        assert_eq!(state.clients, LIMITS.in_all);
        let first_calls = [["a/1"], ["a/2"]];
        for ((tenant, _), call) in real.iter().zip(first_calls) {
            let calls = state.of(tenant, seconds(0));
            let names: Vec<_> = calls.iter().map(|call| format!("{}/{}", call.client_id, call.call_id)).collect();
            assert!(names.iter().any(|name| *name == call[0]), "{tenant}");
            assert!(names.len() <= LIMITS.of_tenant);
        }
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
                let heard = state.take_report(by("101"), said(client, sequence), now, AT);
                prop_assert_eq!(heard == ReportOutcome::News, newest);
                let expected: u64 = model.values().map(|(sequence, _)| sequence % 3).sum();
                prop_assert_eq!(state.of(&acme(), now).len() as u64, expected);
                prop_assert_eq!(state.tenants(now).is_empty(), expected == 0);
                prop_assert!(state.clients >= model.len() && state.clients <= 4);
            }
            state.take_report(by("101"), said(9, 3), now + CLIENT_TIMEOUT * 2, AT);
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
                state.take_report(by("101"), said(client, sequence), seconds(1), AT);
                let known = newest.entry(client).or_default();
                *known = (*known).max(sequence);
            }
            let expected: u64 = newest.values().map(|sequence| sequence % 3).sum();
            prop_assert_eq!(state.of(&acme(), seconds(1)).len() as u64, expected);
        }
    }
}
