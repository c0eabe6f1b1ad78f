//! Hold, resume, session refresh, and glare.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, Input, OfferReason};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn reinvite(phone: &mut TestUserAgent) -> Request {
    phone.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    phone.request("INVITE")
}

fn refused(status: u16, will_retry: bool) -> Event {
    Event::ReinviteRefused { call: "c".into(), status, will_retry }
}

fn accepted() -> Event {
    Event::ReinviteAccepted { call: "c".into(), sdp: ANSWER.into() }
}

fn needed(reason: OfferReason) -> Event {
    Event::OfferNeeded { call: "c".into(), reason }
}

fn remote_offer(phone: &mut TestUserAgent, invite: &Request, method: &str, cseq: u32) -> Request {
    phone
        .remote_request_in(invite, "far", method, cseq, |request| request.set_body("application/sdp", OFFER.as_bytes()))
}

#[test]
fn a_hold_reinvite_gets_an_ack_with_its_cseq() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let hold = reinvite(&mut phone);
    assert_eq!(hold.cseq().unwrap().number, invite.cseq().unwrap().number + 1);
    assert_eq!(hold.to().unwrap().tag(), Some("far"));
    phone.reply_sdp(&hold, 200, ANSWER);
    let ack = phone.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, hold.cseq().unwrap().number);
    phone.emits(&accepted());
    // Retransmissions of its 200 and of the first INVITE's 200.
    phone.reply_sdp(&hold, 200, ANSWER);
    assert_eq!(phone.request("ACK").to_bytes(), ack.to_bytes());
    phone.emits_no(|event| matches!(event, Event::ReinviteAccepted { .. }));
}

#[test]
fn a_challenged_hold_is_sent_again_and_gets_an_ack_with_its_cseq() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let first = reinvite(&mut phone);
    phone.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="acme", nonce="n1""#);
    });
    assert_eq!(phone.request("ACK").cseq().unwrap().number, first.cseq().unwrap().number);
    let second = phone.request("INVITE");
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    phone.reply_sdp(&second, 200, ANSWER);
    assert_eq!(phone.request("ACK").cseq().unwrap().number, second.cseq().unwrap().number);
    phone.emits(&accepted());
}

#[test]
fn a_refused_hold_does_not_change_the_call() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.reply(&hold, 488, |_| {});
    phone.request("ACK");
    phone.emits(&refused(488, false));
    phone.wait(60_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. } | Event::OfferNeeded { .. }));
    let hold = reinvite(&mut phone);
    phone.reply_sdp(&hold, 200, ANSWER);
    phone.emits(&accepted());
}

#[test]
fn after_glare_the_caller_requests_a_new_offer_in_two_to_four_seconds() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.reply(&hold, 491, |_| {});
    phone.request("ACK");
    phone.emits(&refused(491, true));
    phone.wait(2_099);
    phone.emits_no(|event| matches!(event, Event::OfferNeeded { .. }));
    phone.wait(1_901);
    phone.emits(&needed(OfferReason::Glare));
}

#[test]
fn after_glare_the_callee_requests_a_new_offer_within_two_seconds() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    phone.response(180);
    phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    phone.ack(&invite, &ok);
    phone.command(Command::Reinvite { call: call.clone(), sdp: OFFER.into() });
    let hold = phone.request("INVITE");
    phone.reply(&hold, 491, |_| {});
    phone.wait(2_000);
    phone.emits(&Event::OfferNeeded { call, reason: OfferReason::Glare });
}

#[test]
fn a_remote_offer_during_our_offer_is_refused_with_491() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let hold = reinvite(&mut phone);
    for (method, cseq) in [("INVITE", 1), ("UPDATE", 2)] {
        remote_offer(&mut phone, &invite, method, cseq);
        phone.response(491);
    }
    phone.reply_sdp(&hold, 200, ANSWER);
    phone.emits(&accepted());
}

#[test]
fn a_second_remote_offer_is_refused_with_500_and_retry_after() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    remote_offer(&mut phone, &invite, "UPDATE", 2);
    let busy = phone.response(500);
    assert!(busy.retry_after().unwrap().unwrap() <= 10);
}

