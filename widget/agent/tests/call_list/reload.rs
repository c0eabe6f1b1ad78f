use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{
    CallState, MediaDirection, MediaRequest, MediaState, OfferKind, OtherCalls, RecordingCommand, RecordingState,
    ToAgent,
};

use crate::test_call_list::TestCallList;

#[test]
fn after_a_reload_the_new_page_takes_the_call_over_with_a_reinvite() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Detach);
    phone.advance_time(800, &[]);
    phone.clear_output();
    phone.attach(2, "a2");
    assert_eq!(
        phone.media_requests(2),
        [(
            "c1".to_owned(),
            MediaRequest::Offer { direction: MediaDirection::SendRecv, kind: OfferKind::NewConnection, codec: None }
        )]
    );
    assert_eq!(phone.call_snapshot(2, "c1").page.as_deref(), Some("a2"));
    phone.reply_description(2, "c1", "fresh offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    assert!(phone.media_requests(2).iter().any(|(_, request)| matches!(request, MediaRequest::Accept { .. })));
    // The new page gets the events of a whole call.
    assert_eq!(phone.event_names(2), ["registered", "started", "answered"]);
    phone.send(2, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.event_names(2), ["ended: Hung up"]);
}

#[test]
fn a_later_offer_begins_with_the_codec_in_use_also_after_a_reload() {
    let offered = |phone: &TestCallList, port| match phone.media_requests(port).pop() {
        Some((_, MediaRequest::Offer { codec, .. })) => codec,
        other => panic!("{other:?}"),
    };
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    assert_eq!(offered(&phone, 1), None);
    phone.reply_description(1, "c1", "v=0\r\nm=audio 9 X 111 0 8\r\na=rtpmap:111 opus/48000/2\r\n");
    let answer = "v=0\r\nm=audio 9 X 0 8\r\n";
    phone.event(ua::Event::Answered { call: "c1".into(), sdp: Some(answer.into()), early_dialog: None });
    phone.reply_done(1, "c1");
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    assert_eq!(offered(&phone, 2).as_deref(), Some("pcmu"));
    phone.reply_description(2, "c1", "fresh offer");
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: answer.into() });
    phone.reply_done(2, "c1");
    // An offer of the far end, which we answer.
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("v=0\r\nm=audio 9 X 8 0\r\n".into()) });
    phone.reply_description(2, "c1", "v=0\r\nm=audio 9 X 8 0\r\n");
    phone.hold(2, "c1", true);
    assert_eq!(offered(&phone, 2).as_deref(), Some("pcma"));
}

#[test]
fn what_a_page_says_of_its_earlier_connection_does_not_count() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.reply_description(2, "c1", "fresh offer");
    phone.event(ua::Event::ReinviteRefused { call: "c1".into(), status: 488, will_retry: false });
    // The page is asked for another connection, and has not made it yet.
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Connected });
    phone.reply_description(2, "c1", "second offer");
    let replacement = phone.replacement();
    phone.event(ua::Event::Ended {
        call: replacement,
        cause: ua::EndCause { by: ua::EndedBy::Remote, text: "Bad extension".into(), sip_code: Some(420) },
    });
    assert!(phone.event_names(2).contains(&"ended: The call could not be resumed".to_owned()));
}

#[test]
fn a_call_on_hold_stays_on_hold_after_a_reload() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach(2, "a2");
    assert!(matches!(
        phone.media_requests(2).as_slice(),
        [(_, MediaRequest::Offer { direction: MediaDirection::SendOnly, .. })]
    ));
}

#[test]
fn a_muted_call_stays_muted_after_a_reload() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Mute { call: "c1".into(), muted: true });
    assert!(phone.call_snapshot(1, "c1").muted);
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach(2, "a2");
    assert!(phone.call_snapshot(2, "c1").muted);
    phone.send(2, ToAgent::Mute { call: "c1".into(), muted: false });
    assert!(!phone.call_snapshot(2, "c1").muted);
}

