use super::*;
use crate::edge::echo::{CallId, Report};

fn dial(world: &mut World, phone: Phone) -> (Request, CallId) {
    let sent = world.invite(phone, "*43");
    assert_eq!(world.summary(phone), ["100"]);
    match world.orders.pop() {
        Some(Order::Offer { call, sdp }) => {
            assert_eq!(sdp, SDP);
            (sent, call)
        }
        other => panic!("{other:?}"),
    }
}

fn report(world: &mut World, report: Report) {
    world.core.handle_echo(report, world.now);
    world.collect();
}

/// A call to the echo that is up.
fn up(world: &mut World, phone: Phone) -> (Response, CallId) {
    let (_, call) = dial(world, phone);
    report(world, Report::Answer { call, sdp: Ok("v=0 answer".to_owned()) });
    let ok = world.response(phone);
    assert_eq!((ok.status(), ok.body()), (200, &b"v=0 answer"[..]));
    world.send(phone, &in_dialog(phone, Method::Ack, &ok, 2, 1));
    (ok, call)
}

fn ended(world: &mut World, call: CallId) -> bool {
    world.orders.iter().any(|order| matches!(order, Order::End { call: ended } if *ended == call))
        && world.core.statistics().echo_calls == 0
}

#[test]
fn the_echo_answers_with_what_media_says_and_ends_by_bye() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, call) = up(&mut world, phone);
    assert_eq!(ok.content_type(), Some("application/sdp"));
    assert!(!ok.has(Header::RecordRoute));
    world.wait(300);
    assert_eq!(world.core.statistics().echo_calls, 1);
    world.send(phone, &in_dialog(phone, Method::Bye, &ok, 3, 2));
    assert_eq!(world.summary(phone), ["200"]);
    assert!(ended(&mut world, call));
    world.send(phone, &in_dialog(phone, Method::Info, &ok, 4, 3));
    assert_eq!(world.response(phone).status(), 404);
}

#[test]
fn strangers_do_not_reach_the_echo_nor_anybody_elses_call() {
    let mut world = World::new();
    let stranger = world.connect("101", ACME, 1);
    let request = world.make(stranger, Method::Invite, "sip:*43@acme.sip.test");
    world.send(stranger, &request);
    assert_eq!(world.response(stranger).status(), 407);
    let phone = world.phone("101", 2);
    let (ok, _) = up(&mut world, phone);
    let other = world.phone("102", 3);
    world.send(other, &in_dialog(other, Method::Bye, &ok, 3, 2));
    assert_eq!(world.response(other).status(), 481);
    assert_eq!(world.core.statistics().echo_calls, 1);
}

#[test]
fn hold_and_restart_are_answered_in_the_call_and_refused_ones_leave_it_up() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, call) = up(&mut world, phone);
    for (cseq, method) in [(3, Method::Invite), (4, Method::Update)] {
        let mut again = in_dialog(phone, method, &ok, cseq, cseq);
        again.set_body("application/sdp", b"v=0 hold");
        world.send(phone, &again);
        assert!(
            matches!(world.orders.pop(), Some(Order::Offer { call: same, sdp }) if same == call && sdp == "v=0 hold")
        );
        report(&mut world, Report::Answer { call, sdp: Ok("v=0 held".to_owned()) });
        let ok = world.response(phone);
        assert_eq!((ok.status(), ok.body()), (200, &b"v=0 held"[..]));
        world.send(phone, &in_dialog(phone, Method::Ack, &ok, cseq, 10 + cseq));
    }
    let mut bad = in_dialog(phone, Method::Invite, &ok, 5, 5);
    bad.set_body("application/sdp", b"nonsense");
    world.send(phone, &bad);
    report(&mut world, Report::Answer { call, sdp: Err("no \"m\" line".to_owned()) });
    let refused = world.response(phone);
    assert_eq!((refused.status(), refused.value(Header::Warning)), (488, Some("399 bitcall \"no \\\"m\\\" line\"")));
    world.wait(100);
    assert_eq!(world.core.statistics().echo_calls, 1);
}

#[test]
fn two_offers_at_once_are_told_to_take_turns() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, _) = up(&mut world, phone);
    let mut again = in_dialog(phone, Method::Invite, &ok, 3, 3);
    again.set_body("application/sdp", SDP.as_bytes());
    world.send(phone, &again);
    let mut another = in_dialog(phone, Method::Update, &ok, 4, 4);
    another.set_body("application/sdp", SDP.as_bytes());
    world.send(phone, &another);
    let refused = world.response(phone);
    assert_eq!((refused.status(), refused.has(Header::RetryAfter)), (500, true));
}

