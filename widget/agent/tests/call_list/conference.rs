//! Calls that talk together.

use bitcall_sip::ua::{self, Command, EndCause, EndedBy};
use bitcall_wire::agent_protocol::{CallOptions, HoldState, MediaRequest, OtherCalls, Party, ToAgent};

use crate::test_call_list::TestCallList;

/// Page `a` with three calls: `c3` talks, `c1` and `c2` are on hold.
fn three_calls() -> TestCallList {
    let mut phone = TestCallList::new();
    phone.max_sessions = 0;
    phone.attach(1, "a");
    phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
    for (call, number, talks) in [("c1", "201", None), ("c2", "202", Some("c1")), ("c3", "203", Some("c2"))] {
        phone.call(1, call, number);
        if let Some(talks) = talks {
            agree(&mut phone, talks);
        }
        phone.establish(call);
    }
    phone
}

/// All three in conference, with empty output.
fn conference() -> TestCallList {
    let mut phone = three_calls();
    for call in ["c1", "c2"] {
        merge(&mut phone, call, "c3");
        agree(&mut phone, call);
    }
    assert_eq!(voices(&phone), ["c1", "c2", "c3"]);
    phone.commands();
    phone
}

/// The page makes the offer that was requested, and the far end agrees.
fn agree(phone: &mut TestCallList, call: &str) {
    phone.reply_description(1, call, "offer");
    phone.event(ua::Event::ReinviteAccepted { call: call.into(), sdp: "answer".into() });
    phone.reply_done(1, call);
}

fn merge(phone: &mut TestCallList, call: &str, into: &str) {
    phone.send(1, ToAgent::Merge { call: call.into(), into: into.into() });
}

fn split(phone: &mut TestCallList, call: &str, held: bool) {
    phone.send(1, ToAgent::Split { call: call.into(), held });
}

fn hang_up(phone: &mut TestCallList, call: &str) {
    phone.send(1, ToAgent::HangUp { call: call.into() });
}

fn voices(phone: &TestCallList) -> Vec<String> {
    phone.snapshot(1).calls.into_iter().filter(|call| call.voice).map(|call| call.id).collect()
}

fn parties(phone: &TestCallList) -> Vec<String> {
    phone.snapshot(1).conference.into_iter().map(|party| party.call).collect()
}

fn held(phone: &TestCallList) -> Vec<String> {
    let calls = phone.snapshot(1).calls.into_iter().filter(|call| call.hold != HoldState::None);
    calls.map(|call| call.id).collect()
}

fn ends(phone: &mut TestCallList, call: &str) {
    let cause = EndCause { by: EndedBy::Remote, text: String::new(), sip_code: None };
    phone.event(ua::Event::Ended { call: call.into(), cause });
}

#[test]
fn a_merged_call_talks_with_the_others_when_its_far_end_has_agreed_to_resume() {
    let mut phone = three_calls();
    merge(&mut phone, "c1", "c3");
    assert_eq!((voices(&phone), parties(&phone)), (vec!["c3".into()], vec!["c3".into(), "c1".into()]));
    agree(&mut phone, "c1");
    assert_eq!(voices(&phone), ["c1", "c3"]);
    // By either name of the conference, and the second click is no error.
    merge(&mut phone, "c1", "c2");
    merge(&mut phone, "c1", "c2");
    agree(&mut phone, "c2");
    assert_eq!((voices(&phone).len(), parties(&phone)), (3, vec!["c3".into(), "c1".into(), "c2".into()]));
    assert!(phone.event_names(1).is_empty());
}

#[test]
fn the_whole_conference_is_held_and_resumed() {
    let mut phone = conference();
    phone.hold(1, "c1", true);
    assert_eq!((voices(&phone).len(), held(&phone).len(), parties(&phone).len()), (0, 3, 3));
    for call in ["c1", "c2", "c3"] {
        agree(&mut phone, call);
    }
    phone.hold(1, "c2", false);
    for call in ["c1", "c2", "c3"] {
        agree(&mut phone, call);
    }
    assert_eq!(voices(&phone), ["c1", "c2", "c3"]);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c2"));
}

#[test]
fn a_call_that_is_placed_or_answered_puts_the_conference_on_hold_and_it_is_taken_back_as_one() {
    let mut phone = conference();
    phone.call(1, "c4", "204");
    assert_eq!((voices(&phone), held(&phone).len()), (vec!["c4".into()], 3));
    for call in ["c1", "c2", "c3"] {
        agree(&mut phone, call);
    }
    phone.hold(1, "c1", false);
    for call in ["c1", "c2", "c3"] {
        agree(&mut phone, call);
    }
    assert_eq!(voices(&phone), ["c1", "c2", "c3"]);
    phone.incoming("c5", "205");
    phone.answer(1, "c5", OtherCalls::Hold);
    assert_eq!((voices(&phone), parties(&phone).len()), (vec!["c5".into()], 3));
}

