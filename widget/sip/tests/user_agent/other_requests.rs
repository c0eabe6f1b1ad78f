//! Everything that is not a call: answered as the RFCs ask, never with silence, never with a crash.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event};

use crate::test_user_agent::Stage;

#[test]
fn options_says_what_we_can() {
    let mut stage = Stage::registered();
    stage.ask("OPTIONS", 1, |_| {});
    let ok = stage.response(200);
    assert!(ok.lists(Header::Allow, "INVITE"));
    assert_eq!(ok.value(Header::Accept), Some("application/sdp"));
}

#[test]
fn a_notify_nobody_asked_for_is_taken_politely() {
    let mut stage = Stage::registered();
    stage.ask("NOTIFY", 1, |request| {
        request.append(Header::Event, "message-summary");
        request.set_body("application/simple-message-summary", b"Messages-Waiting: yes\r\n");
    });
    stage.response(200);
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
        let mut stage = Stage::registered();
        stage.ask(method, 1, |_| {});
        let refusal = stage.response(status);
        assert_eq!(refusal.has(Header::Allow), matches!(status, 405 | 501), "{method}");
    }
}

#[test]
fn a_request_in_a_dialog_we_do_not_know_is_481() {
    let mut stage = Stage::registered();
    for method in ["INVITE", "BYE", "INFO", "NOTIFY", "OPTIONS"] {
        stage.ask(method, 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
        stage.response(481);
    }
    stage.ask("ACK", 5, |request| request.set(Header::To, "<sip:anna@acme.test>;tag=unknown"));
    stage.sends_nothing();
}

#[test]
fn an_extension_we_do_not_know_is_named() {
    let mut stage = Stage::registered();
    stage.ask("INVITE", 1, |request| request.append(Header::Require, "timer, magic, more"));
    assert_eq!(stage.response(420).value(Header::Unsupported), Some("magic, more"));
}

#[test]
fn digits_go_one_after_the_other() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    for digit in ["1", "2", "3"] {
        stage.command(Command::Info {
            call: "c".into(),
            content_type: "application/dtmf-relay".into(),
            body: format!("Signal={digit}\r\nDuration=160\r\n"),
        });
    }
    for (digit, status) in [("1", 200), ("2", 415), ("3", 200)] {
        let info = stage.request("INFO");
        stage.sends_nothing();
        assert!(info.body().starts_with(format!("Signal={digit}").as_bytes()));
        assert_eq!(info.content_type(), Some("application/dtmf-relay"));
        stage.reply(&info, status, |_| {});
        stage.tells(&Event::InfoAnswered { call: "c".into(), status });
    }
    stage.sends_nothing();
}

#[test]
fn digits_on_their_way_when_the_connection_breaks_are_answered_for() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    for _ in 0..2 {
        stage.command(Command::Info { call: "c".into(), content_type: "a/b".into(), body: "x".into() });
    }
    stage.lose_connection();
    for _ in 0..2 {
        stage.tells(&Event::InfoAnswered { call: "c".into(), status: 408 });
    }
}

#[test]
fn an_info_in_a_call_is_passed_on() {
    let mut stage = Stage::registered();
    let invite = stage.outgoing_call();
    stage.ask_in(&invite, "far", "INFO", 1, |request| request.set_body("application/dtmf-relay", b"Signal=5\r\n"));
    stage.response(200);
    stage.tells(&Event::Info {
        call: "c".into(),
        content_type: "application/dtmf-relay".into(),
        body: b"Signal=5\r\n".to_vec(),
    });
}

#[test]
fn what_is_no_message_is_dropped_with_a_reason_and_a_broken_request_is_answered() {
    let mut stage = Stage::registered();
    for bytes in [&b""[..], b"\0", b"hello", b"SIP/2.0 200 OK\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"INVITE"] {
        stage.bytes(bytes);
        stage.sends_nothing();
        stage.event(|event| matches!(event, Event::Dropped { .. }).then_some(()));
    }
    stage.ask("INVITE", 1, |request| request.set(Header::CSeq, "1 BYE"));
    stage.response(400);
    stage.ask("INVITE", 1, |request| {
        request.remove(Header::Contact);
    });
    stage.response(400);
}

#[test]
fn a_response_to_nothing_is_dropped() {
    let mut stage = Stage::registered();
    let request = stage.ask("OPTIONS", 1, |_| {});
    stage.response(200);
    stage.reply(&request, 200, |_| {});
    stage.sends_nothing();
}

#[test]
fn commands_that_do_not_fit_are_said_so() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    let call = || String::from("c");
    for command in [
        Command::Answer { call: call(), sdp: String::new() },
        Command::Reject { call: call(), status: 486 },
        Command::AnswerOffer { call: call(), sdp: String::new() },
        Command::RefuseOffer { call: call(), status: 488 },
    ] {
        stage.command(command);
        stage.sends_nothing();
        stage.event(|event| matches!(event, Event::Dropped { .. }).then_some(()));
    }
    stage.command(Command::HangUp { call: "unknown".into() });
    stage.sends_nothing();
}
