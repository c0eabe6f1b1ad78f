//! Keep-alive: a dead connection is detected, a working one is kept.

use bitcall_sip::ua::{Event, Input, Output, RegisterFailure, RegisterFailureKind, Registration};

use crate::test_user_agent::TestUserAgent;

fn lost(phone: &mut TestUserAgent) {
    phone.closes();
    phone.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => {
            assert_eq!(*failure, RegisterFailure { kind: RegisterFailureKind::ConnectionLost, status: None });
            Some(())
        }
        _ => None,
    });
}

#[test]
fn a_crlf_ping_of_the_server_is_answered() {
    let mut phone = TestUserAgent::registered();
    phone.bytes(b"\r\n\r\n");
    phone.sends_keepalive(b"\r\n");
}

#[test]
fn an_unanswered_keepalive_closes_the_connection_and_reconnects() {
    let mut phone = TestUserAgent::registered();
    phone.wait(30_000);
    phone.answers_pings = false;
    phone.wait(60_000);
    lost(&mut phone);
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn a_server_that_ignores_crlf_is_probed_by_options() {
    let mut phone = TestUserAgent::registered();
    phone.answers_pings = false;
    phone.wait(34_000);
    phone.sends_keepalive(b"\r\n\r\n");
    let options = phone.request("OPTIONS");
    phone.reply(&options, 404, |_| {});
    phone.wait(26_000);
    let options = phone.request("OPTIONS");
    phone.reply(&options, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn a_probe_is_sent_at_once_with_a_short_timeout() {
    for input in [Input::Probe, Input::Online, Input::Offline] {
        let mut phone = TestUserAgent::registered();
        phone.wait(30_000);
        phone.answers_pings = false;
        phone.input(input);
        phone.sends_keepalive(b"\r\n\r\n");
        phone.wait(2_500);
        phone.closes();
    }
}

#[test]
fn received_requests_do_not_count_as_keepalive() {
    let mut phone = TestUserAgent::registered();
    phone.wait(30_000);
    phone.answers_pings = false;
    for number in 0..20 {
        phone.wait(2_000);
        if phone.transport.is_some() && !phone.outputs_close() {
            phone.remote_request("OPTIONS", number + 1, |_| {});
        }
    }
    assert!(phone.outputs_close());
}
