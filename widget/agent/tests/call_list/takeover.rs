//! A page takes a call over from another one that is still there.

use bitcall_agent::PortId;
use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{
    HoldState, MediaDirection, MediaRequest, MediaState, OfferKind, OtherCalls, ToAgent,
};

use crate::test_call_list::TestCallList;

fn take_over(phone: &mut TestCallList, port: PortId) {
    phone.send(port, ToAgent::TakeOver { call: "c1".into() });
}

/// Page 1 has a call that is up; page 2 is attached.
fn call_in_the_first_of_two_pages() -> TestCallList {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    phone.clear_output();
    phone
}

#[test]
fn the_second_page_picks_the_call_up_and_speaks_once_the_first_is_silent() {
    let mut phone = call_in_the_first_of_two_pages();
    take_over(&mut phone, 2);
    let offer =
        MediaRequest::Offer { direction: MediaDirection::SendRecv, kind: OfferKind::NewConnection, codec: None };
    assert_eq!(phone.media_requests(2), [("c1".to_owned(), offer)]);
    let call = phone.call_snapshot(1, "c1");
    assert_eq!((call.page.as_deref(), call.voice), (Some("b"), false));
    let revision = phone.snapshot(1).revision;
    phone.send(1, ToAgent::Silenced { call: "c1".into(), revision });
    assert!(phone.call_snapshot(2, "c1").voice);
    phone.reply_description(2, "c1", "fresh offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    phone.reply_done(2, "c1");
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Connected });
    // What the first page still says of its connection does not count.
    phone.send(1, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Failed });
    phone.advance_time(4_000, &[1, 2]);
    assert!(phone.commands().is_empty());
}

#[test]
fn both_pages_hear_of_the_call_and_of_its_end_once() {
    let mut phone = call_in_the_first_of_two_pages();
    take_over(&mut phone, 2);
    assert_eq!(phone.event_names(2), ["started", "answered"]);
    // And back again.
    take_over(&mut phone, 1);
    take_over(&mut phone, 1);
    assert!(phone.event_names(1).is_empty(), "it knows the call");
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.event_names(1), ["ended: Hung up"]);
    assert_eq!(phone.event_names(2), ["ended: Hung up"]);
}

#[test]
fn a_call_on_hold_is_taken_over_as_it_is() {
    let mut phone = call_in_the_first_of_two_pages();
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    phone.reply_done(1, "c1");
    phone.clear_output();
    take_over(&mut phone, 2);
    assert!(matches!(
        phone.media_requests(2).as_slice(),
        [(_, MediaRequest::Offer { direction: MediaDirection::SendOnly, .. })]
    ));
    assert!(!phone.call_snapshot(2, "c1").voice);
}

#[test]
fn the_call_that_the_second_page_had_is_held() {
    let mut phone = call_in_the_first_of_two_pages();
    phone.incoming("c2", "300");
    phone.answer(2, "c2", OtherCalls::Hold);
    phone.reply_description(2, "c2", "answer");
    phone.confirmed("c2");
    phone.hold(1, "c1", false);
    phone.hold(2, "c2", false);
    assert_eq!(phone.call_snapshot(2, "c1").hold, HoldState::Holding);
    phone.hold(1, "c1", false);
    take_over(&mut phone, 2);
    assert_eq!(phone.call_snapshot(2, "c2").hold, HoldState::Holding);
    assert_eq!(phone.snapshot(2).active.as_deref(), Some("c1"));
}

#[test]
fn only_a_call_that_is_up_and_stays_is_taken_over() {
    let mut phone = TestCallList::registered();
    phone.attach(2, "b");
    phone.call(1, "c1", "102");
    phone.clear_output();
    take_over(&mut phone, 2);
    assert_eq!(phone.event_names(2), ["refused: NOT_ACTIVE"]);
    let mut phone = call_in_the_first_of_two_pages();
    phone.send(1, ToAgent::Transfer { call: "c1".into(), target: "300".into() });
    phone.event_names(2);
    take_over(&mut phone, 2);
    assert_eq!(phone.event_names(2), ["refused: TRANSFERRING"]);
    assert_eq!(phone.call_snapshot(2, "c1").page.as_deref(), Some("a"));
}

#[test]
fn a_call_whose_page_is_gone_is_taken_over_before_it_ends() {
    let mut phone = call_in_the_first_of_two_pages();
    phone.send(1, ToAgent::Detach);
    take_over(&mut phone, 2);
    phone.reply_description(2, "c1", "fresh offer");
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    phone.reply_done(2, "c1");
    phone.send(2, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Connected });
    phone.advance_time(60_000, &[2]);
    assert_eq!(phone.event_names(2), ["started", "answered"]);
}
