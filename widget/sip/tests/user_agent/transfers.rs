//! Transfers by REFER, as the one who transfers.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, InviteOptions, TransferFailure, TransferProgress, TransferTarget};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

/// A call that is being transferred: the phone, the call's INVITE and the REFER.
fn transferring() -> (TestUserAgent, Request, Request) {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let refer = transfer(&mut phone);
    (phone, invite, refer)
}

fn transfer(phone: &mut TestUserAgent) -> Request {
    phone.command(Command::Transfer { call: "c".into(), target: TransferTarget::Address("300".into()) });
    phone.request("REFER")
}

fn notify(phone: &mut TestUserAgent, invite: &Request, cseq: u32, event: &str, state: &str, fragment: &str) {
    phone.remote_request_in(invite, "far", "NOTIFY", cseq, |request| {
        request.append(Header::Event, event);
        request.append(Header::SubscriptionState, state);
        request.set_body("message/sipfrag;version=2.0", fragment.as_bytes());
    });
    phone.response(200);
}

fn progress(phone: &mut TestUserAgent) -> TransferProgress {
    phone.event(|event| match event {
        Event::Transfer { progress, .. } => Some(*progress),
        _ => None,
    })
}

fn tells_no_more(phone: &TestUserAgent) {
    phone.emits_no(|event| matches!(event, Event::Transfer { .. } | Event::Ended { .. }));
}

#[test]
fn a_transfer_is_reported_until_the_target_answers() {
    let (mut phone, invite, refer) = transferring();
    assert_eq!(refer.value(Header::ReferTo), Some("<sip:300@acme.test>"));
    assert_eq!(refer.value(Header::ReferredBy), Some("<sip:anna@acme.test>"));
    assert!(refer.has(Header::Contact));
    phone.reply(&refer, 202, |_| {});
    assert_eq!(progress(&mut phone), TransferProgress::Accepted);
    let id = format!("refer;id={}", refer.cseq().unwrap().number);
    for (cseq, status) in [(1, 100), (2, 180)] {
        notify(&mut phone, &invite, cseq, &id, "active;expires=60", &format!("SIP/2.0 {status} X\r\n"));
        assert_eq!(progress(&mut phone), TransferProgress::Proceeding { status });
    }
    notify(&mut phone, &invite, 3, &id, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n");
    assert_eq!(progress(&mut phone), TransferProgress::Succeeded);
    phone.wait(300_000);
    tells_no_more(&phone);
    // Another one can follow.
    transfer(&mut phone);
}

#[test]
fn reports_without_an_id_and_with_the_final_status_only_are_understood() {
    for (fragment, result) in [
        ("SIP/2.0 200 OK\r\n", TransferProgress::Succeeded),
        ("SIP/2.0 486 Busy Here", TransferProgress::Failed(TransferFailure::Unreachable { status: 486 })),
        (
            "sip/2.0 603 Decline\r\nTo: <sip:x@y>\r\n",
            TransferProgress::Failed(TransferFailure::Unreachable { status: 603 }),
        ),
    ] {
        let (mut phone, invite, refer) = transferring();
        phone.reply(&refer, 200, |_| {});
        assert_eq!(progress(&mut phone), TransferProgress::Accepted);
        // The subscription's state says nothing that the status does not.
        notify(&mut phone, &invite, 1, "refer", "active", fragment);
        assert_eq!(progress(&mut phone), result, "{fragment}");
        tells_no_more(&phone);
    }
}

#[test]
fn a_report_that_ends_without_a_result_is_a_failure() {
    for fragment in ["SIP/2.0 100 Trying\r\n", "", "hello"] {
        let (mut phone, invite, refer) = transferring();
        phone.reply(&refer, 202, |_| {});
        progress(&mut phone);
        notify(&mut phone, &invite, 1, "refer", "terminated;reason=timeout", fragment);
        assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NoResult));
    }
}

