//! Transfers of calls to somebody else: blind, and after asking first.

use bitcall_sip::ua::{self, Command, TransferFailure, TransferProgress, TransferTarget};
use bitcall_wire::agent_protocol::{AgentEvent, CallOptions, HoldState, ToAgent, TransferState, TransferStatus};

use crate::test_call_list::TestCallList;

fn transfer(phone: &mut TestCallList, call: &str, target: &str) {
    phone.send(1, ToAgent::Transfer { call: call.into(), target: target.into() });
}

fn progress(phone: &mut TestCallList, call: &str, progress: TransferProgress) {
    phone.event(ua::Event::Transfer { call: call.into(), progress });
}

fn ended(phone: &mut TestCallList, call: &str) {
    let cause = ua::EndCause { by: ua::EndedBy::Remote, text: "Remote hung up".into(), sip_code: None };
    phone.event(ua::Event::Ended { call: call.into(), cause });
}

/// The far end agrees to the offer that the page makes now.
fn agree(phone: &mut TestCallList, call: &str) {
    phone.reply_description(1, call, "offer");
    phone.event(ua::Event::ReinviteAccepted { call: call.into(), sdp: "answer".into() });
    phone.reply_done(1, call);
}

fn refers(phone: &mut TestCallList) -> Vec<(String, TransferTarget)> {
    let commands = phone.commands().into_iter();
    commands
        .filter_map(|command| match command {
            Command::Transfer { call, target } => Some((call, target)),
            _ => None,
        })
        .collect()
}

fn refer(call: &str, target: &str) -> (String, TransferTarget) {
    (call.into(), TransferTarget::Address(target.into()))
}

/// The call `c1` on hold, and the far end has been asked to call 300.
fn requested() -> TestCallList {
    let mut phone = TestCallList::in_call();
    transfer(&mut phone, "c1", "300");
    agree(&mut phone, "c1");
    assert_eq!(refers(&mut phone), [refer("c1", "300")]);
    assert_eq!(phone.event_names(1), ["transfer started"]);
    phone
}

fn hung_up(call: &str) -> Command {
    Command::HangUp { call: call.into() }
}

fn busy() -> TransferProgress {
    TransferProgress::Failed(TransferFailure::Unreachable { status: 486 })
}

#[test]
fn the_far_end_is_held_before_it_is_asked_and_the_call_ends_when_the_target_answers() {
    let mut phone = TestCallList::in_call();
    transfer(&mut phone, "c1", "+49 (30) 300");
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!((shown.hold, shown.voice), (HoldState::Holding, false));
    assert!(refers(&mut phone).is_empty());
    agree(&mut phone, "c1");
    assert_eq!(refers(&mut phone), [refer("c1", "+4930300")]);
    let state =
        |phone: &TestCallList| phone.call_snapshot(1, "c1").transfer.map(|transfer| (transfer.target, transfer.state));
    let typed = || "+49 (30) 300".to_owned();
    assert_eq!(state(&phone), Some((typed(), TransferState::Requested)));
    progress(&mut phone, "c1", TransferProgress::Accepted);
    assert_eq!(state(&phone), Some((typed(), TransferState::Accepted)));
    progress(&mut phone, "c1", TransferProgress::Proceeding { status: 180 });
    assert_eq!(state(&phone), Some((typed(), TransferState::Ringing)));
    progress(&mut phone, "c1", TransferProgress::Succeeded);
    assert_eq!(phone.commands(), [hung_up("c1")]);
    assert_eq!(phone.event_names(1), ["transfer started", "transfer accepted", "ended: Transferred"]);
}

#[test]
fn a_transfer_that_fails_gives_the_call_back() {
    let mut phone = requested();
    progress(&mut phone, "c1", TransferProgress::Accepted);
    phone.clear_output();
    progress(&mut phone, "c1", busy());
    let told = phone.events(1);
    assert!(
        matches!(&told[..], [AgentEvent::Transfer { call, target, uri, status: TransferStatus::Failed { reason, message } }]
            if call == "c1" && target == "300" && uri.as_deref() == Some("sip:300@sip.test")
            && reason == "UNREACHABLE" && message == "300 was not reached: busy."),
        "{told:?}"
    );
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!((shown.hold, shown.transfer), (HoldState::Resuming, None));
    agree(&mut phone, "c1");
    assert!(phone.call_snapshot(1, "c1").voice);
    // Another one can follow.
    transfer(&mut phone, "c1", "301");
    agree(&mut phone, "c1");
    assert_eq!(refers(&mut phone), [refer("c1", "301")]);
}

