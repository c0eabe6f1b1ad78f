use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{CallState, OtherCalls, ToAgent};

use crate::test_call_list::TestCallList;

fn two_pages() -> TestCallList {
    let mut phone = TestCallList::registered();
    phone.attach(2, "b");
    phone.clear_output();
    phone
}

#[test]
fn an_incoming_call_is_sent_to_every_page_and_one_is_the_ringer() {
    let mut phone = two_pages();
    phone.incoming("c1", "102");
    assert_eq!(phone.event_names(1), ["incoming"]);
    assert_eq!(phone.event_names(2), ["incoming"]);
    assert_eq!(phone.snapshot(1).ringer.as_deref(), Some("b"));
    phone.send(2, ToAgent::Alive { visible: false });
    assert_eq!(phone.snapshot(1).ringer.as_deref(), Some("a"));
}

#[test]
fn pages_that_the_person_sees_get_the_offer_of_a_ringing_call() {
    let mut phone = two_pages();
    phone.send(1, ToAgent::Alive { visible: false });
    phone.incoming("c1", "102");
    assert_eq!(phone.ringing_offers(1), [""; 0], "page 1 is hidden");
    assert_eq!(phone.ringing_offers(2), ["their offer"]);
    assert!(phone.media_requests(2).is_empty(), "nobody has answered");
    phone.answer(2, "c1", OtherCalls::Hold);
    phone.attach(3, "c");
    assert_eq!(phone.ringing_offers(3), [""; 0], "the call rings no more");
}

#[test]
fn a_call_answered_on_one_page_ends_once_on_the_others() {
    let mut phone = two_pages();
    phone.incoming("c1", "102");
    phone.answer(1, "c1", OtherCalls::Hold);
    phone.event_names(1);
    phone.event_names(2);
    // Another page can no longer answer it.
    phone.answer(2, "c1", OtherCalls::Hold);
    assert_eq!(phone.event_names(2), ["refused: NOT_RINGING"]);
    phone.reply_description(1, "c1", "answer");
    assert_eq!(phone.event_names(2), ["ended: Answered elsewhere"]);
    phone.confirmed("c1");
    assert_eq!(phone.event_names(1), ["answered"]);
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.event_names(1), ["ended: Hung up"]);
    assert!(phone.event_names(2).is_empty());
}

#[test]
fn a_call_cancelled_by_the_caller_ends_on_every_page() {
    let mut phone = two_pages();
    phone.incoming("c1", "102");
    phone.event_names(1);
    phone.event_names(2);
    phone.event(ua::Event::Ended {
        call: "c1".into(),
        cause: ua::EndCause { by: ua::EndedBy::Remote, text: "Cancelled".into(), sip_code: None },
    });
    assert_eq!(phone.event_names(1), ["ended: Cancelled"]);
    assert_eq!(phone.event_names(2), ["ended: Cancelled"]);
}

#[test]
fn call_events_and_media_requests_go_to_the_page_that_placed_the_call() {
    let mut phone = two_pages();
    phone.call(1, "c1", "102");
    assert_eq!(phone.event_names(1), ["started"]);
    assert!(phone.event_names(2).is_empty());
    assert!(phone.media_requests(2).is_empty());
    assert_eq!(phone.call_snapshot(2, "c1").page.as_deref(), Some("a"));
    // Any page of the person may end it.
    phone.send(2, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.event_names(1), ["ended: Cancelled"]);
    assert!(phone.event_names(2).is_empty());
}

#[test]
fn a_page_that_attaches_later_gets_the_registration_and_ringing_calls() {
    let mut phone = TestCallList::registered();
    phone.incoming("c1", "102");
    phone.clear_output();
    phone.attach(2, "b");
    assert_eq!(phone.event_names(2), ["registered", "incoming"]);
    assert_eq!(phone.call_snapshot(2, "c1").state, CallState::Incoming);
}

#[test]
fn a_media_reply_from_another_page_is_ignored() {
    let mut phone = two_pages();
    phone.call(1, "c1", "102");
    let request_id = phone.request_id(1, "c1");
    let sdp = "stolen".to_owned();
    phone.reply_to(2, "c1", request_id, bitcall_wire::agent_protocol::MediaReply::Description { sdp });
    assert!(phone.commands().is_empty());
    phone.reply_description(1, "c1", "offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Invite { .. }]));
}

#[test]
fn the_agent_signs_out_and_finishes_after_15_seconds_without_a_page() {
    let mut phone = TestCallList::registered();
    phone.send(1, ToAgent::Detach);
    phone.advance_time(14_000, &[]);
    assert!(phone.commands().is_empty());
    phone.advance_time(2_000, &[]);
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    assert!(phone.finished());
}

#[test]
fn a_page_that_attaches_within_15_seconds_keeps_the_registration() {
    let mut phone = TestCallList::registered();
    phone.send(1, ToAgent::Detach);
    phone.advance_time(14_000, &[]);
    phone.attach(2, "b");
    phone.advance_time(60_000, &[2]);
    assert!(phone.commands().is_empty());
    assert!(phone.started_configs().is_empty());
}

#[test]
fn a_silent_page_that_sends_again_is_attached_again() {
    let mut phone = two_pages();
    phone.advance_time(20_000, &[2]);
    phone.incoming("c1", "102");
    assert!(phone.event_names(1).is_empty());
    phone.send(1, ToAgent::Alive { visible: true });
    assert!(phone.snapshots(1).iter().any(|s| !s.calls.is_empty()));
    phone.answer(1, "c1", OtherCalls::Hold);
    assert!(!phone.media_requests(1).is_empty());
}