#[test]
fn a_report_before_the_response_counts_and_the_response_adds_nothing() {
    for status in [202, 500] {
        let (mut phone, invite, refer) = transferring();
        notify(&mut phone, &invite, 1, "refer", "active", "SIP/2.0 180 Ringing\r\n");
        assert_eq!(progress(&mut phone), TransferProgress::Accepted);
        assert_eq!(progress(&mut phone), TransferProgress::Proceeding { status: 180 });
        phone.reply(&refer, status, |_| {});
        tells_no_more(&phone);
        notify(&mut phone, &invite, 2, "refer", "terminated", "SIP/2.0 200 OK\r\n");
        assert_eq!(progress(&mut phone), TransferProgress::Succeeded);
    }
}

#[test]
fn a_report_about_an_earlier_transfer_or_another_event_is_not_taken_for_this_one() {
    let (mut phone, invite, refer) = transferring();
    phone.reply(&refer, 603, |_| {});
    progress(&mut phone);
    let second = transfer(&mut phone);
    phone.reply(&second, 202, |_| {});
    assert_eq!(progress(&mut phone), TransferProgress::Accepted);
    let old = format!("refer;id={}", refer.cseq().unwrap().number);
    notify(&mut phone, &invite, 1, &old, "terminated", "SIP/2.0 200 OK\r\n");
    notify(&mut phone, &invite, 2, "message-summary", "terminated", "SIP/2.0 200 OK\r\n");
    tells_no_more(&phone);
}

#[test]
fn a_refusal_leaves_the_call_as_it_is() {
    for status in [403, 405, 480, 501, 503, 603] {
        let (mut phone, _, refer) = transferring();
        phone.reply(&refer, status, |_| {});
        assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::Refused { status }));
        phone.wait(60_000);
        phone.sends_nothing();
        tells_no_more(&phone);
    }
}

#[test]
fn a_refer_without_a_response_fails_after_its_transaction() {
    let (mut phone, ..) = transferring();
    phone.wait(31_000);
    tells_no_more(&phone);
    phone.wait(1_000);
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NoResponse));
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn an_accepted_transfer_without_any_report_fails_after_32_seconds() {
    let (mut phone, _, refer) = transferring();
    phone.reply(&refer, 202, |_| {});
    progress(&mut phone);
    phone.wait(31_900);
    tells_no_more(&phone);
    phone.wait(100);
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NoResult));
    tells_no_more(&phone);
}

#[test]
fn a_target_that_rings_on_is_waited_for_as_long_as_a_call_of_our_own() {
    let (mut phone, invite, refer) = transferring();
    phone.reply(&refer, 202, |_| {});
    progress(&mut phone);
    notify(&mut phone, &invite, 1, "refer", "active", "SIP/2.0 180 Ringing\r\n");
    progress(&mut phone);
    phone.wait(179_000);
    tells_no_more(&phone);
    phone.wait(1_000);
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NoResult));
}

#[test]
fn a_challenge_of_the_refer_is_answered() {
    let (mut phone, invite, refer) = transferring();
    phone.reply(&refer, 407, |response| {
        response.append(Header::ProxyAuthenticate, "Digest realm=\"r\", nonce=\"n\"");
    });
    let again = phone.request("REFER");
    assert!(again.has(Header::ProxyAuthorization));
    assert_eq!(again.value(Header::ReferTo), refer.value(Header::ReferTo));
    phone.reply(&again, 202, |_| {});
    assert_eq!(progress(&mut phone), TransferProgress::Accepted);
    // Some far ends name the first REFER.
    let id = format!("refer;id={}", refer.cseq().unwrap().number);
    notify(&mut phone, &invite, 1, &id, "terminated", "SIP/2.0 200 OK\r\n");
    assert_eq!(progress(&mut phone), TransferProgress::Succeeded);
}

