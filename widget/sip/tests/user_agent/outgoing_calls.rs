//! Outgoing calls.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, InviteOptions, RedirectPolicy};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn invite_to(phone: &mut TestUserAgent, target: &str, sdp: Option<&str>) {
    phone.command(Command::Invite {
        call: "c".into(),
        target: target.into(),
        options: InviteOptions::default(),
        sdp: sdp.map(Into::into),
    });
}

fn challenge(phone: &mut TestUserAgent, request: &Request, nonce: &str) {
    let value = format!(r#"Digest realm="acme", nonce="{nonce}", qop="auth""#);
    phone.reply(request, 407, |response| response.append(Header::ProxyAuthenticate, &value));
}

#[test]
fn an_outgoing_call_rings_is_answered_and_hung_up() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    assert_eq!(invite.uri_text(), "sip:bob@acme.test");
    phone.reply(&invite, 180, |_| {});
    phone.emits(&Event::Progress { call: "c".into(), status: 180, sdp: None, early_dialog: Some("far".into()) });
    phone.reply_sdp(&invite, 200, ANSWER);
    let ack = phone.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert_eq!(ack.uri_text(), "sip:far@far.test;transport=ws");
    phone.emits(&Event::Answered { call: "c".into(), sdp: Some(ANSWER.into()), early_dialog: Some("far".into()) });
    phone.hang_up("c");
    assert_eq!(phone.ended("c"), ("Hung up".into(), None));
    let bye = phone.request("BYE");
    assert_eq!(bye.value(Header::CallId), invite.value(Header::CallId));
    phone.reply(&bye, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn a_failure_response_gets_an_ack_and_a_cause_text() {
    for (status, text) in [(486, "Busy"), (603, "Declined"), (404, "Number not found"), (503, "Service unavailable")] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.reply(&invite, status, |_| {});
        let ack = phone.request("ACK");
        assert_eq!(ack.via().unwrap().branch(), invite.via().unwrap().branch());
        assert!(ack.to().unwrap().tag().is_some());
        assert_eq!(phone.ended("c"), (text.into(), Some(status)));
    }
}

#[test]
fn the_reason_header_says_what_the_status_does_not() {
    for (status, reason, text) in [
        (403, "Q.850;cause=21", "Declined"),
        (403, "Q.850 ; cause=21 ; text=\"Call Rejected\"", "Declined"),
        (403, "Q.850;cause=16", "Not allowed"),
        (403, "X.int;reasoncode=0x0", "Not allowed"),
        (480, "Q.850;cause=19", "No answer"),
        (500, "Q.850;cause=17", "Busy"),
        (500, "SIP;cause=486", "Busy"),
        (500, "SIP;cause=487", "Server error"),
        (503, "preemption;cause=1, Q.850;cause=1", "Number not found"),
        (603, "Q.850;cause=17", "Busy"),
        (404, "Q.850;cause=17", "Number not found"),
        (486, "Q.850;cause=21", "Busy"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.reply(&invite, status, |response| response.append(Header::Reason, reason));
        phone.request("ACK");
        assert_eq!(phone.ended("c"), (text.into(), Some(status)), "{status} {reason}");
    }
}

#[test]
fn a_bye_with_a_reason_says_why_the_call_ended() {
    for (reason, text) in [
        (None, "Remote hung up"),
        (Some("Q.850;cause=16;text=\"Normal call clearing\""), "Remote hung up"),
        (Some("Q.850;cause=41"), "Service unavailable"),
        (Some("SIP;cause=200, q.850;cause=102"), "The far end does not respond"),
        (Some("SIP;cause=486"), "Remote hung up"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.outgoing_call();
        phone.remote_request_in(&invite, "far", "BYE", 1, |request| {
            if let Some(reason) = reason {
                request.append(Header::Reason, reason);
            }
        });
        phone.response(200);
        assert_eq!(phone.ended("c"), (text.into(), None), "{reason:?}");
    }
}

#[test]
fn a_408_after_a_provisional_response_is_no_answer_of_the_person() {
    for (provisional, text) in [
        (None, "No answer from the server"),
        (Some(100), "No answer"),
        (Some(180), "No answer"),
        (Some(183), "No answer"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        if let Some(status) = provisional {
            phone.reply(&invite, status, |_| {});
        }
        phone.reply(&invite, 408, |_| {});
        phone.request("ACK");
        assert_eq!(phone.ended("c"), (text.into(), Some(408)), "{provisional:?}");
    }
}

fn redirected(policy: RedirectPolicy, target: &str, contacts: &[&str]) -> (TestUserAgent, Request) {
    let mut phone = TestUserAgent::with(|config| config.redirects = policy);
    phone.register();
    invite_to(&mut phone, target, Some(OFFER));
    let invite = phone.request("INVITE");
    phone.reply(&invite, 302, |response| {
        for contact in contacts {
            response.append(Header::Contact, contact);
        }
    });
    phone.request("ACK");
    (phone, invite)
}

#[test]
fn a_redirection_is_followed_once_where_the_policy_allows_it() {
    use RedirectPolicy::{AnyDomain, Never, SameDomain};
    for (policy, contacts, followed) in [
        (SameDomain, &["<sip:200@acme.test>"][..], Some("sip:200@acme.test")),
        (SameDomain, &["<sip:carol@ACME.test;user=x?Replaces=1>;q=0.5"], Some("sip:carol@ACME.test;user=x")),
        (SameDomain, &["<sip:200@acme.test>;q=0.1, <sip:201@acme.test>;q=0.9"], Some("sip:201@acme.test")),
        (SameDomain, &["Doe, Carol <sip:200@acme.test>"], Some("sip:200@acme.test")),
        (SameDomain, &["<tel:+49-30-123;phone-context=x>"], Some("sip:+4930123@acme.test")),
        (SameDomain, &["<sip:+4930123;npdi@10.0.0.1:5060>"], Some("sip:+4930123@acme.test")),
        (SameDomain, &["<sip:carol@evil.test>"], None),
        (SameDomain, &["<sip:carol@evil.test>", "<sip:200@acme.test>;q=0.1"], Some("sip:200@acme.test")),
        (SameDomain, &["<sip:bob@acme.test>"], None),
        (SameDomain, &["<mailto:bob@acme.test>"], None),
        (SameDomain, &["junk"], None),
        (SameDomain, &["600"], Some("sip:600@acme.test")),
        (SameDomain, &[], None),
        (AnyDomain, &["<sip:carol@other.test>"], Some("sip:carol@other.test")),
        (Never, &["<sip:200@acme.test>"], None),
    ] {
        let (mut phone, invite) = redirected(policy, "bob", contacts);
        let Some(followed) = followed else {
            assert_eq!(phone.ended("c"), ("Moved".into(), Some(302)), "{contacts:?}");
            phone.sends_nothing();
            continue;
        };
        let second = phone.request("INVITE");
        assert_eq!(second.uri_text(), followed);
        assert_eq!(second.cseq().unwrap().number, invite.cseq().unwrap().number + 1);
        assert_ne!(second.via().unwrap().branch(), invite.via().unwrap().branch());
        for header in [Header::From, Header::To, Header::CallId] {
            assert_eq!(second.value(header), invite.value(header));
        }
        assert_eq!(second.body(), invite.body());
        // A second one is not followed.
        phone.reply(&second, 302, |response| response.append(Header::Contact, "<sip:202@acme.test>"));
        phone.request("ACK");
        assert_eq!(phone.ended("c"), ("Moved".into(), Some(302)));
        phone.sends_nothing();
    }
}

#[test]
fn a_redirected_call_is_established_also_after_a_challenge() {
    let (mut phone, _) = redirected(RedirectPolicy::SameDomain, "bob@b.test", &["<sip:200@b.test>"]);
    let second = phone.request("INVITE");
    challenge(&mut phone, &second, "n1");
    phone.request("ACK");
    let third = phone.request("INVITE");
    assert_eq!(third.uri_text(), "sip:200@b.test");
    phone.reply_sdp(&third, 200, ANSWER);
    phone.request("ACK");
    assert_eq!(phone.answered().as_deref(), Some(ANSWER));
}

#[test]
fn a_call_that_is_hung_up_is_not_redirected() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    phone.hang_up("c");
    let cancel = phone.request("CANCEL");
    phone.reply(&cancel, 200, |_| {});
    phone.reply(&invite, 302, |response| response.append(Header::Contact, "<sip:200@acme.test>"));
    phone.request("ACK");
    phone.sends_nothing();
}

/// ITU-T Q.850: the causes that say more than the status.
#[test]
fn each_cause_of_a_telephone_network_has_its_text() {
    for (causes, text) in [
        (&[1, 2, 3][..], "Number not found"),
        (&[17], "Busy"),
        (&[18, 19], "No answer"),
        (&[20, 27], "Not available"),
        (&[21], "Declined"),
        (&[22], "Number no longer in use"),
        (&[28], "Number incomplete"),
        (&[34, 38, 41, 42, 44, 47], "Service unavailable"),
        (&[0, 16, 31, 127], "Not allowed"),
    ] {
        for cause in causes {
            let mut phone = TestUserAgent::registered();
            let invite = phone.invite();
            let reason = format!("Q.850;cause={cause}");
            phone.reply(&invite, 403, |response| response.append(Header::Reason, &reason));
            assert_eq!(phone.ended("c").0, text, "{reason}");
        }
    }
}

#[test]
fn a_hash_in_a_number_is_escaped() {
    let mut phone = TestUserAgent::registered();
    invite_to(&mut phone, "123#", Some(OFFER));
    let invite = phone.request("INVITE");
    assert_eq!(invite.uri_text(), "sip:123%23@acme.test");
    assert_eq!(invite.to().unwrap().uri_text, "sip:123%23@acme.test");
}

#[test]
fn a_bye_of_the_far_end_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "BYE", 1, |_| {});
    phone.response(200);
    assert_eq!(phone.ended("c"), ("Remote hung up".into(), None));
}

#[test]
fn each_retransmitted_200_gets_an_ack() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply_sdp(&invite, 200, ANSWER);
    let first = phone.request("ACK");
    phone.reply_sdp(&invite, 200, ANSWER);
    assert_eq!(phone.request("ACK").to_bytes(), first.to_bytes());
    // Also after the end of the transaction.
    phone.wait(40_000);
    phone.reply_sdp(&invite, 200, ANSWER);
    assert_eq!(phone.request("ACK").to_bytes(), first.to_bytes());
    phone.answered();
    phone.emits_no(|event| matches!(event, Event::Answered { .. }));
}

