use super::*;
use crate::edge::echo::{CallId, EchoEvent};

fn dial(edge: &mut TestEdge, phone: Phone) -> (Request, CallId) {
    let sent = edge.invite(phone, "*43");
    assert_eq!(edge.summary(phone), ["100"]);
    match edge.orders.pop() {
        Some(EchoCommand::Offer { call, sdp }) => {
            assert_eq!(sdp, SDP);
            (sent, call)
        }
        other => panic!("{other:?}"),
    }
}

fn report(edge: &mut TestEdge, report: EchoEvent) {
    edge.core.handle_echo(report, edge.now);
    edge.collect();
}

/// A call to the echo that is up.
fn up(edge: &mut TestEdge, phone: Phone) -> (Response, CallId) {
    let (_, call) = dial(edge, phone);
    report(edge, EchoEvent::Answer { call, sdp: Ok("v=0 answer".to_owned()) });
    let ok = edge.response(phone);
    assert_eq!((ok.status(), ok.body()), (200, &b"v=0 answer"[..]));
    edge.send(phone, &in_dialog(phone, Method::Ack, &ok, 2, 1));
    (ok, call)
}

fn ended(edge: &mut TestEdge, call: CallId) -> bool {
    edge.orders.iter().any(|order| matches!(order, EchoCommand::End { call: ended } if *ended == call))
        && edge.core.statistics().echo_calls == 0
}

#[test]
fn the_echo_answers_with_the_sdp_of_its_media_and_ends_by_bye() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, call) = up(&mut edge, phone);
    assert_eq!(ok.content_type(), Some("application/sdp"));
    assert!(!ok.has(Header::RecordRoute));
    edge.wait(300);
    assert_eq!(edge.core.statistics().echo_calls, 1);
    edge.send(phone, &in_dialog(phone, Method::Bye, &ok, 3, 2));
    assert_eq!(edge.summary(phone), ["200"]);
    assert!(ended(&mut edge, call));
    edge.send(phone, &in_dialog(phone, Method::Info, &ok, 4, 3));
    assert_eq!(edge.response(phone).status(), 404);
}

#[test]
fn an_unauthenticated_phone_reaches_neither_the_echo_nor_a_call_of_others() {
    let mut edge = TestEdge::new();
    let stranger = edge.connect("101", ACME, 1);
    let request = edge.new_request(stranger, Method::Invite, "sip:*43@acme.sip.test");
    edge.send(stranger, &request);
    assert_eq!(edge.response(stranger).status(), 407);
    let phone = edge.phone("101", 2);
    let (ok, _) = up(&mut edge, phone);
    let other = edge.phone("102", 3);
    edge.send(other, &in_dialog(other, Method::Bye, &ok, 3, 2));
    assert_eq!(edge.response(other).status(), 481);
    assert_eq!(edge.core.statistics().echo_calls, 1);
}

#[test]
fn hold_and_restart_are_answered_in_the_call_and_refused_ones_leave_it_up() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, call) = up(&mut edge, phone);
    for (cseq, method) in [(3, Method::Invite), (4, Method::Update)] {
        let mut again = in_dialog(phone, method, &ok, cseq, cseq);
        again.set_body("application/sdp", b"v=0 hold");
        edge.send(phone, &again);
        assert!(
            matches!(edge.orders.pop(), Some(EchoCommand::Offer { call: same, sdp }) if same == call && sdp == "v=0 hold")
        );
        report(&mut edge, EchoEvent::Answer { call, sdp: Ok("v=0 held".to_owned()) });
        let ok = edge.response(phone);
        assert_eq!((ok.status(), ok.body()), (200, &b"v=0 held"[..]));
        edge.send(phone, &in_dialog(phone, Method::Ack, &ok, cseq, 10 + cseq));
    }
    let mut bad = in_dialog(phone, Method::Invite, &ok, 5, 5);
    bad.set_body("application/sdp", b"nonsense");
    edge.send(phone, &bad);
    report(&mut edge, EchoEvent::Answer { call, sdp: Err("no \"m\" line".to_owned()) });
    let refused = edge.response(phone);
    assert_eq!((refused.status(), refused.value(Header::Warning)), (488, Some("399 bitcall \"no \\\"m\\\" line\"")));
    edge.wait(100);
    assert_eq!(edge.core.statistics().echo_calls, 1);
}

#[test]
fn a_second_offer_while_one_is_pending_gets_500_with_retry_after() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, _) = up(&mut edge, phone);
    let mut again = in_dialog(phone, Method::Invite, &ok, 3, 3);
    again.set_body("application/sdp", SDP.as_bytes());
    edge.send(phone, &again);
    let mut another = in_dialog(phone, Method::Update, &ok, 4, 4);
    another.set_body("application/sdp", SDP.as_bytes());
    edge.send(phone, &another);
    let refused = edge.response(phone);
    assert_eq!((refused.status(), refused.has(Header::RetryAfter)), (500, true));
}