#[test]
fn our_offer_waits_until_the_remote_offer_is_answered() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let theirs = remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    phone.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
    phone.emits(&refused(491, true));
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    phone.emits_no(|event| matches!(event, Event::OfferNeeded { .. }));
    phone.ack(&theirs, &ok);
    phone.emits(&needed(OfferReason::Glare));
    reinvite(&mut phone);
}

#[test]
fn a_remote_hold_is_answered() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let theirs = remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    phone.emits(&Event::Offer { call: "c".into(), sdp: Some(OFFER.into()) });
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    assert_eq!(ok.body(), ANSWER.as_bytes());
    phone.wait(500);
    phone.response(200);
    phone.ack(&theirs, &ok);
    phone.wait(60_000);
    phone.sends_nothing();
}

#[test]
fn a_reinvite_without_ack_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    phone.wait(32_000);
    assert_eq!(phone.ended("c").0, "No acknowledgement");
}

#[test]
fn a_reinvite_without_offer_is_answered_with_our_offer() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let theirs = phone.remote_request_in(&invite, "far", "INVITE", 1, |_| {});
    phone.response(100);
    phone.emits(&Event::Offer { call: "c".into(), sdp: None });
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: OFFER.into() });
    let ok = phone.response(200);
    phone.ack_with(&theirs, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    phone.emits(&accepted());
}

#[test]
fn an_offer_that_the_driver_refuses_or_ignores_is_refused_with_488() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    phone.command(Command::RefuseOffer { call: "c".into(), status: 488 });
    phone.response(488);
    remote_offer(&mut phone, &invite, "INVITE", 2);
    phone.response(100);
    phone.wait(20_000);
    phone.response(488);
    phone.emits(&Event::OfferWithdrawn { call: "c".into() });
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn a_cancelled_reinvite_is_withdrawn() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let theirs = remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    let via = theirs.value(Header::Via).unwrap().to_owned();
    phone.remote_request_in(&invite, "far", "CANCEL", 1, |request| request.set(Header::Via, &via));
    phone.response(200);
    phone.response(487);
    phone.emits(&Event::OfferWithdrawn { call: "c".into() });
    reinvite(&mut phone);
}

#[test]
fn an_update_is_answered_and_changes_the_remote_target() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "UPDATE", 1, |request| {
        request.set(Header::Contact, "<sip:moved@far.test;transport=ws>");
    });
    assert!(phone.response(200).body().is_empty());
    phone.emits_no(|event| matches!(event, Event::Offer { .. }));
    remote_offer(&mut phone, &invite, "UPDATE", 2);
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    phone.response(200);
    phone.hang_up("c");
    // The second UPDATE restored the first target.
    assert_eq!(phone.request("BYE").uri_text(), "sip:bob@far.test;transport=ws");
}

#[test]
fn a_request_with_a_lower_cseq_is_refused_with_500() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "INFO", 9, |_| {});
    phone.response(200);
    phone.remote_request_in(&invite, "far", "INFO", 8, |_| {});
    phone.response(500);
}

/// RFC 3261 §12.2.2: only a lower number is out of order. Some senders repeat that of their INVITE.
#[test]
fn a_bye_with_the_cseq_of_the_last_invite_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    phone.response(180);
    phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    phone.ack(&invite, &ok);
    let to = ok.value(Header::To).unwrap().to_owned();
    phone.remote_request("BYE", invite.cseq().unwrap().number, |request| request.set(Header::To, &to));
    phone.response(200);
    assert_eq!(phone.ended(&call).0, "Remote hung up");
}

