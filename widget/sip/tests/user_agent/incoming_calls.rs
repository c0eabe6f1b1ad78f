//! Being called.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event};

use crate::test_user_agent::{ANSWER, OFFER, Stage};

fn answer(stage: &mut Stage, call: &str) -> bitcall_sip::message::Response {
    stage.response(180);
    stage.command(Command::Answer { call: call.into(), sdp: ANSWER.into() });
    stage.response(200)
}

fn cancel(stage: &mut Stage, invite: &Request, fill: impl FnOnce(&mut Request)) {
    let via = invite.value(Header::Via).unwrap().to_owned();
    stage.ask("CANCEL", 1, |request| {
        request.set(Header::Via, &via);
        fill(request);
    });
}

#[test]
fn a_call_comes_in_and_is_answered() {
    let mut stage = Stage::registered();
    let invite = stage.ask("INVITE", 1, |request| {
        request.append(Header::RecordRoute, "<sip:gate.test;lr>");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let (call, from) = stage.event(|event| match event {
        Event::Incoming { call, from, offer } => {
            assert_eq!(offer.as_deref(), Some(OFFER));
            Some((call.clone(), from.clone()))
        }
        _ => None,
    });
    assert_eq!((from.number.as_str(), from.display_name.as_deref()), ("bob", Some("Bob B.")));
    let ringing = stage.response(180);
    assert!(ringing.contact().unwrap().is_some());
    stage.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = stage.response(200);
    assert_eq!(ok.body(), ANSWER.as_bytes());
    assert_eq!(ok.value(Header::RecordRoute), Some("<sip:gate.test;lr>"));
    assert_eq!(ok.to().unwrap().tag(), ringing.to().unwrap().tag());
    stage.ack(&invite, &ok);
    stage.tells(&Event::Confirmed { call: call.clone(), sdp: None });
    stage.wait(60_000);
    stage.sends_nothing();
    stage.hang_up(&call);
    let bye = stage.request("BYE");
    assert_eq!(bye.uri_text(), "sip:bob@far.test;transport=ws");
    assert_eq!(bye.value(Header::Route), Some("<sip:gate.test;lr>"));
    assert_eq!(bye.to().unwrap().tag(), Some("bobs"));
}

#[test]
fn the_200_is_repeated_until_the_ack_comes() {
    let mut stage = Stage::registered();
    let (invite, call) = stage.incoming();
    let ok = answer(&mut stage, &call);
    for pause in [500, 1_000, 2_000, 4_000, 4_000] {
        stage.wait(pause);
        assert_eq!(stage.response(200).to_bytes(), ok.to_bytes());
        stage.sends_nothing();
    }
    stage.ack(&invite, &ok);
    stage.wait(60_000);
    stage.sends_nothing();
}

#[test]
fn a_call_that_nobody_acknowledges_ends_with_a_bye() {
    let mut stage = Stage::registered();
    let (_, call) = stage.incoming();
    answer(&mut stage, &call);
    stage.wait_for(|output| matches!(output, bitcall_sip::ua::Output::Event(Event::Ended { .. })));
    assert_eq!(stage.ended(&call).0, "No acknowledgement");
    while stage.next_is_response() {
        stage.response(200);
    }
    stage.request("BYE");
}

#[test]
fn hanging_up_before_the_ack_frees_the_person_and_waits_with_the_bye() {
    let mut stage = Stage::registered();
    let (invite, call) = stage.incoming();
    let ok = answer(&mut stage, &call);
    stage.hang_up(&call);
    assert_eq!(stage.ended(&call).0, "Hung up");
    stage.sends_nothing();
    stage.ack(&invite, &ok);
    stage.request("BYE");
}

#[test]
fn a_declined_call_is_refused_as_asked() {
    let mut stage = Stage::registered();
    let (_, call) = stage.incoming();
    stage.response(180);
    stage.command(Command::Reject { call: call.clone(), status: 486 });
    stage.response(486);
    assert_eq!(stage.ended(&call), ("Declined".into(), Some(486)));
}

#[test]
fn hanging_up_a_ringing_call_declines_it() {
    let mut stage = Stage::registered();
    let (_, call) = stage.incoming();
    stage.response(180);
    stage.hang_up(&call);
    stage.response(603);
    stage.ended(&call);
}

#[test]
fn a_cancelled_call_stops_ringing_and_says_why() {
    for (reason, words) in [
        (None, "Caller hung up"),
        (Some("SIP;cause=200;text=\"Call completed elsewhere\""), "Answered elsewhere"),
        (Some("SIP;cause=603"), "Declined elsewhere"),
    ] {
        let mut stage = Stage::registered();
        let (invite, call) = stage.incoming();
        stage.response(180);
        cancel(&mut stage, &invite, |request| {
            if let Some(reason) = reason {
                request.append(Header::Reason, reason);
            }
        });
        let ok = stage.response(200);
        assert_eq!(ok.cseq().unwrap().method.as_str(), "CANCEL");
        let terminated = stage.response(487);
        assert_eq!(terminated.cseq().unwrap().method.as_str(), "INVITE");
        assert_eq!(stage.ended(&call).0, words);
        // A late click on "Answer" does nothing.
        stage.command(Command::Answer { call, sdp: ANSWER.into() });
        stage.sends_nothing();
    }
}

#[test]
fn a_cancel_that_crosses_the_answer_changes_nothing() {
    let mut stage = Stage::registered();
    let (invite, call) = stage.incoming();
    let ok = answer(&mut stage, &call);
    cancel(&mut stage, &invite, |_| {});
    stage.response(200);
    stage.ack(&invite, &ok);
    stage.tells(&Event::Confirmed { call, sdp: None });
}

#[test]
fn a_cancel_for_nothing_is_answered_481() {
    let mut stage = Stage::registered();
    stage.ask("CANCEL", 1, |_| {});
    stage.response(481);
}

#[test]
fn an_invite_without_offer_is_answered_with_one() {
    let mut stage = Stage::registered();
    let invite = stage.ask("INVITE", 1, |_| {});
    let call = stage.event(|event| match event {
        Event::Incoming { call, offer: None, .. } => Some(call.clone()),
        _ => None,
    });
    stage.response(180);
    stage.command(Command::Answer { call: call.clone(), sdp: OFFER.into() });
    let ok = stage.response(200);
    stage.ack_with(&invite, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    stage.tells(&Event::Confirmed { call, sdp: Some(ANSWER.into()) });
}

#[test]
fn an_offer_of_ours_that_the_ack_does_not_answer_ends_the_call() {
    let mut stage = Stage::registered();
    let invite = stage.ask("INVITE", 1, |_| {});
    let call = stage.event(|event| match event {
        Event::Incoming { call, .. } => Some(call.clone()),
        _ => None,
    });
    let ok = answer(&mut stage, &call);
    stage.ack(&invite, &ok);
    stage.ended(&call);
    stage.request("BYE");
}

#[test]
fn one_call_too_many_is_busy() {
    let mut stage = Stage::with(|config| config.max_sessions = 1);
    stage.register();
    let (_, call) = stage.incoming();
    stage.response(180);
    stage.ask("INVITE", 1, |request| request.set(Header::CallId, "incoming-2"));
    stage.response(486);
    // The room is free again as soon as the person sees it free.
    stage.command(Command::Reject { call, status: 603 });
    stage.response(603);
    stage.ask("INVITE", 1, |request| request.set(Header::CallId, "incoming-3"));
    stage.response(180);
}

#[test]
fn the_same_call_by_two_ways_rings_once() {
    let mut stage = Stage::registered();
    stage.incoming();
    stage.response(180);
    stage.ask("INVITE", 1, |_| {});
    stage.response(482);
}

#[test]
fn a_ring_has_an_end() {
    for (expires, limit) in [(None, 180_000), (Some("20"), 20_000)] {
        let mut stage = Stage::registered();
        stage.ask("INVITE", 1, |request| {
            if let Some(expires) = expires {
                request.append(Header::Expires, expires);
            }
        });
        stage.response(180);
        stage.wait(limit - 1);
        stage.sends_nothing();
        stage.wait(1);
        stage.response(480);
    }
}

/// An INVITE that requires reliable ringing, and our 180.
fn reliable(stage: &mut Stage) -> (Request, bitcall_sip::message::Response) {
    let invite = stage.ask("INVITE", 1, |request| {
        request.append(Header::Require, "100rel");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let ringing = stage.response(180);
    (invite, ringing)
}

fn prack(stage: &mut Stage, invite: &Request, ringing: &bitcall_sip::message::Response, cseq: u32) {
    let rack = format!("{} 1 INVITE", ringing.value(Header::RSeq).unwrap());
    stage.ask("PRACK", cseq, |request| {
        request.set(Header::From, invite.value(Header::From).unwrap());
        request.set(Header::To, ringing.value(Header::To).unwrap());
        request.append(Header::RAck, &rack);
    });
}

#[test]
fn ringing_is_reliable_for_whom_it_must_be() {
    let mut stage = Stage::registered();
    let (invite, ringing) = reliable(&mut stage);
    assert!(ringing.lists(Header::Require, "100rel"));
    stage.wait(500);
    assert_eq!(stage.response(180).to_bytes(), ringing.to_bytes());
    prack(&mut stage, &invite, &ringing, 2);
    stage.response(200);
    prack(&mut stage, &invite, &ringing, 3);
    stage.response(481);
    stage.wait(10_000);
    stage.sends_nothing();
}

#[test]
fn an_answer_faster_than_the_prack_harms_nobody() {
    let mut stage = Stage::registered();
    let (invite, ringing) = reliable(&mut stage);
    let call = stage.event(|event| match event {
        Event::Incoming { call, .. } => Some(call.clone()),
        _ => None,
    });
    stage.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = stage.response(200);
    prack(&mut stage, &invite, &ringing, 2);
    assert_eq!(stage.response(200).cseq().unwrap().method.as_str(), "PRACK");
    stage.ack(&invite, &ok);
    stage.tells(&Event::Confirmed { call, sdp: None });
}

#[test]
fn a_caller_that_the_server_vouches_for_is_shown_as_such() {
    let mut stage = Stage::registered();
    stage.ask("INVITE", 1, |request| {
        request.append(Header::PAssertedIdentity, "\"Sales\" <tel:+15550111;phone-context=x>");
    });
    let from = stage.event(|event| match event {
        Event::Incoming { from, .. } => Some(from.clone()),
        _ => None,
    });
    assert_eq!((from.number.as_str(), from.display_name.as_deref()), ("+15550111", Some("Sales")));
}

#[test]
fn a_body_that_is_no_description_is_refused() {
    let mut stage = Stage::registered();
    stage.ask("INVITE", 1, |request| request.set_body("text/plain", b"hello"));
    assert_eq!(stage.response(415).value(Header::Accept), Some("application/sdp"));
}