#[test]
fn a_challenged_invite_is_sent_again_and_its_ack_carries_the_same_number_and_credentials() {
    let mut phone = TestUserAgent::registered();
    let first = phone.invite();
    challenge(&mut phone, &first, "n1");
    assert_eq!(phone.request("ACK").cseq().unwrap().number, first.cseq().unwrap().number);
    let second = phone.request("INVITE");
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_ne!(second.via().unwrap().branch(), first.via().unwrap().branch());
    assert_eq!(second.from().unwrap().tag(), first.from().unwrap().tag());
    phone.reply_sdp(&second, 200, ANSWER);
    let ack = phone.request("ACK");
    assert_eq!(ack.cseq().unwrap().number, second.cseq().unwrap().number);
    assert_eq!(ack.value(Header::ProxyAuthorization), second.value(Header::ProxyAuthorization));
    assert!(ack.has(Header::ProxyAuthorization));
    // The next request in the dialog has the next CSeq number.
    phone.hang_up("c");
    let bye = phone.request("BYE");
    assert_eq!(bye.cseq().unwrap().number, second.cseq().unwrap().number + 1);
    assert!(bye.value(Header::ProxyAuthorization).unwrap().contains("nc=00000002"));
}

#[test]
fn a_challenged_bye_is_sent_again() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.hang_up("c");
    let first = phone.request("BYE");
    challenge(&mut phone, &first, "n1");
    let second = phone.request("BYE");
    assert!(second.has(Header::ProxyAuthorization));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
}

