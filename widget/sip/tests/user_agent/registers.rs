//! Registering: challenges, binding, refresh, refusals, sign-out.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, Input, Output, RegisterFailureKind, Registration, SipSecret};

use crate::test_user_agent::TestUserAgent;

fn challenge(phone: &mut TestUserAgent, request: &Request, value: &str) {
    phone.reply(request, 401, |response| response.append(Header::WwwAuthenticate, value));
}

fn failed(phone: &mut TestUserAgent) -> (RegisterFailureKind, Option<u16>) {
    phone.event(|event| match event {
        Event::Registration(Registration::Failed { failure }) => Some((failure.kind, failure.status)),
        _ => None,
    })
}

fn retried(phone: &mut TestUserAgent) -> (RegisterFailureKind, u64) {
    let now = phone.now;
    phone.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, retry_at: Some(at) }) => {
            Some((failure.kind, at.since(now)))
        }
        _ => None,
    })
}

fn first_register(phone: &mut TestUserAgent) -> Request {
    phone.command(Command::Register);
    phone.connect();
    phone.request("REGISTER")
}

#[test]
fn a_challenge_is_answered_and_the_password_forgotten() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    assert!(!first.has(Header::Authorization));
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n1", qop="auth", algorithm=SHA-256"#);
    let second = phone.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("nc=00000001"));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.value(Header::CallId), first.value(Header::CallId));
    assert!(phone.state().contains("geheim"));
    phone.reply(&second, 200, |_| {});
    let (realm, algorithm, length) = phone.event(|event| match event {
        Event::Ha1 { realm, algorithm, ha1 } => Some((realm.clone(), algorithm.clone(), ha1.len())),
        _ => None,
    });
    assert_eq!((realm.as_str(), algorithm.as_str(), length), ("acme", "SHA-256", 64));
    assert!(!phone.state().contains("geheim"));
    // The refresh goes with the same nonce, counted.
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    assert!(refresh.value(Header::Authorization).unwrap().contains("nc=00000002"));
}

