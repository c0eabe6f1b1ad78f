//! Incoming calls.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, RemoteParty};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn answer(phone: &mut TestUserAgent, call: &str) -> bitcall_sip::message::Response {
    phone.response(180);
    phone.command(Command::Answer { call: call.into(), sdp: ANSWER.into() });
    phone.response(200)
}

fn cancel(phone: &mut TestUserAgent, invite: &Request, fill: impl FnOnce(&mut Request)) {
    let via = invite.value(Header::Via).unwrap().to_owned();
    phone.remote_request("CANCEL", 1, |request| {
        request.set(Header::Via, &via);
        fill(request);
    });
}

#[test]
fn an_incoming_call_is_answered() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.remote_request("INVITE", 1, |request| {
        request.append(Header::RecordRoute, "<sip:gate.test;lr>");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let (call, from, offer) = phone.rings();
    assert_eq!(offer.as_deref(), Some(OFFER));
    assert_eq!((from.number.as_str(), from.display_name.as_deref()), ("bob", Some("Bob B.")));
    let ringing = phone.response(180);
    assert!(ringing.contact().unwrap().is_some());
    phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    assert_eq!(ok.body(), ANSWER.as_bytes());
    assert_eq!(ok.value(Header::RecordRoute), Some("<sip:gate.test;lr>"));
    assert_eq!(ok.to().unwrap().tag(), ringing.to().unwrap().tag());
    phone.ack(&invite, &ok);
    phone.emits(&Event::Confirmed { call: call.clone(), sdp: None });
    phone.wait(60_000);
    phone.sends_nothing();
    phone.hang_up(&call);
    let bye = phone.request("BYE");
    assert_eq!(bye.uri_text(), "sip:bob@far.test;transport=ws");
    assert_eq!(bye.value(Header::Route), Some("<sip:gate.test;lr>"));
    assert_eq!(bye.to().unwrap().tag(), Some("bobs"));
}

#[test]
fn the_200_is_retransmitted_until_the_ack() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    let ok = answer(&mut phone, &call);
    for pause in [500, 1_000, 2_000, 4_000, 4_000] {
        phone.wait(pause);
        assert_eq!(phone.response(200).to_bytes(), ok.to_bytes());
        phone.sends_nothing();
    }
    phone.ack(&invite, &ok);
    phone.wait(60_000);
    phone.sends_nothing();
}

#[test]
fn a_call_without_ack_is_ended_by_bye() {
    let mut phone = TestUserAgent::registered();
    let (_, call) = phone.incoming();
    answer(&mut phone, &call);
    phone.wait_for(|output| matches!(output, bitcall_sip::ua::Output::Event(Event::Ended { .. })));
    assert_eq!(phone.ended(&call).0, "No acknowledgement");
    while phone.next_is_response() {
        phone.response(200);
    }
    phone.request("BYE");
}

#[test]
fn a_hang_up_before_the_ack_ends_the_call_at_once_and_sends_bye_after_the_ack() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    let ok = answer(&mut phone, &call);
    phone.hang_up(&call);
    assert_eq!(phone.ended(&call).0, "Hung up");
    phone.sends_nothing();
    phone.ack(&invite, &ok);
    phone.request("BYE");
}

#[test]
fn a_rejected_call_is_answered_with_the_given_status() {
    let mut phone = TestUserAgent::registered();
    let (_, call) = phone.incoming();
    phone.response(180);
    phone.command(Command::Reject { call: call.clone(), status: 486 });
    phone.response(486);
    assert_eq!(phone.ended(&call), ("Declined".into(), Some(486)));
}

#[test]
fn hanging_up_a_ringing_call_answers_with_the_configured_status() {
    let mut statuses = vec![(TestUserAgent::registered(), 486)];
    for status in [480, 603] {
        let mut phone = TestUserAgent::with(|config| config.decline_status = status);
        phone.register();
        statuses.push((phone, status));
    }
    for (mut phone, status) in statuses {
        let (_, call) = phone.incoming();
        phone.response(180);
        phone.hang_up(&call);
        phone.response(status);
        assert_eq!(phone.ended(&call), ("Declined".into(), Some(status)));
    }
}