/// A provisional response of the far end, which has the answer to our INVITE.
fn early_answer(phone: &mut TestUserAgent, invite: &Request, reliable: bool) {
    phone.reply(invite, 183, |response| {
        if reliable {
            response.append(Header::Require, "100rel");
            response.append(Header::RSeq, "7");
        }
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    if reliable {
        let prack = phone.request("PRACK");
        phone.reply(&prack, 200, |_| {});
    }
}

/// RFC 3311 §5.2, RFC 6337 §3.
#[test]
fn an_offer_in_an_update_after_a_reliable_early_answer_is_a_fair_one() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    early_answer(&mut phone, &invite, true);
    remote_offer(&mut phone, &invite, "UPDATE", 1);
    phone.emits(&Event::Offer { call: "c".into(), sdp: Some(OFFER.into()) });
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    assert_eq!(phone.response(200).body(), ANSWER.as_bytes());
    // The description in the 200 repeats the first answer, which is outdated.
    phone.reply_sdp(&invite, 200, OFFER);
    phone.request("ACK");
    phone.emits(&Event::Answered { call: "c".into(), sdp: None, early_dialog: Some("far".into()) });
    // The call goes on as every other one.
    reinvite(&mut phone);
}

#[test]
fn an_offer_before_a_final_early_answer_is_refused_with_491() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    early_answer(&mut phone, &invite, false);
    remote_offer(&mut phone, &invite, "UPDATE", 1);
    phone.response(491);
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    phone.emits(&Event::Answered { call: "c".into(), sdp: Some(ANSWER.into()), early_dialog: Some("far".into()) });
}

#[test]
fn an_early_offer_is_withdrawn_when_another_fork_answers() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    early_answer(&mut phone, &invite, true);
    remote_offer(&mut phone, &invite, "UPDATE", 1);
    phone.reply_as(&invite, 200, "other", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    phone.response(487);
    phone.request("ACK");
    phone.emits(&Event::OfferWithdrawn { call: "c".into() });
    phone.emits(&Event::Answered { call: "c".into(), sdp: Some(ANSWER.into()), early_dialog: Some("other".into()) });
}

#[test]
fn a_cancelled_call_answers_an_early_offer() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    early_answer(&mut phone, &invite, true);
    remote_offer(&mut phone, &invite, "UPDATE", 1);
    phone.hang_up("c");
    phone.response(487);
    phone.request("CANCEL");
    phone.wait(30_000);
    phone.emits_no(|event| matches!(event, Event::OfferWithdrawn { .. }));
}

