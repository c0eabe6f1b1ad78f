//! Forking: one INVITE, several early dialogs.

use bitcall_sip::message::Header;
use bitcall_sip::ua::Event;

use crate::test_user_agent::{ANSWER, TestUserAgent};

#[test]
fn the_fork_that_answers_becomes_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    for tag in ["one", "two"] {
        phone.reply_as(&invite, 183, tag, |response| {
            response.set_body("application/sdp", format!("{ANSWER}a={tag}\r\n").as_bytes());
        });
        let early = phone.event(|event| match event {
            Event::Progress { early_dialog, .. } => early_dialog.clone(),
            _ => None,
        });
        assert_eq!(early, tag);
    }
    phone.reply_as(&invite, 200, "two", |_| {});
    assert_eq!(phone.request("ACK").uri_text(), "sip:two@far.test;transport=ws");
    assert!(phone.answered().unwrap().ends_with("a=two\r\n"), "the early answer of the leg that answered");
}

#[test]
fn a_second_2xx_of_another_fork_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.reply_as(&invite, 200, "late", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(phone.request("ACK").to().unwrap().tag(), Some("late"));
    let bye = phone.request("BYE");
    assert_eq!(bye.to().unwrap().tag(), Some("late"));
    phone.reply_as(&bye, 200, "late", |_| {});
    // The 200 is retransmitted because the ACK was lost: no second BYE.
    phone.reply_as(&invite, 200, "late", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(phone.request("ACK").to().unwrap().tag(), Some("late"));
    phone.sends_nothing();
    phone.emits_no(|event| matches!(event, Event::Ended { .. } | Event::Answered { .. }));
    phone.hang_up("c");
    assert_eq!(phone.request("BYE").to().unwrap().tag(), Some("far"));
}

#[test]
fn an_early_dialog_that_ends_does_not_end_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply_as(&invite, 180, "one", |_| {});
    phone.remote_request_in(&invite, "one", "BYE", 1, |_| {});
    phone.response(200);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    phone.reply_as(&invite, 200, "two", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(phone.request("ACK").to().unwrap().tag(), Some("two"));
}

#[test]
fn a_200_for_a_removed_call_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.wait(120_000);
    phone.ended("c");
    assert!(phone.is_clean());
    phone.reply(&invite, 200, |response| {
        response.append(Header::RecordRoute, "<sip:gate.test;lr>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = phone.request("ACK");
    assert_eq!(ack.value(Header::Route), Some("<sip:gate.test;lr>"));
    assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert_eq!(phone.request("BYE").to().unwrap().tag(), Some("far"));
}

#[test]
fn a_200_to_a_foreign_invite_is_ignored() {
    let mut phone = TestUserAgent::registered();
    let mut invite = phone.invite();
    phone.wait(120_000);
    phone.ended("c");
    invite.set(Header::From, "<sip:someone@else.test>;tag=x");
    phone.reply(&invite, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn a_200_after_a_failure_response_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    phone.reply_as(&invite, 486, "other", |_| {});
    phone.request("ACK");
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    phone.request("BYE");
}
