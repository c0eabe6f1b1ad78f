//! Registering: challenges, binding, refresh, refusals, sign-out.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, FailureKind, Input, Output, Registration, Secret};

use crate::test_user_agent::Stage;

fn challenge(stage: &mut Stage, request: &Request, value: &str) {
    stage.reply(request, 401, |response| response.append(Header::WwwAuthenticate, value));
}

fn failed(stage: &mut Stage) -> (FailureKind, Option<u16>) {
    stage.event(|event| match event {
        Event::Registration(Registration::Failed { failure }) => Some((failure.kind, failure.status)),
        _ => None,
    })
}

fn retried(stage: &mut Stage) -> (FailureKind, u64) {
    let now = stage.now;
    stage.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, retry_at: Some(at) }) => {
            Some((failure.kind, at.since(now)))
        }
        _ => None,
    })
}

fn first_register(stage: &mut Stage) -> Request {
    stage.command(Command::Register);
    stage.connect();
    stage.request("REGISTER")
}

#[test]
fn a_challenge_is_answered_and_the_password_forgotten() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    assert!(!first.has(Header::Authorization));
    challenge(&mut stage, &first, r#"Digest realm="acme", nonce="n1", qop="auth", algorithm=SHA-256"#);
    let second = stage.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("nc=00000001"));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.value(Header::CallId), first.value(Header::CallId));
    assert!(stage.state().contains("geheim"));
    stage.reply(&second, 200, |_| {});
    let (realm, algorithm, length) = stage.event(|event| match event {
        Event::Ha1 { realm, algorithm, ha1 } => Some((realm.clone(), algorithm.clone(), ha1.len())),
        _ => None,
    });
    assert_eq!((realm.as_str(), algorithm.as_str(), length), ("acme", "SHA-256", 64));
    assert!(!stage.state().contains("geheim"));
    // The refresh goes with the same nonce, counted.
    stage.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = stage.request("REGISTER");
    assert!(refresh.value(Header::Authorization).unwrap().contains("nc=00000002"));
}