#[test]
fn a_cancelled_call_ends_with_the_cause_from_its_reason_header() {
    for (reason, text) in [
        (None, "Caller hung up"),
        (Some("SIP;cause=200;text=\"Call completed elsewhere\""), "Answered elsewhere"),
        (Some("SIP;cause=603"), "Declined elsewhere"),
        (Some("Q.850;cause=26"), "Answered elsewhere"),
        (Some("q.850 ;cause=16, SIP ; cause = \"200\""), "Answered elsewhere"),
        (Some("SIP;text=\"Call completed elsewhere\""), "Answered elsewhere"),
        (Some("SIP;cause=487;text=\"Originator cancel, elsewhere\""), "Caller hung up"),
        (Some("Q.850;cause=16"), "Caller hung up"),
        (Some("\";;="), "Caller hung up"),
    ] {
        let mut phone = TestUserAgent::registered();
        let (invite, call) = phone.incoming();
        phone.response(180);
        cancel(&mut phone, &invite, |request| {
            if let Some(reason) = reason {
                request.append(Header::Reason, reason);
            }
        });
        let ok = phone.response(200);
        assert_eq!(ok.cseq().unwrap().method.as_str(), "CANCEL");
        let terminated = phone.response(487);
        assert_eq!(terminated.cseq().unwrap().method.as_str(), "INVITE");
        assert_eq!(phone.ended(&call).0, text);
        // A late `Answer` command is ignored.
        phone.command(Command::Answer { call, sdp: ANSWER.into() });
        phone.sends_nothing();
    }
}

#[test]
fn a_cancel_after_the_answer_is_ignored() {
    let mut phone = TestUserAgent::registered();
    let (invite, call) = phone.incoming();
    let ok = answer(&mut phone, &call);
    cancel(&mut phone, &invite, |_| {});
    phone.response(200);
    phone.ack(&invite, &ok);
    phone.emits(&Event::Confirmed { call, sdp: None });
}

#[test]
fn a_cancel_without_an_invite_is_answered_with_481() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("CANCEL", 1, |_| {});
    phone.response(481);
}

#[test]
fn an_invite_without_offer_is_answered_with_an_offer() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.remote_request("INVITE", 1, |_| {});
    let (call, _, offer) = phone.rings();
    assert_eq!(offer, None);
    phone.response(180);
    phone.command(Command::Answer { call: call.clone(), sdp: OFFER.into() });
    let ok = phone.response(200);
    phone.ack_with(&invite, &ok, |ack| ack.set_body("application/sdp", ANSWER.as_bytes()));
    phone.emits(&Event::Confirmed { call, sdp: Some(ANSWER.into()) });
}

#[test]
fn an_ack_without_an_answer_to_our_offer_ends_the_call() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.remote_request("INVITE", 1, |_| {});
    let (call, ..) = phone.rings();
    let ok = answer(&mut phone, &call);
    phone.ack(&invite, &ok);
    phone.ended(&call);
    phone.request("BYE");
}

#[test]
fn a_call_beyond_the_session_limit_is_answered_with_486() {
    let mut phone = TestUserAgent::with(|config| config.max_sessions = 1);
    phone.register();
    let (_, call) = phone.incoming();
    phone.response(180);
    phone.remote_request("INVITE", 1, |request| request.set(Header::CallId, "incoming-2"));
    phone.response(486);
    let missed = phone.event(|event| match event {
        Event::Missed { from, .. } => Some(from.number.clone()),
        _ => None,
    });
    assert_eq!(missed, "bob");
    // The session is free as soon as `Ended` was emitted.
    phone.command(Command::Reject { call, status: 603 });
    phone.response(603);
    phone.remote_request("INVITE", 1, |request| request.set(Header::CallId, "incoming-3"));
    phone.response(180);
}