#[test]
fn refused_credentials_end_the_call() {
    let mut phone = TestUserAgent::registered();
    let first = phone.invite();
    challenge(&mut phone, &first, "n1");
    phone.request("ACK");
    let second = phone.request("INVITE");
    challenge(&mut phone, &second, "n1");
    phone.request("ACK");
    assert_eq!(phone.ended("c"), ("Wrong username or password".into(), Some(407)));
    phone.sends_nothing();
}

#[test]
fn the_answer_of_early_media_is_used_if_the_200_has_none() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply_sdp(&invite, 183, ANSWER);
    phone.emits(&Event::Progress {
        call: "c".into(),
        status: 183,
        sdp: Some(ANSWER.into()),
        early_dialog: Some("far".into()),
    });
    phone.reply(&invite, 200, |_| {});
    assert_eq!(phone.answered().as_deref(), Some(ANSWER));
}

#[test]
fn a_200_without_any_sdp_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |_| {});
    phone.request("ACK");
    phone.request("BYE");
    assert_eq!(phone.ended("c").0, "No common audio format");
}

#[test]
fn a_reliable_180_gets_one_prack_in_its_own_dialog() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    for tag in ["one", "two"] {
        for _ in 0..2 {
            phone.reply_as(&invite, 180, tag, |response| {
                response.append(Header::Require, "100rel");
                response.append(Header::RSeq, "7");
                response.append(Header::RecordRoute, "<sip:near.test;lr>, <sip:far.test;lr>");
            });
        }
        let prack = phone.request("PRACK");
        let cseq = invite.cseq().unwrap().number;
        assert_eq!(prack.value(Header::RAck), Some(format!("7 {cseq} INVITE").as_str()));
        assert_eq!(prack.to().unwrap().tag(), Some(tag));
        let routes: Vec<&str> = prack.values(Header::Route).collect();
        assert_eq!(routes, ["<sip:far.test;lr>", "<sip:near.test;lr>"]);
        assert_eq!(prack.uri_text(), format!("sip:{tag}@far.test;transport=ws"));
    }
    phone.sends_nothing();
    // The ACK has the CSeq number of the INVITE, although a PRACK was sent after it.
    phone.reply_as(&invite, 200, "one", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(phone.request("ACK").cseq().unwrap().number, invite.cseq().unwrap().number);
    phone.hang_up("c");
    assert_eq!(phone.request("BYE").cseq().unwrap().number, invite.cseq().unwrap().number + 2);
}

