//! At most one call has an open microphone and an audible loudspeaker.

use bitcall_sip::ua::{self, Command, OfferReason};
use bitcall_wire::agent_protocol::{CallState, HoldState, MediaRequest, MediaState, OfferKind, OtherCalls, ToAgent};

use crate::test_call_list::TestCallList;

fn answered(call: &str) -> ua::Event {
    ua::Event::Answered { call: call.into(), sdp: Some("answer".into()), early_dialog: None }
}

fn refused(call: &str) -> ua::Event {
    ua::Event::ReinviteRefused { call: call.into(), status: 488, will_retry: false }
}

/// The calls that have the voice in the last snapshot.
fn voices(phone: &TestCallList) -> Vec<String> {
    phone.snapshot(1).calls.into_iter().filter(|call| call.voice).map(|call| call.id).collect()
}

fn dialled(numbers: &[(&str, &str)]) -> TestCallList {
    let mut phone = TestCallList::registered();
    for (call, number) in numbers {
        phone.call(1, call, number);
        phone.reply_description(1, call, "offer");
    }
    phone
}

#[test]
fn an_outgoing_call_that_is_answered_during_another_conversation_is_held_at_once() {
    let mut phone = dialled(&[("c1", "200")]);
    phone.incoming("c2", "300");
    phone.answer(1, "c2", OtherCalls::Hold);
    assert_eq!(voices(&phone), ["c2"]);
    phone.reply_description(1, "c2", "answer");
    phone.confirmed("c2");
    phone.clear_output();
    phone.event(answered("c1"));
    assert_eq!(voices(&phone), ["c2"]);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Holding);
    phone.reply_done(1, "c1");
    phone.reply_description(1, "c1", "hold offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { call, .. }] if call == "c1"));
}

#[test]
fn a_call_whose_far_end_refuses_the_hold_does_not_hear_the_next_conversation() {
    let mut phone = TestCallList::in_call();
    phone.incoming("c2", "300");
    phone.answer(1, "c2", OtherCalls::Hold);
    assert_eq!(voices(&phone), ["c2"]);
    let hold = phone.media_requests(1).into_iter().rfind(|(call, _)| call == "c1");
    assert!(matches!(hold, Some((_, MediaRequest::Offer { .. }))));
    phone.reply_description(1, "c1", "hold offer");
    phone.event(refused("c1"));
    assert_eq!(voices(&phone), ["c2"]);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::HeldHere);
    // A session refresh is answered like any other offer, and opens nothing.
    phone.reply_description(1, "c2", "answer");
    phone.confirmed("c2");
    phone.event(ua::Event::OfferNeeded { call: "c1".into(), reason: OfferReason::Refresh });
    phone.reply_description(1, "c1", "refresh offer");
    phone.event(refused("c1"));
    assert_eq!(voices(&phone), ["c2"]);
}

#[test]
fn of_two_calls_that_ring_at_once_the_first_one_answered_talks() {
    let mut phone = dialled(&[("c1", "201"), ("c2", "202")]);
    assert_eq!(voices(&phone), ["c2"]);
    phone.event(answered("c1"));
    phone.reply_done(1, "c1");
    assert_eq!(voices(&phone), ["c1"]);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c1"));
    phone.event(answered("c2"));
    assert_eq!(voices(&phone), ["c1"]);
    assert_eq!(phone.call_snapshot(1, "c2").hold, HoldState::Holding);
}

#[test]
fn a_second_call_to_the_same_number_within_a_second_is_a_double_click() {
    let mut phone = dialled(&[("c1", "201")]);
    phone.clear_output();
    phone.call(1, "c2", "201");
    assert!(phone.event_names(1).is_empty() && phone.commands().is_empty());
    assert_eq!(phone.media_requests(1), [("c2".to_owned(), MediaRequest::Close)]);
    // Also where the far end answered between the clicks.
    phone.event(answered("c1"));
    phone.reply_done(1, "c1");
    phone.clear_output();
    phone.call(1, "c3", "201");
    assert!(phone.event_names(1).is_empty() && phone.commands().is_empty());
    phone.advance_time(2_000, &[1]);
    phone.call(1, "c4", "201");
    assert_eq!(phone.event_names(1), ["started"]);
}

#[test]
fn a_call_that_ended_at_once_may_be_repeated_at_once() {
    let mut phone = dialled(&[("c1", "201")]);
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    phone.clear_output();
    phone.call(1, "c2", "201");
    assert_eq!(phone.event_names(1), ["started"]);
}

#[test]
fn a_second_click_on_answer_decline_or_hang_up_is_no_error() {
    let mut phone = TestCallList::registered();
    phone.incoming("c1", "300");
    phone.answer(1, "c1", OtherCalls::Hold);
    phone.event_names(1);
    phone.answer(1, "c1", OtherCalls::Hold);
    assert!(phone.event_names(1).is_empty());
    for command in [ToAgent::HangUp { call: "c1".into() }, ToAgent::Decline { call: "c1".into() }] {
        phone.send(1, command.clone());
        phone.event_names(1);
        phone.send(1, command);
        assert!(phone.event_names(1).is_empty());
    }
    phone.answer(1, "c1", OtherCalls::Hold);
    assert!(phone.event_names(1).is_empty());
}

