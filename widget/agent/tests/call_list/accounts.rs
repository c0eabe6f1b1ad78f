use bitcall_sip::digest::{Algorithm, ha1};
use bitcall_sip::ua::{self, Command};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, CallOptions, RealmHa1, RegistrationFailureCode, RegistrationStatus, SipAccount,
    TakenCallerId, ToAgent,
};
use bitcall_wire::config::{CallerIdHeader, DeclineStatus, Redirects, Referrals};

use crate::test_call_list::{TestCallList, account};

#[test]
fn pages_of_the_same_account_share_one_registration() {
    let mut phone = TestCallList::registered();
    phone.attach(2, "b");
    assert!(phone.started_configs().is_empty());
    assert!(phone.commands().is_empty());
    assert_eq!(phone.event_names(2), ["registered"]);
}

#[test]
fn the_ha1_replaces_the_password_and_is_sent_to_a_second_page_with_the_same_password() {
    let mut phone = TestCallList::registered();
    phone.event(ua::Event::Ha1 { realm: "sip.test".into(), algorithm: "MD5".into(), ha1: "0123".into() });
    let ha1 = AgentEvent::Ha1 { ha1: realm_ha1("sip.test", "0123") };
    assert_eq!(phone.events(1), std::slice::from_ref(&ha1));
    phone.attach(2, "b");
    assert!(phone.events(2).contains(&ha1));
}

fn realm_ha1(realm: &str, ha1: &str) -> RealmHa1 {
    RealmHa1 { realm: Some(realm.into()), algorithm: "MD5".into(), ha1: ha1.into() }
}

/// Signed in with the stored hash of the password `secret`.
fn registered_by_ha1() -> TestCallList {
    let mut phone = TestCallList::new();
    phone.attach_without_sign_in(1, "a");
    let ha1 = ha1(Algorithm::Md5, "101", "sip.test", "secret");
    phone.sign_in_with(1, "101", AccountSecret::Ha1 { ha1s: vec![realm_ha1("sip.test", &ha1)] });
    phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
    phone.clear_output();
    phone
}

fn password(text: &str) -> Command {
    Command::SetPassword { password: ua::Password(text.into()) }
}

#[test]
fn the_ha1s_of_all_realms_start_a_user_agent() {
    let mut phone = TestCallList::new();
    phone.attach_without_sign_in(1, "a");
    phone.sign_in_with(1, "101", AccountSecret::Ha1 { ha1s: vec![realm_ha1("one", "0"), realm_ha1("two", "1")] });
    let ua::SipSecret::Ha1(ha1s) = &phone.started_configs()[0].secret else { panic!("a password") };
    assert_eq!(ha1s.iter().map(|ha1| ha1.realm.as_deref()).collect::<Vec<_>>(), [Some("one"), Some("two")]);
}

#[test]
fn a_call_that_needs_the_password_asks_its_page_and_the_registration_stays() {
    let mut phone = registered_by_ha1();
    phone.call(1, "c1", "102");
    phone.reply_description(1, "c1", "offer");
    phone.clear_output();
    phone.event(ua::Event::PasswordNeeded { call: "c1".into(), realm: "proxy".into() });
    assert_eq!(phone.events(1), [AgentEvent::PasswordNeeded { call: Some("c1".into()) }]);
    // A wrong one is told to be wrong, and changes nothing.
    phone.clear_output();
    phone.sign_in(1, "guess");
    assert_eq!(phone.events(1), [AgentEvent::PasswordNeeded { call: None }]);
    assert!(phone.commands().is_empty() && phone.snapshots(1).is_empty());
    phone.sign_in(1, "secret");
    assert_eq!(phone.commands(), [password("secret")]);
    assert!(matches!(phone.snapshot(1).registration, RegistrationStatus::Registered { .. }));
}

#[test]
fn a_registration_that_needs_the_password_gets_it_without_ending_calls() {
    let mut phone = TestCallList::in_call();
    phone.registration(ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::PasswordNeeded, status: Some(401) },
        retry_at: None,
    });
    let RegistrationStatus::Reconnecting { reason, .. } = phone.snapshot(1).registration else { panic!("no failure") };
    assert_eq!(reason.code, RegistrationFailureCode::PasswordNeeded);
    phone.sign_in(1, "new");
    assert_eq!(phone.commands(), [password("new")]);
    assert!(phone.started_configs().is_empty());
}