#[test]
fn one_party_is_taken_aside_and_the_others_wait() {
    let mut phone = conference();
    split(&mut phone, "c1", false);
    split(&mut phone, "c1", false);
    assert_eq!(voices(&phone), ["c1"]);
    assert_eq!((held(&phone), parties(&phone)), (vec!["c2".into(), "c3".into()], vec!["c3".into(), "c2".into()]));
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c1"));
    assert!(phone.event_names(1).is_empty());
    for call in ["c2", "c3"] {
        agree(&mut phone, call);
    }
    // The others come back as one.
    phone.hold(1, "c3", false);
    for call in ["c2", "c3"] {
        agree(&mut phone, call);
    }
    assert_eq!((voices(&phone), held(&phone)), (vec!["c2".into(), "c3".into()], vec!["c1".into()]));
}

#[test]
fn one_party_waits_and_the_others_talk_on() {
    let mut phone = conference();
    split(&mut phone, "c3", true);
    assert_eq!((voices(&phone), held(&phone)), (vec!["c1".into(), "c2".into()], vec!["c3".into()]));
    assert_ne!(phone.snapshot(1).active.as_deref(), Some("c3"), "the conversation stays on the screen");
    split(&mut phone, "c2", true);
    assert_eq!((voices(&phone), parties(&phone).len()), (vec!["c1".into()], 0));
}

#[test]
fn parties_that_end_leave_the_others_talking_and_the_last_one_is_an_ordinary_call() {
    let mut phone = conference();
    phone.send(1, ToAgent::MuteParty { call: "c1".into(), muted: true });
    assert_eq!(phone.snapshot(1).conference.last(), Some(&Party { call: "c2".into(), muted: false }));
    assert_eq!(phone.snapshot(1).conference.get(1), Some(&Party { call: "c1".into(), muted: true }));
    ends(&mut phone, "c3");
    assert_eq!((voices(&phone), parties(&phone)), (vec!["c1".into(), "c2".into()], vec!["c1".into(), "c2".into()]));
    phone.commands();
    hang_up(&mut phone, "c2");
    assert_eq!(phone.commands(), [Command::HangUp { call: "c2".into() }]);
    assert_eq!((voices(&phone), parties(&phone)), (vec!["c1".into()], vec![]));
    // It may be merged anew, and is heard then.
    phone.call(1, "c4", "204");
    agree(&mut phone, "c1");
    phone.establish("c4");
    merge(&mut phone, "c1", "c4");
    assert!(phone.snapshot(1).conference.iter().all(|party| !party.muted));
}

#[test]
fn a_held_call_that_was_selected_before_does_not_take_the_screen_when_a_party_ends() {
    let mut phone = conference();
    phone.call(1, "c4", "204");
    for call in ["c1", "c2", "c3"] {
        agree(&mut phone, call);
    }
    phone.establish("c4");
    phone.hold(1, "c1", false);
    ends(&mut phone, "c1");
    let active = phone.snapshot(1).active;
    assert!(active.as_deref().is_some_and(|active| ["c2", "c3"].contains(&active)), "{active:?}");
}

#[test]
fn end_and_answer_ends_all_parties_when_the_new_call_has_its_media() {
    let mut phone = conference();
    phone.incoming("c4", "204");
    phone.answer(1, "c4", OtherCalls::End);
    phone.reply_description(1, "c4", "answer");
    phone.confirmed("c4");
    phone.commands();
    let state = bitcall_wire::agent_protocol::MediaState::Connected;
    phone.send(1, ToAgent::MediaChanged { call: "c4".into(), state });
    let ended = ["c3", "c1", "c2"].map(|call| Command::HangUp { call: call.into() });
    assert_eq!(phone.commands(), ended);
}

#[test]
fn a_party_that_is_transferred_leaves_the_conference() {
    let mut phone = conference();
    phone.send(1, ToAgent::Transfer { call: "c1".into(), target: "300".into() });
    assert_eq!((voices(&phone), parties(&phone)), (vec!["c2".into(), "c3".into()], vec!["c3".into(), "c2".into()]));
    agree(&mut phone, "c1");
    assert!(phone.commands().iter().any(|command| matches!(command, Command::Transfer { call, .. } if call == "c1")));
    // If it fails, the call waits: another conversation goes on.
    let progress = ua::TransferProgress::Failed(ua::TransferFailure::NoResult);
    phone.event(ua::Event::Transfer { call: "c1".into(), progress });
    assert_eq!((voices(&phone), held(&phone)), (vec!["c2".into(), "c3".into()], vec!["c1".into()]));
}

