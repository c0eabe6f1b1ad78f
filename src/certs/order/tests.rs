//! Courses against a model of a certificate authority that fails in every way that a list of numbers can
//! tell it to, with restarts in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use proptest::prelude::*;

use self::world::{TheirOrder, World};
use super::*;
use crate::certs::progress::{ProblemKind, Stage};
use crate::certs::quotas::FAILED_PER_HOUR;
use crate::certs::sealed::{Seal, Sealed};

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
    Moment { now, dice: 77 }
}

fn elsewhere() -> Reachability {
    Reachability::Elsewhere(AcmeError::new(Kind::Unauthorized, "Another server answers on port 80."))
}

/// Up to where the account is opened; nothing can be seen from here.
fn begin(course: OrderState, rules: &Rules, now: Timestamp) -> (OrderState, Vec<Effect>) {
    let (course, effects) = step(course, Event::Due(BTreeMap::new()), rules, at(now));
    assert!(matches!(effects.last(), Some(Effect::CheckReachability { .. })), "{effects:?}");
    step(course, Event::Looked(Vec::new()), rules, at(now))
}

fn most_within(moments: &[Timestamp], span: Duration) -> usize {
    let ending = |at: &Timestamp| moments.iter().filter(|other| *other <= at && other.after(span) > *at).count();
    moments.iter().map(ending).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_limits_hold_and_in_the_end_there_is_a_certificate(
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
            world.told_to_wait = world.told_to_wait.filter(|_| !two);
            world.turn();
            turns += 1;
            prop_assert!(turns < 5000, "no end: {:?}", world.course);
            let progress = world.course.progress();
            if matches!(world.course.state, State::Resting { .. }) {
                prop_assert!(progress.next_try_at.is_some());
            }
            if matches!(progress.stage, Stage::Backoff | Stage::Blocked) {
                prop_assert!(progress.problem.is_some());
            }
        }
        prop_assert!(most_within(&world.failed, Duration::from_hours(1)) <= FAILED_PER_HOUR);
        prop_assert!(most_within(&world.issued, Duration::from_hours(7 * 24)) <= 4);
        // A certificate that is made is collected, and not bought again; the last one may be under way.
        let made = |order: &&TheirOrder| matches!(order.status, OrderStatus::Valid | OrderStatus::Processing);
        let bought = world.orders.iter().filter(made).count();
        prop_assert!(bought <= world.issued.len() + world.refusals + 1, "{bought} bought, {} kept", world.issued.len());
    }
}

#[test]
fn where_nothing_goes_wrong_it_takes_a_second_and_then_rests_until_two_thirds_of_any_life() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        world.life = Duration::from_hours(days * 24);
        assert!(world.until_issued() < Duration::from_secs(2));
        let facts = world.course.progress().certificate.unwrap();
        let part = facts.not_before.until(facts.renew_at).as_secs_f64() / world.life.as_secs_f64();
        assert!((0.64..0.69).contains(&part), "{days} days: {part}");
        assert_eq!(world.course.progress().stage, Stage::Issued);
    }
}

#[test]
fn where_nothing_is_suggested_any_life_is_renewed_again_and_again_when_two_thirds_have_passed() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        (world.life, world.silent) = (Duration::from_hours(days * 24), true);
        world.until_issued();
        for renewal in 1..20 {
            let facts = world.course.progress().certificate.unwrap();
            world.until_issued();
            let part = facts.not_before.until(world.now).as_secs_f64() / world.life.as_secs_f64();
            assert!((0.64..0.70).contains(&part), "{days} days, renewal {renewal}: {part}");
            assert!(world.now >= facts.renew_at, "not before it is time");
        }
    }
}

#[test]
fn an_authority_that_is_away_for_a_day_when_a_renewal_is_due_is_back_before_the_end_of_any_life() {
    for days in [90, 45, 6] {
        let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
        (world.life, world.silent) = (Duration::from_hours(days * 24), true);
        world.until_issued();
        let facts = world.course.progress().certificate.unwrap();
        let back = facts.renew_at.after(Duration::from_hours(24));
        world.down_until = Some(back);
        world.until_issued();
        // Of the time that is left then, little is spent on waiting.
        let (late, left) = (back.until(world.now), back.until(facts.not_after));
        assert!(late < left.mul_f64(0.15), "{days} days: issued {late:?} after it was back, with {left:?} left");
    }
}