#[test]
fn a_call_that_was_on_hold_before_stays_there_when_its_transfer_fails() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    agree(&mut phone, "c1");
    phone.clear_output();
    transfer(&mut phone, "c1", "300");
    assert_eq!(refers(&mut phone), [refer("c1", "300")]);
    progress(&mut phone, "c1", busy());
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
}

#[test]
fn a_transfer_that_fails_does_not_interrupt_another_conversation() {
    let mut phone = requested();
    phone.incoming("c2", "400");
    phone.answer(1, "c2", bitcall_wire::agent_protocol::OtherCalls::Hold);
    phone.reply_description(1, "c2", "answer");
    phone.confirmed("c2");
    progress(&mut phone, "c1", busy());
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
    assert!(phone.call_snapshot(1, "c2").voice);
}

#[test]
fn a_far_end_that_refuses_the_hold_or_a_page_that_cannot_offer_it_does_not_stop_the_transfer() {
    let mut phone = TestCallList::in_call();
    transfer(&mut phone, "c1", "300");
    phone.reply_description(1, "c1", "hold offer");
    phone.event(ua::Event::ReinviteRefused { call: "c1".into(), status: 488, will_retry: false });
    assert_eq!(refers(&mut phone), [refer("c1", "300")]);

    let mut phone = TestCallList::in_call();
    transfer(&mut phone, "c1", "300");
    phone.advance_time(9_000, &[1]);
    assert!(refers(&mut phone).is_empty());
    phone.advance_time(1_000, &[1]);
    assert_eq!(refers(&mut phone), [refer("c1", "300")]);
}

#[test]
fn a_far_end_that_hangs_up_has_left_for_the_target_only_if_it_had_agreed() {
    let mut phone = requested();
    progress(&mut phone, "c1", TransferProgress::Accepted);
    phone.clear_output();
    ended(&mut phone, "c1");
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);

    let mut phone = requested();
    ended(&mut phone, "c1");
    assert_eq!(phone.event_names(1), ["transfer failed: CALL_ENDED", "ended: Remote hung up"]);
}

#[test]
fn a_hang_up_of_the_person_ends_the_call_and_the_transfer() {
    let mut phone = requested();
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    assert_eq!(phone.commands(), [hung_up("c1")]);
    assert_eq!(phone.event_names(1), ["transfer failed: CALL_ENDED", "ended: Hung up"]);
}

#[test]
fn a_call_that_is_being_transferred_cannot_be_resumed_and_a_second_click_is_no_error() {
    let mut phone = requested();
    transfer(&mut phone, "c1", "300");
    assert!(phone.event_names(1).is_empty());
    transfer(&mut phone, "c1", "301");
    assert_eq!(phone.event_names(1), ["transfer failed: TRANSFERRING"]);
    phone.hold(1, "c1", false);
    assert_eq!(phone.event_names(1), ["refused: TRANSFERRING"]);
    assert!(refers(&mut phone).is_empty());
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
}

#[test]
fn a_transfer_that_cannot_start_is_a_failure_and_changes_nothing() {
    let mut phone = TestCallList::in_call();
    for (call, target, reason) in
        [("c1", "30$", "BAD_NUMBER"), ("c1", " ", "BAD_NUMBER"), ("gone", "300", "UNKNOWN_CALL")]
    {
        transfer(&mut phone, call, target);
        assert_eq!(phone.event_names(1), [format!("transfer failed: {reason}")]);
    }
    assert!(phone.media_requests(1).is_empty() && phone.commands().is_empty());
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.event_names(1);
    transfer(&mut phone, "c1", "300");
    assert_eq!(phone.event_names(1), ["transfer failed: NOT_ACTIVE"]);
    assert!(phone.commands().is_empty());
}

