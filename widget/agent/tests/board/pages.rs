use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{CallState, OtherCalls, ToAgent};

use crate::desk::Desk;

fn two_pages() -> Desk {
    let mut desk = Desk::registered();
    desk.attach(2, "b");
    desk.forget();
    desk
}

#[test]
fn an_incoming_call_is_told_to_every_page_and_one_may_ring() {
    let mut desk = two_pages();
    desk.incoming("c1", "102");
    assert_eq!(desk.heard(1), ["incoming"]);
    assert_eq!(desk.heard(2), ["incoming"]);
    assert_eq!(desk.snapshot(1).ringer.as_deref(), Some("b"));
    desk.say(2, ToAgent::Alive { visible: false });
    assert_eq!(desk.snapshot(1).ringer.as_deref(), Some("a"));
}

#[test]
fn answered_on_one_page_the_others_are_told_once_that_it_is_over_for_them() {
    let mut desk = two_pages();
    desk.incoming("c1", "102");
    desk.answer(1, "c1", OtherCalls::Hold);
    desk.heard(1);
    desk.heard(2);
    // Answering again from the other page comes too late.
    desk.answer(2, "c1", OtherCalls::Hold);
    assert_eq!(desk.heard(2), ["refused: NOT_RINGING"]);
    desk.describe(1, "c1", "answer");
    assert_eq!(desk.heard(2), ["ended: Answered elsewhere"]);
    desk.confirmed("c1");
    assert_eq!(desk.heard(1), ["answered"]);
    desk.say(1, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(desk.heard(1), ["ended: Hung up"]);
    assert!(desk.heard(2).is_empty());
}

#[test]
fn a_call_the_caller_gives_up_ends_on_every_page() {
    let mut desk = two_pages();
    desk.incoming("c1", "102");
    desk.heard(1);
    desk.heard(2);
    desk.event(ua::Event::Ended {
        call: "c1".into(),
        cause: ua::Cause { by: ua::EndedBy::Remote, words: "Cancelled".into(), sip_code: None },
    });
    assert_eq!(desk.heard(1), ["ended: Cancelled"]);
    assert_eq!(desk.heard(2), ["ended: Cancelled"]);
}

#[test]
fn a_call_belongs_to_the_page_that_placed_it() {
    let mut desk = two_pages();
    desk.call(1, "c1", "102");
    assert_eq!(desk.heard(1), ["started"]);
    assert!(desk.heard(2).is_empty());
    assert!(desk.asks(2).is_empty());
    assert_eq!(desk.shown(2, "c1").page.as_deref(), Some("a"));
    // Any page of the person may end it.
    desk.say(2, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(desk.heard(1), ["ended: Cancelled"]);
    assert!(desk.heard(2).is_empty());
}

#[test]
fn a_page_that_comes_late_learns_everything_at_once() {
    let mut desk = Desk::registered();
    desk.incoming("c1", "102");
    desk.forget();
    desk.attach(2, "b");
    assert_eq!(desk.heard(2), ["registered", "incoming"]);
    assert_eq!(desk.shown(2, "c1").state, CallState::Incoming);
}

#[test]
fn the_reply_of_another_page_is_dropped() {
    let mut desk = two_pages();
    desk.call(1, "c1", "102");
    let request = desk.request(1, "c1");
    let sdp = "stolen".to_owned();
    desk.reply_to(2, "c1", request, bitcall_wire::agent_protocol::MediaReply::Description { sdp });
    assert!(desk.commands().is_empty());
    desk.describe(1, "c1", "offer");
    assert!(matches!(desk.commands().as_slice(), [Command::Invite { .. }]));
}

#[test]
fn nobody_left_for_fifteen_seconds_signs_out_and_ends() {
    let mut desk = Desk::registered();
    desk.say(1, ToAgent::Detach);
    desk.pass(14_000, &[]);
    assert!(desk.commands().is_empty());
    desk.pass(2_000, &[]);
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    assert!(desk.finished());
}

#[test]
fn a_page_that_comes_back_in_time_keeps_the_registration() {
    let mut desk = Desk::registered();
    desk.say(1, ToAgent::Detach);
    desk.pass(14_000, &[]);
    desk.attach(2, "b");
    desk.pass(60_000, &[2]);
    assert!(desk.commands().is_empty());
    assert!(desk.starts().is_empty());
}

#[test]
fn a_frozen_page_that_wakes_up_is_still_a_page() {
    let mut desk = two_pages();
    desk.pass(20_000, &[2]);
    desk.incoming("c1", "102");
    assert!(desk.heard(1).is_empty());
    desk.say(1, ToAgent::Alive { visible: true });
    assert!(desk.snapshots(1).iter().any(|s| !s.calls.is_empty()));
    desk.answer(1, "c1", OtherCalls::Hold);
    assert!(!desk.asks(1).is_empty());
}