#[test]
fn a_cancelled_call_is_over_even_when_media_answers_later() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (sent, call) = dial(&mut edge, phone);
    let mut cancel = Request::new(Method::Cancel, sent.uri_text());
    for header in [Header::Via, Header::MaxForwards, Header::From, Header::To, Header::CallId] {
        cancel.append(header, sent.value(header).unwrap());
    }
    cancel.append(Header::CSeq, "2 CANCEL");
    edge.send(phone, &cancel);
    assert_eq!(edge.summary(phone), ["200", "487"]);
    assert!(ended(&mut edge, call));
    report(&mut edge, EchoEvent::Answer { call, sdp: Ok("late".to_owned()) });
    assert_eq!(edge.inbox(phone).len(), 0);
}

#[test]
fn an_offer_that_media_refuses_gets_488_with_a_warning() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (_, call) = dial(&mut edge, phone);
    report(&mut edge, EchoEvent::Answer { call, sdp: Err("no audio".to_owned()) });
    assert_eq!(edge.response(phone).status(), 488);
    assert!(ended(&mut edge, call));
}

#[test]
fn lost_media_and_a_missing_ack_end_the_call_with_bye() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, call) = up(&mut edge, phone);
    report(&mut edge, EchoEvent::Lost { call });
    let bye = edge.request(phone);
    assert_eq!((bye.method(), bye.uri_text()), (Method::Bye, "sip:u1@1.invalid;transport=ws"));
    assert_eq!(bye.from().unwrap().tag(), ok.to().unwrap().tag());
    assert_eq!(bye.to().unwrap().tag(), ok.from().unwrap().tag());
    assert!(ended(&mut edge, call));

    let (_, call) = dial(&mut edge, phone);
    report(&mut edge, EchoEvent::Answer { call, sdp: Ok("v=0".to_owned()) });
    assert_eq!(edge.summary(phone), ["200"]);
    edge.wait(33);
    assert_eq!(edge.summary(phone), ["BYE"]);
    assert!(ended(&mut edge, call));
}

#[test]
fn media_that_never_answers_is_a_server_error() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (_, call) = dial(&mut edge, phone);
    edge.wait(33);
    assert_eq!(edge.summary(phone), ["500"]);
    assert!(ended(&mut edge, call));
}

#[test]
fn a_call_survives_a_reconnect_but_not_a_phone_that_stays_away() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, call) = up(&mut edge, phone);
    edge.disconnect(phone);
    edge.wait(5);
    let phone = edge.phone("101", 1);
    let mut again = in_dialog(phone, Method::Invite, &ok, 3, 3);
    again.set_body("application/sdp", SDP.as_bytes());
    edge.send(phone, &again);
    report(&mut edge, EchoEvent::Answer { call, sdp: Ok("v=0".to_owned()) });
    assert_eq!(edge.summary(phone), ["200"]);
    edge.send(phone, &in_dialog(phone, Method::Ack, &ok, 3, 4));
    edge.wait(60);
    assert_eq!(edge.core.statistics().echo_calls, 1);
    edge.disconnect(phone);
    edge.wait(31);
    assert!(ended(&mut edge, call));
}

#[test]
fn a_caller_who_vanishes_before_the_answer_leaves_nothing_behind() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (_, call) = dial(&mut edge, phone);
    edge.disconnect(phone);
    assert!(ended(&mut edge, call));
}

#[test]
fn echo_calls_over_the_limit_get_486() {
    let mut edge = TestEdge::with(EdgeLimits { echo_calls: 1, ..EdgeLimits::default() });
    let phone = edge.phone("101", 1);
    let (ok, _) = up(&mut edge, phone);
    edge.invite(phone, "*43");
    assert_eq!(edge.summary(phone), ["486"]);
    edge.send(phone, &in_dialog(phone, Method::Bye, &ok, 3, 2));
    edge.inbox(phone);
    dial(&mut edge, phone);
}

#[test]
fn an_invite_without_an_offer_or_with_require_is_refused() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let request = edge.new_request(phone, Method::Invite, "sip:*43@acme.sip.test");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 488);
    let mut request = edge.new_request(phone, Method::Invite, "sip:*43@acme.sip.test");
    request.append(Header::Require, "100rel");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 420);
    let request = edge.new_request(phone, Method::Options, "sip:*43@acme.sip.test");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 200);
}

#[test]
fn info_and_options_in_a_call_are_taken_and_the_rest_is_refused() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (ok, _) = up(&mut edge, phone);
    for (cseq, method, status) in [
        (3, Method::Info, 200),
        (4, Method::Options, 200),
        (5, Method::Update, 200),
        (6, Method::Refer, 405),
        (7, Method::Prack, 481),
        (2, Method::Info, 500),
    ] {
        edge.send(phone, &in_dialog(phone, method, &ok, cseq, 20 + cseq));
        assert_eq!(edge.response(phone).status(), status, "{method}");
    }
}

#[test]
fn shutting_down_and_removing_the_extension_hang_up() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (_, call) = up(&mut edge, phone);
    edge.core.shutdown();
    edge.collect();
    assert_eq!(edge.summary(phone), ["BYE"]);
    assert!(ended(&mut edge, call));

    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let (_, call) = up(&mut edge, phone);
    edge.tenants.removed.lock().unwrap().insert("101".to_owned());
    edge.core.directory_changed();
    edge.collect();
    assert_eq!(edge.summary(phone), ["BYE"]);
    assert!(ended(&mut edge, call));
}
