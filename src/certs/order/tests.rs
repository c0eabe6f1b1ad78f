//! Orders against a model of a certificate authority whose answers and failures are decided by a list of numbers,
//! with restarts in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use proptest::prelude::*;

use self::world::{TheirOrder, World, failed};
use super::*;
use crate::certs::progress::{ProblemKind, Stage};
use crate::certs::quotas::FAILED_PER_HOUR;
use crate::certs::sealed::{Seal, Sealed};
use crate::timestamp::Timestamp;

const START: Timestamp = Timestamp(1_773_489_600_000);
const ONE: &str = "https://one.example/directory";
const TWO: &str = "https://two.example/directory";

fn rules() -> Rules {
    Rules {
        directories: vec![ONE.into()],
        methods: vec![Method::Http01, Method::TlsAlpn01, Method::Dns01],
        zone: Some("bitcall.example".parse().unwrap()),
    }
}

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.parse().unwrap(), wildcard: false, delegated: false }
}

fn sealed() -> Sealed {
    Seal::new(["a store key"]).unwrap().seal("here", b"key".to_vec()).unwrap()
}

fn at(now: Timestamp) -> Moment {
    Moment { now, random: 77 }
}

fn elsewhere() -> Reachability {
    Reachability::Elsewhere(AcmeError::new(Kind::Unauthorized, "Another server answers on port 80."))
}

/// Continues a waiting name after these commands.
fn resumed(record: OrderRecord, commands: &[OrderCommand], rules: &Rules, now: Timestamp) -> OrderRecord {
    let OrderRecord { name, state: State::Waiting(waiting) } = record else { panic!("{record:?}") };
    resume(name, waiting, commands, &BTreeMap::new(), rules, at(now))
}

/// Ends a running state by the outcome that `work` makes of it.
fn advanced(record: OrderRecord, work: impl FnOnce(Running) -> Outcome, rules: &Rules, now: Timestamp) -> OrderRecord {
    let OrderRecord { name, state: State::Running(running) } = record else { panic!("{record:?}") };
    advance(name, work(running), &[], rules, at(now)).0
}

/// Its request fails with this error.
fn failing(record: OrderRecord, error: AcmeError, rules: &Rules, now: Timestamp) -> OrderRecord {
    advanced(record, |running| failed(running, error), rules, now)
}

fn reachability(running: Running, result: impl Fn(Method) -> Reachability) -> Outcome {
    let Running::CheckingReachability(state) = running else { panic!("{running:?}") };
    let results = state.methods().iter().map(|method| (*method, result(*method))).collect();
    Outcome::ReachabilityChecked(state, results)
}

/// Up to where the account is opened; no preflight check concludes anything.
fn begin(record: OrderRecord, rules: &Rules, now: Timestamp) -> OrderRecord {
    let record = resumed(record, &[], rules, now);
    advanced(record, |running| reachability(running, |_| Reachability::Unknown("is silent".into())), rules, now)
}

fn opened(record: OrderRecord, rules: &Rules, now: Timestamp) -> OrderRecord {
    let open = |running| match running {
        Running::OpeningAccount(state) => Outcome::AccountOpened(state, Ok(())),
        other => panic!("{other:?}"),
    };
    advanced(record, open, rules, now)
}

fn waits_until(record: &OrderRecord) -> Timestamp {
    let State::Waiting(waiting) = &record.state else { panic!("{record:?}") };
    waiting.until()
}

fn opens_account_with(record: &OrderRecord) -> &str {
    let State::Running(Running::OpeningAccount(state)) = &record.state else { panic!("{record:?}") };
    state.directory()
}

