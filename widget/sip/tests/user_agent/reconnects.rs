//! The ladder: connection lost → connect → REGISTER → re-INVITE → only then give up.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event, FailureKind, Input, OfferReason, Output, Registration};

use crate::test_user_agent::{ANSWER, OFFER, Stage};

fn needed(stage: &mut Stage) -> OfferReason {
    stage.event(|event| match event {
        Event::OfferNeeded { why, .. } => Some(*why),
        _ => None,
    })
}

fn reinvite(stage: &mut Stage) -> bitcall_sip::message::Request {
    stage.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    stage.request("INVITE")
}

#[test]
fn a_call_gets_its_signalling_back_and_can_be_hung_up_at_the_new_address() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.tells(&Event::Detached { call: "c".into() });
    stage.reconnect();
    assert_eq!(needed(&mut stage), OfferReason::Recovery);
    let again = reinvite(&mut stage);
    assert!(again.contact().unwrap().is_some());
    stage.reply(&again, 200, |response| {
        response.set(Header::Contact, "<sip:moved@far.test;transport=ws>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = stage.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, again.cseq().unwrap().number);
    stage.tells(&Event::Attached { call: "c".into() });
    stage.tells(&Event::ReinviteAccepted { call: "c".into(), sdp: ANSWER.into() });
    // It is a call like any other again.
    stage.wait(200_000);
    stage.tells_nothing_like(|event| matches!(event, Event::Ended { .. } | Event::OfferNeeded { .. }));
    stage.hang_up("c");
    assert_eq!(stage.request("BYE").uri_text(), "sip:moved@far.test;transport=ws");
}

#[test]
fn the_first_try_comes_within_a_quarter_of_a_second() {
    let mut stage = Stage::registered();
    stage.lose_connection();
    let begin = stage.now;
    stage.wait_for(|output| matches!(output, Output::Connect { .. }));
    assert!(stage.now.since(begin) <= 250);
}

#[test]
fn a_call_without_signalling_is_given_up_after_the_limit_and_not_before() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.wait(89_000);
    stage.tells_nothing_like(|event| matches!(event, Event::Ended { .. }));
    stage.wait(2_000);
    assert_eq!(stage.ended("c"), ("Connection lost".into(), None));
}

#[test]
fn a_connection_that_comes_and_goes_does_not_prolong_the_limit() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let begin = stage.now;
    for _ in 0..60 {
        if stage.link.is_some() {
            stage.lose_connection();
        }
        stage.wait(1_600);
        if stage.has_ended() {
            break;
        }
        if stage.connects() {
            stage.connect();
            stage.accept_register();
        }
    }
    assert!((90_000..=92_000).contains(&stage.now.since(begin)));
    stage.ended("c");
}

#[test]
fn a_recovery_that_is_refused_for_the_moment_is_tried_again() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.reconnect();
    needed(&mut stage);
    let again = reinvite(&mut stage);
    stage.reply(&again, 503, |_| {});
    stage.request("ACK");
    stage.tells(&Event::ReinviteRefused { call: "c".into(), status: 503, again: true });
    stage.wait(3_000);
    assert_eq!(needed(&mut stage), OfferReason::Recovery);
}

#[test]
fn a_driver_that_makes_no_offer_is_asked_again() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.reconnect();
    needed(&mut stage);
    stage.wait(15_000);
    needed(&mut stage);
}

#[test]
fn a_call_that_ended_meanwhile_is_told_so() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.reconnect();
    let again = reinvite(&mut stage);
    stage.reply(&again, 481, |_| {});
    stage.request("ACK");
    assert_eq!(stage.ended("c"), ("The call had ended".into(), Some(481)));
    stage.sends_nothing();
}

#[test]
fn hanging_up_without_a_connection_frees_the_person_at_once_and_the_far_end_later() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.lose_connection();
    stage.hang_up("c");
    assert_eq!(stage.ended("c").0, "Hung up");
    stage.reconnect();
    stage.request("BYE");
}