#[test]
fn a_merged_invite_is_answered_with_482() {
    let mut phone = TestUserAgent::registered();
    phone.incoming();
    phone.response(180);
    phone.remote_request("INVITE", 1, |_| {});
    phone.response(482);
}

#[test]
fn an_unanswered_incoming_call_times_out() {
    for (expires, limit) in [(None, 180_000), (Some("20"), 20_000)] {
        let mut phone = TestUserAgent::registered();
        phone.remote_request("INVITE", 1, |request| {
            if let Some(expires) = expires {
                request.append(Header::Expires, expires);
            }
        });
        phone.response(180);
        phone.wait(limit - 1);
        phone.sends_nothing();
        phone.wait(1);
        phone.response(480);
    }
}

/// An INVITE that requires reliable ringing, and our 180.
fn reliable(phone: &mut TestUserAgent) -> (Request, bitcall_sip::message::Response) {
    let invite = phone.remote_request("INVITE", 1, |request| {
        request.append(Header::Require, "100rel");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let ringing = phone.response(180);
    (invite, ringing)
}

fn prack(phone: &mut TestUserAgent, invite: &Request, ringing: &bitcall_sip::message::Response, cseq: u32) {
    let rack = format!("{} 1 INVITE", ringing.value(Header::RSeq).unwrap());
    phone.remote_request("PRACK", cseq, |request| {
        request.set(Header::From, invite.value(Header::From).unwrap());
        request.set(Header::To, ringing.value(Header::To).unwrap());
        request.append(Header::RAck, &rack);
    });
}

#[test]
fn a_180_is_reliable_if_the_caller_requires_100rel() {
    let mut phone = TestUserAgent::registered();
    let (invite, ringing) = reliable(&mut phone);
    assert!(ringing.lists(Header::Require, "100rel"));
    phone.wait(500);
    assert_eq!(phone.response(180).to_bytes(), ringing.to_bytes());
    prack(&mut phone, &invite, &ringing, 2);
    phone.response(200);
    prack(&mut phone, &invite, &ringing, 3);
    phone.response(481);
    phone.wait(10_000);
    phone.sends_nothing();
}

#[test]
fn a_prack_after_the_answer_is_accepted() {
    let mut phone = TestUserAgent::registered();
    let (invite, ringing) = reliable(&mut phone);
    let (call, ..) = phone.rings();
    phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
    let ok = phone.response(200);
    prack(&mut phone, &invite, &ringing, 2);
    assert_eq!(phone.response(200).cseq().unwrap().method.as_str(), "PRACK");
    phone.ack(&invite, &ok);
    phone.emits(&Event::Confirmed { call, sdp: None });
}

#[test]
fn p_asserted_identity_is_preferred_to_from() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| {
        request.append(Header::PAssertedIdentity, "\"Sales\" <tel:+15550111;phone-context=x>");
    });
    let (_, from, _) = phone.rings();
    assert_eq!((from.number.as_str(), from.display_name.as_deref()), ("+15550111", Some("Sales")));
}

fn caller(headers: &[(&str, &str)]) -> (String, Option<String>) {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| {
        for (name, value) in headers {
            if *name == "From" {
                request.set(Header::From, value);
            } else {
                request.append(*name, value);
            }
        }
    });
    let (_, from, _) = phone.rings();
    (from.number, from.display_name)
}

