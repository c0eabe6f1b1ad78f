//! Calling somebody.

use bitcall_sip::message::Header;
use bitcall_sip::ua::Event;

use crate::stage::{ANSWER, Stage};

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
