//! Reconnect: connection lost → connect → REGISTER → re-INVITE; the call ends only after the recovery time-out.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event, Input, OfferReason, Output, RegisterFailureKind, Registration};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn needed(phone: &mut TestUserAgent) -> OfferReason {
    phone.event(|event| match event {
        Event::OfferNeeded { reason, .. } => Some(*reason),
        _ => None,
    })
}

fn reinvite(phone: &mut TestUserAgent) -> bitcall_sip::message::Request {
    phone.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    phone.request("INVITE")
}

#[test]
fn a_call_recovers_by_reinvite_and_can_be_hung_up() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.emits(&Event::Detached { call: "c".into() });
    phone.reconnect();
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
    let recovery = reinvite(&mut phone);
    assert!(recovery.contact().unwrap().is_some());
    phone.reply(&recovery, 200, |response| {
        response.set(Header::Contact, "<sip:moved@far.test;transport=ws>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = phone.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, recovery.cseq().unwrap().number);
    phone.emits(&Event::Attached { call: "c".into() });
    phone.emits(&Event::ReinviteAccepted { call: "c".into(), sdp: ANSWER.into() });
    // The call works as before.
    phone.wait(200_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. } | Event::OfferNeeded { .. }));
    phone.hang_up("c");
    assert_eq!(phone.request("BYE").uri_text(), "sip:moved@far.test;transport=ws");
}

#[test]
fn the_first_reconnect_starts_within_250_ms() {
    let mut phone = TestUserAgent::registered();
    phone.lose_connection();
    let begin = phone.now;
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
    assert!(phone.now.since(begin) <= 250);
}

#[test]
fn a_call_ends_when_the_recovery_timeout_expires() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.wait(89_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    phone.wait(2_000);
    assert_eq!(phone.ended("c"), ("Connection lost".into(), None));
}

#[test]
fn repeated_connection_losses_do_not_extend_the_recovery_timeout() {
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
fn a_recovery_reinvite_refused_with_503_is_retried() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    needed(&mut phone);
    let recovery = reinvite(&mut phone);
    phone.reply(&recovery, 503, |_| {});
    phone.request("ACK");
    phone.emits(&Event::ReinviteRefused { call: "c".into(), status: 503, will_retry: true });
    phone.wait(3_000);
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
}

#[test]
fn the_recovery_offer_is_requested_repeatedly() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    needed(&mut phone);
    phone.wait(15_000);
    needed(&mut phone);
}

#[test]
fn a_recovery_reinvite_answered_with_481_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.reconnect();
    let recovery = reinvite(&mut phone);
    phone.reply(&recovery, 481, |_| {});
    phone.request("ACK");
    assert_eq!(phone.ended("c"), ("The call had ended".into(), Some(481)));
    phone.sends_nothing();
}

#[test]
fn a_hang_up_without_a_connection_ends_the_call_at_once_and_sends_bye_later() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.lose_connection();
    phone.hang_up("c");
    assert_eq!(phone.ended("c").0, "Hung up");
    phone.reconnect();
    phone.request("BYE");
}

