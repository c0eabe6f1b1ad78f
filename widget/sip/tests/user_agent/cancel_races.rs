//! Hanging up an unanswered call, and messages that cross the CANCEL.

use crate::test_user_agent::{ANSWER, TestUserAgent};

#[test]
fn cancel_is_sent_after_the_first_provisional_response() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.hang_up("c");
    assert_eq!(phone.ended("c"), ("Canceled".into(), None));
    phone.sends_nothing();
    phone.reply(&invite, 100, |_| {});
    let cancel = phone.request("CANCEL");
    assert_eq!(cancel.via().unwrap().branch(), invite.via().unwrap().branch());
    phone.reply(&cancel, 200, |_| {});
    phone.reply(&invite, 487, |_| {});
    phone.request("ACK");
    phone.sends_nothing();
}

#[test]
fn a_200_that_crosses_the_cancel_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    phone.hang_up("c");
    phone.request("CANCEL");
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    let bye = phone.request("BYE");
    phone.reply(&bye, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn a_200_without_a_provisional_response_after_hang_up_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.hang_up("c");
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    phone.request("BYE");
}
