//! REFER of the far end, and INVITE with Replaces: transfers of which this phone is the transferee.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, ReferralPolicy, RemoteParty};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent, text};

fn in_call(policy: ReferralPolicy) -> (TestUserAgent, Request) {
    let mut phone = TestUserAgent::with(|config| config.referrals = policy);
    phone.register();
    let invite = phone.outgoing_call();
    (phone, invite)
}

fn refer(phone: &mut TestUserAgent, invite: &Request, cseq: u32, refer_to: &str) {
    phone.remote_request_in(invite, "far", "REFER", cseq, |request| {
        request.append(Header::ReferTo, refer_to);
        request.append(Header::ReferredBy, "<sip:bob@acme.test>");
    });
}

/// Takes the REFER's 202 and the first NOTIFY; returns whom to call, and whether the policy allows it.
fn referred(phone: &mut TestUserAgent) -> (RemoteParty, bool) {
    assert!(phone.response(202).has(Header::Contact));
    let notify = notified(phone, 100);
    assert!(notify.value(Header::SubscriptionState).unwrap().starts_with("active;expires="));
    phone.event(|event| match event {
        Event::Referred { target, is_allowed, .. } => Some((target.clone(), *is_allowed)),
        _ => None,
    })
}

/// Takes the next NOTIFY, which must report this status, and answers it.
fn notified(phone: &mut TestUserAgent, status: u16) -> Request {
    let notify = phone.request("NOTIFY");
    assert!(text(notify.body()).starts_with(&format!("SIP/2.0 {status} ")), "{}", text(&notify.to_bytes()));
    assert_eq!(notify.content_type(), Some("message/sipfrag"));
    let is_over = notify.value(Header::SubscriptionState).unwrap().starts_with("terminated");
    assert_eq!(is_over, status >= 200);
    phone.reply(&notify, 200, |_| {});
    notify
}

fn follow(phone: &mut TestUserAgent) -> Request {
    phone.command(Command::FollowReferral { call: "new".into(), referrer: "c".into(), sdp: OFFER.into() });
    phone.request("INVITE")
}

#[test]
fn a_referral_is_followed_and_reported_until_the_new_call_is_answered() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(&mut phone, &invite, 1, "\"Carla\" <sip:300@acme.test>");
    let (target, is_allowed) = referred(&mut phone);
    assert_eq!((target.number.as_str(), target.display_name.as_deref(), is_allowed), ("300", Some("Carla"), true));
    let new = follow(&mut phone);
    assert_eq!(new.uri_text(), "sip:300@acme.test");
    assert_eq!(new.value(Header::ReferredBy), Some("<sip:bob@acme.test>"));
    phone.reply(&new, 180, |_| {});
    let notify = notified(&mut phone, 180);
    // The first REFER of a dialog needs no id (RFC 3515 §2.4.6).
    assert_eq!(notify.value(Header::Event), Some("refer"));
    phone.reply_sdp(&new, 200, ANSWER);
    phone.request("ACK");
    notified(&mut phone, 200);
    phone.remote_request_in(&invite, "far", "BYE", 2, |_| {});
    phone.response(200);
    phone.ended("c");
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    phone.sends_nothing();
}

#[test]
fn a_referral_that_fails_is_reported_with_its_status_and_another_may_follow() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    let new = follow(&mut phone);
    phone.reply(&new, 486, |_| {});
    phone.request("ACK");
    notified(&mut phone, 486);
    assert_eq!(phone.ended("new").1, Some(486));
    refer(&mut phone, &invite, 2, "<sip:301@acme.test>");
    phone.response(202);
    let notify = notified(&mut phone, 100);
    assert_eq!(notify.value(Header::Event), Some("refer;id=2"));
}

#[test]
fn a_new_call_that_the_person_cancels_is_reported_as_cancelled() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    let new = follow(&mut phone);
    phone.reply(&new, 180, |_| {});
    notified(&mut phone, 180);
    phone.hang_up("new");
    phone.request("CANCEL");
    notified(&mut phone, 487);
}