#[test]
fn an_unanswered_bye_is_sent_again_after_a_reconnect() {
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
fn a_lost_connection_ends_an_unanswered_call_and_cancels_it_later() {
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
fn a_ringing_incoming_call_ends_with_the_connection() {
    let mut phone = TestUserAgent::registered();
    let (_, call) = phone.incoming();
    phone.response(180);
    phone.lose_connection();
    assert_eq!(phone.ended(&call).0, "Connection lost");
    phone.reconnect();
    phone.wait(2_900);
    phone.sends_nothing();
    phone.wait(100);
    phone.response(480);
    phone.wait(32_000);
    phone.assert_no_calls();
}

#[test]
fn an_invite_that_comes_again_over_the_next_connection_rings_again() {
    // In the same transaction, or in a new one of a proxy; before or after the answer to REGISTER.
    for (branch, before) in [("z9hG4bKfar1", false), ("z9hG4bKagain", false), ("z9hG4bKagain", true)] {
        let mut phone = TestUserAgent::registered();
        let (mut invite, call) = phone.incoming();
        phone.response(180);
        phone.lose_connection();
        phone.ended(&call);
        phone.wait_for(|output| matches!(output, Output::Connect { .. }));
        phone.connect();
        if !before {
            phone.accept_register();
        }
        invite.set(Header::Via, &format!("SIP/2.0/WSS far.test;branch={branch}"));
        phone.bytes(&invite.to_bytes());
        let (again, ..) = phone.rings();
        assert_ne!(again, call);
        if before {
            phone.accept_register();
        }
        assert_eq!(phone.response(180).via().unwrap().branch(), Some(branch));
        phone.wait(10_000);
        phone.sends_nothing();
        phone.command(Command::Answer { call: again.clone(), sdp: ANSWER.into() });
        let ok = phone.response(200);
        phone.ack(&invite, &ok);
        phone.emits(&Event::Confirmed { call: again.clone(), sdp: None });
        phone.hang_up(&again);
        let bye = phone.request("BYE");
        phone.reply(&bye, 200, |_| {});
        phone.wait(32_000);
        phone.assert_no_calls();
    }
}

#[test]
fn a_200_without_ack_is_retransmitted_after_a_reconnect() {
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
fn a_pending_offer_is_refused_and_requested_again_after_a_reconnect() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    reinvite(&mut phone);
    phone.lose_connection();
    phone.emits(&Event::ReinviteRefused { call: "c".into(), status: 408, will_retry: true });
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
fn offline_delays_the_reconnect_and_online_starts_it() {
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
fn a_connection_that_does_not_open_times_out() {
    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Register);
    phone.wait(8_000);
    phone.closes();
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn a_probe_connects_at_once() {
    let mut phone = TestUserAgent::unregistered();
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
fn unanswered_calls_are_removed_without_a_reconnect() {
    let mut phone = TestUserAgent::registered();
    phone.invite();
    phone.lose_connection();
    phone.wait(300_000);
    phone.ended("c");
    phone.assert_no_calls();
}

#[test]
fn a_call_goes_on_in_the_next_user_agent_by_its_record() {
    let mut earlier = TestUserAgent::registered();
    earlier.invite_as("ringing");
    assert_eq!(earlier.dialog_record("ringing"), None, "not established");
    earlier.outgoing_call();
    let record = earlier.dialog_record("c").unwrap();
    earlier.hang_up("c");
    let in_dialog = earlier.request("BYE");
    assert_eq!(earlier.dialog_record("c"), None, "over");

    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Restore { call: "c".into(), dialog: Box::new(record.clone()) });
    phone.command(Command::Register);
    phone.reconnect();
    assert_eq!(needed(&mut phone), OfferReason::Recovery);
    let recovery = reinvite(&mut phone);
    for field in [Header::CallId, Header::From, Header::To, Header::CSeq, Header::Route] {
        let in_both =
            [&recovery, &in_dialog].map(|request| request.value(field).map(|text| text.replace("BYE", "INVITE")));
        assert_eq!(in_both[0], in_both[1]);
    }
    assert_eq!(recovery.uri_text(), in_dialog.uri_text());
    phone.reply_sdp(&recovery, 200, ANSWER);
    phone.request("ACK");
    phone.emits(&Event::Attached { call: "c".into() });
    phone.hang_up("c");
    phone.request("BYE");

    // The far end has hung up meanwhile.
    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Restore { call: "c".into(), dialog: Box::new(record.clone()) });
    phone.command(Command::Register);
    phone.reconnect();
    needed(&mut phone);
    let recovery = reinvite(&mut phone);
    phone.reply(&recovery, 481, |_| {});
    phone.request("ACK");
    phone.ended("c");

    // The server is away.
    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Restore { call: "c".into(), dialog: Box::new(record) });
    phone.command(Command::Register);
    phone.wait(90_000);
    phone.ended("c");
}