fn most_within(moments: &[Timestamp], span: Duration) -> usize {
    let ending = |at: &Timestamp| moments.iter().filter(|other| *other <= at && other.after(span) > *at).count();
    moments.iter().map(ending).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_fails_limits_hold_and_a_certificate_is_issued_in_the_end(
        fate in prop::collection::vec(any::<u8>(), 0..400),
        wildcard: bool,
        two: bool,
    ) {
        let mut rules = rules();
        if two {
            rules.directories.push(TWO.into());
        }
        let name = if wildcard { "bitcall.example" } else { "phone.acme.example" };
        let mut world = World::new(rules, Wanted { wildcard, ..wanted(name) }, fate);
        let mut turns = 0;
        while world.fate.len() > 0 || world.issued.is_empty() {
            // Each directory has limits of its own, and the model has but one.
            world.retry_after = world.retry_after.filter(|_| !two);
            world.turn();
            turns += 1;
            prop_assert!(turns < 5000, "no end: {:?}", world.record());
            let progress = world.record().progress();
            if matches!(world.record().state, State::Waiting(_)) {
                prop_assert!(progress.next_try_at.is_some());
            }
            if matches!(progress.stage, Stage::Backoff | Stage::Blocked) {
                prop_assert!(progress.problem.is_some());
            }
        }
        prop_assert!(most_within(&world.failed, Duration::from_hours(1)) <= FAILED_PER_HOUR);
        prop_assert!(most_within(&world.issued, Duration::from_hours(7 * 24)) <= 4);
        // A certificate that is made is downloaded, and not ordered again; the last one may be under way.
        let made = |order: &&TheirOrder| matches!(order.status, OrderStatus::Valid | OrderStatus::Processing);
        let made = world.orders.iter().filter(made).count();
        prop_assert!(made <= world.issued.len() + world.refusals + 1, "{made} made, {} stored", world.issued.len());
    }
}

#[test]
fn issuance_takes_a_second_and_the_name_then_waits_for_two_thirds_of_the_lifetime() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        world.lifetime = Duration::from_hours(days * 24);
        assert!(world.until_issued() < Duration::from_secs(2));
        let facts = world.facts();
        let part = facts.not_before.until(facts.renew_at).as_secs_f64() / world.lifetime.as_secs_f64();
        assert!((0.64..0.69).contains(&part), "{days} days: {part}");
        assert_eq!(world.record().progress().stage, Stage::Issued);
    }
}

#[test]
fn without_renewal_info_each_certificate_is_renewed_after_two_thirds_of_its_lifetime() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        (world.lifetime, world.without_renewal_info) = (Duration::from_hours(days * 24), true);
        world.until_issued();
        for renewal in 1..20 {
            let facts = world.facts();
            world.until_issued();
            let part = facts.not_before.until(world.now).as_secs_f64() / world.lifetime.as_secs_f64();
            assert!((0.64..0.70).contains(&part), "{days} days, renewal {renewal}: {part}");
            assert!(world.now >= facts.renew_at, "not before it is time");
        }
    }
}

#[test]
fn a_renewal_succeeds_soon_after_an_outage_of_one_day_for_any_lifetime() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        (world.lifetime, world.without_renewal_info) = (Duration::from_hours(days * 24), true);
        world.until_issued();
        let facts = world.facts();
        let back = facts.renew_at.after(Duration::from_hours(24));
        world.down_until = Some(back);
        world.until_issued();
        // Little of the time that is left then is spent on waiting.
        let (late, left) = (back.until(world.now), back.until(facts.not_after));
        assert!(late < left.mul_f64(0.15), "{days} days: issued {late:?} after it was back, with {left:?} left");
    }
}

#[test]
fn a_finalized_order_is_downloaded_after_a_restart_and_no_other_is_placed() {
    let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
    while !matches!(world.record().state, State::Running(Running::Finalizing(_))) {
        world.turn();
    }
    // The request arrives; the process ends before the answer does.
    let stored = serde_json::to_vec(world.record()).unwrap();
    let State::Running(running) = world.take_record().state else { unreachable!() };
    drop(world.carry_out(running, &stored));
    world.set_record(serde_json::from_slice(&stored).unwrap());
    world.until_issued();
    assert_eq!(world.orders.len(), 1);
}

