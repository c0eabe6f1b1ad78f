use bitcall_sip::digest::{Algorithm, ha1};
use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{AccountSecret, AgentEvent, RegistrationFailureCode, RegistrationStatus, ToAgent};

use crate::desk::Desk;

#[test]
fn one_registration_serves_every_tab_of_the_person() {
    let mut desk = Desk::registered();
    desk.attach(2, "b");
    assert!(desk.starts().is_empty());
    assert!(desk.commands().is_empty());
    assert_eq!(desk.heard(2), ["registered"]);
}

#[test]
fn the_password_is_replaced_by_its_hash_and_a_tab_with_the_same_one_gets_it() {
    let mut desk = Desk::registered();
    desk.event(ua::Event::Ha1 { realm: "sip.test".into(), algorithm: "MD5".into(), ha1: "0123".into() });
    let ha1 = AgentEvent::Ha1 { realm: "sip.test".into(), ha1: "0123".into() };
    assert_eq!(desk.events(1), std::slice::from_ref(&ha1));
    desk.attach(2, "b");
    assert!(desk.events(2).contains(&ha1));
}

#[test]
fn a_second_tab_with_a_wrong_password_stays_outside() {
    let mut desk = Desk::in_call();
    desk.event(ua::Event::Ha1 { realm: "sip.test".into(), algorithm: "MD5".into(), ha1: "0123".into() });
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.arrive(2, "b");
    desk.sign_in(2, "guess");
    let RegistrationStatus::Failed { reason } = desk.snapshot(2).registration else { panic!("let in") };
    assert_eq!(reason.code, RegistrationFailureCode::WrongPassword);
    // It sees nothing, gets no call that has lost its page, and commands nothing.
    desk.forget();
    desk.say(2, ToAgent::HangUp { call: "c1".into() });
    desk.say(2, ToAgent::SignOut);
    desk.incoming("c2", "103");
    assert!(desk.snapshots(2).is_empty() && desk.events(2).is_empty() && desk.asks(2).is_empty());
    assert!(desk.commands().is_empty() && desk.starts().is_empty());
    // The right one lets it in.
    desk.sign_in(2, "secret");
    assert_eq!(desk.asks(2).len(), 1);
    assert_eq!(desk.snapshot(2).calls.len(), 2);
}

#[test]
fn a_wrong_password_does_not_disturb_a_registration_that_comes_back() {
    let mut desk = Desk::registered();
    desk.registration(ua::Registration::Reconnecting {
        failure: ua::Failure { kind: ua::FailureKind::ConnectionLost, status: None },
        retry_at: None,
    });
    desk.arrive(2, "b");
    desk.sign_in(2, "guess");
    assert!(matches!(desk.snapshot(2).registration, RegistrationStatus::Failed { .. }));
    assert!(desk.commands().is_empty());
}

#[test]
fn when_the_server_refuses_what_was_right_another_password_may_be_tried() {
    let mut desk = Desk::registered();
    desk.registration(ua::Registration::Reconnecting {
        failure: ua::Failure { kind: ua::FailureKind::WrongPassword, status: Some(401) },
        retry_at: None,
    });
    desk.forget();
    desk.sign_in(1, "the new one");
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    assert_eq!(desk.starts().len(), 1);
}

/// A page that comes back to an agent that was born meanwhile must not take it for a sign-out.
#[test]
fn whoever_signs_in_never_hears_that_nobody_is() {
    let mut desk = Desk::new();
    desk.attach(1, "a");
    let shown = desk.snapshots(1);
    assert!(!shown.is_empty());
    assert!(shown.iter().all(|snapshot| snapshot.registration == RegistrationStatus::Connecting), "{shown:?}");
}

#[test]
fn a_password_is_known_by_its_hash_too() {
    let ha1 = ha1(Algorithm::Md5, "101", "sip.test", "secret");
    let stored = AccountSecret::Ha1 { realm: Some("sip.test".into()), ha1 };
    // The first tab has the hash from its storage; the second one's password is typed.
    let mut desk = Desk::new();
    desk.arrive(1, "a");
    desk.sign_in_with(1, "101", stored.clone());
    desk.registration(ua::Registration::Registered { server: "wss://sip.test".into() });
    desk.arrive(2, "b");
    desk.sign_in(2, "guess");
    assert!(matches!(desk.snapshot(2).registration, RegistrationStatus::Failed { .. }));
    desk.sign_in(2, "secret");
    assert!(matches!(desk.snapshot(2).registration, RegistrationStatus::Registered { .. }));
    // And the other way round.
    let mut desk = Desk::registered();
    desk.arrive(2, "b");
    desk.sign_in_with(2, "101", stored);
    assert!(matches!(desk.snapshot(2).registration, RegistrationStatus::Registered { .. }));
}

#[test]
fn a_page_that_was_turned_away_does_not_keep_the_phone_signed_in() {
    let mut desk = Desk::registered();
    desk.arrive(2, "b");
    desk.sign_in(2, "guess");
    desk.say(1, ToAgent::Detach);
    desk.pass(16_000, &[2]);
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    // But it may try again, as long as it is there.
    assert!(!desk.finished());
    desk.sign_in(2, "secret");
    assert_eq!(desk.starts().len(), 1);
}