#[test]
fn an_order_that_was_finalized_is_collected_after_a_restart_and_no_other_is_placed() {
    let mut world = World::new(rules(), wanted("phone.acme.example"), Vec::new());
    while !matches!(world.next, Effect::Finalize(_)) {
        world.turn();
    }
    // The request arrives, the answer does not: the process is gone.
    let _ = world.carried_out(world.next.clone());
    world.course = serde_json::from_slice(&serde_json::to_vec(&world.course).unwrap()).unwrap();
    world.next = world.course.pending(&world.rules);
    world.until_issued();
    assert_eq!(world.orders.len(), 1);
}

#[test]
fn another_method_is_tried_soon_after_one_that_failed_and_all_of_them_later() {
    let course = OrderState::new(wanted("phone.acme.example"), START);
    let (mut course, mut now, mut methods, mut waits) = (course, START, Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut next = course.pending(&rules());
        loop {
            let event = match next {
                Effect::WaitReason(until) => {
                    now = now.max(until);
                    Event::Due(BTreeMap::new())
                }
                Effect::CheckReachability { .. } => Event::Looked(Vec::new()),
                Effect::Open { .. } => Event::OpenedAccount,
                Effect::Place { .. } => Event::Order(OrderView {
                    url: "1".into(),
                    status: OrderStatus::Pending,
                    error: None,
                    retry_after: None,
                }),
                Effect::Authorizations(_) => {
                    let offers = vec![(Method::Http01, true), (Method::TlsAlpn01, true), (Method::Dns01, true)];
                    let (name, status) = ("phone.acme.example".into(), AuthorizationStatus::Pending);
                    Event::Authorizations(vec![AuthorizationView { name, status, offers, error: None }])
                }
                Effect::Answer { answers, .. } => {
                    methods.push(answers[0].method);
                    Event::Failed(AcmeError::new(Kind::Connection, "It could not connect."))
                }
                other => panic!("{other:?}"),
            };
            let failed = matches!(event, Event::Failed(_));
            let effects;
            (course, effects) = step(course, event, &rules(), at(now));
            next = effects.last().cloned().unwrap();
            if failed {
                let Effect::WaitReason(until) = next else { panic!("{next:?}") };
                waits.push(now.until(until));
                break;
            }
        }
    }
    // DNS-01 is possible only for names in the zone, or delegated ones.
    assert_eq!(methods, [Method::Http01, Method::TlsAlpn01, Method::Http01, Method::TlsAlpn01]);
    assert!(waits[0] < Duration::from_secs(10) && waits[2] < Duration::from_secs(10), "{waits:?}");
    assert!(waits[1] > Duration::from_mins(5) && waits[3] > waits[1], "{waits:?}");
    assert_eq!(course.progress().problem.unwrap().message, "It could not connect.");
}

