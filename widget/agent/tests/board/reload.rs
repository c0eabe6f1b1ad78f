use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{CallState, MediaDirection, MediaRequest, OtherCalls, ToAgent};

use crate::desk::Desk;

#[test]
fn after_a_reload_the_new_page_takes_the_call_over_by_a_fresh_offer() {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::Detach);
    desk.pass(800, &[]);
    desk.forget();
    desk.attach(2, "a2");
    assert_eq!(
        desk.asks(2),
        [("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendRecv, restart_ice: false })]
    );
    assert_eq!(desk.shown(2, "c1").page.as_deref(), Some("a2"));
    desk.describe(2, "c1", "fresh offer");
    assert!(matches!(desk.commands().as_slice(), [Command::Reinvite { .. }]));
    desk.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    assert!(desk.asks(2).iter().any(|(_, ask)| matches!(ask, MediaRequest::Accept { .. })));
    // The new page, and the host page around it, hear of a whole call.
    assert_eq!(desk.heard(2), ["registered", "started", "answered"]);
    desk.say(2, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(desk.heard(2), ["ended: Hung up"]);
}

#[test]
fn a_held_call_is_still_held_after_a_reload() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.describe(1, "c1", "hold offer");
    desk.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.attach(2, "a2");
    assert!(matches!(desk.asks(2).as_slice(), [(_, MediaRequest::Offer { flow: MediaDirection::SendOnly, .. })]));
}

#[test]
fn a_muted_call_is_still_muted_after_a_reload() {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::Mute { call: "c1".into(), muted: true });
    assert!(desk.shown(1, "c1").muted);
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.attach(2, "a2");
    assert!(desk.shown(2, "c1").muted);
    desk.say(2, ToAgent::Mute { call: "c1".into(), muted: false });
    assert!(!desk.shown(2, "c1").muted);
}

#[test]
fn a_reload_while_it_rings_at_the_far_end_re_invites_after_the_answer() {
    let mut desk = Desk::registered();
    desk.call(1, "c1", "102");
    desk.describe(1, "c1", "offer");
    desk.say(1, ToAgent::Detach);
    desk.attach(2, "a2");
    desk.forget();
    desk.event(ua::Event::Answered { call: "c1".into(), sdp: Some("answer to the old offer".into()), early: None });
    // The old answer is of no use to the new page.
    assert!(matches!(desk.asks(2).as_slice(), [(_, MediaRequest::Offer { .. })]));
    assert_eq!(desk.heard(2), ["answered"]);
}

#[test]
fn a_reload_before_the_invite_asks_the_new_page_for_the_offer() {
    let mut desk = Desk::registered();
    desk.call(1, "c1", "102");
    desk.say(1, ToAgent::Detach);
    desk.attach(2, "a2");
    desk.describe(2, "c1", "offer");
    assert!(matches!(desk.commands().as_slice(), [Command::Invite { .. }]));
}

#[test]
fn a_reload_while_answering_lets_the_call_ring_again() {
    let mut desk = Desk::registered();
    desk.incoming("c1", "102");
    desk.answer(1, "c1", OtherCalls::Hold);
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.attach(2, "a2");
    assert_eq!(desk.heard(2), ["registered", "incoming"]);
    assert_eq!(desk.shown(2, "c1").state, CallState::Incoming);
}

#[test]
fn a_page_closed_for_good_ends_its_call_when_another_page_is_there() {
    let mut desk = Desk::in_call();
    desk.attach(2, "b");
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.pass(14_000, &[2]);
    assert!(desk.commands().is_empty());
    desk.pass(2_000, &[2]);
    assert_eq!(desk.commands(), [Command::HangUp { call: "c1".into() }]);
    assert!(desk.snapshot(2).calls.is_empty());
}

#[test]
fn alone_a_call_waits_a_minute_for_its_page() {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::Detach);
    desk.pass(59_000, &[]);
    assert!(desk.commands().is_empty());
    desk.pass(2_000, &[]);
    let commands = desk.commands();
    assert!(commands.contains(&Command::HangUp { call: "c1".into() }));
    assert!(commands.contains(&Command::Unregister));
}

#[test]
fn a_page_that_was_only_frozen_keeps_its_media() {
    let mut desk = Desk::in_call();
    desk.attach(2, "b");
    desk.pass(14_000, &[2]);
    desk.forget();
    desk.say(1, ToAgent::Alive { visible: true });
    desk.pass(30_000, &[1, 2]);
    assert!(desk.commands().is_empty());
    assert!(desk.asks(1).is_empty());
}

#[test]
fn a_far_end_that_refuses_the_new_page_ends_the_call() {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::Detach);
    desk.attach(2, "a2");
    desk.describe(2, "c1", "fresh offer");
    desk.event(ua::Event::ReinviteRefused { call: "c1".into(), status: 488, again: false });
    assert!(desk.heard(2).contains(&"ended: The call could not be resumed".to_owned()));
}