#[test]
fn after_a_failed_validation_the_next_method_is_tried_soon_and_all_of_them_again_later() {
    let rules = rules();
    let mut record = OrderRecord::new(wanted("phone.acme.example"), START);
    let (mut now, mut methods, mut waits) = (START, Vec::new(), Vec::new());
    while waits.len() < 4 {
        now = now.max(record.due_at());
        let OrderRecord { name, state } = record;
        let running = match state {
            State::Waiting(waiting) => {
                record = resume(name, waiting, &[], &BTreeMap::new(), &rules, at(now));
                continue;
            }
            State::Running(running) => running,
        };
        let mut answered = false;
        let outcome = match running {
            Running::CheckingReachability(state) => Outcome::ReachabilityChecked(state, Vec::new()),
            Running::OpeningAccount(state) => Outcome::AccountOpened(state, Ok(())),
            Running::PlacingOrder(state) => {
                let view = OrderView { url: "1".into(), status: OrderStatus::Pending, error: None, retry_after: None };
                Outcome::OrderPlaced(state, Ok(view))
            }
            Running::ReadingAuthorizations(state) => {
                let challenges = vec![(Method::Http01, true), (Method::TlsAlpn01, true), (Method::Dns01, true)];
                let (name, status) = ("phone.acme.example".into(), AuthorizationStatus::Pending);
                Outcome::AuthorizationsRead(
                    state,
                    Ok(vec![AuthorizationView { name, status, challenges, error: None }]),
                )
            }
            Running::AnsweringChallenges(state) => {
                answered = true;
                methods.push(state.challenges()[0].method);
                Outcome::ChallengesAnswered(state, Err(AcmeError::new(Kind::Connection, "It could not connect.")))
            }
            other => panic!("{other:?}"),
        };
        record = advance(name, outcome, &[], &rules, at(now)).0;
        if answered {
            waits.push(now.until(waits_until(&record)));
        }
    }
    // DNS-01 is possible only for names in the zone, or delegated ones.
    assert_eq!(methods, [Method::Http01, Method::TlsAlpn01, Method::Http01, Method::TlsAlpn01]);
    assert!(waits[0] < Duration::from_secs(10) && waits[2] < Duration::from_secs(10), "{waits:?}");
    assert!(waits[1] > Duration::from_mins(5) && waits[3] > waits[1], "{waits:?}");
    assert_eq!(record.progress().problem.unwrap().message, "It could not connect.");
}

#[test]
fn a_wildcard_is_ordered_only_where_dns_01_is_possible() {
    let rules = rules();
    let names = |name: &str, delegated| rules.names(&Wanted { wildcard: true, delegated, ..wanted(name) });
    assert_eq!(names("bitcall.example", false), ["bitcall.example", "*.bitcall.example"]);
    assert_eq!(names("acme.example", true), ["acme.example", "*.acme.example"]);
    assert_eq!(names("acme.example", false), ["acme.example"]);
    let methods = |name: &str| rules.methods(&Wanted { wildcard: true, ..wanted(name) });
    assert_eq!(methods("bitcall.example"), [Method::Dns01]);
    assert_eq!(methods("acme.example"), [Method::Http01, Method::TlsAlpn01]);
}

#[test]
fn a_certificate_is_renewed_with_its_wildcard_once_the_challenge_name_is_delegated() {
    let mut world = World::new(rules(), Wanted { wildcard: true, ..wanted("acme.example") }, Vec::new());
    world.until_issued();
    assert_eq!(world.facts().names, ["acme.example"]);
    let changed = Wanted { wildcard: true, delegated: true, ..wanted("acme.example") };
    let record = resumed(world.take_record(), &[OrderCommand::Want(changed)], &world.rules, world.now);
    world.set_record(record);
    assert!(world.until_issued() < Duration::from_mins(1));
    assert_eq!(world.facts().names, ["acme.example", "*.acme.example"]);
}

#[test]
fn what_is_wanted_while_an_order_runs_is_ordered_right_after_it_and_once() {
    let mut world = World::new(rules(), Wanted { wildcard: true, ..wanted("acme.example") }, Vec::new());
    while !matches!(world.record().state, State::Running(Running::Finalizing(_))) {
        world.turn();
    }
    let stored = serde_json::to_vec(world.record()).unwrap();
    let OrderRecord { name, state: State::Running(running) } = world.take_record() else { unreachable!() };
    let outcome = world.carry_out(running, &stored);
    let changed = Wanted { wildcard: true, delegated: true, ..wanted("acme.example") };
    world.set_record(advance(name, outcome, &[OrderCommand::Want(changed)], &world.rules, at(world.now)).0);
    world.until_issued();
    assert_eq!(world.facts().names, ["acme.example"], "what was ordered is not thrown away");
    assert!(world.until_issued() < Duration::from_mins(1));
    assert_eq!(world.facts().names, ["acme.example", "*.acme.example"]);
    assert!(world.now.until(world.facts().renew_at) > Duration::from_hours(24), "and then it waits");
}