#[test]
fn a_recording_goes_on_after_a_reload_and_ends_with_its_call() {
    let mut phone = TestCallList::in_call();
    let record = |phone: &mut TestCallList, port, command| {
        phone.send(port, ToAgent::Record { call: "c1".into(), command });
    };
    record(&mut phone, 1, RecordingCommand::Start { id: "r1".into() });
    // A double click.
    record(&mut phone, 1, RecordingCommand::Start { id: "r2".into() });
    assert_eq!(phone.call_snapshot(1, "c1").recording, RecordingState::On { id: "r1".into() });
    record(&mut phone, 1, RecordingCommand::Pause);
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach(2, "a2");
    assert_eq!(phone.call_snapshot(2, "c1").recording, RecordingState::Paused { id: "r1".into() });
    record(&mut phone, 2, RecordingCommand::Start { id: "r3".into() });
    assert_eq!(phone.call_snapshot(2, "c1").recording, RecordingState::On { id: "r1".into() });
    phone.clear_output();
    phone.send(2, ToAgent::HangUp { call: "c1".into() });
    let ended = phone.snapshots(2).into_iter().flat_map(|snapshot| snapshot.calls).next();
    assert_eq!(ended.map(|call| call.recording), Some(RecordingState::Stopped));
}

#[test]
fn only_a_call_that_is_up_is_recorded() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.send(1, ToAgent::Record { call: "c1".into(), command: RecordingCommand::Start { id: "r1".into() } });
    assert_eq!(phone.call_snapshot(1, "c1").recording, RecordingState::Off);
}

#[test]
fn a_reload_before_the_far_end_answers_causes_a_reinvite_after_the_answer() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.reply_description(1, "c1", "offer");
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.clear_output();
    phone.event(ua::Event::Answered {
        call: "c1".into(),
        sdp: Some("answer to the old offer".into()),
        early_dialog: None,
    });
    // The answer to the old page's offer is not sent to the new page.
    assert!(matches!(phone.media_requests(2).as_slice(), [(_, MediaRequest::Offer { .. })]));
    assert_eq!(phone.event_names(2), ["answered"]);
}

#[test]
fn a_reload_before_the_invite_requests_the_offer_from_the_new_page() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.reply_description(2, "c1", "offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Invite { .. }]));
}

#[test]
fn a_reload_while_answering_lets_the_call_ring_again() {
    let mut phone = TestCallList::registered();
    phone.incoming("c1", "102");
    phone.answer(1, "c1", OtherCalls::Hold);
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach(2, "a2");
    assert_eq!(phone.event_names(2), ["registered", "incoming"]);
    assert_eq!(phone.call_snapshot(2, "c1").state, CallState::Incoming);
}

#[test]
fn a_call_ends_15_seconds_after_its_page_when_another_page_is_attached() {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.advance_time(14_000, &[2]);
    assert!(phone.commands().is_empty());
    phone.advance_time(2_000, &[2]);
    assert_eq!(phone.commands(), [Command::HangUp { call: "c1".into() }]);
    assert!(phone.snapshot(2).calls.is_empty());
}

#[test]
fn a_call_ends_60_seconds_after_the_last_page() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Detach);
    phone.advance_time(59_000, &[]);
    assert!(phone.commands().is_empty());
    phone.advance_time(2_000, &[]);
    let commands = phone.commands();
    assert!(commands.contains(&Command::HangUp { call: "c1".into() }));
    assert!(commands.contains(&Command::Unregister));
}

#[test]
fn a_silent_page_that_sends_again_keeps_its_call() {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    phone.advance_time(14_000, &[2]);
    phone.clear_output();
    phone.send(1, ToAgent::Alive { visible: true });
    phone.advance_time(30_000, &[1, 2]);
    assert!(phone.commands().is_empty());
    assert!(phone.media_requests(1).is_empty());
}