#[test]
fn an_attended_transfer_names_the_dialog_to_replace() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(
        &mut phone,
        &invite,
        1,
        "<sip:300@acme.test;method=INVITE?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=x>",
    );
    assert!(referred(&mut phone).1);
    let new = follow(&mut phone);
    assert_eq!(new.uri_text(), "sip:300@acme.test");
    assert_eq!(new.value(Header::Replaces), Some("a@b;to-tag=1;from-tag=2"));
    assert!(!new.has(Header::Subject));
}

#[test]
fn the_policy_decides_what_is_followed_at_once_asked_about_and_refused() {
    for (policy, refer_to, allowed, uri) in [
        (ReferralPolicy::OwnDomain, "<sip:eve@ACME.test>", Some(true), "sip:eve@ACME.test"),
        (ReferralPolicy::OwnDomain, "sip:+49301@10.0.0.1:5060", Some(true), "sip:+49301@acme.test"),
        (ReferralPolicy::OwnDomain, "<tel:+49-30-1>", Some(true), "sip:+49301@acme.test"),
        // As Asterisk's Transfer(PJSIP/600) sends it.
        (ReferralPolicy::OwnDomain, "600", Some(true), "sip:600@acme.test"),
        (ReferralPolicy::OwnDomain, "<*43>", Some(true), "sip:*43@acme.test"),
        (ReferralPolicy::OwnDomain, "<sip:eve@elsewhere.test>", Some(false), "sip:eve@elsewhere.test"),
        (
            ReferralPolicy::OwnDomain,
            "<sip:1@10.0.0.1?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>",
            Some(false),
            "sip:1@10.0.0.1",
        ),
        (ReferralPolicy::Ask, "<sip:eve@acme.test>", Some(false), "sip:eve@acme.test"),
        (ReferralPolicy::Refuse, "<sip:eve@acme.test>", None, ""),
    ] {
        let (mut phone, invite) = in_call(policy);
        refer(&mut phone, &invite, 1, refer_to);
        if let Some(allowed) = allowed {
            assert_eq!(referred(&mut phone).1, allowed, "{refer_to}");
            assert_eq!(follow(&mut phone).uri_text(), uri);
        } else {
            phone.response(603);
            phone.sends_nothing();
        }
        phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    }
}

#[test]
fn a_refer_that_cannot_be_read_or_comes_at_the_wrong_time_is_refused() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    for (cseq, refer_to, status) in
        [(1, "", 400), (2, "<http://a.test>", 416), (3, "<sip:300@acme.test;method=BYE>", 603), (4, "<sip:>", 400)]
    {
        refer(&mut phone, &invite, cseq, refer_to);
        phone.response(status);
    }
    refer(&mut phone, &invite, 5, "<sip:300@acme.test>");
    referred(&mut phone);
    refer(&mut phone, &invite, 6, "<sip:301@acme.test>");
    phone.response(491);
}

#[test]
fn a_referral_that_nobody_follows_is_refused_after_a_minute() {
    let (mut phone, invite) = in_call(ReferralPolicy::Ask);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    phone.wait(60_000);
    notified(&mut phone, 603);
    phone.emits(&Event::ReferralExpired { call: "c".into() });
    phone.command(Command::FollowReferral { call: "new".into(), referrer: "c".into(), sdp: OFFER.into() });
    phone.ended("new");
    phone.sends_nothing();

    refer(&mut phone, &invite, 2, "<sip:300@acme.test>");
    phone.response(202);
    notified(&mut phone, 100);
    phone.command(Command::RefuseReferral { call: "c".into() });
    notified(&mut phone, 603);
}

#[test]
fn a_referrer_that_hangs_up_first_is_still_told_and_one_that_wants_no_reports_is_not() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    let new = follow(&mut phone);
    phone.remote_request_in(&invite, "far", "BYE", 2, |_| {});
    phone.response(200);
    phone.reply(&new, 180, |_| {});
    let notify = phone.request("NOTIFY");
    phone.reply(&notify, 481, |_| {});
    phone.reply_sdp(&new, 200, ANSWER);
    phone.request("ACK");
    phone.sends_nothing();
}

