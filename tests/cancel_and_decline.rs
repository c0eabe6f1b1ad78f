//! Calls that are cancelled, declined or rejected return to the dialer and show why.

use serde_json::json;

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone};

/// Waits until call number `n` has ended and the phone can call again; returns `callEnded`.
async fn over(phone: &TestPhone, n: usize) -> serde_json::Value {
    let ended = phone.event("callEnded", n).await;
    phone.frame.gone("button", "Hang up").await;
    phone.ready().await;
    ended
}

#[tokio::test]
async fn a_ringing_outgoing_call_can_be_cancelled() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;

    let far = Sipp::called(&test_bed.kamailio, "ring").await;
    phone.dial(&far.number).await;
    phone.frame.sees("Ringing").await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    over(&phone, 1).await;

    // The answer crosses the CANCEL: it is acknowledged, and ended by a BYE.
    let far = Sipp::called(&test_bed.kamailio, "answer-crosses-cancel").await;
    phone.dial(&far.number).await;
    phone.frame.sees("Ringing").await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    over(&phone, 2).await;
    assert_eq!(phone.events("callAnswered").await.len(), 0, "nobody was talked to");
    assert_eq!(phone.events("callEnded").await.len(), 2);
}

#[tokio::test]
async fn a_rejected_call_shows_its_reason_and_code() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let refusals = [("486 Busy Here", 486), ("404 Not Found", 404), ("603 Decline", 603), ("480 Away", 480)];
    for (n, (status, code)) in refusals.into_iter().enumerate() {
        let far = Sipp::called_with(&test_bed.kamailio, "refuse", &[("status", status)]).await;
        phone.dial(&far.number).await;
        far.succeeds().await;
        let ended = over(&phone, n + 1).await;
        assert_eq!(ended["sipCode"], json!(code), "{ended}");
        assert_eq!(ended["duration"], 0, "{ended}");
        let cause = ended["cause"].as_str().unwrap();
        assert!(!cause.is_empty() && !cause.contains("SIP"), "{cause:?} is meant for people");
    }
    assert_eq!(phone.events("callAnswered").await.len(), 0);
}

#[tokio::test]
async fn an_incoming_call_can_be_cancelled_and_declined() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;

    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call-and-cancel");
    phone.frame.find("button", "Answer").await;
    far.succeeds().await;
    phone.frame.gone("button", "Answer").await;
    over(&phone, 1).await;

    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call-is-refused", &[("status", "486")]);
    phone.frame.click("button", "Decline").await;
    far.succeeds().await;
    phone.frame.gone("button", "Decline").await;
    over(&phone, 2).await;
}