/// Looking at the phone again and again must not feed a ban list; the button may.
#[test]
fn a_refused_account_is_tried_again_by_the_person_only() {
    let mut phone = TestCallList::registered();
    phone.registration(ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::Forbidden, status: Some(403) },
        retry_at: Some(ua::Millis(9_000_000)),
    });
    let RegistrationStatus::Reconnecting { reason, .. } = phone.snapshot(1).registration else { panic!("no failure") };
    assert_eq!(reason.text, "Refused: wrong account, or too many devices");
    phone.send(1, ToAgent::Retry);
    assert!(phone.probes());
}

#[test]
fn a_phone_that_is_taken_down_unregisters_at_once() {
    let mut phone = TestCallList::registered();
    phone.attach(2, "b");
    phone.send(2, ToAgent::Leave);
    assert!(phone.commands().is_empty(), "another page is attached");
    phone.send(1, ToAgent::Leave);
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    assert!(phone.finished());
}

#[test]
fn a_phone_that_is_taken_down_ends_its_calls_also_one_that_was_placed_just_before() {
    let mut phone = TestCallList::in_call();
    phone.send(
        1,
        ToAgent::Call {
            call: "c2".into(),
            number: "103".into(),
            options: CallOptions::default(),
            offer: Some("o".into()),
        },
    );
    phone.commands();
    phone.send(1, ToAgent::Leave);
    let hang_up = |call: &str| Command::HangUp { call: call.into() };
    assert_eq!(phone.commands(), [hang_up("c1"), hang_up("c2"), Command::Unregister]);
}

#[test]
fn a_page_that_is_taken_down_does_not_end_the_call_of_a_page_that_reloads() {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.send(2, ToAgent::Leave);
    assert!(phone.commands().is_empty());
}

#[test]
fn a_page_with_a_wrong_password_sees_no_calls_and_cannot_send_commands() {
    let mut phone = TestCallList::in_call();
    phone.event(ua::Event::Ha1 { realm: "sip.test".into(), algorithm: "MD5".into(), ha1: "0123".into() });
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach_without_sign_in(2, "b");
    phone.sign_in(2, "guess");
    let RegistrationStatus::Failed { reason } = phone.snapshot(2).registration else { panic!("let in") };
    assert_eq!(reason.code, RegistrationFailureCode::WrongPassword);
    // It gets no snapshots, takes over no call, and its commands are ignored.
    phone.clear_output();
    phone.send(2, ToAgent::HangUp { call: "c1".into() });
    phone.send(2, ToAgent::SignOut);
    phone.incoming("c2", "103");
    assert!(phone.snapshots(2).is_empty() && phone.events(2).is_empty() && phone.media_requests(2).is_empty());
    assert!(phone.commands().is_empty() && phone.started_configs().is_empty());
    // With the correct password it is authorized.
    phone.sign_in(2, "secret");
    assert_eq!(phone.media_requests(2).len(), 1);
    assert_eq!(phone.snapshot(2).calls.len(), 2);
}

#[test]
fn a_wrong_password_is_rejected_while_the_registration_reconnects() {
    let mut phone = TestCallList::registered();
    phone.registration(ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::ConnectionLost, status: None },
        retry_at: None,
    });
    phone.attach_without_sign_in(2, "b");
    phone.sign_in(2, "guess");
    assert!(matches!(phone.snapshot(2).registration, RegistrationStatus::Failed { .. }));
    assert!(phone.commands().is_empty());
}

#[test]
fn after_the_server_rejects_the_password_a_new_one_starts_a_new_registration() {
    let mut phone = TestCallList::registered();
    phone.registration(ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::WrongPassword, status: Some(401) },
        retry_at: None,
    });
    phone.clear_output();
    phone.sign_in(1, "the new one");
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    assert_eq!(phone.started_configs().len(), 1);
}

/// A page that reattaches to a new agent would take such a snapshot for a sign-out.
#[test]
fn a_page_that_signs_in_gets_no_signed_out_snapshot() {
    let mut phone = TestCallList::new();
    phone.attach(1, "a");
    let shown = phone.snapshots(1);
    assert!(!shown.is_empty());
    assert!(shown.iter().all(|snapshot| snapshot.registration == RegistrationStatus::Connecting), "{shown:?}");
}

#[test]
fn a_password_is_compared_with_a_stored_ha1() {
    let ha1 = ha1(Algorithm::Md5, "101", "sip.test", "secret");
    let stored = AccountSecret::Ha1 { ha1s: vec![realm_ha1("sip.test", &ha1)] };
    // The first page has the stored hash, and the second one the password.
    let mut phone = TestCallList::new();
    phone.attach_without_sign_in(1, "a");
    phone.sign_in_with(1, "101", stored.clone());
    phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
    phone.attach_without_sign_in(2, "b");
    phone.sign_in(2, "guess");
    assert!(matches!(phone.snapshot(2).registration, RegistrationStatus::Failed { .. }));
    phone.sign_in(2, "secret");
    assert!(matches!(phone.snapshot(2).registration, RegistrationStatus::Registered { .. }));
    // The first page has the password, and the second one the hash.
    let mut phone = TestCallList::registered();
    phone.attach_without_sign_in(2, "b");
    phone.sign_in_with(2, "101", stored);
    assert!(matches!(phone.snapshot(2).registration, RegistrationStatus::Registered { .. }));
}