#[test]
fn a_wildcard_is_ordered_where_dns_can_prove_it_and_else_the_name_alone() {
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
fn a_name_that_gets_delegated_is_renewed_with_its_wildcard() {
    let mut world = World::new(rules(), Wanted { wildcard: true, ..wanted("acme.example") }, Vec::new());
    world.until_issued();
    assert_eq!(world.course.progress().certificate.unwrap().names, ["acme.example"]);
    let news = Wanted { wildcard: true, delegated: true, ..wanted("acme.example") };
    let (course, effects) = step(world.course.clone(), Event::Wanted(news), &world.rules, at(world.now));
    (world.course, world.next) = (course, effects.last().cloned().unwrap());
    assert!(world.until_issued() < Duration::from_mins(1));
    assert_eq!(world.course.progress().certificate.unwrap().names, ["acme.example", "*.acme.example"]);
}

#[test]
fn when_one_directory_turns_us_away_the_next_one_is_asked_at_once() {
    let mut rules = rules();
    rules.directories.push(TWO.into());
    let course = OrderState::new(wanted("a.example"), START);
    let (course, effects) = begin(course, &rules, START);
    assert_eq!(effects, [Effect::Open { directory: ONE.into() }]);
    let mut trouble = AcmeError::new(Kind::RateLimited, "Too many.");
    trouble.retry_after = Some(Duration::from_hours(5));
    let (course, effects) = step(course, Event::Failed(trouble), &rules, at(START));
    let Some(Effect::WaitReason(until)) = effects.last() else { panic!("{effects:?}") };
    assert!(START.until(*until) < Duration::from_secs(5));
    let (course, effects) = begin(course, &rules, *until);
    assert_eq!(effects, [Effect::Open { directory: TWO.into() }]);
    let (_, effects) = step(course, Event::Failed(AcmeError::new(Kind::Unwell, "503.")), &rules, at(*until));
    let Some(Effect::WaitReason(until)) = effects.last() else { panic!("{effects:?}") };
    assert!(START.until(*until) < Duration::from_hours(1), "the second one is back sooner");
}

#[test]
fn asking_for_another_preflight_ends_no_back_off() {
    let (course, _) = begin(OrderState::new(wanted("a.example"), START), &rules(), START);
    let (course, effects) = step(course, Event::Failed(AcmeError::new(Kind::Unwell, "503.")), &rules(), at(START));
    assert_eq!(course.progress().stage, Stage::Backoff);
    let (_, again) = step(course, Event::RetryPreflight, &rules(), at(START));
    assert_eq!(again.last(), effects.last());
}

#[test]
fn a_refused_replacement_is_ordered_once_more_as_any_other() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    world.until_issued();
    let (course, _) = step(world.course.clone(), Event::Renew, &world.rules, at(world.now));
    let (course, _) = begin(course, &world.rules, world.now);
    let (course, effects) = step(course, Event::OpenedAccount, &world.rules, at(world.now));
    let Some(Effect::Place { replaces: Some(_), .. }) = effects.last() else { panic!("{effects:?}") };
    let refused = || Event::Failed(AcmeError::new(Kind::AlreadyReplaced, "It has a successor."));
    let (course, effects) = step(course, refused(), &world.rules, at(world.now));
    let Some(Effect::Place { replaces: None, .. }) = effects.last() else { panic!("{effects:?}") };
    let (course, effects) = step(course, refused(), &world.rules, at(world.now));
    assert!(matches!(effects.last(), Some(Effect::WaitReason(_))), "and not for ever: {effects:?}");
    assert!(course.progress().problem.is_some());
}

#[test]
fn a_window_that_always_lies_in_the_past_renews_once_and_then_waits_for_a_day() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    world.until_issued();
    let past = |world: &World| {
        let start = world.now.before(Duration::from_hours(48));
        Event::Suggested { start, end: start.after(Duration::from_hours(1)), ask_again: None }
    };
    let suggest = |world: &mut World| {
        let Effect::WaitReason(until) = world.next else { panic!("{:?}", world.next) };
        world.now = world.now.max(until);
        let (course, effects) = step(world.course.clone(), Event::Due(BTreeMap::new()), &world.rules, at(world.now));
        assert!(matches!(effects.last(), Some(Effect::Ask { .. })), "{effects:?}");
        let event = past(world);
        let (course, effects) = step(course, event, &world.rules, at(world.now));
        (world.course, world.next) = (course, effects.last().cloned().unwrap());
    };
    suggest(&mut world);
    assert!(world.until_issued() < Duration::from_secs(10), "at once");
    suggest(&mut world);
    let facts = world.course.progress().certificate.unwrap();
    assert!(world.now.until(facts.renew_at) > Duration::from_hours(23), "{:?}", world.now.until(facts.renew_at));
}

