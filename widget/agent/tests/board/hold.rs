use bitcall_sip::ua::{self, Command, OfferReason};
use bitcall_wire::agent_protocol::{HoldState, MediaDirection, MediaRequest, MediaState, OtherCalls, ToAgent};

use crate::desk::Desk;

fn accepted(call: &str) -> ua::Event {
    ua::Event::ReinviteAccepted { call: call.into(), sdp: "answer".into() }
}

fn refused(call: &str, status: u16, again: bool) -> ua::Event {
    ua::Event::ReinviteRefused { call: call.into(), status, again }
}

#[test]
fn hold_is_shown_as_held_only_when_the_far_end_agreed() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    assert_eq!(desk.shown(1, "c1").hold, HoldState::Holding);
    assert_eq!(
        desk.asks(1),
        [("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendOnly, restart_ice: false })]
    );
    desk.describe(1, "c1", "hold offer");
    assert!(matches!(desk.commands().as_slice(), [Command::Reinvite { .. }]));
    assert_eq!(desk.shown(1, "c1").hold, HoldState::Holding);
    desk.event(accepted("c1"));
    assert_eq!(desk.shown(1, "c1").hold, HoldState::Held);
    desk.done(1, "c1");
    desk.hold(1, "c1", false);
    assert_eq!(desk.shown(1, "c1").hold, HoldState::Resuming);
    desk.describe(1, "c1", "resume offer");
    desk.event(accepted("c1"));
    assert_eq!(desk.shown(1, "c1").hold, HoldState::None);
}

#[test]
fn a_refused_hold_shows_the_truth_again() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.describe(1, "c1", "hold offer");
    desk.forget();
    desk.event(refused("c1", 488, false));
    assert_eq!(desk.heard(1), ["hold failed"]);
    assert_eq!(desk.shown(1, "c1").hold, HoldState::None);
    assert_eq!(desk.asks(1), [("c1".to_owned(), MediaRequest::RollBack)]);
    // And no further try by itself.
    assert!(desk.commands().is_empty());
}

#[test]
fn after_glare_what_is_wanted_then_is_offered() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.describe(1, "c1", "hold offer");
    desk.event(refused("c1", 491, true));
    // The person changes their mind while both wait.
    desk.hold(1, "c1", false);
    desk.forget();
    desk.event(ua::Event::OfferNeeded { call: "c1".into(), why: OfferReason::Glare });
    assert_eq!(
        desk.asks(1),
        [("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendRecv, restart_ice: false })]
    );
}

#[test]
fn a_change_of_mind_under_way_follows_as_a_second_offer() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.hold(1, "c1", false);
    desk.describe(1, "c1", "hold offer");
    desk.forget();
    desk.event(accepted("c1"));
    let asks: Vec<_> = desk.asks(1).into_iter().map(|(_, ask)| ask).collect();
    assert!(matches!(
        asks.as_slice(),
        [MediaRequest::Accept { .. }, MediaRequest::Offer { flow: MediaDirection::SendRecv, .. }]
    ));
}

#[test]
fn the_far_ends_hold_is_answered_and_shown() {
    let mut desk = Desk::in_call();
    desk.event(ua::Event::Offer { call: "c1".into(), sdp: Some("v=0\r\nm=audio 9 X 0\r\na=sendonly\r\n".into()) });
    assert!(desk.shown(1, "c1").remote_held);
    desk.describe(1, "c1", "our answer");
    assert_eq!(desk.commands(), [Command::AnswerOffer { call: "c1".into(), sdp: "our answer".into() }]);
}

#[test]
fn the_far_ends_offer_goes_before_ours_that_has_not_left() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    let ours = desk.request(1, "c1");
    desk.forget();
    desk.event(ua::Event::Offer { call: "c1".into(), sdp: Some("their offer".into()) });
    let asks: Vec<_> = desk.asks(1).into_iter().map(|(_, ask)| ask).collect();
    assert!(matches!(asks.as_slice(), [MediaRequest::RollBack, MediaRequest::Answer { .. }]));
    let theirs = desk.request(1, "c1");
    let sdp = |text: &str| bitcall_wire::agent_protocol::MediaReply::Description { sdp: text.into() };
    desk.reply_to(1, "c1", ours, sdp("too late"));
    assert!(desk.commands().is_empty());
    desk.reply_to(1, "c1", theirs, sdp("our answer"));
    assert!(matches!(desk.commands().as_slice(), [Command::AnswerOffer { .. }]));
}

