//! Registering: challenge, refresh, binding, sign-out.

use bitcall_sip::message::Header;
use bitcall_sip::ua::{Command, Event, FailureKind, Output, Registration};

use crate::stage::Stage;

#[test]
fn a_challenge_is_answered_and_the_password_forgotten() {
    let mut stage = Stage::empty();
    stage.command(Command::Register);
    stage.connect();
    let first = stage.request("REGISTER");
    assert!(!first.has(Header::Authorization));
    stage.reply(&first, 401, |response| {
        response.append(Header::WwwAuthenticate, r#"Digest realm="acme", nonce="n1", qop="auth", algorithm=SHA-256"#);
    });
    let second = stage.request("REGISTER");
    assert!(second.value(Header::Authorization).unwrap().contains("nc=00000001"));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.value(Header::CallId), first.value(Header::CallId));
    stage.reply(&second, 200, |_| {});
    let (realm, algorithm, length) = stage.event(|event| match event {
        Event::Ha1 { realm, algorithm, ha1 } => Some((realm.clone(), algorithm.clone(), ha1.len())),
        _ => None,
    });
    assert_eq!((realm.as_str(), algorithm.as_str(), length), ("acme", "SHA-256", 64));
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
        let value = format!(r#"Digest realm="acme", nonce="{nonce}""#);
        stage.reply(&register, 401, |response| response.append(Header::WwwAuthenticate, &value));
    }
    stage.sends_nothing();
    stage.event(|event| match event {
        Event::Registration(Registration::Failed { failure }) => {
            assert_eq!((failure.kind, failure.status), (FailureKind::WrongPassword, Some(401)));
            Some(())
        }
        _ => None,
    });
    stage.wait(600_000);
    stage.sends_nothing();
}