/// RFC 3311 §5.2: the caller's first offer is not answered yet.
#[test]
fn an_offer_of_the_caller_while_the_call_rings_is_refused_with_500() {
    let mut phone = TestUserAgent::registered();
    phone.incoming();
    let to = phone.response(180).value(Header::To).unwrap().to_owned();
    phone.remote_request("UPDATE", 2, |request| {
        request.set(Header::To, &to);
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    assert!(phone.response(500).has(Header::RetryAfter));
}

fn identity(phone: &mut TestUserAgent) -> (String, Option<String>) {
    phone.event(|event| match event {
        Event::IdentityChanged { party, .. } => Some((party.number.clone(), party.display_name.clone())),
        _ => None,
    })
}

#[test]
fn a_new_identity_in_a_request_or_response_of_the_call_is_reported_once() {
    let bob = |message: &mut bitcall_sip::message::Headers| {
        message.append(Header::PAssertedIdentity, "\"Bob\" <sip:203@acme.test>");
    };
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    for cseq in 1..3 {
        phone.remote_request_in(&invite, "far", "UPDATE", cseq, |request| bob(request));
        phone.response(200);
    }
    assert_eq!(identity(&mut phone), ("203".into(), Some("Bob".into())));
    phone.emits_no(|event| matches!(event, Event::IdentityChanged { .. }));
    phone.remote_request_in(&invite, "far", "INVITE", 3, |request| {
        request.append(Header::PAssertedIdentity, "<tel:+4930901820;npdi>");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    assert_eq!(identity(&mut phone), ("+4930901820".into(), None));
    // In the 200 to our own re-INVITE, and while the call rings.
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    phone.drain();
    let mut ringing = TestUserAgent::registered();
    let invite = ringing.invite();
    ringing.reply(&invite, 180, |response| bob(response));
    assert_eq!(identity(&mut ringing).0, "203");
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.reply(&hold, 200, |response| {
        bob(response);
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    assert_eq!(identity(&mut phone).0, "203");
}

#[test]
fn the_callers_own_identity_again_is_no_change() {
    let mut phone = TestUserAgent::registered();
    let bob = "<sip:bob@acme.test>";
    let invite = phone.remote_request("INVITE", 1, |request| {
        request.append(Header::PAssertedIdentity, bob);
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let to = phone.response(180).value(Header::To).unwrap().to_owned();
    phone.remote_request("UPDATE", invite.cseq().unwrap().number + 1, |request| {
        request.set(Header::To, &to);
        request.append(Header::PAssertedIdentity, bob);
    });
    phone.response(200);
    phone.emits_no(|event| matches!(event, Event::IdentityChanged { .. }));
}

#[test]
fn an_unanswered_hold_reinvite_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.reply(&hold, 100, |_| {});
    phone.wait(32_000);
    assert_eq!(phone.ended("c"), ("The far end does not respond".into(), Some(408)));
    phone.request("BYE");
}

#[test]
fn an_unanswered_hold_after_a_challenge_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let first = reinvite(&mut phone);
    phone.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="acme", nonce="n1""#);
    });
    phone.request("ACK");
    let second = phone.request("INVITE");
    phone.reply(&second, 100, |_| {});
    phone.wait(32_000);
    assert_eq!(phone.ended("c"), ("The far end does not respond".into(), Some(408)));
    phone.request("BYE");
}

#[test]
fn a_hang_up_answers_all_open_offers() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    remote_offer(&mut phone, &invite, "INVITE", 1);
    phone.response(100);
    phone.hang_up("c");
    phone.response(487);
    phone.request("BYE");

    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.hang_up("c");
    phone.request("BYE");
    phone.reply_sdp(&hold, 200, ANSWER);
    phone.request("ACK");
    phone.emits_no(|event| matches!(event, Event::ReinviteAccepted { .. }));
}

#[test]
fn the_session_is_refreshed_by_update_at_half_the_interval() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "200;refresher=uac");
        response.append(Header::Allow, "INVITE, UPDATE");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    phone.request("ACK");
    for _ in 0..3 {
        phone.wait(100_000);
        let update = phone.request("UPDATE");
        assert_eq!(update.value(Header::SessionExpires), Some("200;refresher=uac"));
        phone.reply(&update, 200, |response| response.append(Header::SessionExpires, "200;refresher=uac"));
    }
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

/// The driver was not called for a while, e.g. because the page was hidden.
#[test]
fn a_late_refresh_is_sent_and_awaited_before_the_session_expires() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "90;refresher=uac");
        response.append(Header::Allow, "INVITE, UPDATE");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    phone.request("ACK");
    phone.now = phone.now.plus(70_000);
    phone.input(Input::Tick);
    let sent = phone.request_among("UPDATE");
    phone.reply(&sent, 200, |response| response.append(Header::SessionExpires, "90;refresher=uac"));
    phone.wait(30_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn after_a_sleep_the_session_is_refreshed_at_once() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "1800;refresher=uac");
        response.append(Header::Allow, "INVITE, UPDATE");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    phone.request("ACK");
    phone.input(Input::Woke { asleep_ms: 3_600_000 });
    let update = phone.request_among("UPDATE");
    // Whether the call has ended is for its server to say.
    phone.reply(&update, 481, |_| {});
    assert_eq!(phone.ended("c").0, "The call had ended");
}

#[test]
fn without_update_support_the_session_is_refreshed_by_reinvite() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::SessionExpires, "200;refresher=uac");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    phone.wait(100_000);
    phone.emits(&needed(OfferReason::Refresh));
}

#[test]
fn a_session_without_refresh_ends() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.remote_request("INVITE", 1, |request| {
        request.append(Header::SessionExpires, "90;refresher=uac");
        request.append(Header::Supported, "timer");
    });
    let (call, ..) = phone.rings();
    phone.response(180);
    phone.command(Command::Answer { call: call.clone(), sdp: OFFER.into() });
    let ok = phone.response(200);
    assert_eq!(ok.value(Header::SessionExpires), Some("90;refresher=uac"));
    assert!(ok.lists(Header::Require, "timer"));
    phone.ack_with(&invite, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    phone.wait(60_000);
    phone.ended(&call);
    phone.request("BYE");
}

