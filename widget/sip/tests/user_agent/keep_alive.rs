//! A dead connection is noticed, a living one is left alone.

use bitcall_sip::ua::{Event, Failure, FailureKind, Input, Output, Registration};

use crate::test_user_agent::Stage;

fn lost(stage: &mut Stage) {
    stage.closes();
    stage.event(|event| match event {
        Event::Registration(Registration::Reconnecting { failure, .. }) => {
            assert_eq!(*failure, Failure { kind: FailureKind::ConnectionLost, status: None });
            Some(())
        }
        _ => None,
    });
}

#[test]
fn the_servers_ping_is_answered() {
    let mut stage = Stage::registered();
    stage.bytes(b"\r\n\r\n");
    stage.pings(b"\r\n");
}

#[test]
fn a_server_that_stops_answering_is_left_and_connected_anew() {
    let mut stage = Stage::registered();
    stage.wait(30_000);
    stage.answers_pings = false;
    stage.wait(60_000);
    lost(&mut stage);
    stage.wait_for(|output| matches!(output, Output::Connect { .. }));
}

#[test]
fn a_server_that_ignores_crlf_is_asked_by_options_and_any_answer_will_do() {
    let mut stage = Stage::registered();
    stage.answers_pings = false;
    stage.wait(34_000);
    stage.pings(b"\r\n\r\n");
    let options = stage.request("OPTIONS");
    stage.reply(&options, 404, |_| {});
    stage.wait(26_000);
    let options = stage.request("OPTIONS");
    stage.reply(&options, 200, |_| {});
    stage.sends_nothing();
}

#[test]
fn a_smell_is_followed_at_once_and_not_for_long() {
    for input in [Input::Probe, Input::Online, Input::Offline] {
        let mut stage = Stage::registered();
        stage.wait(30_000);
        stage.answers_pings = false;
        stage.input(input);
        stage.pings(b"\r\n\r\n");
        stage.wait(2_500);
        stage.closes();
    }
}

#[test]
fn requests_of_the_far_end_do_not_hide_that_ours_get_lost() {
    let mut stage = Stage::registered();
    stage.wait(30_000);
    stage.answers_pings = false;
    for number in 0..20 {
        stage.wait(2_000);
        if stage.link.is_some() && !stage.outputs_close() {
            stage.ask("OPTIONS", number + 1, |_| {});
        }
    }
    assert!(stage.outputs_close());
}
