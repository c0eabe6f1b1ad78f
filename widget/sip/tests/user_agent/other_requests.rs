//! Everything that is not a call: answered as the RFCs ask, never with silence, never with a crash.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event};

use crate::test_user_agent::TestUserAgent;

#[test]
fn options_says_what_we_can() {
    let mut phone = TestUserAgent::registered();
    phone.ask("OPTIONS", 1, |_| {});
    let ok = phone.response(200);
    assert!(ok.lists(Header::Allow, "INVITE"));
    assert_eq!(ok.value(Header::Accept), Some("application/sdp"));
}

#[test]
fn a_notify_nobody_asked_for_is_taken_politely() {
    let mut phone = TestUserAgent::registered();
    phone.ask("NOTIFY", 1, |request| {
        request.append(Header::Event, "message-summary");
        request.set_body("application/simple-message-summary", b"Messages-Waiting: yes\r\n");
    });
    phone.response(200);
}

#[test]
fn methods_are_refused_by_name() {
    for (method, status) in [
        ("SUBSCRIBE", 405),
        ("MESSAGE", 405),
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
        phone.ask(method, 1, |_| {});
        let refusal = phone.response(status);
        assert_eq!(refusal.has(Header::Allow), matches!(status, 405 | 501), "{method}");
    }
}

#[test]
fn a_request_in_a_dialog_we_do_not_know_is_481() {
    let mut phone = TestUserAgent::registered();
    for method in ["INVITE", "BYE", "INFO", "NOTIFY", "OPTIONS"] {
        phone.ask(method, 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
        phone.response(481);
    }
    phone.ask("ACK", 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
    phone.sends_nothing();
}

#[test]
fn an_extension_we_do_not_know_is_named() {
    let mut phone = TestUserAgent::registered();
    phone.ask("INVITE", 1, |request| request.append(Header::Require, "timer, magic, more"));
    assert_eq!(phone.response(420).value(Header::Unsupported), Some("magic, more"));
}

#[test]
fn digits_go_one_after_the_other() {
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

#[test]
fn digits_on_their_way_when_the_connection_breaks_are_answered_for() {
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
fn an_info_in_a_call_is_passed_on() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    phone.ask_in(&invite, "far", "INFO", 1, |request| request.set_body("application/dtmf-relay", b"Signal=5\r\n"));
    phone.response(200);
    phone.emits(&Event::Info {
        call: "c".into(),
        content_type: "application/dtmf-relay".into(),
        body: b"Signal=5\r\n".to_vec(),
    });
}

#[test]
fn what_is_no_message_is_dropped_with_a_reason_and_a_broken_request_is_answered() {
    let mut phone = TestUserAgent::registered();
    for bytes in [&b""[..], b"\0", b"hello", b"SIP/2.0 200 OK\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"INVITE"] {
        phone.bytes(bytes);
        phone.sends_nothing();
        phone.event(|event| matches!(event, Event::Dropped { .. }).then_some(()));
    }
    phone.ask("INVITE", 1, |request| request.set(Header::CSeq, "1 BYE"));
    phone.response(400);
    phone.ask("INVITE", 1, |request| {
        request.remove(Header::Contact);
    });
    phone.response(400);
}

#[test]
fn a_response_to_nothing_is_dropped() {
    let mut phone = TestUserAgent::registered();
    let request = phone.ask("OPTIONS", 1, |_| {});
    phone.response(200);
    phone.reply(&request, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn commands_that_do_not_fit_are_said_so() {
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
