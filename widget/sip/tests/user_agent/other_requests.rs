//! Requests other than INVITE, invalid messages and invalid commands.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event};

use crate::test_user_agent::{ANSWER, TestUserAgent};

#[test]
fn options_is_answered_with_our_capabilities() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("OPTIONS", 1, |_| {});
    let ok = phone.response(200);
    assert!(ok.lists(Header::Allow, "INVITE"));
    assert_eq!(ok.value(Header::Accept), Some("application/sdp"));
}

#[test]
fn an_unsolicited_notify_is_answered_with_200() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("NOTIFY", 1, |request| {
        request.append(Header::Event, "message-summary");
        request.set_body("application/simple-message-summary", b"Messages-Waiting: yes\r\n");
    });
    phone.response(200);
}

#[test]
fn unsupported_methods_are_refused_with_405_or_501() {
    for (method, status) in [
        ("SUBSCRIBE", 405),
        ("REGISTER", 405),
        ("PUBLISH", 405),
        ("REFER", 405),
        ("FROBNICATE", 501),
        ("BYE", 481),
        ("INFO", 481),
        ("UPDATE", 481),
        ("PRACK", 481),
    ] {
        let mut phone = TestUserAgent::registered();
        phone.remote_request(method, 1, |_| {});
        let refusal = phone.response(status);
        assert_eq!(refusal.has(Header::Allow), matches!(status, 405 | 501), "{method}");
    }
}

#[test]
fn a_request_in_an_unknown_dialog_is_refused_with_481() {
    let mut phone = TestUserAgent::registered();
    for method in ["INVITE", "BYE", "INFO", "NOTIFY", "OPTIONS"] {
        phone.remote_request(method, 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
        phone.response(481);
    }
    phone.remote_request("ACK", 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
    phone.sends_nothing();
}

#[test]
fn an_unsupported_required_extension_is_refused_with_420() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| request.append(Header::Require, "timer, magic, more"));
    assert_eq!(phone.response(420).value(Header::Unsupported), Some("magic, more"));
}

#[test]
fn infos_are_sent_one_at_a_time() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    for digit in ["1", "2", "3"] {
        phone.command(Command::Info {
            call: "c".into(),
            content_type: "application/dtmf-relay".into(),
            body: format!("Signal={digit}\r\nDuration=160\r\n"),
        });
    }
    for (digit, status) in [("1", 200), ("2", 415), ("3", 200)] {
        let info = phone.request("INFO");
        phone.sends_nothing();
        assert!(info.body().starts_with(format!("Signal={digit}").as_bytes()));
        assert_eq!(info.content_type(), Some("application/dtmf-relay"));
        phone.reply(&info, status, |_| {});
        phone.emits(&Event::InfoAnswered { call: "c".into(), status });
    }
    phone.sends_nothing();
}

fn digit(phone: &mut TestUserAgent, digit: &str) {
    phone.command(Command::Info {
        call: "c".into(),
        content_type: "application/dtmf-relay".into(),
        body: format!("Signal={digit}\r\n"),
    });
}

/// An announcement before the answer asks for digits.
#[test]
fn an_info_before_the_answer_goes_to_the_far_end_that_sends_early_media() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply_as(&invite, 180, "rings", |_| {});
    digit(&mut phone, "1");
    phone.emits(&Event::InfoAnswered { call: "c".into(), status: 408 });
    phone.sends_nothing();
    phone.reply_as(&invite, 183, "plays", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    digit(&mut phone, "2");
    let info = phone.request("INFO");
    assert_eq!(info.to().unwrap().tag(), Some("plays"));
    assert_eq!(info.uri_text(), "sip:plays@far.test;transport=ws");
    assert!(info.cseq().unwrap().number > invite.cseq().unwrap().number);
    phone.reply_as(&info, 200, "plays", |_| {});
    phone.emits(&Event::InfoAnswered { call: "c".into(), status: 200 });
    phone.reply_as(&invite, 200, "plays", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    assert_eq!(phone.request("ACK").cseq().unwrap().number, invite.cseq().unwrap().number);
    digit(&mut phone, "3");
    let next = phone.request("INFO");
    assert_eq!(next.cseq().unwrap().number, info.cseq().unwrap().number + 1);
}

#[test]
fn digits_for_an_announcement_are_not_sent_to_another_fork_that_answers() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    phone.reply_as(&invite, 183, "plays", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    digit(&mut phone, "1");
    digit(&mut phone, "2");
    let first = phone.request("INFO");
    phone.reply_as(&invite, 200, "answers", |response| response.set_body("application/sdp", ANSWER.as_bytes()));
    phone.request("ACK");
    for _ in 0..2 {
        phone.emits(&Event::InfoAnswered { call: "c".into(), status: 408 });
    }
    phone.sends_nothing();
    digit(&mut phone, "3");
    let third = phone.request("INFO");
    assert_eq!(third.to().unwrap().tag(), Some("answers"));
    phone.reply_as(&first, 481, "plays", |_| {});
    phone.emits_no(|event| matches!(event, Event::InfoAnswered { .. } | Event::Ended { .. }));
    phone.reply_as(&third, 200, "answers", |_| {});
    phone.emits(&Event::InfoAnswered { call: "c".into(), status: 200 });
}

#[test]
fn queued_infos_fail_when_the_connection_is_lost() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    for _ in 0..2 {
        phone.command(Command::Info { call: "c".into(), content_type: "a/b".into(), body: "x".into() });
    }
    phone.lose_connection();
    for _ in 0..2 {
        phone.emits(&Event::InfoAnswered { call: "c".into(), status: 408 });
    }
}