#[test]
fn a_referrer_may_hang_up_before_the_new_call_is_placed() {
    let (mut phone, invite) = in_call(ReferralPolicy::OwnDomain);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    phone.remote_request_in(&invite, "far", "BYE", 2, |_| {});
    phone.response(200);
    assert_eq!(follow(&mut phone).uri_text(), "sip:300@acme.test");
}

#[test]
fn a_referral_is_forgotten_when_its_call_ends_before_a_decision() {
    let (mut phone, invite) = in_call(ReferralPolicy::Ask);
    refer(&mut phone, &invite, 1, "<sip:300@acme.test>");
    referred(&mut phone);
    phone.remote_request_in(&invite, "far", "BYE", 2, |_| {});
    phone.response(200);
    phone.wait(100_000);
    phone.sends_nothing();
    phone.emits_no(|event| matches!(event, Event::ReferralExpired { .. }));
    phone.assert_no_calls();
}

/// An INVITE of somebody else with this `Replaces`.
fn replacing(phone: &mut TestUserAgent, replaces: &str) {
    phone.remote_request("INVITE", 1, |request| {
        request.set(Header::From, "<sip:carla@acme.test>;tag=carlas");
        request.set(Header::CallId, &format!("replacing {}", replaces.len()).replace(' ', "-"));
        request.append(Header::Replaces, replaces);
        request.append(Header::Require, "replaces");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
}

fn replaced(phone: &mut TestUserAgent) -> (String, Option<String>) {
    phone.event(|event| match event {
        Event::Incoming { call, replaces, .. } => Some((call.clone(), replaces.clone())),
        _ => None,
    })
}

fn dialog(invite: &Request, remote: &str) -> String {
    let call_id = invite.value(Header::CallId).unwrap();
    format!("{call_id};to-tag={};from-tag={remote}", invite.from().unwrap().tag().unwrap())
}

#[test]
fn an_invite_takes_the_place_of_an_established_call_beyond_the_limit_of_calls() {
    let mut phone = TestUserAgent::with(|config| config.max_sessions = 1);
    phone.register();
    let invite = phone.outgoing_call();
    replacing(&mut phone, &dialog(&invite, "far"));
    phone.response(100);
    let (new, old) = replaced(&mut phone);
    assert_eq!(old.as_deref(), Some("c"));
    phone.command(Command::Answer { call: new, sdp: ANSWER.into() });
    phone.response(200);
    phone.hang_up("c");
    phone.request("BYE");
}

#[test]
fn an_invite_takes_the_place_of_a_call_that_rings_at_the_far_end() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    replacing(&mut phone, &format!("{};early-only", dialog(&invite, "far")));
    phone.response(100);
    assert_eq!(replaced(&mut phone).1.as_deref(), Some("c"));
    phone.hang_up("c");
    phone.request("CANCEL");
}

#[test]
fn an_invite_that_replaces_nothing_of_ours_is_refused() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let present = dialog(&invite, "far");
    let (ringing, _) = phone.incoming();
    let tag = phone.response(180).to().unwrap().tag().unwrap().to_owned();
    let ringing = format!("{};to-tag={tag};from-tag=bobs", ringing.value(Header::CallId).unwrap());
    for (replaces, status) in [
        ("unknown;to-tag=1;from-tag=2", 481),
        ("unknown;to-tag=1", 400),
        (&ringing, 481),
        (&format!("{present}x"), 481),
        (&format!("{present};early-only"), 486),
    ] {
        replacing(&mut phone, replaces);
        phone.response(status);
    }
    phone.hang_up("c");
    phone.request("BYE");
    replacing(&mut phone, &present);
    phone.response(603);
    phone.emits_no(|event| matches!(event, Event::Incoming { .. }));
}
