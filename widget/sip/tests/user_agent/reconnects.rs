//! The ladder: connection lost → connect → REGISTER → re-INVITE → only then give up.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event, Input, OfferReason, Output, RegisterFailureKind, Registration};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn needed(phone: &mut TestUserAgent) -> OfferReason {
    phone.event(|event| match event {
        Event::OfferNeeded { why, .. } => Some(*why),
        _ => None,
    })
}

fn reinvite(phone: &mut TestUserAgent) -> bitcall_sip::message::Request {
    phone.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    phone.request("INVITE")
}

#[test]
fn a_call_gets_its_signalling_back_and_can_be_hung_up_at_the_new_address() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.emits(&Event::Detached { call: "c".into() });
    phone.reconnect();
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
    let again = reinvite(&mut phone);
    assert!(again.contact().unwrap().is_some());
    phone.reply(&again, 200, |response| {
        response.set(Header::Contact, "<sip:moved@far.test;transport=ws>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = phone.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, again.cseq().unwrap().number);
    phone.emits(&Event::Attached { call: "c".into() });
    phone.emits(&Event::ReinviteAccepted { call: "c".into(), sdp: ANSWER.into() });
    // It is a call like any other again.
    phone.wait(200_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. } | Event::OfferNeeded { .. }));
    phone.hang_up("c");
    assert_eq!(phone.request("BYE").uri_text(), "sip:moved@far.test;transport=ws");
}

#[test]
fn the_first_try_comes_within_a_quarter_of_a_second() {
    let mut phone = TestUserAgent::registered();
    phone.lose_connection();
    let begin = phone.now;
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
    assert!(phone.now.since(begin) <= 250);
}

#[test]
fn a_call_without_signalling_is_given_up_after_the_limit_and_not_before() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.wait(89_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    phone.wait(2_000);
    assert_eq!(phone.ended("c"), ("Connection lost".into(), None));
}

#[test]
fn a_connection_that_comes_and_goes_does_not_prolong_the_limit() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let begin = phone.now;
    for _ in 0..60 {
        if phone.transport.is_some() {
            phone.lose_connection();
        }
        phone.wait(1_600);
        if phone.has_ended() {
            break;
        }
        if phone.connects() {
            phone.connect();
            phone.accept_register();
        }
    }
    assert!((90_000..=92_000).contains(&phone.now.since(begin)));
    phone.ended("c");
}

#[test]
fn a_recovery_that_is_refused_for_the_moment_is_tried_again() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    needed(&mut phone);
    let again = reinvite(&mut phone);
    phone.reply(&again, 503, |_| {});
    phone.request("ACK");
    phone.emits(&Event::ReinviteRefused { call: "c".into(), status: 503, again: true });
    phone.wait(3_000);
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
}

#[test]
fn a_driver_that_makes_no_offer_is_asked_again() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    needed(&mut phone);
    phone.wait(15_000);
    needed(&mut phone);
}

#[test]
fn a_call_that_ended_meanwhile_is_told_so() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    let again = reinvite(&mut phone);
    phone.reply(&again, 481, |_| {});
    phone.request("ACK");
    assert_eq!(phone.ended("c"), ("The call had ended".into(), Some(481)));
    phone.sends_nothing();
}

#[test]
fn hanging_up_without_a_connection_frees_the_person_at_once_and_the_far_end_later() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.hang_up("c");
    assert_eq!(phone.ended("c").0, "Hung up");
    phone.reconnect();
    phone.request("BYE");
}

#[test]
fn a_bye_that_was_on_its_way_is_sent_again() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.hang_up("c");
    let first = phone.request("BYE");
    phone.lose_connection();
    phone.reconnect();
    let second = phone.request("BYE");
    assert!(second.cseq().unwrap().number > first.cseq().unwrap().number);
}

#[test]
fn an_unanswered_call_ends_with_the_connection_and_stops_ringing_there_later() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    phone.lose_connection();
    assert_eq!(phone.ended("c").0, "Connection lost");
    phone.reconnect();
    let cancel = phone.request("CANCEL");
    assert_eq!(cancel.via().unwrap().branch(), invite.via().unwrap().branch());
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    phone.request("BYE");
}

#[test]
fn a_ring_does_not_outlive_the_connection() {
    let mut phone = TestUserAgent::registered();
    let (_, call) = phone.incoming();
    phone.response(180);
    phone.lose_connection();
    assert_eq!(phone.ended(&call).0, "Connection lost");
    phone.reconnect();
    phone.response(480);
}

#[test]
fn an_answer_that_was_not_acknowledged_is_repeated_on_the_next_connection() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    phone.response(180);
    let ok = phone.response(200);
    phone.lose_connection();
    phone.reconnect();
    phone.response(200);
    phone.ack(&invite, &ok);
    phone.emits(&Event::Confirmed { call, sdp: None });
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
}

#[test]
fn an_offer_under_way_is_void_and_asked_for_again() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    reinvite(&mut phone);
    phone.lose_connection();
    phone.emits(&Event::ReinviteRefused { call: "c".into(), status: 408, again: true });
    phone.reconnect();
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
}

#[test]
fn servers_are_tried_in_turn() {
    let mut phone = TestUserAgent::with(|config| config.servers = vec!["wss://a".into(), "wss://b".into()]);
    phone.command(Command::Register);
    let mut urls = Vec::new();
    for _ in 0..3 {
        phone.wait_for(|output| matches!(output, Output::Connect { .. }));
        urls.push(phone.connect_fails());
    }
    assert_eq!(urls, ["wss://a", "wss://b", "wss://a"]);
    let kind = phone.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => Some(failure.kind),
        _ => None,
    });
    assert_eq!(kind, RegisterFailureKind::Unreachable);
}

#[test]
fn without_a_network_it_waits_and_with_one_it_goes_at_once() {
    let mut phone = TestUserAgent::registered();
    phone.input(Input::Offline);
    phone.lose_connection();
    let kind = phone.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => Some(failure.kind),
        _ => None,
    });
    assert_eq!(kind, RegisterFailureKind::Offline);
    phone.wait(20_000);
    assert!(!phone.connects());
    phone.input(Input::Online);
    assert!(phone.connects());
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut phone = TestUserAgent::empty();
    phone.command(Command::Register);
    phone.wait(8_000);
    phone.closes();
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn pressing_retry_connects_now() {
    let mut phone = TestUserAgent::empty();
    phone.command(Command::Register);
    for _ in 0..6 {
        phone.wait_for(|output| matches!(output, Output::Connect { .. }));
        phone.connect_fails();
    }
    assert!(!phone.connects());
    phone.input(Input::Probe);
    assert!(phone.connects());
}

#[test]
fn calls_that_were_not_answered_are_forgotten_when_no_connection_comes_back() {
    let mut phone = TestUserAgent::registered();
    phone.invite();
    phone.lose_connection();
    phone.wait(300_000);
    phone.ended("c");
    phone.assert_no_calls();
}