#[test]
fn the_first_identity_that_reads_is_the_caller() {
    let pai = "P-Asserted-Identity";
    let rpid = "Remote-Party-ID";
    for (headers, number, name) in [
        (vec![(pai, "<sip:>")], "bob", Some("Bob B.")),
        (vec![(pai, "<sip:>"), (rpid, "\"Ann\" <sip:200@acme.test>;party=calling")], "200", Some("Ann")),
        (vec![(pai, "\"")], "bob", Some("Bob B.")),
        (vec![(pai, "Doe, Ann <sip:200@acme.test>")], "200", Some("Ann")),
        (vec![(pai, "<sip:201@acme.test>"), (rpid, "<sip:200@acme.test>")], "201", Some("Bob B.")),
        (vec![(pai, "<sip:gateway.test>, <tel:+4930123>")], "+4930123", Some("Bob B.")),
        (vec![(pai, "<sip:gateway.test>")], "bob", Some("Bob B.")),
        (vec![(rpid, "\"Called\" <sip:200@acme.test>;party=called")], "bob", Some("Bob B.")),
        (vec![(rpid, "\"Secret\" <sip:200@acme.test>;party=calling;privacy=full")], "bob", Some("Bob B.")),
        (vec![(rpid, "\"Secret\" <sip:200@acme.test>;party=calling;privacy=uri")], "bob", Some("Bob B.")),
        (vec![(pai, "<sip:201@2001:db8::1>")], "201", Some("Bob B.")),
        (vec![(pai, "<sip:201@[fe80::1%25eth0]:5060>")], "201", Some("Bob B.")),
        (vec![(pai, "<sip:201@acme.test:70000>")], "201", Some("Bob B.")),
        (vec![(pai, "<sip:201@acme.test:x;p=a@b>")], "201", Some("Bob B.")),
        (vec![("From", "<sip:gateway.test>;tag=1")], "sip:gateway.test", None),
    ] {
        assert_eq!(caller(&headers), (number.to_owned(), name.map(String::from)), "{headers:?}");
    }
}

#[test]
fn numbers_and_names_are_shown_as_a_person_reads_them() {
    for (from, number, name) in [
        ("<sip:+1555;npdi=yes@acme.test>;tag=1", "+1555", None),
        ("<sip:+1555;npdi;rn=+1666@acme.test;user=phone>;tag=1", "+1555", None),
        ("<sip:0301234;phone-context=+49@acme.test;user=phone>;tag=1", "0301234", None),
        ("<sip:+1-555-123.45@acme.test>;tag=1", "+155512345", None),
        ("<sip:+1(555)123@acme.test>;tag=1", "+1555123", None),
        ("<TEL:+1-555-0199;ext=1>;tag=1", "+15550199", None),
        ("<SIP:100%23@acme.test>;tag=1", "100#", None),
        ("<sip:anna-lena.m@acme.test>;tag=1", "anna-lena.m", None),
        ("=?UTF-8?Q?M=C3=BCller?= <sip:200@acme.test>;tag=1", "200", Some("Müller")),
        ("\"=?utf-8?B?TcO8bGxlcg==?=\" <sip:200@acme.test>;tag=1", "200", Some("Müller")),
        ("\"Ann \\\"A\\\" B\" <sip:200@acme.test>;tag=1", "200", Some("Ann \"A\" B")),
    ] {
        assert_eq!(caller(&[("From", from)]), (number.to_owned(), name.map(String::from)), "{from}");
    }
}

#[test]
fn a_caller_who_withholds_the_identity_has_no_number() {
    for (from, name) in [
        ("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1", "Anonymous"),
        ("<sip:anonymous@anonymous.invalid>;tag=1", "Anonymous"),
        ("<sip:Anonymous@10.0.0.1>;tag=1", "Anonymous"),
        ("<sip:c8oqz84zk7z@anonymous.invalid>;tag=1", "Anonymous"),
        ("<sip:anonymous.invalid>;tag=1", "Anonymous"),
        ("\"Unavailable\" <sip:unavailable@unknown.invalid>;tag=1", "Unavailable"),
        ("<sip:c8oqz84zk7z@unknown.invalid>;tag=1", "Anonymous"),
        ("<sip:unavailable@10.0.0.1>;tag=1", "Anonymous"),
        ("<sip:Restricted@10.0.0.1>;tag=1", "Anonymous"),
        ("<sip:unknown@10.0.0.1>;tag=1", "Anonymous"),
    ] {
        assert_eq!(caller(&[("From", from)]), (String::new(), Some(name.to_owned())), "{from}");
    }
    let asserted = [("From", "<sip:anonymous@anonymous.invalid>;tag=1"), ("P-Asserted-Identity", "<tel:+1555>")];
    assert_eq!(caller(&asserted), ("+1555".to_owned(), None));
}