#[test]
fn a_call_that_cannot_be_picked_up_in_either_way_ends() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.reply_description(2, "c1", "fresh offer");
    phone.event(ua::Event::ReinviteRefused { call: "c1".into(), status: 488, will_retry: false });
    phone.reply_description(2, "c1", "second offer");
    let replacement = phone.replacement();
    phone.event(ua::Event::Ended {
        call: replacement,
        cause: ua::EndCause { by: ua::EndedBy::Remote, text: "Bad extension".into(), sip_code: Some(420) },
    });
    assert!(phone.event_names(2).contains(&"ended: The call could not be resumed".to_owned()));
    assert_eq!(phone.commands(), [Command::HangUp { call: "c1".into() }]);
}

/// The call `c1` after a reload, whose re-INVITE the server answers without a second DTLS handshake.
fn picked_up_without_dtls(answer: &str) -> TestCallList {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "a2");
    phone.reply_description(2, "c1", "fresh offer");
    phone.clear_output();
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: answer.into() });
    phone
}

fn is_new_connection(requests: &[(String, MediaRequest)]) -> bool {
    matches!(requests.last(), Some((_, MediaRequest::Offer { kind: OfferKind::NewConnection, .. })))
}

#[test]
fn a_server_that_keeps_its_dtls_association_gets_an_invite_with_replaces() {
    let mut phone = picked_up_without_dtls("v=0\r\nm=audio 9 X 0\r\na=connection:existing\r\n");
    assert!(is_new_connection(&phone.media_requests(2)));
    phone.reply_description(2, "c1", "second offer");
    let replacement = phone.replacement();
    // The server ends the old dialog before it answers.
    phone.event(ua::Event::Ended {
        call: "c1".into(),
        cause: ua::EndCause { by: ua::EndedBy::Remote, text: "Remote hung up".into(), sip_code: None },
    });
    phone.event_names(2);
    phone.event(ua::Event::Answered { call: replacement.clone(), sdp: Some("answer".into()), early_dialog: None });
    phone.reply_done(2, "c1");
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Connected });
    assert!(phone.event_names(2).is_empty(), "the call goes on");
    phone.hold(2, "c1", true);
    phone.reply_description(2, "c1", "hold offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { call, .. }] if *call == replacement));
    phone.send(2, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.commands(), [Command::HangUp { call: replacement }]);
}

#[test]
fn a_picked_up_call_without_dtls_a_second_after_ice_gets_an_invite_with_replaces() {
    let mut phone = picked_up_without_dtls("answer");
    phone.reply_done(2, "c1");
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::IceConnected });
    phone.clear_output();
    phone.advance_time(2_000, &[2]);
    assert!(is_new_connection(&phone.media_requests(2)));
    phone.reply_description(2, "c1", "second offer");
    let replacement = phone.replacement();
    phone.event(ua::Event::Answered { call: replacement, sdp: Some("answer".into()), early_dialog: None });
    phone.reply_done(2, "c1");
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Connected });
    // The replaced dialog is ended from our side if the server does not end it.
    phone.commands();
    phone.advance_time(6_000, &[2]);
    assert_eq!(phone.commands(), [Command::HangUp { call: "c1".into() }]);
    // The next reload uses Replaces at once.
    phone.send(2, ToAgent::Detach);
    phone.attach(3, "a3");
    phone.reply_description(3, "c1", "third offer");
    assert!(phone.commands().iter().any(|command| matches!(command, Command::Replace { .. })));
}

#[test]
fn a_picked_up_call_that_stays_without_sound_ends() {
    let mut phone = picked_up_without_dtls("answer");
    phone.reply_done(2, "c1");
    phone.advance_time(11_000, &[2]);
    phone.reply_description(2, "c1", "second offer");
    let replacement = phone.replacement();
    phone.event(ua::Event::Answered { call: replacement, sdp: Some("answer".into()), early_dialog: None });
    phone.reply_done(2, "c1");
    phone.advance_time(30_000, &[2]);
    assert!(phone.event_names(2).contains(&"ended: The call could not be resumed".to_owned()));
}