#[test]
fn a_party_that_refers_us_to_somebody_else_leaves_the_conference() {
    let mut phone = conference();
    let target = ua::RemoteParty { number: "300".into(), ..ua::RemoteParty::default() };
    phone.event(ua::Event::Referred { call: "c1".into(), target, is_allowed: true });
    assert_eq!((voices(&phone), parties(&phone)), (vec!["c2".into(), "c3".into()], vec!["c3".into(), "c2".into()]));
}

#[test]
fn a_party_whose_far_end_refuses_to_resume_waits_while_the_others_talk() {
    let mut phone = three_calls();
    merge(&mut phone, "c1", "c3");
    phone.reply_description(1, "c1", "offer");
    phone.event(ua::Event::ReinviteRefused { call: "c1".into(), status: 488, will_retry: false });
    assert_eq!(phone.event_names(1), ["hold failed"]);
    assert_eq!((voices(&phone), parties(&phone).len()), (vec!["c3".into()], 2));
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
}

#[test]
fn the_conference_follows_its_page_over_a_reload() {
    let mut phone = conference();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "b");
    let snapshot = phone.snapshot(2);
    assert_eq!(snapshot.conference.len(), 3);
    assert!(snapshot.calls.iter().all(|call| call.voice && call.page.as_deref() == Some("b")), "{snapshot:?}");
    let renewed = phone.media_requests(2).into_iter().filter(|(_, request)| {
        matches!(request, MediaRequest::Offer { kind: bitcall_wire::agent_protocol::OfferKind::NewConnection, .. })
    });
    assert_eq!(renewed.count(), 3);
}

#[test]
fn the_microphone_is_muted_in_all_calls_of_the_conference() {
    let mut phone = three_calls();
    phone.send(1, ToAgent::Mute { call: "c3".into(), muted: true });
    merge(&mut phone, "c1", "c3");
    agree(&mut phone, "c1");
    let muted = |phone: &TestCallList| {
        let calls = phone.snapshot(1).calls.into_iter().filter(|call| call.muted);
        calls.map(|call| call.id).collect::<Vec<_>>()
    };
    assert_eq!(muted(&phone), ["c1", "c3"]);
    phone.send(1, ToAgent::Mute { call: "c1".into(), muted: false });
    assert_eq!(muted(&phone), Vec::<String>::new());
}

#[test]
fn who_was_asked_first_is_asked_no_more_when_all_talk_together() {
    let mut phone = three_calls();
    let options = CallOptions { consults_for: Some("c3".into()), ..CallOptions::default() };
    phone.send(1, ToAgent::Call { call: "c4".into(), number: "204".into(), options, offer: None });
    agree(&mut phone, "c3");
    phone.establish("c4");
    merge(&mut phone, "c3", "c4");
    assert_eq!(phone.call_snapshot(1, "c4").consults_for, None);
}

#[test]
fn calls_that_cannot_talk_together_are_not_merged_and_stay_as_they_are() {
    let mut phone = three_calls();
    phone.attach(2, "b");
    phone.call(2, "c4", "204");
    phone.incoming("c5", "205");
    phone.clear_output();
    for (call, refusal) in [("c4", "NOT_ACTIVE"), ("c5", "NOT_ACTIVE"), ("c6", "UNKNOWN_CALL")] {
        merge(&mut phone, "c1", call);
        assert_eq!(phone.event_names(1), [format!("refused: {refusal}")], "{call}");
    }
    phone.call(1, "c7", "207");
    phone.establish("c7");
    phone.send(2, ToAgent::HangUp { call: "c4".into() });
    merge(&mut phone, "c1", "c2");
    for call in ["c1", "c2"] {
        agree(&mut phone, call);
    }
    merge(&mut phone, "c3", "c7");
    assert_eq!(phone.event_names(1).pop().as_deref(), Some("refused: CONFERENCE_EXISTS"));
    assert_eq!((voices(&phone), parties(&phone).len()), (vec!["c1".into(), "c2".into()], 2));
}

#[test]
fn a_call_of_another_page_is_not_merged() {
    let mut phone = three_calls();
    phone.attach(2, "b");
    phone.call(2, "c4", "204");
    phone.reply_description(2, "c4", "offer");
    phone.event(ua::Event::Answered { call: "c4".into(), sdp: Some("answer".into()), early_dialog: None });
    phone.clear_output();
    merge(&mut phone, "c1", "c4");
    assert_eq!(phone.event_names(1), ["refused: ANOTHER_PAGE"]);
    assert!(phone.commands().is_empty());
}
