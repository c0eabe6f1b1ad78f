//! A dead connection is noticed, a living one is left alone.

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
fn the_servers_ping_is_answered() {
    let mut phone = TestUserAgent::registered();
    phone.bytes(b"\r\n\r\n");
    phone.pings(b"\r\n");
}

#[test]
fn a_server_that_stops_answering_is_left_and_connected_anew() {
    let mut phone = TestUserAgent::registered();
    phone.wait(30_000);
    phone.answers_pings = false;
    phone.wait(60_000);
    lost(&mut phone);
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn a_server_that_ignores_crlf_is_asked_by_options_and_any_answer_will_do() {
    let mut phone = TestUserAgent::registered();
    phone.answers_pings = false;
    phone.wait(34_000);
    phone.pings(b"\r\n\r\n");
    let options = phone.request("OPTIONS");
    phone.reply(&options, 404, |_| {});
    phone.wait(26_000);
    let options = phone.request("OPTIONS");
    phone.reply(&options, 200, |_| {});
    phone.sends_nothing();
}

#[test]
fn a_smell_is_followed_at_once_and_not_for_long() {
    for input in [Input::Probe, Input::Online, Input::Offline] {
        let mut phone = TestUserAgent::registered();
        phone.wait(30_000);
        phone.answers_pings = false;
        phone.input(input);
        phone.pings(b"\r\n\r\n");
        phone.wait(2_500);
        phone.closes();
    }
}

#[test]
fn requests_of_the_far_end_do_not_hide_that_ours_get_lost() {
    let mut phone = TestUserAgent::registered();
    phone.wait(30_000);
    phone.answers_pings = false;
    for number in 0..20 {
        phone.wait(2_000);
        if phone.transport.is_some() && !phone.outputs_close() {
            phone.ask("OPTIONS", number + 1, |_| {});
        }
    }
    assert!(phone.outputs_close());
}
