//! Calling somebody.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event};

use crate::test_user_agent::{ANSWER, OFFER, Stage};

fn answered(stage: &mut Stage) -> Option<String> {
    stage.event(|event| match event {
        Event::Answered { sdp, .. } => Some(sdp.clone()),
        _ => None,
    })
}

fn invite_to(stage: &mut Stage, target: &str, caller_id: Option<&str>, sdp: Option<&str>) {
    stage.command(Command::Invite {
        call: "c".into(),
        target: target.into(),
        caller_id: caller_id.map(Into::into),
        sdp: sdp.map(Into::into),
    });
}

fn challenge(stage: &mut Stage, request: &Request, nonce: &str) {
    let value = format!(r#"Digest realm="acme", nonce="{nonce}", qop="auth""#);
    stage.reply(request, 407, |response| response.append(Header::ProxyAuthenticate, &value));
}

#[test]
fn a_call_rings_is_answered_and_hung_up() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    assert_eq!(invite.uri_text(), "sip:bob@acme.test");
    stage.reply(&invite, 180, |_| {});
    stage.tells(&Event::Progress { call: "c".into(), status: 180, sdp: None, early: Some("far".into()) });
    stage.reply_sdp(&invite, 200, ANSWER);
    let ack = stage.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert_eq!(ack.uri_text(), "sip:far@far.test;transport=ws");
    stage.tells(&Event::Answered { call: "c".into(), sdp: Some(ANSWER.into()), early: Some("far".into()) });
    stage.hang_up("c");
    assert_eq!(stage.ended("c"), ("Hung up".into(), None));
    let bye = stage.request("BYE");
    assert_eq!(bye.value(Header::CallId), invite.value(Header::CallId));
    stage.reply(&bye, 200, |_| {});
    stage.sends_nothing();
}

#[test]
fn a_refusal_is_acknowledged_and_said_in_words() {
    for (status, words) in [(486, "Busy"), (603, "Declined"), (404, "Number not found"), (503, "Service unavailable")] {
        let mut stage = Stage::registered();
        let invite = stage.invite();
        stage.reply(&invite, status, |_| {});
        let ack = stage.request("ACK");
        assert_eq!(ack.via().unwrap().branch(), invite.via().unwrap().branch());
        assert!(ack.to().unwrap().tag().is_some());
        assert_eq!(stage.ended("c"), (words.into(), Some(status)));
    }
}

#[test]
fn the_far_end_hangs_up() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    stage.ask_in(&invite, "far", "BYE", 1, |_| {});
    stage.response(200);
    assert_eq!(stage.ended("c"), ("Remote hung up".into(), None));
}

#[test]
fn the_200_is_acknowledged_as_often_as_it_comes() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply_sdp(&invite, 200, ANSWER);
    let first = stage.request("ACK");
    stage.reply_sdp(&invite, 200, ANSWER);
    assert_eq!(stage.request("ACK").to_bytes(), first.to_bytes());
    // Also after the transaction's end.
    stage.wait(40_000);
    stage.reply_sdp(&invite, 200, ANSWER);
    assert_eq!(stage.request("ACK").to_bytes(), first.to_bytes());
    answered(&mut stage);
    stage.tells_nothing_like(|event| matches!(event, Event::Answered { .. }));
}

#[test]
fn a_challenged_invite_is_sent_again_and_its_ack_carries_the_same_number_and_credentials() {
    let mut stage = Stage::registered();
    let first = stage.invite();
    challenge(&mut stage, &first, "n1");
    assert_eq!(stage.request("ACK").cseq().unwrap().number, first.cseq().unwrap().number);
    let second = stage.request("INVITE");
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_ne!(second.via().unwrap().branch(), first.via().unwrap().branch());
    assert_eq!(second.from().unwrap().tag(), first.from().unwrap().tag());
    stage.reply_sdp(&second, 200, ANSWER);
    let ack = stage.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, second.cseq().unwrap().number);
    assert_eq!(ack.value(Header::ProxyAuthorization), second.value(Header::ProxyAuthorization));
    assert!(ack.has(Header::ProxyAuthorization));
    // What follows in the dialog goes on counting.
    stage.hang_up("c");
    let bye = stage.request("BYE");
    assert_eq!(bye.cseq().unwrap().number, second.cseq().unwrap().number + 1);
    assert!(bye.value(Header::ProxyAuthorization).unwrap().contains("nc=00000002"));
}

#[test]
fn a_challenged_bye_is_sent_again() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.hang_up("c");
    let first = stage.request("BYE");
    challenge(&mut stage, &first, "n1");
    let second = stage.request("BYE");
    assert!(second.has(Header::ProxyAuthorization));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
}

#[test]
fn refused_credentials_end_the_call() {
    let mut stage = Stage::registered();
    let first = stage.invite();
    challenge(&mut stage, &first, "n1");
    stage.request("ACK");
    let second = stage.request("INVITE");
    challenge(&mut stage, &second, "n1");
    stage.request("ACK");
    assert_eq!(stage.ended("c"), ("Wrong username or password".into(), Some(407)));
    stage.sends_nothing();
}

#[test]
fn early_media_is_a_provisional_answer_and_the_200_may_leave_it_out() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply_sdp(&invite, 183, ANSWER);
    stage.tells(&Event::Progress {
        call: "c".into(),
        status: 183,
        sdp: Some(ANSWER.into()),
        early: Some("far".into()),
    });
    stage.reply(&invite, 200, |_| {});
    assert_eq!(answered(&mut stage).as_deref(), Some(ANSWER));
}

#[test]
fn a_200_without_any_description_is_no_call() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |_| {});
    stage.request("ACK");
    stage.request("BYE");
    assert_eq!(stage.ended("c").0, "No common audio format");
}