#[test]
fn a_body_other_than_sdp_is_refused_with_415() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| request.set_body("text/plain", b"hello"));
    assert_eq!(phone.response(415).value(Header::Accept), Some("application/sdp"));
}

/// An INVITE with these header fields: what is told of it.
fn incoming_with(headers: &[(&str, &str)]) -> (Option<RemoteParty>, Option<u64>) {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| {
        for (name, value) in headers {
            request.append(*name, value);
        }
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    phone.event(|event| match event {
        Event::Incoming { diverted_from, auto_answer_ms, .. } => Some((diverted_from.clone(), *auto_answer_ms)),
        _ => None,
    })
}

#[test]
fn a_caller_may_ask_that_the_call_is_answered_by_itself() {
    for (name, value, asked) in [
        ("Call-Info", "<sip:gate.test>;answer-after=0", Some(0)),
        ("Call-Info", "<http://x/icon>;purpose=icon, <sip:x>; Answer-After = \"5\"", Some(5_000)),
        ("Call-Info", "<sip:x;answer-after=0>", None),
        ("Call-Info", "answer-after=soon", None),
        ("Call-Info", "<sip:x>;answer-after=99999999999999999999", None),
        ("Alert-Info", "<http://gate.test>;info=alert-autoanswer", Some(0)),
        ("Alert-Info", "<http://gate.test>;info=alert-autoanswer;answer-after=2", Some(2_000)),
        ("Alert-Info", "info=Alert-AutoAnswer", Some(0)),
        ("Alert-Info", "<http://gate.test>;info=alert-external", None),
        ("Alert-Info", "<http://gate.test/info=alert-autoanswer>", None),
        ("Alert-Info", "\";=<>,<", None),
        ("Subject", "answer-after=0", None),
    ] {
        assert_eq!(incoming_with(&[(name, value)]).1, asked, "{name}: {value}");
    }
}

#[test]
fn a_diverted_call_tells_whom_the_caller_called() {
    let who =
        |headers: &[(&str, &str)]| incoming_with(headers).0.map(|party| party.display_name.unwrap_or(party.number));
    let sales = ("Diversion", "\"Sales\" <sip:500@acme.test>;reason=no-answer");
    let history = |value| ("History-Info", value);
    for (headers, told) in [
        (vec![], None),
        (vec![sales], Some("Sales")),
        // The newest comes first.
        (vec![("Diversion", "<sip:502@acme.test>;reason=unknown"), sales], Some("Sales")),
        (vec![("Diversion", "<sip:+49-30-1@gate.test;user=phone>;privacy=off")], Some("+49301")),
        (vec![("Diversion", "<sip:500@acme.test>;privacy=full")], None),
        (vec![("Diversion", "<sip:anonymous@anonymous.invalid>")], None),
        (vec![("Diversion", "<sip:gate.test>")], None),
        (vec![("Diversion", "<sip:anna@acme.test>")], None),
        (vec![("Diversion", "nonsense<")], None),
        // The oldest comes first.
        (vec![history("<sip:500@acme.test>;index=1, <sip:anna@acme.test;cause=302>;index=1.1;rc=1")], Some("500")),
        (vec![history("<sip:anna@acme.test>;index=1")], None),
        (vec![history("<sip:500@acme.test?Privacy=history>;index=1"), history("<sip:anna@acme.test>;index=2")], None),
        (vec![history("<sip:501@acme.test?Reason=SIP%3Bcause%3D302>;index=1"), sales], Some("Sales")),
    ] {
        assert_eq!(who(&headers).as_deref(), told, "{headers:?}");
    }
}
