//! Several SIP servers: the next one when the present one is gone, and back to the first.

use serde_json::json;

use crate::rig::kamailio::Kamailio;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone};
use crate::rig::wait::until;

/// A phone that is registered at the first of two servers.
async fn with_two_servers() -> (TestBed, Kamailio, TestPhone) {
    let test_bed = TestBed::open().await;
    let second = Kamailio::start().await;
    test_bed.bitcall.patch(json!({ "wss": [test_bed.kamailio.wss(), second.wss()] })).await;
    let phone = test_bed.open_phone().await;
    is_registered_at(&test_bed.kamailio).await;
    (test_bed, second, phone)
}

async fn is_registered_at(server: &Kamailio) {
    until("a REGISTER at this server", async || {
        let log = server.log();
        if log.contains("REGISTER of agent1") { Ok(()) } else { Err(log) }
    })
    .await;
}

/// The network is another one, which is a reason to look for the first server at once.
async fn network_changes(phone: &TestPhone) {
    phone.frame.eval("[dispatchEvent(new Event('offline')), dispatchEvent(new Event('online'))]").await;
}

async fn takes_a_call_through(server: &Kamailio, phone: &TestPhone) -> Sipp {
    let far = Sipp::calls(server, "agent1", "call");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    far
}

#[tokio::test]
async fn the_second_server_carries_calls_until_the_first_one_is_back_and_no_call_is_up() {
    let (mut test_bed, second, phone) = with_two_servers().await;
    test_bed.kamailio.stop();
    is_registered_at(&second).await;
    phone.ready().await;
    let far = takes_a_call_through(&second, &phone).await;

    // The call stays where it is.
    test_bed.kamailio.start_again().await;
    network_changes(&phone).await;
    phone.frame.hears(TestBed::TONE).await;
    assert!(!test_bed.kamailio.log().contains("REGISTER of agent1"), "a call is up");
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;

    is_registered_at(&test_bed.kamailio).await;
    phone.ready().await;
    let far = takes_a_call_through(&test_bed.kamailio, &phone).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(phone.events("unregistered").await.len(), 1, "on the way back it was registered all the time");
    phone.event("callEnded", 2).await;
}

/// The dialog leads through the first server, which the second one does not reach.
#[tokio::test]
async fn a_call_that_was_up_at_the_first_server_comes_back_with_it() {
    let (mut test_bed, second, phone) = with_two_servers().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    test_bed.kamailio.stop();
    is_registered_at(&second).await;
    phone.frame.sees("Reconnecting…").await;
    phone.frame.hears(TestBed::TONE).await;

    test_bed.kamailio.start_again().await;
    is_registered_at(&test_bed.kamailio).await;
    far.receives(&["INVITE sip:", "CSeq: 2 "]).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.ready().await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
}