#[test]
fn a_call_of_another_page_gets_the_voice_only_when_the_first_page_has_closed_its_own() {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    assert_eq!(voices(&phone), ["c1"]);
    phone.call(2, "c2", "103");
    assert!(voices(&phone).is_empty());
    phone.send(1, ToAgent::Silenced { call: "c1".into(), revision: phone.snapshot(1).revision });
    assert_eq!(voices(&phone), ["c2"]);
    // A page that does not confirm does not keep the voice for ever.
    phone.hold(1, "c1", false);
    let hold = phone.call_snapshot(1, "c1").hold;
    assert!(matches!(hold, HoldState::None | HoldState::Resuming), "{hold:?}");
    phone.advance_time(2_000, &[1, 2]);
    assert_eq!(voices(&phone), ["c1"]);
}

#[test]
fn an_answer_of_another_device_than_the_early_media_needs_a_new_connection() {
    let sdp = |ufrag: &str| format!("v=0\r\nm=audio 9 X 0\r\na=ice-ufrag:{ufrag}\r\n");
    let mut phone = dialled(&[("c1", "200")]);
    let progress = |ufrag: &str| ua::Event::Progress {
        call: "c1".into(),
        status: 183,
        sdp: Some(sdp(ufrag)),
        early_dialog: Some(ufrag.into()),
    };
    phone.clear_output();
    phone.event(progress("a"));
    phone.event(progress("b"));
    assert_eq!(
        phone.media_requests(1),
        [("c1".to_owned(), MediaRequest::Accept { answer: sdp("a"), provisional: true })]
    );
    phone.clear_output();
    phone.event(ua::Event::Answered { call: "c1".into(), sdp: Some(sdp("b")), early_dialog: None });
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Active);
    let requests = phone.media_requests(1);
    assert!(matches!(requests.last(), Some((_, MediaRequest::Offer { kind: OfferKind::NewConnection, .. }))));
    phone.reply_description(1, "c1", "fresh offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
}

/// The call `c1` with early media of one device.
fn early_media() -> TestCallList {
    let mut phone = dialled(&[("c1", "200")]);
    phone.event(ua::Event::Progress {
        call: "c1".into(),
        status: 183,
        sdp: Some("v=0\r\nm=audio 9 X 0\r\na=ice-ufrag:a\r\n".into()),
        early_dialog: Some("a".into()),
    });
    phone
}

fn media_changed(phone: &mut TestCallList, port: u32, state: MediaState) {
    phone.send(port, ToAgent::MediaChanged { call: "c1".into(), state });
}

#[test]
fn a_page_that_was_reloaded_during_early_media_has_both_ways_to_pick_up_the_answered_call() {
    let mut phone = early_media();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.event(ua::Event::Answered {
        call: "c1".into(),
        sdp: Some("v=0\r\nm=audio 9 X 0\r\na=ice-ufrag:b\r\n".into()),
        early_dialog: None,
    });
    phone.commands();
    phone.reply_description(2, "c1", "fresh offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
    phone.event(refused("c1"));
    phone.reply_description(2, "c1", "second offer");
    phone.replacement();
}

#[test]
fn a_connection_that_fails_before_the_answer_is_restarted_after_it() {
    let mut phone = early_media();
    media_changed(&mut phone, 1, MediaState::Failed);
    phone.advance_time(10_000, &[1]);
    phone.event(answered_by_the_same_device());
    phone.reply_done(1, "c1");
    phone.advance_time(100, &[1]);
    assert!(matches!(
        phone.media_requests(1).last(),
        Some((_, MediaRequest::Offer { kind: OfferKind::RestartIce, .. }))
    ));
}

#[test]
fn early_media_without_dtls_is_watched_after_the_answer() {
    let mut phone = early_media();
    media_changed(&mut phone, 1, MediaState::IceConnected);
    // A far end may begin the handshake only when it answers.
    phone.advance_time(10_000, &[1]);
    phone.event(answered_by_the_same_device());
    phone.reply_done(1, "c1");
    phone.clear_output();
    phone.advance_time(4_000, &[1]);
    assert!(phone.media_requests(1).is_empty());
    phone.advance_time(2_000, &[1]);
    assert!(matches!(
        phone.media_requests(1).last(),
        Some((_, MediaRequest::Offer { kind: OfferKind::NewConnection, .. }))
    ));
}

fn answered_by_the_same_device() -> ua::Event {
    ua::Event::Answered {
        call: "c1".into(),
        sdp: Some("v=0\r\nm=audio 9 X 0\r\na=ice-ufrag:a\r\n".into()),
        early_dialog: None,
    }
}

#[test]
fn a_ringing_call_rings_also_after_early_media() {
    let mut phone = dialled(&[("c1", "200")]);
    let progress = |status, sdp: Option<&str>| ua::Event::Progress {
        call: "c1".into(),
        status,
        sdp: sdp.map(str::to_owned),
        early_dialog: None,
    };
    phone.event(progress(183, Some("early")));
    assert!(!phone.call_snapshot(1, "c1").rings);
    phone.event(progress(180, None));
    let call = phone.call_snapshot(1, "c1");
    assert_eq!((call.state, call.rings), (CallState::EarlyMedia, true));
}