/// The connection of the call broke, and our page is asked for an offer that restarts it.
fn restarting() -> Desk {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::MediaChanged { call: "c1".into(), state: MediaState::Failed });
    assert_eq!(desk.asks(1), [restart()]);
    desk
}

fn restart() -> (String, MediaRequest) {
    ("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendRecv, restart_ice: true })
}

#[test]
fn an_ice_restart_that_met_the_far_ends_offer_is_tried_again_as_a_restart() {
    let mut desk = restarting();
    desk.describe(1, "c1", "restart offer");
    desk.event(refused("c1", 491, true));
    desk.forget();
    desk.event(ua::Event::OfferNeeded { call: "c1".into(), why: OfferReason::Glare });
    assert_eq!(desk.asks(1), [restart()]);
}

#[test]
fn an_ice_restart_overtaken_by_the_far_end_comes_after_its_offer() {
    let mut desk = restarting();
    desk.event(ua::Event::Offer { call: "c1".into(), sdp: Some("their offer".into()) });
    let theirs = desk.request(1, "c1");
    desk.forget();
    let sdp = bitcall_wire::agent_protocol::MediaReply::Description { sdp: "our answer".into() };
    desk.reply_to(1, "c1", theirs, sdp);
    assert_eq!(desk.asks(1), [restart()]);
}

#[test]
fn an_ice_restart_that_came_about_is_not_repeated() {
    let mut desk = restarting();
    desk.describe(1, "c1", "restart offer");
    desk.event(accepted("c1"));
    desk.done(1, "c1");
    desk.hold(1, "c1", true);
    assert!(
        desk.asks(1)
            .contains(&("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendOnly, restart_ice: false }))
    );
}

#[test]
fn hold_and_answer_holds_the_talking_call_and_focuses_the_new_one() {
    let mut desk = Desk::in_call();
    desk.incoming("c2", "103");
    desk.answer(1, "c2", OtherCalls::Hold);
    assert_eq!(desk.shown(1, "c1").hold, HoldState::Holding);
    assert_eq!(desk.snapshot(1).active.as_deref(), Some("c2"));
    desk.describe(1, "c2", "answer");
    desk.confirmed("c2");
    // Back to the first one: the second is held.
    desk.hold(1, "c1", false);
    assert_eq!(desk.shown(1, "c2").hold, HoldState::Holding);
    assert_eq!(desk.snapshot(1).active.as_deref(), Some("c1"));
}

#[test]
fn a_page_that_makes_no_offer_in_time_gives_up_the_hold() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.forget();
    desk.pass(21_000, &[1]);
    assert_eq!(desk.heard(1), ["hold failed"]);
    assert_eq!(desk.shown(1, "c1").hold, HoldState::None);
}

#[test]
fn recovery_restarts_ice_and_keeps_the_call_held() {
    let mut desk = Desk::in_call();
    desk.hold(1, "c1", true);
    desk.describe(1, "c1", "hold offer");
    desk.event(accepted("c1"));
    desk.done(1, "c1");
    desk.event(ua::Event::Detached { call: "c1".into() });
    assert!(desk.shown(1, "c1").detached);
    desk.forget();
    desk.event(ua::Event::Attached { call: "c1".into() });
    desk.event(ua::Event::OfferNeeded { call: "c1".into(), why: OfferReason::Recovery });
    assert_eq!(
        desk.asks(1),
        [("c1".to_owned(), MediaRequest::Offer { flow: MediaDirection::SendOnly, restart_ice: true })]
    );
    assert!(!desk.shown(1, "c1").detached);
}

#[test]
fn broken_media_restarts_ice_and_a_hiccup_does_not() {
    use bitcall_wire::agent_protocol::MediaState;
    let changed = |state| ToAgent::MediaChanged { call: "c1".into(), state };
    let mut desk = Desk::in_call();
    desk.say(1, changed(MediaState::Disconnected));
    desk.pass(1_000, &[1]);
    desk.say(1, changed(MediaState::Connected));
    desk.pass(5_000, &[1]);
    assert!(desk.asks(1).is_empty());
    desk.say(1, changed(MediaState::Failed));
    assert!(matches!(desk.asks(1).as_slice(), [(_, MediaRequest::Offer { restart_ice: true, .. })]));
}