#[test]
fn a_corrected_password_starts_over() {
    let mut desk = Desk::new();
    desk.arrive(1, "a");
    desk.sign_in(1, "wrong");
    desk.registration(ua::Registration::Failed {
        failure: ua::Failure { kind: ua::FailureKind::WrongPassword, status: Some(403) },
    });
    assert!(matches!(desk.snapshot(1).registration, RegistrationStatus::Failed { .. }));
    desk.forget();
    desk.sign_in(1, "right");
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    let starts = desk.starts();
    assert_eq!(starts.len(), 1);
    assert!(starts[0].secret == ua::Secret::Password("right".into()));
}

#[test]
fn another_person_signs_the_first_one_out() {
    let mut desk = Desk::in_call();
    desk.sign_in_as(1, "102", "other");
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    assert_eq!(desk.heard(1), ["unregistered", "ended: Signed out"]);
    assert_eq!(desk.starts()[0].username, "102");
}

#[test]
fn signing_out_ends_every_call() {
    let mut desk = Desk::in_call();
    desk.say(1, ToAgent::SignOut);
    assert_eq!(desk.commands(), [Command::HangUp { call: "c1".into() }, Command::Unregister]);
    desk.registration(ua::Registration::SignedOut);
    assert_eq!(desk.heard(1), ["ended: Hung up", "unregistered"]);
    assert_eq!(desk.snapshot(1).registration, RegistrationStatus::SignedOut);
}

#[test]
fn signing_out_does_not_decline_what_rings_on_other_devices_too() {
    let mut desk = Desk::registered();
    desk.incoming("c1", "102");
    desk.heard(1);
    desk.say(1, ToAgent::SignOut);
    assert_eq!(desk.commands(), [Command::Reject { call: "c1".into(), status: 480 }, Command::Unregister]);
    assert_eq!(desk.heard(1), ["ended: Signed out"]);
}

#[test]
fn signing_in_while_the_sign_out_is_under_way_signs_in_after_it() {
    let mut desk = Desk::registered();
    desk.say(1, ToAgent::SignOut);
    assert_eq!(desk.snapshot(1).registration, RegistrationStatus::SignedOut);
    desk.sign_in(1, "secret");
    assert_eq!(desk.snapshot(1).registration, RegistrationStatus::Connecting);
    assert_eq!(desk.commands(), [Command::Unregister]);
    desk.forget();
    // What the connection says meanwhile is about the one that leaves.
    desk.registration(ua::Registration::Reconnecting {
        failure: ua::Failure { kind: ua::FailureKind::ConnectionLost, status: None },
        retry_at: None,
    });
    desk.registration(ua::Registration::SignedOut);
    assert_eq!(desk.starts().len(), 1);
    // "Signed out" would have made the page forget the session it has just begun.
    assert!(desk.snapshots(1).is_empty());
    desk.registration(ua::Registration::Registered { server: "wss://sip.test".into() });
    assert!(matches!(desk.snapshot(1).registration, RegistrationStatus::Registered { .. }));
}

#[test]
fn a_page_that_comes_while_the_last_one_signs_out_is_signed_in() {
    let mut desk = Desk::registered();
    desk.say(1, ToAgent::SignOut);
    desk.say(1, ToAgent::Detach);
    desk.forget();
    desk.arrive(2, "b");
    desk.sign_in(2, "secret");
    assert_eq!(desk.snapshot(2).registration, RegistrationStatus::Connecting);
    desk.call(2, "c1", "102");
    assert!(desk.heard(2).contains(&"refused: NOT_REGISTERED".to_owned()));
    desk.registration(ua::Registration::SignedOut);
    assert_eq!(desk.starts().len(), 1);
    assert!(!desk.finished());
}

#[test]
fn registered_and_unregistered_are_told_once_per_change() {
    let mut desk = Desk::registered();
    let lost = |retry_at| ua::Registration::Reconnecting {
        failure: ua::Failure { kind: ua::FailureKind::ConnectionLost, status: None },
        retry_at,
    };
    desk.registration(lost(None));
    desk.registration(lost(Some(ua::Millis(5))));
    assert_eq!(desk.heard(1), ["unregistered"]);
    desk.registration(ua::Registration::Registered { server: "wss://two".into() });
    assert_eq!(desk.heard(1), ["registered"]);
}

#[test]
fn a_snapshot_comes_with_every_change_and_with_nothing_else() {
    let mut desk = Desk::registered();
    desk.say(1, ToAgent::Alive { visible: true });
    desk.say(1, ToAgent::Probe);
    assert!(desk.snapshots(1).is_empty());
    desk.call(1, "c1", "102");
    let revisions: Vec<_> = desk.snapshots(1).iter().map(|s| s.revision).collect();
    assert_eq!(revisions.len(), 1);
    desk.say(1, ToAgent::HangUp { call: "c1".into() });
    let after: Vec<_> = desk.snapshots(1).iter().map(|s| s.revision).collect();
    assert_eq!(after, [revisions[0], revisions[0] + 1, revisions[0] + 2]);
}