#[test]
fn a_bye_that_was_on_its_way_is_sent_again() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.hang_up("c");
    let first = stage.request("BYE");
    stage.lose_connection();
    stage.reconnect();
    let second = stage.request("BYE");
    assert!(second.cseq().unwrap().number > first.cseq().unwrap().number);
}

#[test]
fn an_unanswered_call_ends_with_the_connection_and_stops_ringing_there_later() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 180, |_| {});
    stage.lose_connection();
    assert_eq!(stage.ended("c").0, "Connection lost");
    stage.reconnect();
    let cancel = stage.request("CANCEL");
    assert_eq!(cancel.via().unwrap().branch(), invite.via().unwrap().branch());
    stage.reply_sdp(&invite, 200, ANSWER);
    stage.request("ACK");
    stage.request("BYE");
}

#[test]
fn a_ring_does_not_outlive_the_connection() {
    let mut stage = Stage::registered();
    let (_, call) = stage.incoming();
    stage.response(180);
    stage.lose_connection();
    assert_eq!(stage.ended(&call).0, "Connection lost");
    stage.reconnect();
    stage.response(480);
}

#[test]
fn an_answer_that_was_not_acknowledged_is_repeated_on_the_next_connection() {
    let mut stage = Stage::registered();
    let (invite, call) = stage.incoming();
    stage.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    stage.response(180);
    let ok = stage.response(200);
    stage.lose_connection();
    stage.reconnect();
    stage.response(200);
    stage.ack(&invite, &ok);
    stage.tells(&Event::Confirmed { call, sdp: None });
    assert_eq!(needed(&mut stage), OfferReason::Recovery);
}

#[test]
fn an_offer_under_way_is_void_and_asked_for_again() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    reinvite(&mut stage);
    stage.lose_connection();
    stage.tells(&Event::ReinviteRefused { call: "c".into(), status: 408, again: true });
    stage.reconnect();
    assert_eq!(needed(&mut stage), OfferReason::Recovery);
}

#[test]
fn servers_are_tried_in_turn() {
    let mut stage = Stage::with(|config| config.servers = vec!["wss://a".into(), "wss://b".into()]);
    stage.command(Command::Register);
    let mut urls = Vec::new();
    for _ in 0..3 {
        stage.wait_for(|output| matches!(output, Output::Connect { .. }));
        urls.push(stage.connect_fails());
    }
    assert_eq!(urls, ["wss://a", "wss://b", "wss://a"]);
    let kind = stage.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => Some(failure.kind),
        _ => None,
    });
    assert_eq!(kind, FailureKind::Unreachable);
}

#[test]
fn without_a_network_it_waits_and_with_one_it_goes_at_once() {
    let mut stage = Stage::registered();
    stage.input(Input::Offline);
    stage.lose_connection();
    let kind = stage.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => Some(failure.kind),
        _ => None,
    });
    assert_eq!(kind, FailureKind::Offline);
    stage.wait(20_000);
    assert!(!stage.connects());
    stage.input(Input::Online);
    assert!(stage.connects());
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut stage = Stage::empty();
    stage.command(Command::Register);
    stage.wait(8_000);
    stage.closes();
    stage.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn pressing_retry_connects_now() {
    let mut stage = Stage::empty();
    stage.command(Command::Register);
    for _ in 0..6 {
        stage.wait_for(|output| matches!(output, Output::Connect { .. }));
        stage.connect_fails();
    }
    assert!(!stage.connects());
    stage.input(Input::Probe);
    assert!(stage.connects());
}

#[test]
fn calls_that_were_not_answered_are_forgotten_when_no_connection_comes_back() {
    let mut stage = Stage::registered();
    stage.invite();
    stage.lose_connection();
    stage.wait(300_000);
    stage.ended("c");
    stage.assert_no_calls();
}