#[test]
fn a_rate_limit_of_one_directory_leads_to_the_next_one_at_once() {
    let mut rules = rules();
    rules.directories.push(TWO.into());
    let record = begin(OrderRecord::new(wanted("a.example"), START), &rules, START);
    assert_eq!(opens_account_with(&record), ONE);
    let mut error = AcmeError::new(Kind::RateLimited, "Too many.");
    error.retry_after = Some(Duration::from_hours(5));
    let record = failing(record, error, &rules, START);
    let until = waits_until(&record);
    assert!(START.until(until) < Duration::from_secs(5));
    let record = begin(record, &rules, until);
    assert_eq!(opens_account_with(&record), TWO);
    let record = failing(record, AcmeError::new(Kind::Unwell, "503."), &rules, until);
    assert!(START.until(waits_until(&record)) < Duration::from_hours(1), "the second one is available sooner");
}

#[test]
fn a_requested_preflight_ends_no_back_off() {
    let record = begin(OrderRecord::new(wanted("a.example"), START), &rules(), START);
    let record = failing(record, AcmeError::new(Kind::Unwell, "503."), &rules(), START);
    assert_eq!(record.progress().stage, Stage::Backoff);
    let until = waits_until(&record);
    let record = resumed(record, &[OrderCommand::RetryPreflight], &rules(), START);
    assert_eq!(waits_until(&record), until);
}

#[test]
fn a_refused_replacement_is_sent_once_more_as_an_ordinary_order() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    world.until_issued();
    let (rules, now) = (&world.rules.clone(), world.now);
    let record = resumed(world.take_record(), &[OrderCommand::Renew], rules, now);
    let unknown = |running| reachability(running, |_| Reachability::Unknown("is silent".into()));
    let record = opened(advanced(record, unknown, rules, now), rules, now);
    let replaces = |record: &OrderRecord| match &record.state {
        State::Running(Running::PlacingOrder(state)) => state.replaces().is_some(),
        other => panic!("{other:?}"),
    };
    assert!(replaces(&record));
    let refused = || AcmeError::new(Kind::AlreadyReplaced, "It has a successor.");
    let record = failing(record, refused(), rules, now);
    assert!(!replaces(&record));
    let record = failing(record, refused(), rules, now);
    assert!(matches!(record.state, State::Waiting(_)), "and not for ever: {record:?}");
    assert!(record.progress().problem.is_some());
}

#[test]
fn a_renewal_window_that_is_always_past_renews_once_a_day() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    world.until_issued();
    let suggest = |world: &mut World| {
        world.now = world.now.max(waits_until(world.record()));
        let now = world.now;
        let record = resumed(world.take_record(), &[], &world.rules, now);
        let start = now.before(Duration::from_hours(48));
        let window = RenewalWindow { start, end: start.after(Duration::from_hours(1)), retry_after: None };
        let read = |running| match running {
            Running::ReadingRenewalInfo(state) => Outcome::RenewalInfoRead(state, Ok(window)),
            other => panic!("{other:?}"),
        };
        let record = advanced(record, read, &world.rules, now);
        world.set_record(record);
    };
    suggest(&mut world);
    assert!(world.until_issued() < Duration::from_secs(10), "at once");
    suggest(&mut world);
    let left = world.now.until(world.facts().renew_at);
    assert!(left > Duration::from_hours(23), "{left:?}");
}

#[test]
fn an_order_that_stays_in_processing_is_polled_and_no_other_is_placed() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    while !matches!(world.record().state, State::Running(Running::Finalizing(_))) {
        world.turn();
    }
    let mut stages = Vec::new();
    let processing = |running| {
        let view = OrderView { url: "0".into(), status: OrderStatus::Processing, error: None, retry_after: None };
        match running {
            Running::PollingOrder(state) => Outcome::OrderPolled(state, Ok(view)),
            Running::Finalizing(state) => Outcome::OrderFinalized(state, Ok(view)),
            other => panic!("{other:?}"),
        }
    };
    while START.until(world.now) < Duration::from_hours(20) {
        let record = world.take_record();
        world.now = world.now.max(record.progress().next_try_at.unwrap_or(world.now));
        let record = if matches!(record.state, State::Waiting(_)) {
            stages.push(record.progress().stage);
            resumed(record, &[], &world.rules, world.now)
        } else {
            advanced(record, processing, &world.rules, world.now)
        };
        world.set_record(record);
    }
    assert!(stages.iter().all(|stage| *stage == Stage::Backoff) && stages.len() < 60, "{}", stages.len());
    assert_eq!(world.record().progress().problem.unwrap().kind, ProblemKind::CaSlow);
    world.orders[0].status = OrderStatus::Valid;
    world.until_issued();
    assert_eq!(world.orders.len(), 1);
}