#[test]
fn a_wrong_password_is_tried_with_two_nonces_at_most_and_then_said() {
    let mut phone = TestUserAgent::empty();
    phone.command(Command::Register);
    phone.connect();
    for nonce in ["n1", "n2", "n3"] {
        let register = phone.request("REGISTER");
        challenge(&mut phone, &register, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
    }
    phone.sends_nothing();
    assert_eq!(failed(&mut phone), (RegisterFailureKind::WrongPassword, Some(401)));
    phone.wait(600_000);
    phone.sends_nothing();
}

#[test]
fn the_same_nonce_refused_is_a_wrong_password_at_once() {
    let mut phone = TestUserAgent::empty();
    phone.command(Command::Register);
    phone.connect();
    for _ in 0..2 {
        let register = phone.request("REGISTER");
        challenge(&mut phone, &register, r#"Digest realm="acme", nonce="n1""#);
    }
    phone.sends_nothing();
    assert_eq!(failed(&mut phone).0, RegisterFailureKind::WrongPassword);
}

#[test]
fn a_stale_nonce_is_replaced_as_often_as_the_server_says_so_within_reason() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    for nonce in ["n1", "n2", "n3"] {
        let register = phone.request("REGISTER");
        challenge(&mut phone, &register, &format!(r#"Digest realm="acme", nonce="{nonce}", stale=true"#));
    }
    let register = phone.request("REGISTER");
    assert!(register.value(Header::Authorization).unwrap().contains("n3"));
    phone.reply(&register, 200, |_| {});
    phone.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
}

#[test]
fn a_refresh_whose_nonce_grew_old_without_a_word_is_sent_again() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    challenge(&mut phone, &refresh, r#"Digest realm="acme", nonce="n1""#);
    let again = phone.request("REGISTER");
    assert!(again.value(Header::Authorization).unwrap().contains("n1"));
}

/// The password was changed: what was right once is refused. A farewell by it would only be one more wrong answer.
#[test]
fn refused_credentials_are_not_used_to_sign_out() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    for nonce in ["n1", "n2"] {
        let refresh = phone.request("REGISTER");
        challenge(&mut phone, &refresh, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
    }
    let said = |registration: &Registration| matches!(registration, Registration::Reconnecting { failure, .. } if failure.kind == RegisterFailureKind::WrongPassword);
    phone.event(|event| matches!(event, Event::Registration(registration) if said(registration)).then_some(()));
    phone.command(Command::Unregister);
    phone.event(|event| matches!(event, Event::Registration(Registration::SignedOut)).then_some(()));
    phone.sends_nothing();
}

#[test]
fn proxy_and_registrar_are_both_answered_in_one_request() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    phone.reply(&first, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="gate", nonce="p1""#);
    });
    let second = phone.request("REGISTER");
    assert!(second.has(Header::ProxyAuthorization));
    challenge(&mut phone, &second, r#"Digest realm="acme", nonce="n1""#);
    let third = phone.request("REGISTER");
    assert!(third.has(Header::ProxyAuthorization) && third.has(Header::Authorization));
    phone.reply(&third, 200, |_| {});
    phone.event(|event| matches!(event, Event::Ha1 { realm, .. } if realm == "acme").then_some(()));
}

#[test]
fn an_ha1_signs_in_without_a_password() {
    let mut phone = TestUserAgent::with(|config| {
        config.secret = SipSecret::Ha1 { realm: None, ha1: "0".repeat(32) };
    });
    let first = first_register(&mut phone);
    phone.reply(&first, 401, |response| {
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=SHA-256"#);
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=MD5"#);
    });
    let second = phone.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("algorithm=MD5"));
}

#[test]
fn an_ha1_that_no_challenge_can_use_is_a_bad_configuration() {
    let mut phone = TestUserAgent::with(|config| {
        config.secret = SipSecret::Ha1 { realm: Some("other".into()), ha1: "0".repeat(32) };
    });
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n""#);
    assert_eq!(failed(&mut phone).0, RegisterFailureKind::BadConfiguration);
}

#[test]
fn the_binding_names_the_device_and_the_refresh_comes_before_three_quarters() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    let contact = first.contact().unwrap().unwrap();
    assert_eq!(contact.params.text("+sip.instance").unwrap(), "<urn:uuid:00000000-0000-4000-8000-000000000001>");
    assert_eq!(contact.params.get("reg-id"), Some("1"));
    let uri = contact.uri().unwrap();
    assert!(uri.host.ends_with(".invalid") && uri.transport() == Some("ws"));
    assert_eq!(first.via().unwrap().host, uri.host);
    assert_eq!(first.via().unwrap().transport, "WSS");
    // Ours is found by its instance among the others of this user, whatever became of the URI.
    phone.reply(&first, 200, |response| {
        response.append(Header::Contact, "<sip:anna@other.invalid;transport=ws>;expires=9999");
        response.append(
            Header::Contact,
            "<sip:rewritten@1.2.3.4;transport=ws>;expires=100;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\"",
        );
    });
    let begin = phone.now;
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let after = phone.now.since(begin);
    assert!((60_000..=75_000).contains(&after), "{after}");
}

#[test]
fn too_brief_an_interval_is_raised() {
    let mut phone = TestUserAgent::empty();
    let first = first_register(&mut phone);
    phone.reply(&first, 423, |response| response.append(Header::MinExpires, "1800"));
    let second = phone.request("REGISTER");
    assert_eq!(second.value(Header::Expires), Some("1800"));
    phone.reply(&second, 423, |response| response.append(Header::MinExpires, "1800"));
    phone.sends_nothing();
}

#[test]
fn service_route_and_gruu_are_used_by_calls() {
    let mut phone = TestUserAgent::empty();
    let register = first_register(&mut phone);
    let contact = register.value(Header::Contact).unwrap().to_owned();
    phone.reply(&register, 200, |response| {
        response.set(Header::Contact, &format!("{contact};pub-gruu=\"sip:anna@acme.test;gr=1\""));
        response.append(Header::ServiceRoute, "<sip:one.test;lr>, <sip:two.test;lr>");
    });
    let invite = phone.invite();
    let routes: Vec<&str> = invite.values(Header::Route).collect();
    assert_eq!(routes, ["<sip:one.test;lr>", "<sip:two.test;lr>"]);
    assert_eq!(invite.contact().unwrap().unwrap().uri_text, "sip:anna@acme.test;gr=1");
}

#[test]
fn too_many_devices_is_told_apart_and_tried_again_later() {
    for (status, header) in [(603, None), (503, Some("Too many registered contacts"))] {
        let mut phone = TestUserAgent::empty();
        let register = first_register(&mut phone);
        phone.reply(&register, status, |response| {
            if let Some(text) = header {
                response.append("P-Registrar-Error", text);
            }
        });
        let (kind, pause) = retried(&mut phone);
        assert_eq!(kind, RegisterFailureKind::TooManyDevices);
        assert!(pause >= 20_000, "{pause}");
    }
}