#[test]
fn a_page_with_a_wrong_password_does_not_keep_the_registration() {
    let mut phone = TestCallList::registered();
    phone.attach_without_sign_in(2, "b");
    phone.sign_in(2, "guess");
    phone.send(1, ToAgent::Detach);
    phone.advance_time(16_000, &[2]);
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    // While it is attached it may try another password.
    assert!(!phone.finished());
    phone.sign_in(2, "secret");
    assert_eq!(phone.started_configs().len(), 1);
}

#[test]
fn a_corrected_password_starts_a_new_registration() {
    let mut phone = TestCallList::new();
    phone.attach_without_sign_in(1, "a");
    phone.sign_in(1, "wrong");
    phone.registration(ua::Registration::Failed {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::WrongPassword, status: Some(403) },
    });
    assert!(matches!(phone.snapshot(1).registration, RegistrationStatus::Failed { .. }));
    phone.clear_output();
    phone.sign_in(1, "right");
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    let starts = phone.started_configs();
    assert_eq!(starts.len(), 1);
    assert!(starts[0].secret == ua::SipSecret::Password("right".into()));
}

#[test]
fn signing_in_to_another_account_signs_the_first_one_out() {
    let mut phone = TestCallList::in_call();
    phone.sign_in_as(1, "102", "other");
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    assert_eq!(phone.event_names(1), ["unregistered", "ended: Signed out"]);
    assert_eq!(phone.started_configs()[0].username, "102");
}

#[test]
fn signing_out_ends_every_call() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::SignOut);
    assert_eq!(phone.commands(), [Command::HangUp { call: "c1".into() }, Command::Unregister]);
    phone.registration(ua::Registration::SignedOut);
    assert_eq!(phone.event_names(1), ["ended: Hung up", "unregistered"]);
    assert_eq!(phone.snapshot(1).registration, RegistrationStatus::SignedOut);
}

#[test]
fn signing_out_rejects_a_ringing_call_with_480_and_not_603() {
    let mut phone = TestCallList::registered();
    phone.incoming("c1", "102");
    phone.event_names(1);
    phone.send(1, ToAgent::SignOut);
    assert_eq!(phone.commands(), [Command::Reject { call: "c1".into(), status: 480 }, Command::Unregister]);
    assert_eq!(phone.event_names(1), ["ended: Signed out"]);
}

#[test]
fn a_call_is_declined_with_the_status_that_the_tenant_has_set() {
    for (decline_status, status) in
        [(DeclineStatus::default(), 486), (DeclineStatus::TemporarilyUnavailable, 480), (DeclineStatus::Decline, 603)]
    {
        let mut phone = TestCallList::new();
        phone.behavior.decline_status = decline_status;
        phone.attach(1, "a");
        assert_eq!(phone.started_configs()[0].decline_status, status);
        phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
        phone.incoming("c1", "102");
        phone.clear_output();
        phone.send(1, ToAgent::Decline { call: "c1".into() });
        assert_eq!(phone.commands(), [Command::Reject { call: "c1".into(), status }]);
        let ended = phone.events(1);
        assert!(
            matches!(&ended[..], [AgentEvent::CallEnded { cause, .. }]
                if cause.text == "Declined" && cause.sip_code == Some(status)),
            "{ended:?}"
        );
    }
}

#[test]
fn redirections_are_followed_as_far_as_the_tenant_allows() {
    for (redirects, policy) in [
        (Redirects::Never, ua::RedirectPolicy::Never),
        (Redirects::default(), ua::RedirectPolicy::SameDomain),
        (Redirects::AnyDomain, ua::RedirectPolicy::AnyDomain),
    ] {
        let mut phone = TestCallList::new();
        phone.behavior.redirects = redirects;
        phone.attach(1, "a");
        assert_eq!(phone.started_configs()[0].redirects, policy);
    }
}

