//! Hanging up a call that is not answered yet, and everything that can cross it.

use crate::test_user_agent::{ANSWER, Stage};

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.hang_up("c");
    assert_eq!(stage.ended("c"), ("Canceled".into(), None));
    stage.sends_nothing();
    stage.reply(&invite, 100, |_| {});
    let cancel = stage.request("CANCEL");
    assert_eq!(cancel.via().unwrap().branch(), invite.via().unwrap().branch());
    stage.reply(&cancel, 200, |_| {});
    stage.reply(&invite, 487, |_| {});
    stage.request("ACK");
    stage.sends_nothing();
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 180, |_| {});
    stage.hang_up("c");
    stage.request("CANCEL");
    stage.reply_sdp(&invite, 200, ANSWER);
    stage.request("ACK");
    let bye = stage.request("BYE");
    stage.reply(&bye, 200, |_| {});
    stage.sends_nothing();
}

#[test]
fn an_invite_cancelled_before_any_response_ends_with_a_bye_if_200_comes_first() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.hang_up("c");
    stage.reply_sdp(&invite, 200, ANSWER);
    stage.request("ACK");
    stage.request("BYE");
}