#[test]
fn an_order_that_is_stuck_is_kept_and_asked_after_and_no_other_is_placed() {
    let mut world = World::new(rules(), wanted("a.example"), Vec::new());
    while !matches!(world.next, Effect::Finalize(_)) {
        world.turn();
    }
    let mut phases = Vec::new();
    let processing =
        || Event::Order(OrderView { url: "0".into(), status: OrderStatus::Processing, error: None, retry_after: None });
    while START.until(world.now) < Duration::from_hours(20) {
        match world.next.clone() {
            Effect::WaitReason(until) => {
                phases.push(world.course.progress().stage);
                world.now = world.now.max(until);
                let (course, effects) =
                    step(world.course.clone(), Event::Due(BTreeMap::new()), &world.rules, at(world.now));
                (world.course, world.next) = (course, effects.last().cloned().unwrap());
            }
            Effect::Review { at: when, .. } => {
                world.now = world.now.max(when);
                let (course, effects) = step(world.course.clone(), processing(), &world.rules, at(world.now));
                (world.course, world.next) = (course, effects.last().cloned().unwrap());
            }
            Effect::Finalize(_) => {
                let (course, effects) = step(world.course.clone(), processing(), &world.rules, at(world.now));
                (world.course, world.next) = (course, effects.last().cloned().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(phases.iter().all(|phase| *phase == Stage::Backoff) && phases.len() < 60, "{}", phases.len());
    assert_eq!(world.course.progress().problem.unwrap().kind, ProblemKind::CaSlow);
    world.orders[0].status = OrderStatus::Valid;
    world.until_issued();
    assert_eq!(world.orders.len(), 1);
}

/// The method of the challenge that is answered first, and how often an account was opened for an order until
/// then, when a name is seen so for these days.
fn seen_for(days: u64, sight: impl Fn(Method) -> Reachability) -> (OrderState, Vec<Timestamp>) {
    let (mut course, mut now, mut orders) = (OrderState::new(wanted("phone.acme.example"), START), START, Vec::new());
    let mut next = course.pending(&rules());
    while START.until(now) < Duration::from_hours(24 * days) || !matches!(next, Effect::WaitReason(_)) {
        let event = match next {
            Effect::WaitReason(until) => {
                let progress = course.progress();
                if matches!(course.state, State::Resting { why: WaitReason::Preflight, .. }) {
                    assert_eq!(progress.stage, Stage::Preflight);
                    assert_eq!(progress.next_try_at, Some(until));
                    assert!(now.until(until) < Duration::from_mins(12), "{:?}", now.until(until));
                    assert!(progress.problem.unwrap().message.contains("port 80"));
                }
                now = now.max(until);
                Event::Due(BTreeMap::new())
            }
            Effect::CheckReachability { methods } => {
                Event::Looked(methods.into_iter().map(|method| (method, sight(method))).collect())
            }
            Effect::Open { .. } => {
                orders.push(now);
                // As where the authority sees the same.
                Event::Failed(AcmeError::new(Kind::Unauthorized, "It found another answer on port 80."))
            }
            other => panic!("{other:?}"),
        };
        let effects;
        (course, effects) = step(course, event, &rules(), at(now));
        next = effects.last().cloned().unwrap();
    }
    (course, orders)
}

#[test]
fn a_name_that_another_server_answers_for_is_looked_at_often_and_ordered_once_a_day() {
    let (course, orders) = seen_for(4, |_| elsewhere());
    assert_eq!(orders.len(), 3, "{orders:?}");
    assert!(START.until(orders[0]) >= Duration::from_hours(24));
    // As soon as it leads here.
    let State::Resting { until, .. } = course.state else { panic!("{:?}", course.state) };
    let (course, _) = step(course, Event::Due(BTreeMap::new()), &rules(), at(until));
    let seen = vec![(Method::Http01, elsewhere()), (Method::TlsAlpn01, Reachability::Here)];
    let (course, effects) = step(course, Event::Looked(seen), &rules(), at(until));
    assert!(matches!(effects.as_slice(), [Effect::Open { .. }]), "{effects:?}");
    assert_eq!(rules().methods(&course.wanted)[course.method], Method::TlsAlpn01, "by the method that gets through");
    assert_eq!(course.astray, None);
}

#[test]
fn what_cannot_be_reached_from_here_is_ordered_all_the_same() {
    let (_, orders) = seen_for(1, |_| Reachability::Unknown("cannot be reached: timed out".into()));
    assert!(orders.first() == Some(&START) && orders.len() > 1, "{orders:?}");
}