/// Runs for these days with the same preflight result, and an authority that validates nothing. Gives the record,
/// and when an account was opened for an order.
fn preflight_for(days: u64, result: impl Fn(Method) -> Reachability) -> (OrderRecord, Vec<Timestamp>) {
    let mut record = OrderRecord::new(wanted("phone.acme.example"), START);
    let (rules, mut now, mut orders) = (rules(), START, Vec::new());
    while START.until(now) < Duration::from_hours(24 * days) || !matches!(record.state, State::Waiting(_)) {
        record = match &record.state {
            State::Waiting(waiting) => {
                let (until, progress) = (waiting.until(), record.progress());
                if waiting.reason() == WaitReason::Preflight {
                    assert_eq!(progress.stage, Stage::Preflight);
                    assert_eq!(progress.next_try_at, Some(until));
                    assert!(now.until(until) < Duration::from_mins(12), "{:?}", now.until(until));
                    assert!(progress.problem.unwrap().message.contains("port 80"));
                }
                now = now.max(until);
                resumed(record, &[], &rules, now)
            }
            State::Running(Running::CheckingReachability(_)) => {
                advanced(record, |running| reachability(running, &result), &rules, now)
            }
            State::Running(Running::OpeningAccount(_)) => {
                orders.push(now);
                // As where the authority reaches the same server.
                let error = AcmeError::new(Kind::Unauthorized, "It found another answer on port 80.");
                failing(record, error, &rules, now)
            }
            other @ State::Running(_) => panic!("{other:?}"),
        };
    }
    (record, orders)
}

#[test]
fn a_name_that_another_server_answers_for_is_checked_often_and_ordered_once_a_day() {
    let (record, orders) = preflight_for(4, |_| elsewhere());
    assert_eq!(orders.len(), 3, "{orders:?}");
    assert!(START.until(orders[0]) >= Duration::from_hours(24));
    // An order is placed as soon as one method reaches this server, by that method.
    let until = waits_until(&record);
    let record = resumed(record, &[], &rules(), until);
    let tls_here = |method| if method == Method::TlsAlpn01 { Reachability::Here } else { elsewhere() };
    let record = advanced(record, |running| reachability(running, tls_here), &rules(), until);
    assert_eq!(opens_account_with(&record), ONE);
    assert_eq!(rules().methods(&record.name.wanted)[record.name.next_method], Method::TlsAlpn01);
    assert_eq!(record.name.preflight_failures, None);
}

#[test]
fn a_name_that_cannot_be_reached_from_here_is_ordered_nevertheless() {
    let (_, orders) = preflight_for(1, |_| Reachability::Unknown("cannot be reached: timed out".into()));
    assert!(orders.first() == Some(&START) && orders.len() > 1, "{orders:?}");
}

#[test]
fn records_of_earlier_versions_load_and_are_written_in_the_same_form() {
    let common = serde_json::json!({
        "wanted": { "name": "a.example", "wildcard": true, "delegated": false },
        "failures": 2, "turn": 3, "method": 4,
        "history": { "failed": [1], "issued": [2] },
        "holds": { ONE: 5 },
        "problem": { "kind": "ca_slow", "message": "It is slow.", "at": 6 },
        "held": {
            "facts": {
                "names": ["a.example"], "notBefore": 1, "notAfter": 9, "renewAt": 7, "directory": ONE, "serial": "0a",
            },
            "id": "aki.serial", "window": [7, 8], "askAt": 6,
        },
        "astray": { "since": 3, "looks": 2 },
    });
    let order = serde_json::json!({
        "directory": ONE, "url": "https://one.example/order/1", "at": 4, "names": ["a.example"],
        "key": sealed(), "finalizedAt": 5, "told": 1,
        "verdict": { "kind": "unauthorized", "message": "No.", "at": 5 },
    });
    for state in [
        serde_json::json!({ "resting": { "until": 7, "why": "issued", "placed": null } }),
        serde_json::json!({ "resting": { "until": 7, "why": "backoff", "placed": order } }),
        serde_json::json!({ "underway": order }),
    ] {
        let mut stored = common.clone();
        stored["state"] = state;
        let record: OrderRecord = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), stored);
    }
}
