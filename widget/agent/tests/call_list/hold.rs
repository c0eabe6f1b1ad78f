use bitcall_sip::ua::{self, Command, OfferReason};
use bitcall_wire::agent_protocol::{
    HoldState, MediaDirection, MediaRequest, MediaState, OfferKind, OtherCalls, ToAgent,
};

use crate::test_call_list::TestCallList;

fn reinvite_accepted(call: &str) -> ua::Event {
    ua::Event::ReinviteAccepted { call: call.into(), sdp: "answer".into() }
}

fn reinvite_refused(call: &str, status: u16, will_retry: bool) -> ua::Event {
    ua::Event::ReinviteRefused { call: call.into(), status, will_retry }
}

#[test]
fn a_call_is_held_only_after_the_far_end_accepts_the_offer() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Holding);
    assert_eq!(
        phone.media_requests(1),
        [(
            "c1".to_owned(),
            MediaRequest::Offer { direction: MediaDirection::SendOnly, kind: OfferKind::Current, codec: None }
        )]
    );
    phone.reply_description(1, "c1", "hold offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Holding);
    phone.event(reinvite_accepted("c1"));
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
    phone.reply_done(1, "c1");
    phone.hold(1, "c1", false);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Resuming);
    phone.reply_description(1, "c1", "resume offer");
    phone.event(reinvite_accepted("c1"));
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::None);
}

#[test]
fn a_refused_hold_leaves_the_call_held_on_our_side() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.clear_output();
    phone.event(reinvite_refused("c1", 488, false));
    assert_eq!(phone.event_names(1), ["hold failed"]);
    let held = phone.call_snapshot(1, "c1");
    assert_eq!((held.hold, held.voice), (HoldState::HeldHere, false));
    assert_eq!(phone.media_requests(1), [("c1".to_owned(), MediaRequest::RollBack)]);
    // It is not repeated.
    assert!(phone.commands().is_empty());
    // The far end never agreed to the hold, so nothing must be agreed to resume.
    phone.clear_output();
    phone.hold(1, "c1", false);
    let resumed = phone.call_snapshot(1, "c1");
    assert_eq!((resumed.hold, resumed.voice), (HoldState::None, true));
    assert!(phone.media_requests(1).is_empty());
}

#[test]
fn a_refused_resume_leaves_the_call_on_hold() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.event(reinvite_accepted("c1"));
    phone.reply_done(1, "c1");
    phone.hold(1, "c1", false);
    let resuming = phone.call_snapshot(1, "c1");
    assert_eq!((resuming.hold, resuming.voice), (HoldState::Resuming, false));
    phone.reply_description(1, "c1", "resume offer");
    phone.clear_output();
    phone.event(reinvite_refused("c1", 403, false));
    assert_eq!(phone.event_names(1), ["hold failed"]);
    let held = phone.call_snapshot(1, "c1");
    assert_eq!((held.hold, held.voice), (HoldState::Held, false));
}

#[test]
fn after_glare_the_offer_has_the_latest_requested_direction() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.event(reinvite_refused("c1", 491, true));
    // The person resumes while both sides wait.
    phone.hold(1, "c1", false);
    phone.clear_output();
    phone.event(ua::Event::OfferNeeded { call: "c1".into(), reason: OfferReason::Glare });
    assert_eq!(
        phone.media_requests(1),
        [(
            "c1".to_owned(),
            MediaRequest::Offer { direction: MediaDirection::SendRecv, kind: OfferKind::Current, codec: None }
        )]
    );
}

#[test]
fn a_resume_during_a_hold_offer_is_sent_as_a_second_offer() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.hold(1, "c1", false);
    phone.reply_description(1, "c1", "hold offer");
    phone.clear_output();
    phone.event(reinvite_accepted("c1"));
    phone.reply_done(1, "c1");
    let requests: Vec<_> = phone.media_requests(1).into_iter().map(|(_, request)| request).collect();
    assert!(matches!(
        requests.as_slice(),
        [MediaRequest::Accept { .. }, MediaRequest::Offer { direction: MediaDirection::SendRecv, .. }]
    ));
}

#[test]
fn a_hold_by_the_far_end_is_answered_and_reported() {
    let mut phone = TestCallList::in_call();
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("v=0\r\nm=audio 9 X 0\r\na=sendonly\r\n".into()) });
    assert!(phone.call_snapshot(1, "c1").remote_held);
    phone.reply_description(1, "c1", "our answer");
    assert_eq!(phone.commands(), [Command::AnswerOffer { call: "c1".into(), sdp: "our answer".into() }]);
}

#[test]
fn a_remote_offer_cancels_a_local_offer_that_is_not_sent_yet() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    let ours = phone.request_id(1, "c1");
    phone.clear_output();
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("their offer".into()) });
    let requests: Vec<_> = phone.media_requests(1).into_iter().map(|(_, request)| request).collect();
    assert!(matches!(requests.as_slice(), [MediaRequest::RollBack, MediaRequest::Answer { .. }]));
    let theirs = phone.request_id(1, "c1");
    let sdp = |text: &str| bitcall_wire::agent_protocol::MediaReply::Description { sdp: text.into() };
    phone.reply_to(1, "c1", ours, sdp("too late"));
    assert!(phone.commands().is_empty());
    phone.reply_to(1, "c1", theirs, sdp("our answer"));
    assert!(matches!(phone.commands().as_slice(), [Command::AnswerOffer { .. }]));
}