#[test]
fn a_page_that_is_loaded_again_sees_the_transfer_and_its_end() {
    let mut phone = requested();
    phone.send(1, ToAgent::Detach);
    phone.attach(2, "b");
    assert_eq!(phone.call_snapshot(2, "c1").transfer.map(|transfer| transfer.target).as_deref(), Some("300"));
    phone.clear_output();
    progress(&mut phone, "c1", TransferProgress::Succeeded);
    assert_eq!(phone.event_names(2), ["ended: Transferred"]);
}

// Attended.

/// `c1` on hold, `c2` placed to ask first.
fn asking() -> TestCallList {
    let mut phone = TestCallList::in_call();
    let options = CallOptions { consults_for: Some("c1".into()), ..CallOptions::default() };
    phone.send(1, ToAgent::Call { call: "c2".into(), number: "300".into(), options, offer: Some("offer".into()) });
    agree(&mut phone, "c1");
    phone.clear_output();
    phone
}

fn answered(phone: &mut TestCallList, call: &str) {
    phone.event(ua::Event::Answered { call: call.into(), sdp: Some("answer".into()), early_dialog: None });
    phone.reply_done(1, call);
}

fn transfer_to(phone: &mut TestCallList, call: &str, to: &str) {
    phone.send(1, ToAgent::TransferTo { call: call.into(), to: to.into() });
}

/// The far end of `c1` has been asked to take the place of the phone in `c2`.
fn requested_to_other() -> TestCallList {
    let mut phone = asking();
    answered(&mut phone, "c2");
    assert_eq!(phone.call_snapshot(1, "c2").consults_for.as_deref(), Some("c1"));
    // Both can be talked to in turn.
    phone.hold(1, "c1", false);
    agree(&mut phone, "c1");
    agree(&mut phone, "c2");
    phone.hold(1, "c2", false);
    agree(&mut phone, "c2");
    agree(&mut phone, "c1");
    phone.clear_output();
    transfer_to(&mut phone, "c1", "c2");
    assert_eq!(refers(&mut phone), [("c1".into(), TransferTarget::Call("c2".into()))]);
    phone
}

#[test]
fn an_attended_transfer_connects_both_far_ends_and_ends_both_calls() {
    let mut phone = requested_to_other();
    progress(&mut phone, "c1", TransferProgress::Accepted);
    phone.clear_output();
    ended(&mut phone, "c2");
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);
    progress(&mut phone, "c1", TransferProgress::Succeeded);
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);
    assert_eq!(phone.commands(), [hung_up("c1")]);
}

#[test]
fn a_consultation_call_that_nobody_ends_after_the_transfer_is_hung_up() {
    let mut phone = requested_to_other();
    progress(&mut phone, "c1", TransferProgress::Succeeded);
    phone.clear_output();
    phone.advance_time(5_000, &[1]);
    assert_eq!(phone.commands(), [hung_up("c2")]);
    assert_eq!(phone.event_names(1), ["ended: Transferred"]);
}

#[test]
fn an_attended_transfer_that_fails_leaves_both_calls() {
    let mut phone = requested_to_other();
    phone.clear_output();
    progress(&mut phone, "c1", TransferProgress::Failed(TransferFailure::Refused { status: 603 }));
    assert_eq!(phone.event_names(1), ["transfer failed: REFUSED"]);
    assert_eq!(phone.call_snapshot(1, "c1").hold, HoldState::Held);
    assert!(phone.call_snapshot(1, "c2").voice);
}

#[test]
fn a_transfer_to_a_call_that_still_rings_is_a_blind_one() {
    let mut phone = asking();
    transfer_to(&mut phone, "c1", "c2");
    let commands = phone.commands();
    assert!(commands.contains(&hung_up("c2")), "{commands:?}");
    let target = TransferTarget::Address("300".into());
    assert!(commands.contains(&Command::Transfer { call: "c1".into(), target }), "{commands:?}");
    assert_eq!(phone.event_names(1), ["transfer started", "ended: Cancelled"]);
}

#[test]
fn a_call_is_not_transferred_to_itself_or_to_one_that_is_gone() {
    let mut phone = asking();
    for to in ["c1", "gone"] {
        transfer_to(&mut phone, "c1", to);
        assert_eq!(phone.event_names(1), ["transfer failed: UNKNOWN_CALL"]);
    }
    assert!(phone.commands().is_empty());
}