#[test]
fn a_forbidden_account_waits_for_the_person() {
    let mut phone = TestUserAgent::empty();
    let register = first_register(&mut phone);
    phone.reply(&register, 403, |_| {});
    assert_eq!(failed(&mut phone), (RegisterFailureKind::Forbidden, Some(403)));
    phone.closes();
    // And tries again when told to.
    phone.command(Command::Register);
    phone.connect();
    phone.request("REGISTER");
}

#[test]
fn an_account_that_worked_is_tried_again_slowly_when_it_is_refused() {
    let mut phone = TestUserAgent::registered();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        phone.wait_for(|output| matches!(output, Output::Send { .. }));
        let refresh = phone.request("REGISTER");
        phone.reply(&refresh, 403, |_| {});
        pauses.push(retried(&mut phone).1);
    }
    assert!(pauses[0] >= 20_000 && pauses[1] > pauses[0] && pauses[2] > pauses[1], "{pauses:?}");
}

#[test]
fn trying_now_after_a_refusal_registers_at_once() {
    let mut phone = TestUserAgent::registered();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    phone.reply(&refresh, 403, |_| {});
    phone.input(Input::Probe);
    let again = phone.request("REGISTER");
    // And no second one while the first is under way.
    phone.input(Input::Probe);
    phone.sends_nothing();
    let contact = again.value(Header::Contact).unwrap().to_owned();
    phone.reply(&again, 200, |response| response.append(Header::Contact, &contact));
    phone.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
}

#[test]
fn a_server_error_moves_on_to_the_next_server() {
    let mut phone = TestUserAgent::with(|config| config.servers = vec!["wss://a".into(), "wss://b".into()]);
    let register = first_register(&mut phone);
    phone.reply(&register, 500, |_| {});
    phone.closes();
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
    assert_eq!(phone.connect(), "wss://b");
}

#[test]
fn a_server_that_does_not_answer_register_is_left() {
    let mut phone = TestUserAgent::empty();
    first_register(&mut phone);
    phone.wait_for(|output| matches!(output, Output::CloseTransport { .. }));
    assert_eq!(retried(&mut phone).0, RegisterFailureKind::Timeout);
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn no_server_at_all_is_a_bad_configuration() {
    let mut phone = TestUserAgent::with(|config| config.servers.clear());
    phone.command(Command::Register);
    assert_eq!(failed(&mut phone).0, RegisterFailureKind::BadConfiguration);
}

#[test]
fn signing_out_takes_the_binding_back_and_disconnects() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.command(Command::Unregister);
    assert_eq!(phone.ended("c").0, "Hung up");
    phone.request("BYE");
    let register = phone.request("REGISTER");
    assert_eq!(register.value(Header::Expires), Some("0"));
    assert!(register.value(Header::Contact).unwrap().ends_with("expires=0"));
    phone.reply(&register, 200, |_| {});
    phone.closes();
    assert_eq!(phone.registration(), Registration::SignedOut);
    assert!(!phone.step(), "nothing is left to do");
}

#[test]
fn signing_out_leaves_a_call_ringing_on_the_other_devices() {
    let mut phone = TestUserAgent::registered();
    let (_, call) = phone.incoming();
    phone.response(180);
    phone.command(Command::Unregister);
    // A 6xx would end it everywhere.
    phone.response(480);
    assert_eq!(phone.ended(&call), ("Signed out".into(), Some(480)));
}

#[test]
fn signing_out_does_not_wait_for_a_dead_server() {
    let mut phone = TestUserAgent::registered();
    phone.command(Command::Unregister);
    phone.wait(4_000);
    assert_eq!(phone.registration(), Registration::SignedOut);
}

#[test]
fn signing_in_again_while_signing_out_registers_again() {
    let mut phone = TestUserAgent::registered();
    phone.command(Command::Unregister);
    phone.request("REGISTER");
    phone.command(Command::Register);
    let register = phone.request("REGISTER");
    assert_eq!(register.value(Header::Expires), Some("600"));
    phone.wait(5_000);
    phone.emits_no(|event| matches!(event, Event::Registration(Registration::SignedOut)));
}