#[test]
fn a_cancelled_call_is_over_even_when_media_answers_later() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (sent, call) = dial(&mut world, phone);
    let mut cancel = Request::new(Method::Cancel, sent.uri_text());
    for header in [Header::Via, Header::MaxForwards, Header::From, Header::To, Header::CallId] {
        cancel.append(header, sent.value(header).unwrap());
    }
    cancel.append(Header::CSeq, "2 CANCEL");
    world.send(phone, &cancel);
    assert_eq!(world.summary(phone), ["200", "487"]);
    assert!(ended(&mut world, call));
    report(&mut world, Report::Answer { call, sdp: Ok("late".to_owned()) });
    assert_eq!(world.inbox(phone).len(), 0);
}

#[test]
fn an_offer_that_media_refuses_ends_the_call_in_words() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (_, call) = dial(&mut world, phone);
    report(&mut world, Report::Answer { call, sdp: Err("no audio".to_owned()) });
    assert_eq!(world.response(phone).status(), 488);
    assert!(ended(&mut world, call));
}

#[test]
fn lost_media_and_a_missing_ack_end_the_call_with_bye() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, call) = up(&mut world, phone);
    report(&mut world, Report::Lost { call });
    let bye = world.asked(phone);
    assert_eq!((bye.method(), bye.uri_text()), (Method::Bye, "sip:u1@1.invalid;transport=ws"));
    assert_eq!(bye.from().unwrap().tag(), ok.to().unwrap().tag());
    assert_eq!(bye.to().unwrap().tag(), ok.from().unwrap().tag());
    assert!(ended(&mut world, call));

    let (_, call) = dial(&mut world, phone);
    report(&mut world, Report::Answer { call, sdp: Ok("v=0".to_owned()) });
    assert_eq!(world.summary(phone), ["200"]);
    world.wait(33);
    assert_eq!(world.summary(phone), ["BYE"]);
    assert!(ended(&mut world, call));
}

#[test]
fn media_that_never_answers_is_a_server_error() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (_, call) = dial(&mut world, phone);
    world.wait(33);
    assert_eq!(world.summary(phone), ["500"]);
    assert!(ended(&mut world, call));
}

#[test]
fn a_call_survives_a_reconnect_but_not_a_phone_that_stays_away() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, call) = up(&mut world, phone);
    world.disconnect(phone);
    world.wait(5);
    let phone = world.phone("101", 1);
    let mut again = in_dialog(phone, Method::Invite, &ok, 3, 3);
    again.set_body("application/sdp", SDP.as_bytes());
    world.send(phone, &again);
    report(&mut world, Report::Answer { call, sdp: Ok("v=0".to_owned()) });
    assert_eq!(world.summary(phone), ["200"]);
    world.send(phone, &in_dialog(phone, Method::Ack, &ok, 3, 4));
    world.wait(60);
    assert_eq!(world.core.statistics().echo_calls, 1);
    world.disconnect(phone);
    world.wait(31);
    assert!(ended(&mut world, call));
}

#[test]
fn a_caller_who_vanishes_before_the_answer_leaves_nothing_behind() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (_, call) = dial(&mut world, phone);
    world.disconnect(phone);
    assert!(ended(&mut world, call));
}

#[test]
fn the_echo_takes_so_many_calls_and_says_when_it_is_busy() {
    let mut world = World::with(Limits { echo_calls: 1, ..Limits::default() });
    let phone = world.phone("101", 1);
    let (ok, _) = up(&mut world, phone);
    world.invite(phone, "*43");
    assert_eq!(world.summary(phone), ["486"]);
    world.send(phone, &in_dialog(phone, Method::Bye, &ok, 3, 2));
    world.inbox(phone);
    dial(&mut world, phone);
}

#[test]
fn an_invite_without_an_offer_or_with_demands_is_refused() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let request = world.make(phone, Method::Invite, "sip:*43@acme.sip.test");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 488);
    let mut request = world.make(phone, Method::Invite, "sip:*43@acme.sip.test");
    request.append(Header::Require, "100rel");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 420);
    let request = world.make(phone, Method::Options, "sip:*43@acme.sip.test");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 200);
}

#[test]
fn info_and_options_in_a_call_are_taken_and_the_rest_is_refused() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (ok, _) = up(&mut world, phone);
    for (cseq, method, status) in [
        (3, Method::Info, 200),
        (4, Method::Options, 200),
        (5, Method::Update, 200),
        (6, Method::Refer, 405),
        (7, Method::Prack, 481),
        (2, Method::Info, 500),
    ] {
        world.send(phone, &in_dialog(phone, method, &ok, cseq, 20 + cseq));
        assert_eq!(world.response(phone).status(), status, "{method}");
    }
}

#[test]
fn shutting_down_and_removing_the_extension_hang_up() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (_, call) = up(&mut world, phone);
    world.core.shutdown();
    world.collect();
    assert_eq!(world.summary(phone), ["BYE"]);
    assert!(ended(&mut world, call));

    let mut world = World::new();
    let phone = world.phone("101", 1);
    let (_, call) = up(&mut world, phone);
    world.tenants.removed.lock().unwrap().insert("101".to_owned());
    world.core.directory_changed();
    world.collect();
    assert_eq!(world.summary(phone), ["BYE"]);
    assert!(ended(&mut world, call));
}