#[test]
fn an_update_before_the_answer_starts_no_session_timer() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    let ringing = phone.response(180);
    let (from, to) = (invite.value(Header::From).unwrap(), ringing.value(Header::To).unwrap());
    phone.remote_request("UPDATE", 2, |request| {
        request.set(Header::From, from);
        request.set(Header::To, to);
        request.append(Header::SessionExpires, "90;refresher=uac");
        request.append(Header::Supported, "timer");
    });
    phone.response(200);
    phone.wait(100_000);
    phone.sends_nothing();
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    phone.command(Command::Answer { call, sdp: ANSWER.into() });
    phone.response(200);
}

#[test]
fn a_too_short_session_interval_is_refused_with_422() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "UPDATE", 1, |request| {
        request.append(Header::SessionExpires, "30");
        request.append(Header::Supported, "timer");
    });
    assert_eq!(phone.response(422).value(Header::MinSe), Some("90"));
}

#[test]
fn an_invite_with_replaces_goes_to_the_same_far_end_and_names_the_dialog_from_its_side() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let hold = reinvite(&mut phone);
    phone.reply_sdp(&hold, 200, ANSWER);
    phone.request("ACK");
    phone.command(Command::Replace { call: "c~1".into(), replaced: "c".into(), sdp: OFFER.into() });
    let replacing = phone.request("INVITE");
    assert_eq!(replacing.uri_text(), hold.uri_text());
    assert_eq!(replacing.to().unwrap().tag(), None);
    assert_ne!(replacing.value(Header::CallId), invite.value(Header::CallId));
    assert_eq!(replacing.value(Header::Require), Some("replaces"));
    let call_id = invite.value(Header::CallId).unwrap();
    let tag = invite.from().unwrap().tag().unwrap().to_owned();
    let replaces = format!("{call_id};to-tag=far;from-tag={tag}");
    assert_eq!(replacing.iter().find_map(|(name, value)| (name == "Replaces").then_some(value)), Some(&*replaces));
    // The server ends the replaced dialog, and the call goes on in the new one.
    phone.remote_request_in(&invite, "far", "BYE", 30, |_| {});
    assert_eq!(phone.response(200).cseq().unwrap().method.as_str(), "BYE");
    phone.ended("c");
    phone.reply_sdp(&replacing, 200, ANSWER);
    phone.request("ACK");
    phone.event(|event| matches!(event, Event::Answered { call, .. } if call == "c~1").then_some(()));
}

#[test]
fn an_invite_with_replaces_is_sent_to_other_addresses_of_the_call_where_the_server_does_not_know_the_first() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.command(Command::Replace { call: "c~1".into(), replaced: "c".into(), sdp: OFFER.into() });
    let mut replaces = Vec::new();
    for (target, status) in
        [("sip:far@far.test;transport=ws", 404), ("sip:bob@acme.test", 484), ("sip:anna@acme.test", 404)]
    {
        let replacing = phone.request("INVITE");
        assert_eq!((replacing.uri_text(), replacing.to().unwrap().uri_text), (target, "sip:bob@acme.test"));
        replaces.push(replacing.iter().find_map(|(name, value)| (name == "Replaces").then(|| value.to_owned())));
        phone.reply(&replacing, status, |_| {});
        phone.request("ACK");
    }
    assert!(replaces.iter().all(|value| *value == replaces[0]));
    assert_eq!(phone.ended("c~1"), ("Number not found".into(), Some(404)));
    // The call's own INVITE is sent to one address only.
    let invite = phone.invite_as("d");
    phone.reply(&invite, 404, |_| {});
    phone.request("ACK");
    phone.ended("d");
}

#[test]
fn a_refused_invite_with_replaces_leaves_the_dialog_as_it_was() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.command(Command::Replace { call: "c~1".into(), replaced: "c".into(), sdp: OFFER.into() });
    let replacing = phone.request("INVITE");
    phone.reply(&replacing, 420, |_| {});
    phone.ended("c~1");
    phone.request("ACK");
    reinvite(&mut phone);
    // Without a dialog there is nothing to replace.
    phone.command(Command::Replace { call: "c~2".into(), replaced: "d".into(), sdp: OFFER.into() });
    phone.ended("c~2");
}