/// A call whose ICE failed, with an offer with an ICE restart requested from the page.
fn restarting() -> TestCallList {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Failed });
    assert_eq!(phone.media_requests(1), [restart()]);
    phone
}

fn restart() -> (String, MediaRequest) {
    (
        "c1".to_owned(),
        MediaRequest::Offer { direction: MediaDirection::SendRecv, kind: OfferKind::RestartIce, codec: None },
    )
}

#[test]
fn an_ice_restart_refused_with_491_is_repeated_as_an_ice_restart() {
    let mut phone = restarting();
    phone.reply_description(1, "c1", "restart offer");
    phone.event(reinvite_refused("c1", 491, true));
    phone.clear_output();
    phone.event(ua::Event::OfferNeeded { call: "c1".into(), reason: OfferReason::Glare });
    assert_eq!(phone.media_requests(1), [restart()]);
}

#[test]
fn an_ice_restart_interrupted_by_a_remote_offer_follows_its_answer() {
    let mut phone = restarting();
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("their offer".into()) });
    let theirs = phone.request_id(1, "c1");
    phone.clear_output();
    let sdp = bitcall_wire::agent_protocol::MediaReply::Description { sdp: "our answer".into() };
    phone.reply_to(1, "c1", theirs, sdp);
    assert_eq!(phone.media_requests(1), [restart()]);
}

#[test]
fn an_accepted_ice_restart_is_not_repeated() {
    let mut phone = restarting();
    phone.reply_description(1, "c1", "restart offer");
    phone.event(reinvite_accepted("c1"));
    phone.reply_done(1, "c1");
    phone.hold(1, "c1", true);
    assert!(phone.media_requests(1).contains(&(
        "c1".to_owned(),
        MediaRequest::Offer { direction: MediaDirection::SendOnly, kind: OfferKind::Current, codec: None }
    )));
}

#[test]
fn hold_and_answer_holds_the_active_call_and_activates_the_new_one() {
    let mut phone = TestCallList::in_call();
    phone.incoming("c2", "103");
    phone.answer(1, "c2", OtherCalls::Hold);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Holding);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c2"));
    phone.reply_description(1, "c2", "answer");
    phone.confirmed("c2");
    // Resuming the first call puts the second one on hold.
    phone.hold(1, "c1", false);
    assert_eq!(phone.call_snapshot(1, "c2").hold, HoldState::Holding);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c1"));
}

#[test]
fn a_hold_that_the_page_does_not_offer_in_time_applies_on_our_side() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.clear_output();
    phone.advance_time(21_000, &[1]);
    assert_eq!(phone.event_names(1), ["hold failed"]);
    let held = phone.call_snapshot(1, "c1");
    assert_eq!((held.hold, held.voice), (HoldState::HeldHere, false));
}

#[test]
fn recovery_restarts_ice_and_keeps_the_call_on_hold() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.event(reinvite_accepted("c1"));
    phone.reply_done(1, "c1");
    phone.event(ua::Event::Detached { call: "c1".into() });
    assert!(phone.call_snapshot(1, "c1").detached);
    phone.clear_output();
    phone.event(ua::Event::Attached { call: "c1".into() });
    phone.event(ua::Event::OfferNeeded { call: "c1".into(), reason: OfferReason::Recovery });
    assert_eq!(
        phone.media_requests(1),
        [(
            "c1".to_owned(),
            MediaRequest::Offer { direction: MediaDirection::SendOnly, kind: OfferKind::RestartIce, codec: None }
        )]
    );
    assert!(!phone.call_snapshot(1, "c1").detached);
}

#[test]
fn failed_ice_is_restarted_and_a_short_disconnection_is_not() {
    let changed = |state| ToAgent::MediaChanged { call: "c1".into(), state };
    let mut phone = TestCallList::in_call();
    phone.send(1, changed(MediaState::Disconnected));
    phone.advance_time(1_000, &[1]);
    phone.send(1, changed(MediaState::Connected));
    phone.advance_time(5_000, &[1]);
    assert!(phone.media_requests(1).is_empty());
    phone.send(1, changed(MediaState::Failed));
    assert!(matches!(
        phone.media_requests(1).as_slice(),
        [(_, MediaRequest::Offer { kind: OfferKind::RestartIce, .. })]
    ));
}

#[test]
fn end_and_answer_leaves_the_calls_on_hold_as_they_are() {
    let mut phone = TestCallList::in_call();
    phone.call(1, "c2", "103");
    phone.reply_description(1, "c1", "hold offer");
    phone.event(reinvite_accepted("c1"));
    phone.establish("c2");
    phone.incoming("c3", "104");
    phone.answer(1, "c3", OtherCalls::End);
    phone.reply_description(1, "c3", "answer");
    phone.confirmed("c3");
    phone.commands();
    phone.send(1, ToAgent::MediaChanged { call: "c3".into(), state: MediaState::Connected });
    assert_eq!(phone.commands(), [Command::HangUp { call: "c2".into() }]);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
}
