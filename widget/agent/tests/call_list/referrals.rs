//! The far end connects the person with somebody else: REFER, and INVITE with Replaces.

use bitcall_sip::ua::{self, Command, RemoteParty};
use bitcall_wire::agent_protocol::{CallState, HoldState, MediaError, MediaReply, MediaRequest, OfferKind, ToAgent};

use crate::test_call_list::TestCallList;

fn party(number: &str) -> RemoteParty {
    RemoteParty { number: number.into(), ..RemoteParty::default() }
}

fn referred(phone: &mut TestCallList, is_allowed: bool) {
    phone.event(ua::Event::Referred { call: "c1".into(), target: party("400"), is_allowed });
}

fn answer_referral(phone: &mut TestCallList, follow: bool) {
    phone.send(1, ToAgent::AnswerReferral { call: "c1".into(), follow });
}

fn ended(phone: &mut TestCallList, call: &str, sip_code: Option<u16>) {
    let cause = ua::EndCause { by: ua::EndedBy::Remote, text: "Remote hung up".into(), sip_code };
    phone.event(ua::Event::Ended { call: call.into(), cause });
}

/// The call that was placed for the referral, and its INVITE is sent.
fn following() -> TestCallList {
    let mut phone = TestCallList::in_call();
    referred(&mut phone, true);
    assert_eq!(phone.event_names(1), ["started"]);
    phone.reply_description(1, "c1.1", "new offer");
    assert_eq!(
        phone.commands(),
        [Command::FollowReferral { call: "c1.1".into(), referrer: "c1".into(), sdp: "new offer".into() }]
    );
    phone
}

fn answered(phone: &mut TestCallList) {
    phone.event(ua::Event::Answered { call: "c1.1".into(), sdp: Some("answer".into()), early_dialog: None });
}

#[test]
fn the_screen_follows_to_the_new_call_and_the_old_one_ends_when_the_referrer_ends_it() {
    let mut phone = following();
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Holding);
    let new = phone.call_snapshot(1, "c1.1");
    assert_eq!((new.number.as_str(), new.voice), ("400", true));
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c1.1"));
    answered(&mut phone);
    assert!(phone.call_snapshot(1, "c1.1").voice);
    phone.clear_output();
    ended(&mut phone, "c1", None);
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);
    phone.advance_time(10_000, &[1]);
    assert_eq!(phone.commands(), []);
}

#[test]
fn a_referrer_that_does_not_end_its_call_is_hung_up() {
    let mut phone = following();
    answered(&mut phone);
    phone.clear_output();
    phone.advance_time(5_000, &[1]);
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);
    assert!(phone.commands().contains(&Command::HangUp { call: "c1".into() }));
}

#[test]
fn a_referrer_may_hang_up_before_the_new_call_is_placed() {
    let mut phone = TestCallList::in_call();
    referred(&mut phone, true);
    ended(&mut phone, "c1", None);
    assert_eq!(phone.event_names(1), ["started", "ended: Transferred"]);
    phone.reply_description(1, "c1.1", "new offer");
    // Its id in the user agent is still known there.
    assert!(matches!(&phone.commands()[..], [Command::FollowReferral { referrer, .. }] if referrer == "c1"));
}

#[test]
fn a_new_call_that_fails_gives_the_old_one_back() {
    let mut phone = following();
    phone.reply_description(1, "c1", "hold offer");
    phone.event(ua::Event::ReinviteAccepted { call: "c1".into(), sdp: "answer".into() });
    phone.reply_done(1, "c1");
    ended(&mut phone, "c1.1", Some(486));
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Resuming);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c1"));
}

#[test]
fn the_person_is_asked_and_decides_once() {
    for follow in [true, false] {
        let mut phone = TestCallList::in_call();
        referred(&mut phone, false);
        assert_eq!(phone.call_snapshot(1, "c1").referral.as_deref(), Some("400"));
        assert!(phone.event_names(1).is_empty() && phone.commands().is_empty());
        answer_referral(&mut phone, follow);
        assert_eq!(phone.call_snapshot(1, "c1").referral, None);
        let commands = phone.commands();
        if follow {
            assert_eq!(phone.event_names(1), ["started"]);
        } else {
            assert_eq!(commands, [Command::RefuseReferral { call: "c1".into() }]);
        }
        answer_referral(&mut phone, !follow);
        assert!(phone.event_names(1).is_empty() && phone.commands().is_empty());
    }
}

#[test]
fn a_question_that_is_not_answered_goes_away() {
    let mut phone = TestCallList::in_call();
    referred(&mut phone, false);
    phone.event(ua::Event::ReferralExpired { call: "c1".into() });
    assert_eq!(phone.call_snapshot(1, "c1").referral, None);
    answer_referral(&mut phone, true);
    assert!(phone.event_names(1).is_empty());
}

#[test]
fn a_far_end_on_hold_cannot_end_the_conversation_with_another_one() {
    let mut phone = TestCallList::in_call();
    phone.call(1, "c2", "103");
    phone.establish("c2");
    referred(&mut phone, true);
    phone.reply_description(1, "c1.1", "new offer");
    answered(&mut phone);
    assert!(phone.call_snapshot(1, "c2").voice);
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c2"));
    assert_eq!(phone.call_snapshot(1, "c1.1").hold, HoldState::Holding);
}

#[test]
fn a_referral_is_followed_beyond_the_limit_of_calls() {
    let mut phone = TestCallList::in_call();
    phone.incoming("c2", "103");
    referred(&mut phone, true);
    assert!(phone.event_names(1).contains(&"started".to_owned()));
    assert_eq!(phone.snapshot(1).calls.len(), 3);
}

