//! Calls that are answered by themselves.

use bitcall_sip::ua::{Command, Registration};
use bitcall_wire::agent_protocol::{CallState, MediaError, MediaReply, MediaRequest, ToAgent};

use crate::test_call_list::TestCallList;

/// Page `a` on port 1, whose tenant allows it.
fn allowed() -> TestCallList {
    let mut phone = TestCallList::new();
    phone.behavior.auto_answer = true;
    phone.attach(1, "a");
    phone.registration(Registration::Registered { server: "wss://sip.test".into(), session: None });
    phone.clear_output();
    phone
}

fn tone_played(phone: &mut TestCallList) {
    phone.send(1, ToAgent::AutoAnswer { call: "c1".into() });
}

/// The call rings as every other one, and is not answered any more.
fn rings(phone: &mut TestCallList) {
    let shown = phone.call_snapshot(1, "c1");
    assert!(shown.state == CallState::Incoming && !shown.auto_answer, "{shown:?}");
    tone_played(phone);
    assert!(phone.media_requests(1).iter().all(|(call, _)| call != "c1"));
}

#[test]
fn a_call_is_answered_after_a_tone() {
    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    assert_eq!(phone.event_names(1), ["incoming", "auto-answer due"]);
    let shown = phone.call_snapshot(1, "c1");
    assert!(shown.state == CallState::Incoming && shown.auto_answer);
    assert!(phone.media_requests(1).is_empty(), "the microphone stays closed");
    tone_played(&mut phone);
    assert!(matches!(phone.media_requests(1).as_slice(), [(_, MediaRequest::Answer { .. })]));
    phone.reply_description(1, "c1", "answer");
    assert!(matches!(phone.commands().as_slice(), [Command::Answer { .. }]));
    phone.confirmed("c1");
    let shown = phone.call_snapshot(1, "c1");
    assert!(shown.state == CallState::Active && shown.auto_answer, "the person sees why");
    // A second time, too late.
    phone.clear_output();
    tone_played(&mut phone);
    assert!(phone.media_requests(1).is_empty());
}

#[test]
fn without_the_tenants_leave_the_call_rings() {
    let mut phone = TestCallList::registered();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    assert_eq!(phone.event_names(1), ["incoming"]);
    rings(&mut phone);
}

#[test]
fn during_another_call_it_rings() {
    let mut phone = allowed();
    phone.call(1, "c0", "103");
    phone.establish("c0");
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    assert_eq!(phone.event_names(1), ["incoming"]);
    rings(&mut phone);
}

#[test]
fn a_call_that_is_placed_during_the_tone_is_not_interrupted() {
    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    phone.call(1, "c0", "103");
    tone_played(&mut phone);
    assert!(phone.media_requests(1).iter().all(|(call, _)| call == "c0"));
    phone.advance_time(3_000, &[1]);
    rings(&mut phone);
}

#[test]
fn the_caller_may_ask_for_a_delay_in_which_the_person_decides() {
    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(5_000));
    phone.advance_time(4_000, &[1]);
    assert_eq!(phone.event_names(1), ["incoming"]);
    phone.advance_time(1_000, &[1]);
    assert_eq!(phone.event_names(1), ["auto-answer due"]);

    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(5_000));
    phone.send(1, ToAgent::Decline { call: "c1".into() });
    phone.advance_time(6_000, &[1]);
    assert_eq!(phone.event_names(1), ["incoming", "ended: Declined"]);
}

#[test]
fn a_page_that_cannot_play_the_tone_rings() {
    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    phone.advance_time(3_000, &[1]);
    rings(&mut phone);
}

#[test]
fn without_a_microphone_the_call_rings_and_is_not_answered_again() {
    let mut phone = allowed();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    tone_played(&mut phone);
    let failed = MediaReply::Failed { error: MediaError::MicrophoneBlocked, message: "blocked".into() };
    phone.reply(1, "c1", failed);
    phone.clear_output();
    phone.advance_time(5_000, &[1]);
    tone_played(&mut phone);
    assert!(phone.media_requests(1).is_empty());
    assert!(phone.event_names(1).is_empty());
}

#[test]
fn one_page_plays_the_tone() {
    let mut phone = allowed();
    phone.attach(2, "b");
    phone.clear_output();
    phone.incoming_with_auto_answer("c1", "102", Some(0));
    let mut names = [phone.event_names(1), phone.event_names(2)];
    names.sort();
    assert_eq!(names, [vec!["incoming".to_owned()], vec!["incoming".to_owned(), "auto-answer due".to_owned()]]);
}
