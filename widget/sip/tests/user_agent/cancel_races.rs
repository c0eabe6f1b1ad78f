//! Hanging up a call that is not answered yet, and everything that can cross it.

use crate::test_user_agent::{ANSWER, TestUserAgent};

#[test]
fn cancel_waits_for_the_first_provisional_response() {
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
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
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
fn an_invite_cancelled_before_any_response_ends_with_a_bye_if_200_comes_first() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.hang_up("c");
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    phone.request("BYE");
}