// INVITE with Replaces.

fn replaced(phone: &mut TestCallList, offer: Option<&str>) {
    phone.event(ua::Event::Incoming {
        call: "new".into(),
        from: party("500"),
        offer: offer.map(str::to_owned),
        replaces: Some("c1".into()),
        diverted_from: None,
        auto_answer_ms: None,
        headers: Vec::new(),
    });
}

#[test]
fn another_far_end_takes_the_place_of_the_first_in_the_same_call() {
    let mut phone = TestCallList::in_call();
    replaced(&mut phone, Some("their offer"));
    assert!(
        matches!(&phone.media_requests(1)[..], [(call, MediaRequest::Answer { offer, is_new_endpoint: true, .. })] if call == "c1" && offer == "their offer")
    );
    assert!(phone.commands().is_empty());
    phone.reply_description(1, "c1", "our answer");
    assert_eq!(
        phone.commands(),
        [Command::Answer { call: "new".into(), sdp: "our answer".into() }, Command::HangUp { call: "c1".into() },]
    );
    assert_eq!(phone.event_names(1), ["updated: 500"]);
    phone.event(ua::Event::Confirmed { call: "new".into(), sdp: None });
    ended(&mut phone, "c1", None);
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!((shown.number.as_str(), shown.state, shown.voice), ("500", CallState::Active, true));
    assert!(phone.event_names(1).is_empty());
    phone.hold(1, "c1", true);
    phone.reply_description(1, "c1", "hold offer");
    assert!(matches!(&phone.commands()[..], [Command::Reinvite { call, .. }] if call == "new"));
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.commands(), [Command::HangUp { call: "new".into() }]);
}

#[test]
fn an_invite_without_an_offer_gets_one_of_a_new_connection() {
    let mut phone = TestCallList::in_call();
    replaced(&mut phone, None);
    assert!(matches!(&phone.media_requests(1)[..], [(_, MediaRequest::Offer { kind: OfferKind::NewConnection, .. })]));
    phone.reply_description(1, "c1", "our offer");
    phone.clear_output();
    phone.event(ua::Event::Confirmed { call: "new".into(), sdp: Some("their answer".into()) });
    assert!(
        matches!(&phone.media_requests(1)[..], [(_, MediaRequest::Accept { answer, .. })] if answer == "their answer")
    );
}

#[test]
fn a_call_that_rings_at_the_far_end_is_picked_up_by_somebody_else() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.reply_description(1, "c1", "offer");
    phone.clear_output();
    replaced(&mut phone, Some("their offer"));
    phone.reply_description(1, "c1", "our answer");
    phone.event(ua::Event::Confirmed { call: "new".into(), sdp: None });
    assert_eq!(phone.event_names(1), ["updated: 500", "answered"]);
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Active);
}

#[test]
fn a_replacement_that_the_page_cannot_answer_is_refused_and_the_call_goes_on() {
    let mut phone = TestCallList::in_call();
    replaced(&mut phone, Some("their offer"));
    phone.reply(1, "c1", MediaReply::Failed { error: MediaError::Unusable, message: "no".into() });
    assert_eq!(phone.commands(), [Command::Reject { call: "new".into(), status: 488 }]);
    assert!(phone.event_names(1).is_empty());

    let mut phone = TestCallList::in_call();
    replaced(&mut phone, Some("their offer"));
    phone.advance_time(20_000, &[1]);
    assert_eq!(phone.commands(), [Command::Reject { call: "new".into(), status: 480 }]);
}

#[test]
fn a_replacement_that_is_cancelled_changes_nothing() {
    let mut phone = TestCallList::in_call();
    replaced(&mut phone, Some("their offer"));
    phone.clear_output();
    ended(&mut phone, "new", Some(487));
    assert_eq!(phone.media_requests(1), [("c1".to_owned(), MediaRequest::RollBack)]);
    assert!(phone.event_names(1).is_empty() && phone.commands().is_empty());
}

#[test]
fn an_offer_of_the_far_end_is_answered_also_when_a_replacement_comes_and_goes_meanwhile() {
    let mut phone = TestCallList::in_call();
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("changed offer".into()) });
    replaced(&mut phone, Some("their offer"));
    ended(&mut phone, "new", Some(487));
    phone.reply_description(1, "c1", "changed answer");
    assert_eq!(phone.commands(), [Command::AnswerOffer { call: "c1".into(), sdp: "changed answer".into() }]);
    // Unless it was withdrawn.
    phone.event(ua::Event::Offer { call: "c1".into(), sdp: Some("changed offer".into()) });
    replaced(&mut phone, Some("their offer"));
    phone.event(ua::Event::OfferWithdrawn { call: "c1".into() });
    phone.clear_output();
    ended(&mut phone, "new", Some(487));
    assert_eq!(phone.media_requests(1), [("c1".to_owned(), MediaRequest::RollBack)]);
}

#[test]
fn a_far_end_that_leaves_before_the_replacement_is_answered_does_not_end_the_call() {
    let mut phone = TestCallList::in_call();
    replaced(&mut phone, Some("their offer"));
    ended(&mut phone, "c1", None);
    assert!(phone.event_names(1).is_empty());
    phone.reply_description(1, "c1", "our answer");
    assert_eq!(phone.commands(), [Command::Answer { call: "new".into(), sdp: "our answer".into() }]);
    assert_eq!(phone.call_snapshot(1, "c1").number, "500");
}