#[test]
fn referrals_are_followed_as_the_tenant_has_set() {
    for (referrals, policy) in [
        (Referrals::Refuse, ua::ReferralPolicy::Refuse),
        (Referrals::Ask, ua::ReferralPolicy::Ask),
        (Referrals::default(), ua::ReferralPolicy::OwnDomain),
    ] {
        let mut phone = TestCallList::new();
        phone.behavior.referrals = referrals;
        phone.attach(1, "a");
        assert_eq!(phone.started_configs()[0].referrals, policy);
    }
}

#[test]
fn signing_in_during_a_sign_out_registers_after_it() {
    let mut phone = TestCallList::registered();
    phone.send(1, ToAgent::SignOut);
    assert_eq!(phone.snapshot(1).registration, RegistrationStatus::SignedOut);
    phone.sign_in(1, "secret");
    assert_eq!(phone.snapshot(1).registration, RegistrationStatus::Connecting);
    assert_eq!(phone.commands(), [Command::Unregister]);
    phone.clear_output();
    // A registration event during the sign-out concerns the old registration and is ignored.
    phone.registration(ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::ConnectionLost, status: None },
        retry_at: None,
    });
    phone.registration(ua::Registration::SignedOut);
    assert_eq!(phone.started_configs().len(), 1);
    // A snapshot with `SignedOut` would make the page forget its new session.
    assert!(phone.snapshots(1).is_empty());
    phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
    assert!(matches!(phone.snapshot(1).registration, RegistrationStatus::Registered { .. }));
}

#[test]
fn a_page_that_attaches_during_a_sign_out_is_signed_in() {
    let mut phone = TestCallList::registered();
    phone.send(1, ToAgent::SignOut);
    phone.send(1, ToAgent::Detach);
    phone.clear_output();
    phone.attach_without_sign_in(2, "b");
    phone.sign_in(2, "secret");
    assert_eq!(phone.snapshot(2).registration, RegistrationStatus::Connecting);
    phone.call(2, "c1", "102");
    assert!(phone.event_names(2).contains(&"refused: NOT_REGISTERED".to_owned()));
    phone.registration(ua::Registration::SignedOut);
    assert_eq!(phone.started_configs().len(), 1);
    assert!(!phone.finished());
}

#[test]
fn registered_and_unregistered_events_are_sent_once_per_change() {
    let mut phone = TestCallList::registered();
    let lost = |retry_at| ua::Registration::Reconnecting {
        failure: ua::RegisterFailure { kind: ua::RegisterFailureKind::ConnectionLost, status: None },
        retry_at,
    };
    phone.registration(lost(None));
    phone.registration(lost(Some(ua::Millis(5))));
    assert_eq!(phone.event_names(1), ["unregistered"]);
    phone.registration(ua::Registration::Registered { server: "wss://two".into(), session: None });
    assert_eq!(phone.event_names(1), ["registered"]);
}

#[test]
fn a_snapshot_is_sent_only_when_the_state_changes() {
    let mut phone = TestCallList::registered();
    phone.send(1, ToAgent::Alive { visible: true });
    phone.send(1, ToAgent::Probe);
    assert!(phone.snapshots(1).is_empty());
    phone.call(1, "c1", "102");
    let revisions: Vec<_> = phone.snapshots(1).iter().map(|s| s.revision).collect();
    assert_eq!(revisions.len(), 1);
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    let after: Vec<_> = phone.snapshots(1).iter().map(|s| s.revision).collect();
    assert_eq!(after, [revisions[0], revisions[0] + 1, revisions[0] + 2]);
}

#[test]
fn caller_ids_are_sent_as_the_tenant_has_set_and_what_a_server_takes_is_told_to_every_page() {
    let mut phone = TestCallList::new();
    phone.behavior.caller_id_header = CallerIdHeader::RemotePartyId;
    phone.attach(1, "a");
    assert_eq!(phone.started_configs()[0].caller_id_header, ua::CallerIdHeader::RemotePartyId);
    phone.attach(2, "b");
    phone.clear_output();
    phone.event(ua::Event::CallerIdTaken { server: "wss://sip.test".into(), header: ua::CallerIdHeader::From });
    for port in [1, 2] {
        assert_eq!(phone.event_names(port), ["wss://sip.test takes From"]);
    }
    let taken = TakenCallerId { server: "wss://sip.test".into(), header: CallerIdHeader::From };
    let mut phone = TestCallList::new();
    phone.attach_without_sign_in(1, "a");
    let account = SipAccount { caller_id_headers: vec![taken], ..account() };
    phone.send(1, ToAgent::SignIn { account: Box::new(account), kept: None });
    let known = [("wss://sip.test".to_owned(), ua::CallerIdHeader::From)];
    assert_eq!(phone.started_configs()[0].caller_id_headers, known);
}
