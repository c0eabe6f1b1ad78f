//! The registration state under loss of the SIP server.

use std::time::Instant;

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;
use crate::rig::wait::until;

/// How many times the time of opening the phone may pass until the server has forgotten it.
const LEAVE_FACTOR: u32 = 2;

#[tokio::test]
async fn the_registration_state_follows_loss_and_return_of_the_sip_server() {
    let mut test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let event = phone.event("registered", 1).await;
    assert_eq!(event["username"], "agent1");
    assert_eq!(event["domain"], "sip.test");
    assert_eq!(event["userKey"], "agent1@sip.test");

    test_bed.kamailio.stop();
    phone.host_page.until("!BitcallWebphone.isRegistered()").await;
    phone.frame.sees("Reconnecting").await;
    let event = phone.event("unregistered", 1).await;
    assert_ne!(event["reason"], "");

    // The server has forgotten everybody: only a new REGISTER makes calls arrive.
    test_bed.kamailio.start_again().await;
    phone.ready().await;
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(phone.events("registered").await.len(), 2);
    assert_eq!(phone.events("unregistered").await.len(), 1);
}

/// The server dies in the middle of a call: the sound goes on, and when the
/// server is back the call can still be ended properly.
#[tokio::test]
async fn a_call_continues_while_its_sip_server_is_unreachable() {
    let mut test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    test_bed.kamailio.stop();
    phone.host_page.until("!BitcallWebphone.isRegistered()").await;
    phone.frame.hears(TestBed::TONE).await;
    test_bed.kamailio.start_again().await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.ready().await;
}

#[tokio::test]
async fn a_phone_that_is_taken_down_is_unregistered_at_once() {
    let test_bed = TestBed::open().await;
    let opening = Instant::now();
    let phone = test_bed.open_phone().await;
    let opened = opening.elapsed();

    let leaving = Instant::now();
    phone.host_page.eval("BitcallWebphone.destroy()").await;
    until("the registrar to forget the phone", async || {
        let log = test_bed.kamailio.log();
        if log.contains("agent1 is unregistered") { Ok(()) } else { Err(log) }
    })
    .await;
    let left = leaving.elapsed();
    assert!(left < LEAVE_FACTOR * opened, "{left:?}, opened within {opened:?}");
    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call-is-refused", &[("status", "480")]);
    far.succeeds().await;
}
