//! Registration: challenges, binding, refresh, refusals, sign-out.

use bitcall_sip::digest::{Algorithm, Credentials, DigestSecret};
use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{
    Command, Event, Input, InviteOptions, Output, Password, RealmHa1, RegisterFailureKind, Registration, SipSecret,
};

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
fn a_challenge_is_answered_and_the_password_is_never_in_the_state() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    assert!(!first.has(Header::Authorization));
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n1", qop="auth", algorithm=SHA-256"#);
    let second = phone.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("nc=00000001"));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.value(Header::CallId), first.value(Header::CallId));
    assert!(!phone.state().contains("geheim"));
    phone.reply(&second, 200, |_| {});
    let (realm, algorithm, length) = phone.event(|event| match event {
        Event::Ha1 { realm, algorithm, ha1 } => Some((realm.clone(), algorithm.clone(), ha1.len())),
        _ => None,
    });
    assert_eq!((realm.as_str(), algorithm.as_str(), length), ("acme", "SHA-256", 64));
    assert!(!phone.state().contains("geheim"));
    // The refresh uses the same nonce with a higher nonce count.
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    assert!(refresh.value(Header::Authorization).unwrap().contains("nc=00000002"));
}

#[test]
fn a_wrong_password_is_tried_with_at_most_two_nonces() {
    let mut phone = TestUserAgent::unregistered();
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
fn a_refusal_with_the_same_nonce_is_a_wrong_password() {
    let mut phone = TestUserAgent::unregistered();
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
fn a_stale_nonce_is_replaced_up_to_the_retry_limit() {
    let mut phone = TestUserAgent::unregistered();
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
fn a_refresh_refused_without_stale_is_sent_again() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    challenge(&mut phone, &refresh, r#"Digest realm="acme", nonce="n1""#);
    let retried_register = phone.request("REGISTER");
    assert!(retried_register.value(Header::Authorization).unwrap().contains("n1"));
}

/// The password was changed on the server. An unregister with the old one would only be another failed attempt.
#[test]
fn refused_credentials_are_not_used_to_sign_out() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    for nonce in ["n1", "n2"] {
        let refresh = phone.request("REGISTER");
        challenge(&mut phone, &refresh, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
    }
    let is_wrong_password = |registration: &Registration| matches!(registration, Registration::Reconnecting { failure, .. } if failure.kind == RegisterFailureKind::WrongPassword);
    phone.event(|event| {
        matches!(event, Event::Registration(registration) if is_wrong_password(registration)).then_some(())
    });
    phone.command(Command::Unregister);
    phone.event(|event| matches!(event, Event::Registration(Registration::SignedOut)).then_some(()));
    phone.sends_nothing();
}

#[test]
fn proxy_and_registrar_credentials_are_sent_in_one_request() {
    let mut phone = TestUserAgent::unregistered();
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
fn an_ha1_registers_without_a_password() {
    let mut phone = TestUserAgent::with(|config| {
        config.secret = SipSecret::Ha1(vec![stored_ha1(None)]);
    });
    let first = first_register(&mut phone);
    phone.reply(&first, 401, |response| {
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=SHA-256"#);
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n", algorithm=MD5"#);
    });
    let second = phone.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("algorithm=MD5"));
}

fn stored_ha1(realm: Option<&str>) -> RealmHa1 {
    RealmHa1 { realm: realm.map(String::from), algorithm: Algorithm::Md5, ha1: "0".repeat(32) }
}

#[test]
fn with_an_ha1_of_another_realm_the_password_is_asked_for() {
    let mut phone = TestUserAgent::with(|config| config.secret = SipSecret::Ha1(vec![stored_ha1(Some("other"))]));
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n""#);
    assert_eq!(failed(&mut phone), (RegisterFailureKind::PasswordNeeded, Some(401)));
    phone.command(Command::SetPassword { password: Password("geheim".into()) });
    phone.connect();
    let again = phone.request("REGISTER");
    challenge(&mut phone, &again, r#"Digest realm="acme", nonce="n""#);
    phone.accept_register();
    phone.event(|event| matches!(event, Event::Ha1 { realm, .. } if realm == "acme").then_some(()));
    assert!(!phone.state().contains("geheim"));
}

#[test]
fn a_challenge_in_an_unknown_algorithm_is_a_bad_configuration() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n", algorithm=SHA-3"#);
    assert_eq!(failed(&mut phone).0, RegisterFailureKind::BadConfiguration);
}

/// A registered phone whose user agent has only the HA1 of realm `acme`.
fn registered_by_ha1() -> TestUserAgent {
    let mut phone = TestUserAgent::with(|config| config.secret = SipSecret::Ha1(vec![stored_ha1(Some("acme"))]));
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n""#);
    phone.accept_register();
    phone.drain();
    phone
}

#[test]
fn a_realm_that_changes_at_a_refresh_asks_for_the_password_and_keeps_the_call() {
    let mut phone = registered_by_ha1();
    phone.outgoing_call();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    challenge(&mut phone, &refresh, r#"Digest realm="new", nonce="n""#);
    assert_eq!(retried(&mut phone).0, RegisterFailureKind::PasswordNeeded);
    assert!(!phone.outputs_close() && !phone.has_ended());
    phone.command(Command::SetPassword { password: Password("geheim".into()) });
    let again = phone.request("REGISTER");
    challenge(&mut phone, &again, r#"Digest realm="new", nonce="n""#);
    phone.accept_register();
    phone.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
    assert!(!phone.has_ended());
}

#[test]
fn a_realm_that_changes_at_a_refresh_is_answered_with_the_password() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    challenge(&mut phone, &refresh, r#"Digest realm="new", nonce="n1""#);
    let again = phone.request("REGISTER");
    assert_eq!(answered_with(&again, Header::Authorization, "n1"), "geheim");
}

/// The password that the request's credentials were made with; empty if it is not the right one.
fn answered_with(request: &Request, header: Header, nonce: &str) -> &'static str {
    let sent = request.values(header).find(|value| value.contains(&format!("nonce=\"{nonce}\""))).unwrap();
    let read = Credentials::parse(sent).unwrap();
    let right = read.verify(DigestSecret::Password("geheim"), request.method().as_str(), request.body());
    if right { "geheim" } else { "" }
}

#[test]
fn a_call_is_authenticated_in_another_realm_with_the_same_password() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="registrar", nonce="n0""#);
    phone.accept_register();
    phone.drain();
    let invite = phone.invite();
    phone.reply(&invite, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="proxy", nonce="p0", algorithm=SHA-512-256"#);
    });
    phone.request("ACK");
    let again = phone.request("INVITE");
    assert_eq!(answered_with(&again, Header::ProxyAuthorization, "p0"), "geheim");
    // Its HA1 can be stored as well.
    phone.reply(&again, 180, |_| {});
    let stored = phone.event(|event| match event {
        Event::Ha1 { realm, algorithm, .. } => Some((realm.clone(), algorithm.clone())),
        _ => None,
    });
    assert_eq!(stored, ("proxy".to_owned(), "SHA-512-256".to_owned()));
}

#[test]
fn a_call_in_a_realm_whose_ha1_is_unknown_asks_for_the_password_and_stays_registered() {
    let mut phone = registered_by_ha1();
    let invite = phone.invite();
    phone.reply(&invite, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="proxy", nonce="p0""#);
    });
    phone.emits(&Event::PasswordNeeded { call: "c".into(), realm: "proxy".into() });
    assert_eq!(phone.ended("c").0, "Enter the password again");
    phone.emits_no(|event| matches!(event, Event::Registration(_)));
}

/// Each nonce is good for one request, and no refusal says `stale`.
#[test]
fn one_time_nonces_are_followed_by_two_requests_at_the_same_time() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    challenge(&mut phone, &first, r#"Digest realm="acme", nonce="n0""#);
    phone.accept_register();
    phone.drain();
    let refuse = |phone: &mut TestUserAgent, request: &Request, nonce: &str| {
        phone.reply(request, 407, |response| {
            response.append(Header::ProxyAuthenticate, &format!(r#"Digest realm="acme", nonce="{nonce}""#));
        });
        phone.request("ACK");
        phone.request("INVITE")
    };
    let invite = phone.invite();
    let invite = refuse(&mut phone, &invite, "p1");
    phone.reply_sdp(&invite, 200, crate::test_user_agent::ANSWER);
    phone.request("ACK");
    // Two requests go out with the same nonce, and each is refused once with a new one.
    phone.command(Command::Reinvite { call: "c".into(), sdp: crate::test_user_agent::OFFER.into() });
    let hold = phone.request("INVITE");
    phone.command(Command::Invite {
        call: "d".into(),
        target: "eve".into(),
        options: InviteOptions::default(),
        sdp: Some("o".into()),
    });
    let second = phone.request("INVITE");
    let hold = refuse(&mut phone, &hold, "p2");
    let second = refuse(&mut phone, &second, "p3");
    assert_eq!(answered_with(&hold, Header::ProxyAuthorization, "p2"), "geheim");
    assert_eq!(answered_with(&second, Header::ProxyAuthorization, "p3"), "geheim");
    phone.reply_sdp(&hold, 200, crate::test_user_agent::ANSWER);
    phone.event(|event| matches!(event, Event::ReinviteAccepted { .. }).then_some(()));
    // A request that is refused with its second nonce, too, has the wrong password.
    phone.reply(&second, 407, |response| {
        response.append(Header::ProxyAuthenticate, r#"Digest realm="acme", nonce="p4""#);
    });
    assert_eq!(phone.ended("d").0, "Wrong username or password");
}

#[test]
fn short_grants_are_refreshed_in_time() {
    for granted in [1, 2, 5, 10, 15, 60] {
        let mut phone = TestUserAgent::unregistered();
        let first = first_register(&mut phone);
        let contact = first.value(Header::Contact).unwrap().replace("expires=600", &format!("expires={granted}"));
        let mut request = first;
        for _ in 0..3 {
            phone.reply(&request, 200, |response| response.append(Header::Contact, &contact));
            phone.drain();
            let begin = phone.now;
            phone.wait_for(|output| matches!(output, Output::Send { .. }));
            let after = phone.now.since(begin);
            assert!((granted * 650..=granted * 750).contains(&after), "{granted} s: after {after} ms");
            phone.emits_no(|event| matches!(event, Event::Registration(_)));
            request = phone.request("REGISTER");
        }
    }
}

#[test]
fn a_registration_that_is_not_refreshed_in_time_is_not_reported_as_registered() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    let contact = first.value(Header::Contact).unwrap().replace("expires=600", "expires=10");
    phone.reply(&first, 200, |response| response.append(Header::Contact, &contact));
    phone.drain();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    phone.wait(4_000);
    assert!(matches!(phone.registration(), Registration::Reconnecting { .. }));
    phone.reply(&refresh, 200, |response| response.append(Header::Contact, &contact));
    assert!(matches!(phone.registration(), Registration::Registered { .. }));
}

#[test]
fn after_a_sleep_connection_and_registration_are_checked_at_once_and_calls_go_on() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.answers_pings = false;
    phone.input(Input::Woke { asleep_ms: 3_600_000 });
    // The grant of ten minutes is over, so the phone does not say that it is reachable.
    assert!(matches!(phone.registration(), Registration::Reconnecting { .. }));
    let register = phone.request("REGISTER");
    phone.sends_keepalive(b"\r\n\r\n");
    phone.bytes(b"\r\n");
    let contact = register.value(Header::Contact).unwrap().to_owned();
    phone.reply(&register, 200, |response| response.append(Header::Contact, &contact));
    assert!(matches!(phone.registration(), Registration::Registered { .. }));
    assert!(!phone.has_ended());
    phone.answers_pings = true;
    phone.wait(60_000);
    assert!(!phone.has_ended());
}

#[test]
fn after_a_short_sleep_the_registration_stands_and_is_refreshed() {
    let mut phone = TestUserAgent::registered();
    phone.input(Input::Woke { asleep_ms: 30_000 });
    phone.request("REGISTER");
    phone.emits_no(|event| matches!(event, Event::Registration(_)));
}

#[test]
fn a_dead_connection_is_noticed_soon_after_a_sleep() {
    let mut phone = TestUserAgent::registered();
    phone.outgoing_call();
    phone.answers_pings = false;
    phone.input(Input::Woke { asleep_ms: 3_600_000 });
    phone.request("REGISTER");
    phone.wait(2_600);
    // OPTIONS is the last resort for a server that does not answer CRLF.
    phone.request("OPTIONS");
    phone.wait(8_000);
    phone.closes();
    phone.reconnect();
    assert!(!phone.has_ended());
}

#[test]
fn the_contact_has_the_instance_id_and_is_refreshed_before_75_percent() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    let contact = first.contact().unwrap().unwrap();
    assert_eq!(contact.params.text("+sip.instance").unwrap(), "<urn:uuid:00000000-0000-4000-8000-000000000001>");
    assert_eq!(contact.params.get("reg-id"), Some("1"));
    let uri = contact.uri().unwrap();
    assert!(uri.host.ends_with(".invalid") && uri.transport() == Some("ws"));
    assert_eq!(first.via().unwrap().host, uri.host);
    assert_eq!(first.via().unwrap().transport, "WSS");
    // Our binding is found by its instance ID among the others of this user, even if its URI was rewritten.
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
fn a_423_is_followed_with_min_expires() {
    let mut phone = TestUserAgent::unregistered();
    let first = first_register(&mut phone);
    phone.reply(&first, 423, |response| response.append(Header::MinExpires, "1800"));
    let second = phone.request("REGISTER");
    assert_eq!(second.value(Header::Expires), Some("1800"));
    phone.reply(&second, 423, |response| response.append(Header::MinExpires, "1800"));
    phone.sends_nothing();
}

#[test]
fn service_route_and_gruu_are_used_by_calls() {
    let mut phone = TestUserAgent::unregistered();
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
fn too_many_devices_is_reported_and_retried_later() {
    for (status, header) in [(603, None), (503, Some("Too many registered contacts"))] {
        let mut phone = TestUserAgent::unregistered();
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

/// A bare 403 may also mean too many devices: it is tried again until another device is gone.
#[test]
fn a_forbidden_account_is_tried_again_after_1_2_5_and_then_every_10_minutes() {
    for registered_before in [false, true] {
        let mut phone = TestUserAgent::unregistered();
        let mut register = first_register(&mut phone);
        if registered_before {
            phone.reply(&register, 200, |_| {});
            phone.drain();
            phone.wait_for(|output| matches!(output, Output::Send { .. }));
            register = phone.request("REGISTER");
        }
        for minutes in [1, 2, 5, 10, 10] {
            phone.reply(&register, 403, |_| {});
            assert_eq!(retried(&mut phone), (RegisterFailureKind::Forbidden, minutes * 60_000));
            phone.wait(minutes * 60_000 - 1);
            phone.sends_nothing();
            phone.wait(1);
            register = phone.request("REGISTER");
        }
        phone.reply(&register, 200, |_| {});
        phone.event(|event| matches!(event, Event::Registration(Registration::Registered { .. })).then_some(()));
    }
}

#[test]
fn a_server_that_closes_the_connection_after_a_refusal_is_not_asked_sooner() {
    let mut phone = TestUserAgent::unregistered();
    let register = first_register(&mut phone);
    phone.reply(&register, 403, |_| {});
    phone.lose_connection();
    phone.drain();
    phone.wait(59_000);
    assert!(!phone.connects());
    phone.wait(1_000);
    phone.connect();
    let register = phone.request("REGISTER");
    phone.reply(&register, 403, |_| {});
    assert_eq!(retried(&mut phone), (RegisterFailureKind::Forbidden, 120_000));
}

#[test]
fn a_probe_after_a_refusal_registers_at_once() {
    let mut phone = TestUserAgent::registered();
    phone.wait_for(|output| matches!(output, Output::Send { .. }));
    let refresh = phone.request("REGISTER");
    phone.reply(&refresh, 403, |_| {});
    phone.input(Input::Probe);
    let retried_register = phone.request("REGISTER");
    // No second REGISTER while the first one is pending.
    phone.input(Input::Probe);
    phone.sends_nothing();
    let contact = retried_register.value(Header::Contact).unwrap().to_owned();
    phone.reply(&retried_register, 200, |response| response.append(Header::Contact, &contact));
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
fn an_unanswered_register_moves_on_to_the_next_server() {
    let mut phone = TestUserAgent::unregistered();
    first_register(&mut phone);
    phone.wait_for(|output| matches!(output, Output::CloseTransport { .. }));
    assert_eq!(retried(&mut phone).0, RegisterFailureKind::Timeout);
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn an_empty_server_list_is_a_bad_configuration() {
    let mut phone = TestUserAgent::with(|config| config.servers.clear());
    phone.command(Command::Register);
    assert_eq!(failed(&mut phone).0, RegisterFailureKind::BadConfiguration);
}

#[test]
fn signing_out_removes_the_binding_and_disconnects() {
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