#[test]
fn a_refer_that_crosses_a_reinvite_is_sent_again() {
    let (mut phone, _, refer) = transferring();
    phone.reply(&refer, 491, |_| {});
    phone.sends_nothing();
    phone.wait(4_000);
    let again = phone.request("REFER");
    phone.reply(&again, 500, |response| response.append(Header::RetryAfter, "2"));
    phone.wait(2_200);
    let again = phone.request("REFER");
    phone.reply(&again, 491, |_| {});
    phone.wait(4_000);
    let last = phone.request("REFER");
    phone.reply(&last, 491, |_| {});
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::Refused { status: 491 }));
}

#[test]
fn a_hang_up_ends_the_transfer_and_its_reports_are_still_answered() {
    let (mut phone, invite, refer) = transferring();
    phone.reply(&refer, 491, |_| {});
    phone.hang_up("c");
    phone.request("BYE");
    phone.wait(10_000);
    phone.sends_nothing();
    notify(&mut phone, &invite, 1, "refer", "terminated", "SIP/2.0 200 OK\r\n");
    phone.emits_no(|event| matches!(event, Event::Transfer { .. }));
}

#[test]
fn a_bye_of_the_far_end_ends_the_call_in_every_state_of_the_transfer() {
    for accepted in [false, true] {
        let (mut phone, invite, refer) = transferring();
        if accepted {
            phone.reply(&refer, 202, |_| {});
            progress(&mut phone);
        }
        phone.remote_request_in(&invite, "far", "BYE", 1, |_| {});
        phone.response(200);
        assert_eq!(phone.ended("c"), ("Remote hung up".into(), None));
        notify(&mut phone, &invite, 2, "refer", "terminated", "SIP/2.0 200 OK\r\n");
        phone.reply(&refer, 202, |_| {});
        phone.wait(300_000);
        phone.emits_no(|event| matches!(event, Event::Transfer { .. }));
        phone.assert_no_calls();
    }
}

#[test]
fn a_refer_to_a_dialog_that_is_gone_ends_the_call() {
    let (mut phone, _, refer) = transferring();
    phone.reply(&refer, 481, |_| {});
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::Refused { status: 481 }));
    phone.ended("c");
}

#[test]
fn a_lost_connection_fails_a_request_and_keeps_an_accepted_transfer() {
    let (mut phone, ..) = transferring();
    phone.lose_connection();
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NotConnected));

    let (mut phone, invite, refer) = transferring();
    phone.reply(&refer, 202, |_| {});
    progress(&mut phone);
    phone.lose_connection();
    phone.reconnect();
    notify(&mut phone, &invite, 1, "refer", "terminated", "SIP/2.0 200 OK\r\n");
    assert_eq!(progress(&mut phone), TransferProgress::Succeeded);
}

#[test]
fn a_call_that_is_not_up_or_a_target_that_is_no_address_fails_at_once() {
    let mut phone = TestUserAgent::registered();
    phone.invite();
    phone.command(Command::Transfer { call: "c".into(), target: TransferTarget::Address("300".into()) });
    assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::NotConnected));
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    for target in [TransferTarget::Address(" ".into()), TransferTarget::Call("gone".into())] {
        phone.command(Command::Transfer { call: "c".into(), target });
        assert_eq!(progress(&mut phone), TransferProgress::Failed(TransferFailure::BadTarget));
    }
    phone.sends_nothing();
}

#[test]
fn an_attended_transfer_names_the_dialog_that_the_other_far_end_takes_over() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.command(Command::Invite {
        call: "asked".into(),
        target: "300".into(),
        options: InviteOptions::default(),
        sdp: Some(OFFER.into()),
    });
    let invite = phone.request("INVITE");
    phone.reply_as(&invite, 200, "target", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    phone.request("ACK");
    phone.command(Command::Transfer { call: "c".into(), target: TransferTarget::Call("asked".into()) });
    let refer = phone.request("REFER");
    let ours = invite.from().unwrap().tag().unwrap().to_owned();
    let call_id = invite.value(Header::CallId).unwrap();
    assert_eq!(
        refer.value(Header::ReferTo),
        Some(format!("<sip:300@acme.test?Replaces={call_id}%3Bto-tag%3Dtarget%3Bfrom-tag%3D{ours}>").as_str())
    );
}