#[test]
fn reliable_ringing_is_acknowledged_in_its_own_dialog_once() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    for tag in ["one", "two"] {
        for _ in 0..2 {
            stage.reply_as(&invite, 180, tag, |response| {
                response.append(Header::Require, "100rel");
                response.append(Header::RSeq, "7");
                response.append(Header::RecordRoute, "<sip:near.test;lr>, <sip:far.test;lr>");
            });
        }
        let prack = stage.request("PRACK");
        let cseq = invite.cseq().unwrap().number;
        assert_eq!(prack.value(Header::RAck), Some(format!("7 {cseq} INVITE").as_str()));
        assert_eq!(prack.to().unwrap().tag(), Some(tag));
        let routes: Vec<&str> = prack.values(Header::Route).collect();
        assert_eq!(routes, ["<sip:far.test;lr>", "<sip:near.test;lr>"]);
        assert_eq!(prack.uri_text(), format!("sip:{tag}@far.test;transport=ws"));
    }
    stage.sends_nothing();
    // The ACK has the INVITE's number although PRACK came between.
    stage.reply_as(&invite, 200, "one", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(stage.request("ACK").cseq().unwrap().number, invite.cseq().unwrap().number);
    stage.hang_up("c");
    assert_eq!(stage.request("BYE").cseq().unwrap().number, invite.cseq().unwrap().number + 2);
}

#[test]
fn a_call_without_offer_answers_in_the_ack() {
    let mut stage = Stage::registered();
    invite_to(&mut stage, "bob", None, None);
    let invite = stage.request("INVITE");
    assert!(invite.body().is_empty());
    stage.reply_sdp(&invite, 200, OFFER);
    assert_eq!(answered(&mut stage), None);
    stage.tells(&Event::Offer { call: "c".into(), sdp: Some(OFFER.into()) });
    stage.reply_sdp(&invite, 200, OFFER);
    stage.sends_nothing();
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    assert_eq!(stage.request("ACK").body(), ANSWER.as_bytes());
    stage.reply_sdp(&invite, 200, OFFER);
    assert_eq!(stage.request("ACK").body(), ANSWER.as_bytes());
}

#[test]
fn a_call_without_offer_that_nobody_answers_is_acknowledged_and_ended() {
    let mut stage = Stage::registered();
    invite_to(&mut stage, "bob", None, None);
    let invite = stage.request("INVITE");
    stage.reply_sdp(&invite, 200, OFFER);
    stage.wait(20_000);
    stage.request("ACK");
    stage.request("BYE");
    stage.ended("c");
}

#[test]
fn routes_are_those_of_the_record() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |response| {
        response.append(Header::RecordRoute, "<sip:near.test;lr>, <sip:far.test;lr>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    for method in ["ACK", "BYE"] {
        if method == "BYE" {
            stage.hang_up("c");
        }
        let request = stage.request(method);
        let routes: Vec<&str> = request.values(Header::Route).collect();
        assert_eq!(routes, ["<sip:far.test;lr>", "<sip:near.test;lr>"]);
        assert_eq!(request.uri_text(), "sip:far@far.test;transport=ws");
    }
}

#[test]
fn a_strict_router_gets_its_own_address_on_the_request_line() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |response| {
        response.append(Header::RecordRoute, "<sip:strict.test>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = stage.request("ACK");
    assert_eq!(ack.uri_text(), "sip:strict.test");
    assert_eq!(ack.value(Header::Route), Some("<sip:far@far.test;transport=ws>"));
}

#[test]
fn nobody_waits_for_ever() {
    // No response at all.
    let mut stage = Stage::registered();
    stage.invite();
    stage.wait(32_000);
    assert_eq!(stage.ended("c"), ("No answer from the server".into(), Some(408)));
    // Ringing without end.
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 180, |_| {});
    stage.wait(180_000);
    assert_eq!(stage.ended("c").0, "No answer");
    stage.request("CANCEL");
    // And no answer to the CANCEL either.
    stage.wait(100_000);
    assert!(stage.is_clean());
}

#[test]
fn too_small_a_session_interval_is_raised_once() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    assert_eq!(invite.value(Header::SessionExpires), Some("1800"));
    stage.reply(&invite, 422, |response| response.append(Header::MinSe, "3600"));
    stage.request("ACK");
    let again = stage.request("INVITE");
    assert_eq!(again.value(Header::SessionExpires), Some("3600"));
    assert_eq!(again.value(Header::MinSe), Some("3600"));
    stage.reply(&again, 422, |response| response.append(Header::MinSe, "7200"));
    stage.request("ACK");
    assert_eq!(stage.ended("c").1, Some(422));
}

#[test]
fn the_caller_id_is_asserted() {
    let mut stage = Stage::registered();
    invite_to(&mut stage, "bob", Some("+15550100"), Some(OFFER));
    let invite = stage.request("INVITE");
    assert_eq!(invite.value(Header::PAssertedIdentity), Some("<sip:+15550100@acme.test>"));
}

#[test]
fn what_cannot_be_called_ends_at_once() {
    let mut stage = Stage::registered();
    invite_to(&mut stage, "sip:not an address", None, Some(OFFER));
    assert_eq!(stage.ended("c").0, "Not a number");
    let mut stage = Stage::empty();
    invite_to(&mut stage, "bob", None, Some(OFFER));
    assert_eq!(stage.ended("c").0, "Not connected");
}

#[test]
fn header_fields_in_a_contact_do_not_reach_the_request_line() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |response| {
        response.set(Header::Contact, "<sip:far@far.test;transport=ws?Subject=x>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    assert_eq!(stage.request("ACK").uri_text(), "sip:far@far.test;transport=ws");
}
