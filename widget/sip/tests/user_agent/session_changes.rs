//! Hold, resume, and everybody changing the session at once.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, OfferReason};

use crate::test_user_agent::{ANSWER, OFFER, Stage};

fn reinvite(stage: &mut Stage) -> Request {
    stage.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    stage.request("INVITE")
}

fn refused(status: u16, again: bool) -> Event {
    Event::ReinviteRefused { call: "c".into(), status, again }
}

fn accepted() -> Event {
    Event::ReinviteAccepted { call: "c".into(), sdp: ANSWER.into() }
}

fn needed(why: OfferReason) -> Event {
    Event::OfferNeeded { call: "c".into(), why }
}

fn far_offer(stage: &mut Stage, invite: &Request, method: &str, cseq: u32) -> Request {
    stage.ask_in(invite, "far", method, cseq, |request| request.set_body("application/sdp", OFFER.as_bytes()))
}

#[test]
fn a_hold_is_offered_accepted_and_acknowledged_with_the_right_number() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let hold = reinvite(&mut stage);
    assert_eq!(hold.cseq().unwrap().number, invite.cseq().unwrap().number + 1);
    assert_eq!(hold.to().unwrap().tag(), Some("far"));
    stage.reply_sdp(&hold, 200, ANSWER);
    let ack = stage.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, hold.cseq().unwrap().number);
    stage.tells(&accepted());
    // Its 200 again, and the first INVITE's 200 again.
    stage.reply_sdp(&hold, 200, ANSWER);
    assert_eq!(stage.request("ACK").to_bytes(), ack.to_bytes());
    stage.tells_nothing_like(|event| matches!(event, Event::ReinviteAccepted { .. }));
}

#[test]
fn a_challenged_hold_is_sent_again_and_acknowledged_with_its_own_number() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let first = reinvite(&mut stage);
    stage.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="acme", nonce="n1""#);
    });
    assert_eq!(stage.request("ACK").cseq().unwrap().number, first.cseq().unwrap().number);
    let second = stage.request("INVITE");
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    stage.reply_sdp(&second, 200, ANSWER);
    assert_eq!(stage.request("ACK").cseq().unwrap().number, second.cseq().unwrap().number);
    stage.tells(&accepted());
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let hold = reinvite(&mut stage);
    stage.reply(&hold, 488, |_| {});
    stage.request("ACK");
    stage.tells(&refused(488, false));
    stage.wait(60_000);
    stage.tells_nothing_like(|event| matches!(event, Event::Ended { .. } | Event::OfferNeeded { .. }));
    let hold = reinvite(&mut stage);
    stage.reply_sdp(&hold, 200, ANSWER);
    stage.tells(&accepted());
}

#[test]
fn after_a_glare_the_caller_waits_two_to_four_seconds_and_asks_what_is_wanted_now() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let hold = reinvite(&mut stage);
    stage.reply(&hold, 491, |_| {});
    stage.request("ACK");
    stage.tells(&refused(491, true));
    stage.wait(2_099);
    stage.tells_nothing_like(|event| matches!(event, Event::OfferNeeded { .. }));
    stage.wait(1_901);
    stage.tells(&needed(OfferReason::Glare));
}

#[test]
fn after_a_glare_the_called_one_waits_two_seconds_at_most() {
    let mut stage = Stage::registered();
    let (invite, call) = stage.incoming();
    stage.response(180);
    stage.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = stage.response(200);
    stage.ack(&invite, &ok);
    stage.command(Command::Reinvite { call: call.clone(), sdp: OFFER.into() });
    let hold = stage.request("INVITE");
    stage.reply(&hold, 491, |_| {});
    stage.wait(2_000);
    stage.tells(&Event::OfferNeeded { call, why: OfferReason::Glare });
}

#[test]
fn the_far_ends_offer_during_ours_is_491() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let hold = reinvite(&mut stage);
    for (method, cseq) in [("INVITE", 1), ("UPDATE", 2)] {
        far_offer(&mut stage, &invite, method, cseq);
        stage.response(491);
    }
    stage.reply_sdp(&hold, 200, ANSWER);
    stage.tells(&accepted());
}

#[test]
fn an_offer_during_an_offer_of_the_far_end_is_500_with_a_time() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    far_offer(&mut stage, &invite, "UPDATE", 2);
    let busy = stage.response(500);
    assert!(busy.retry_after().unwrap().unwrap() <= 10);
}

#[test]
fn our_own_offer_waits_for_the_end_of_the_far_ends() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let theirs = far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    stage.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    stage.tells(&refused(491, true));
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    let ok = stage.response(200);
    stage.tells_nothing_like(|event| matches!(event, Event::OfferNeeded { .. }));
    stage.ack(&theirs, &ok);
    stage.tells(&needed(OfferReason::Glare));
    reinvite(&mut stage);
}

#[test]
fn the_far_end_holds_us() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let theirs = far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    stage.tells(&Event::Offer { call: "c".into(), sdp: Some(OFFER.into()) });
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    let ok = stage.response(200);
    assert_eq!(ok.body(), ANSWER.as_bytes());
    stage.wait(500);
    stage.response(200);
    stage.ack(&theirs, &ok);
    stage.wait(60_000);
    stage.sends_nothing();
}

#[test]
fn a_session_change_that_is_never_acknowledged_ends_the_call() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    far_offer(&mut stage, &invite, "INVITE", 1);
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    stage.wait(32_000);
    assert_eq!(stage.ended("c").0, "No acknowledgement");
}