#[test]
fn a_wrong_password_is_tried_with_two_nonces_at_most_and_then_said() {
    let mut stage = Stage::empty();
    stage.command(Command::Register);
    stage.connect();
    for nonce in ["n1", "n2", "n3"] {
        let register = stage.request("REGISTER");
        challenge(&mut stage, &register, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
    }
    stage.sends_nothing();
    assert_eq!(failed(&mut stage), (FailureKind::WrongPassword, Some(401)));
    stage.wait(600_000);
    stage.sends_nothing();
}

#[test]
fn the_same_nonce_refused_is_a_wrong_password_at_once() {
    let mut stage = Stage::empty();
    stage.command(Command::Register);
    stage.connect();
    for _ in 0..2 {
        let register = stage.request("REGISTER");
        challenge(&mut stage, &register, r#"Digest realm="acme", nonce="n1""#);
    }
    stage.sends_nothing();
    assert_eq!(failed(&mut stage).0, FailureKind::WrongPassword);
}

#[test]
fn a_stale_nonce_is_replaced_as_often_as_the_server_says_so_within_reason() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    challenge(&mut stage, &first, r#"Digest realm="acme", nonce="n0""#);
    for nonce in ["n1", "n2", "n3"] {
        let register = stage.request("REGISTER");
        challenge(&mut stage, &register, &format!(r#"Digest realm="acme", nonce="{nonce}", stale=true"#));
    }
    let register = stage.request("REGISTER");
    assert!(register.value(Header::Authorization).unwrap().contains("n3"));
    stage.reply(&register, 200, |_| {});
    stage.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
}

#[test]
fn a_refresh_whose_nonce_grew_old_without_a_word_is_sent_again() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    challenge(&mut stage, &first, r#"Digest realm="acme", nonce="n0""#);
    stage.accept_register();
    stage.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = stage.request("REGISTER");
    challenge(&mut stage, &refresh, r#"Digest realm="acme", nonce="n1""#);
    let again = stage.request("REGISTER");
    assert!(again.value(Header::Authorization).unwrap().contains("n1"));
}

/// The password was changed: what was right once is refused. A farewell by it would only be one more wrong answer.
#[test]
fn refused_credentials_are_not_used_to_sign_out() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    challenge(&mut stage, &first, r#"Digest realm="acme", nonce="n0""#);
    stage.accept_register();
    stage.wait_for(|output| matches!(output, Output::Send { .. }));
    for nonce in ["n1", "n2"] {
        let refresh = stage.request("REGISTER");
        challenge(&mut stage, &refresh, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
    }
    let said = |registration: &Registration| matches!(registration, Registration::Reconnecting { failure, .. } if failure.kind == FailureKind::WrongPassword);
    stage.event(|event| matches!(event, Event::Registration(registration) if said(registration)).then_some(()));
    stage.command(Command::Unregister);
    stage.event(|event| matches!(event, Event::Registration(Registration::SignedOut)).then_some(()));
    stage.sends_nothing();
}

#[test]
fn proxy_and_registrar_are_both_answered_in_one_request() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    stage.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="gate", nonce="p1""#);
    });
    let second = stage.request("REGISTER");
    assert!(second.has(Header::ProxyAuthorization));
    challenge(&mut stage, &second, r#"Digest realm="acme", nonce="n1""#);
    let third = stage.request("REGISTER");
    assert!(third.has(Header::ProxyAuthorization) && third.has(Header::Authorization));
    stage.reply(&third, 200, |_| {});
    stage.event(|event| matches!(event, Event::Ha1 { realm, .. } if realm == "acme").then_some(()));
}

#[test]
fn an_ha1_signs_in_without_a_password() {
    let mut stage = Stage::with(|config| {
        config.secret = Secret::Ha1 { realm: None, ha1: "0".repeat(32) };
    });
    let first = first_register(&mut stage);
    stage.reply(&first, 401, |response| {
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=SHA-256"#);
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=MD5"#);
    });
    let second = stage.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("algorithm=MD5"));
}

#[test]
fn an_ha1_that_no_challenge_can_use_is_a_bad_configuration() {
    let mut stage = Stage::with(|config| {
        config.secret = Secret::Ha1 { realm: Some("other".into()), ha1: "0".repeat(32) };
    });
    let first = first_register(&mut stage);
    challenge(&mut stage, &first, r#"Digest realm="acme", nonce="n""#);
    assert_eq!(failed(&mut stage).0, FailureKind::BadConfiguration);
}

#[test]
fn the_binding_names_the_device_and_the_refresh_comes_before_three_quarters() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    let contact = first.contact().unwrap().unwrap();
    assert_eq!(contact.params.text("+sip.instance").unwrap(), "<urn:uuid:00000000-0000-4000-8000-000000000001>");
    assert_eq!(contact.params.get("reg-id"), Some("1"));
    let uri = contact.uri().unwrap();
    assert!(uri.host.ends_with(".invalid") && uri.transport() == Some("ws"));
    assert_eq!(first.via().unwrap().host, uri.host);
    assert_eq!(first.via().unwrap().transport, "WSS");
    // Ours is found by its instance among the others of this user, whatever became of the URI.
    stage.reply(&first, 200, |response| {
        response.append(Header::Contact, "<sip:anna@other.invalid;transport=ws>;expires=9999");
        response.append(
            Header::Contact,
            "<sip:rewritten@1.2.3.4;transport=ws>;expires=100;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\"",
        );
    });
    let begin = stage.now;
    stage.wait_for(|output| matches!(output, Output::Send { .. }));
    let after = stage.now.since(begin);
    assert!((60_000..=75_000).contains(&after), "{after}");
}

#[test]
fn too_brief_an_interval_is_raised() {
    let mut stage = Stage::empty();
    let first = first_register(&mut stage);
    stage.reply(&first, 423, |response| response.append(Header::MinExpires, "1800"));
    let second = stage.request("REGISTER");
    assert_eq!(second.value(Header::Expires), Some("1800"));
    stage.reply(&second, 423, |response| response.append(Header::MinExpires, "1800"));
    stage.sends_nothing();
}

#[test]
fn service_route_and_gruu_are_used_by_calls() {
    let mut stage = Stage::empty();
    let register = first_register(&mut stage);
    let contact = register.value(Header::Contact).unwrap().to_owned();
    stage.reply(&register, 200, |response| {
        response.set(Header::Contact, &format!("{contact};pub-gruu=\"sip:anna@acme.test;gr=1\""));
        response.append(Header::ServiceRoute, "<sip:one.test;lr>, <sip:two.test;lr>");
    });
    let invite = stage.invite();
    let routes: Vec<&str> = invite.values(Header::Route).collect();
    assert_eq!(routes, ["<sip:one.test;lr>", "<sip:two.test;lr>"]);
    assert_eq!(invite.contact().unwrap().unwrap().uri_text, "sip:anna@acme.test;gr=1");
}

#[test]
fn too_many_devices_is_told_apart_and_tried_again_later() {
    for (status, header) in [(603, None), (503, Some("Too many registered contacts"))] {
        let mut stage = Stage::empty();
        let register = first_register(&mut stage);
        stage.reply(&register, status, |response| {
            if let Some(text) = header {
                response.append("P-Registrar-Error", text);
            }
        });
        let (kind, pause) = retried(&mut stage);
        assert_eq!(kind, FailureKind::TooManyDevices);
        assert!(pause >= 20_000, "{pause}");
    }
}

#[test]
fn a_forbidden_account_waits_for_the_person() {
    let mut stage = Stage::empty();
    let register = first_register(&mut stage);
    stage.reply(&register, 403, |_| {});
    assert_eq!(failed(&mut stage), (FailureKind::Forbidden, Some(403)));
    stage.closes();
    // And tries again when told to.
    stage.command(Command::Register);
    stage.connect();
    stage.request("REGISTER");
}

#[test]
fn an_account_that_worked_is_tried_again_slowly_when_it_is_refused() {
    let mut stage = Stage::registered();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        stage.wait_for(|output| matches!(output, Output::Send { .. }));
        let refresh = stage.request("REGISTER");
        stage.reply(&refresh, 403, |_| {});
        pauses.push(retried(&mut stage).1);
    }
    assert!(pauses[0] >= 20_000 && pauses[1] > pauses[0] && pauses[2] > pauses[1], "{pauses:?}");
}

#[test]
fn trying_now_after_a_refusal_registers_at_once() {
    let mut stage = Stage::registered();
    stage.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = stage.request("REGISTER");
    stage.reply(&refresh, 403, |_| {});
    stage.input(Input::Probe);
    let again = stage.request("REGISTER");
    // And no second one while the first is under way.
    stage.input(Input::Probe);
    stage.sends_nothing();
    let contact = again.value(Header::Contact).unwrap().to_owned();
    stage.reply(&again, 200, |response| response.append(Header::Contact, &contact));
    stage.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
}

#[test]
fn a_server_error_moves_on_to_the_next_server() {
    let mut stage = Stage::with(|config| config.servers = vec!["wss://a".into(), "wss://b".into()]);
    let register = first_register(&mut stage);
    stage.reply(&register, 500, |_| {});
    stage.closes();
    stage.wait_for(|output| matches!(output, Output::Connect { .. }));
    assert_eq!(stage.connect(), "wss://b");
}

#[test]
fn a_server_that_does_not_answer_register_is_left() {
    let mut stage = Stage::empty();
    first_register(&mut stage);
    stage.wait_for(|output| matches!(output, Output::CloseTransport { .. }));
    assert_eq!(retried(&mut stage).0, FailureKind::Timeout);
    stage.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn no_server_at_all_is_a_bad_configuration() {
    let mut stage = Stage::with(|config| config.servers.clear());
    stage.command(Command::Register);
    assert_eq!(failed(&mut stage).0, FailureKind::BadConfiguration);
}

#[test]
fn signing_out_takes_the_binding_back_and_disconnects() {
    let mut stage = Stage::registered();
    stage.outgoing_call();
    stage.command(Command::Unregister);
    assert_eq!(stage.ended("c").0, "Hung up");
    stage.request("BYE");
    let register = stage.request("REGISTER");
    assert_eq!(register.value(Header::Expires), Some("0"));
    assert!(register.value(Header::Contact).unwrap().ends_with("expires=0"));
    stage.reply(&register, 200, |_| {});
    stage.closes();
    assert_eq!(stage.registration(), Registration::SignedOut);
    assert!(!stage.step(), "nothing is left to do");
}

#[test]
fn signing_out_leaves_a_call_ringing_on_the_other_devices() {
    let mut stage = Stage::registered();
    let (_, call) = stage.incoming();
    stage.response(180);
    stage.command(Command::Unregister);
    // A 6xx would end it everywhere.
    stage.response(480);
    assert_eq!(stage.ended(&call), ("Signed out".into(), Some(480)));
}

#[test]
fn signing_out_does_not_wait_for_a_dead_server() {
    let mut stage = Stage::registered();
    stage.command(Command::Unregister);
    stage.wait(4_000);
    assert_eq!(stage.registration(), Registration::SignedOut);
}

#[test]
fn signing_in_again_while_signing_out_registers_again() {
    let mut stage = Stage::registered();
    stage.command(Command::Unregister);
    stage.request("REGISTER");
    stage.command(Command::Register);
    let register = stage.request("REGISTER");
    assert_eq!(register.value(Header::Expires), Some("600"));
    stage.wait(5_000);
    stage.tells_nothing_like(|event| matches!(event, Event::Registration(Registration::SignedOut)));
}