#[test]
fn a_received_info_is_reported() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "INFO", 1, |request| {
        request.set_body("application/dtmf-relay", b"Signal=5\r\n");
    });
    phone.response(200);
    phone.emits(&Event::Info {
        call: "c".into(),
        content_type: "application/dtmf-relay".into(),
        body: b"Signal=5\r\n".to_vec(),
    });
}

#[test]
fn a_text_of_the_far_end_is_accepted_and_reported() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.remote_request_in(&invite, "far", "MESSAGE", 1, |request| {
        request.set_body("text/plain;charset=UTF-8", "You are number 3 – please wait".as_bytes());
    });
    phone.response(200);
    phone.emits(&Event::Message { call: "c".into(), text: "You are number 3 – please wait".into() });
    phone.remote_request_in(&invite, "far", "MESSAGE", 2, |request| request.set_body("image/png", b"PNG"));
    assert_eq!(phone.response(415).value(Header::Accept), Some("text/plain"));
    phone.emits_no(|event| matches!(event, Event::Message { .. } | Event::Ended { .. }));
}

#[test]
fn a_text_outside_of_a_call_is_reported_with_its_sender() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("MESSAGE", 1, |request| request.set_body("text/plain", b"Call me back"));
    phone.response(200);
    let (from, text) = phone.event(|event| match event {
        Event::NewMessage { from, text } => Some((from.clone(), text.clone())),
        _ => None,
    });
    assert_eq!(
        (from.number.as_str(), from.display_name.as_deref(), text.as_str()),
        ("bob", Some("Bob B."), "Call me back")
    );
    phone.remote_request("MESSAGE", 2, |request| request.set_body("image/png", b"PNG"));
    assert_eq!(phone.response(415).value(Header::Accept), Some("text/plain"));
    phone.remote_request("MESSAGE", 3, |request| request.set_body("text/plain", b""));
    phone.response(200);
    phone.emits_no(|event| matches!(event, Event::NewMessage { .. }));
}

#[test]
fn invalid_bytes_are_dropped_and_malformed_requests_are_answered() {
    let mut phone = TestUserAgent::registered();
    for bytes in [&b""[..], b"\0", b"hello", b"SIP/2.0 200 OK\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"INVITE"] {
        phone.bytes(bytes);
        phone.sends_nothing();
        phone.event(|event| matches!(event, Event::Dropped { .. }).then_some(()));
    }
    phone.remote_request("INVITE", 1, |request| request.set(Header::CSeq, "1 BYE"));
    phone.response(400);
    phone.remote_request("INVITE", 1, |request| {
        request.remove(Header::Contact);
    });
    phone.response(400);
}

#[test]
fn a_response_without_a_transaction_is_dropped() {
    let mut phone = TestUserAgent::registered();
    let request = phone.remote_request("OPTIONS", 1, |_| {});
    phone.response(200);
    phone.reply(&request, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn commands_that_are_invalid_in_the_calls_state_are_reported() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    let call = || String::from("c");
    for command in [
        Command::Answer { call: call(), sdp: String::new() },
        Command::Reject { call: call(), status: 486 },
        Command::AnswerOffer { call: call(), sdp: String::new() },
        Command::RefuseOffer { call: call(), status: 488 },
    ] {
        phone.command(command);
        phone.sends_nothing();
        phone.event(|event| matches!(event, Event::Dropped { .. }).then_some(()));
    }
    phone.command(Command::HangUp { call: "unknown".into() });
    phone.sends_nothing();
}