#[test]
fn a_late_offer_in_a_call_is_ours_to_make() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let theirs = stage.ask_in(&invite, "far", "INVITE", 1, |_| {});
    stage.response(100);
    stage.tells(&Event::Offer { call: "c".into(), sdp: None });
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: OFFER.into() });
    let ok = stage.response(200);
    stage.ack_with(&theirs, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    stage.tells(&accepted());
}

#[test]
fn an_offer_that_the_driver_refuses_or_forgets_changes_nothing() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    stage.command(Command::RefuseOffer { call: "c".into(), status: 488 });
    stage.response(488);
    far_offer(&mut stage, &invite, "INVITE", 2);
    stage.response(100);
    stage.wait(20_000);
    stage.response(488);
    stage.tells(&Event::OfferWithdrawn { call: "c".into() });
    stage.tells_nothing_like(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn a_cancelled_session_change_is_withdrawn() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    let theirs = far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    let via = theirs.value(Header::Via).unwrap().to_owned();
    stage.ask_in(&invite, "far", "CANCEL", 1, |request| request.set(Header::Via, &via));
    stage.response(200);
    stage.response(487);
    stage.tells(&Event::OfferWithdrawn { call: "c".into() });
    reinvite(&mut stage);
}

#[test]
fn an_update_is_answered_and_moves_the_target() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    stage.ask_in(&invite, "far", "UPDATE", 1, |request| {
        request.set(Header::Contact, "<sip:moved@far.test;transport=ws>");
    });
    assert!(stage.response(200).body().is_empty());
    stage.tells_nothing_like(|event| matches!(event, Event::Offer { .. }));
    far_offer(&mut stage, &invite, "UPDATE", 2);
    stage.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    stage.response(200);
    stage.hang_up("c");
    // The second UPDATE moved it back.
    assert_eq!(stage.request("BYE").uri_text(), "sip:bob@far.test;transport=ws");
}

#[test]
fn a_request_out_of_order_is_500() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    stage.ask_in(&invite, "far", "INFO", 9, |_| {});
    stage.response(200);
    stage.ask_in(&invite, "far", "INFO", 8, |_| {});
    stage.response(500);
}

#[test]
fn a_hold_that_nobody_answers_ends_the_call() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let hold = reinvite(&mut stage);
    stage.reply(&hold, 100, |_| {});
    stage.wait(32_000);
    assert_eq!(stage.ended("c"), ("The far end does not respond".into(), Some(408)));
    stage.request("BYE");
}

#[test]
fn a_hold_that_was_sent_again_and_that_nobody_answers_ends_the_call_too() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let first = reinvite(&mut stage);
    stage.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="acme", nonce="n1""#);
    });
    stage.request("ACK");
    let second = stage.request("INVITE");
    stage.reply(&second, 100, |_| {});
    stage.wait(32_000);
    assert_eq!(stage.ended("c"), ("The far end does not respond".into(), Some(408)));
    stage.request("BYE");
}

#[test]
fn hanging_up_while_offers_are_open_answers_and_acknowledges_them_all() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    far_offer(&mut stage, &invite, "INVITE", 1);
    stage.response(100);
    stage.hang_up("c");
    stage.response(487);
    stage.request("BYE");

    let mut stage = Stage::registered();
    stage.outgoing_call();
    let hold = reinvite(&mut stage);
    stage.hang_up("c");
    stage.request("BYE");
    stage.reply_sdp(&hold, 200, ANSWER);
    stage.request("ACK");
    stage.tells_nothing_like(|event| matches!(event, Event::ReinviteAccepted { .. }));
}

#[test]
fn the_session_is_refreshed_at_half_time_by_update() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "200;refresher=uac");
        response.append(Header::Allow, "INVITE, UPDATE");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    stage.request("ACK");
    for _ in 0..3 {
        stage.wait(100_000);
        let update = stage.request("UPDATE");
        assert_eq!(update.value(Header::SessionExpires), Some("200;refresher=uac"));
        stage.reply(&update, 200, |response| response.append(Header::SessionExpires, "200;refresher=uac"));
    }
    stage.tells_nothing_like(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn where_update_is_not_known_the_driver_makes_an_offer() {
    let mut stage = Stage::registered();
    let invite = stage.invite();
    stage.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "200;refresher=uac");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    stage.wait(100_000);
    stage.tells(&needed(OfferReason::Refresh));
}

#[test]
fn a_far_end_that_does_not_refresh_is_gone() {
    let mut stage = Stage::registered();
    let invite = stage.ask("INVITE", 1, |request| {
        request.append(Header::SessionExpires, "90;refresher=uac");
        request.append(Header::Supported, "timer");
    });
    let call = stage.event(|event| match event {
        Event::Incoming { call, .. } => Some(call.clone()),
        _ => None,
    });
    stage.response(180);
    stage.command(Command::Answer { call: call.clone(), sdp: OFFER.into() });
    let ok = stage.response(200);
    assert_eq!(ok.value(Header::SessionExpires), Some("90;refresher=uac"));
    assert!(ok.lists(Header::Require, "timer"));
    stage.ack_with(&invite, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    stage.wait(60_000);
    stage.ended(&call);
    stage.request("BYE");
}

#[test]
fn too_short_a_session_is_refused_with_the_shortest() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    stage.ask_in(&invite, "far", "UPDATE", 1, |request| {
        request.append(Header::SessionExpires, "30");
        request.append(Header::Supported, "timer");
    });
    assert_eq!(stage.response(422).value(Header::MinSe), Some("90"));
}