#[test]
fn a_call_without_offer_sends_its_answer_in_the_ack() {
    let mut phone = TestUserAgent::registered();
    invite_to(&mut phone, "bob", None);
    let invite = phone.request("INVITE");
    assert!(invite.body().is_empty());
    phone.reply_sdp(&invite, 200, OFFER);
    assert_eq!(phone.answered(), None);
    phone.emits(&Event::Offer { call: "c".into(), sdp: Some(OFFER.into()) });
    phone.reply_sdp(&invite, 200, OFFER);
    phone.sends_nothing();
    phone.command(Command::AnswerOffer { call: "c".into(), sdp: ANSWER.into() });
    assert_eq!(phone.request("ACK").body(), ANSWER.as_bytes());
    phone.reply_sdp(&invite, 200, OFFER);
    assert_eq!(phone.request("ACK").body(), ANSWER.as_bytes());
}

#[test]
fn a_delayed_offer_without_an_answer_gets_ack_and_bye() {
    let mut phone = TestUserAgent::registered();
    invite_to(&mut phone, "bob", None);
    let invite = phone.request("INVITE");
    phone.reply_sdp(&invite, 200, OFFER);
    phone.wait(20_000);
    phone.request("ACK");
    phone.request("BYE");
    phone.ended("c");
}

#[test]
fn requests_in_a_dialog_use_the_record_routes() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::RecordRoute, "<sip:near.test;lr>, <sip:far.test;lr>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    for method in ["ACK", "BYE"] {
        if method == "BYE" {
            phone.hang_up("c");
        }
        let request = phone.request(method);
        let routes: Vec<&str> = request.values(Header::Route).collect();
        assert_eq!(routes, ["<sip:far.test;lr>", "<sip:near.test;lr>"]);
        assert_eq!(request.uri_text(), "sip:far@far.test;transport=ws");
    }
}

#[test]
fn a_strict_routers_uri_is_the_request_uri() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.append(Header::RecordRoute, "<sip:strict.test>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    let ack = phone.request("ACK");
    assert_eq!(ack.uri_text(), "sip:strict.test");
    assert_eq!(ack.value(Header::Route), Some("<sip:far@far.test;transport=ws>"));
}

#[test]
fn an_unanswered_outgoing_call_times_out() {
    // No response.
    let mut phone = TestUserAgent::registered();
    phone.invite();
    phone.wait(32_000);
    assert_eq!(phone.ended("c"), ("No answer from the server".into(), Some(408)));
    // Only 180.
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 180, |_| {});
    phone.wait(180_000);
    assert_eq!(phone.ended("c").0, "No answer");
    phone.request("CANCEL");
    // No response to the CANCEL.
    phone.wait(100_000);
    assert!(phone.is_clean());
}

#[test]
fn a_422_is_followed_once_with_a_longer_interval() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    assert_eq!(invite.value(Header::SessionExpires), Some("1800"));
    phone.reply(&invite, 422, |response| response.append(Header::MinSe, "3600"));
    phone.request("ACK");
    let retried = phone.request("INVITE");
    assert_eq!(retried.value(Header::SessionExpires), Some("3600"));
    assert_eq!(retried.value(Header::MinSe), Some("3600"));
    phone.reply(&retried, 422, |response| response.append(Header::MinSe, "7200"));
    phone.request("ACK");
    assert_eq!(phone.ended("c").1, Some(422));
}

#[test]
fn a_call_to_an_invalid_target_ends_at_once() {
    let mut phone = TestUserAgent::registered();
    invite_to(&mut phone, "sip:not an address", Some(OFFER));
    assert_eq!(phone.ended("c").0, "Not a number");
    let mut phone = TestUserAgent::unregistered();
    invite_to(&mut phone, "bob", Some(OFFER));
    assert_eq!(phone.ended("c").0, "Not connected");
}

#[test]
fn header_fields_of_a_contact_are_not_in_the_request_uri() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| {
        response.set(Header::Contact, "<sip:far@far.test;transport=ws?Subject=x>");
        response.set_body("application/sdp", ANSWER.as_bytes());
    });
    assert_eq!(phone.request("ACK").uri_text(), "sip:far@far.test;transport=ws");
}
