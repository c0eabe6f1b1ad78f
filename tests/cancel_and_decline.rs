//! Calls that never come about, in every way, leave the phone free and say why.

use serde_json::json;

use crate::rig::desk::{Desk, Office};
use crate::rig::sipp::Sipp;

/// Waits until call number `n` has ended and the phone can call again; returns `callEnded`.
async fn over(desk: &Desk, n: usize) -> serde_json::Value {
    let ended = desk.event("callEnded", n).await;
    desk.phone.gone("button", "Hang up").await;
    desk.ready().await;
    ended
}

#[tokio::test]
async fn a_call_that_rings_can_be_given_up() {
    let office = Office::open().await;
    let desk = office.desk().await;

    let far = Sipp::called(&office.kamailio, "ring").await;
    desk.dial(&far.number).await;
    desk.phone.sees("Ringing").await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    over(&desk, 1).await;

    // The answer crosses the CANCEL: it is acknowledged, and ended by a BYE.
    let far = Sipp::called(&office.kamailio, "answer-crosses-cancel").await;
    desk.dial(&far.number).await;
    desk.phone.sees("Ringing").await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    over(&desk, 2).await;
    assert_eq!(desk.events("callAnswered").await.len(), 0, "nobody was talked to");
    assert_eq!(desk.events("callEnded").await.len(), 2);
}

#[tokio::test]
async fn a_refusal_is_shown_in_words_with_its_code() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let refusals = [("486 Busy Here", 486), ("404 Not Found", 404), ("603 Decline", 603), ("480 Away", 480)];
    for (n, (status, code)) in refusals.into_iter().enumerate() {
        let far = Sipp::called_with(&office.kamailio, "refuse", &[("status", status)]).await;
        desk.dial(&far.number).await;
        far.succeeds().await;
        let ended = over(&desk, n + 1).await;
        assert_eq!(ended["sipCode"], json!(code), "{ended}");
        assert_eq!(ended["duration"], 0, "{ended}");
        let cause = ended["cause"].as_str().unwrap();
        assert!(!cause.is_empty() && !cause.contains("SIP"), "{cause:?} is meant for people");
    }
    assert_eq!(desk.events("callAnswered").await.len(), 0);
}

#[tokio::test]
async fn a_caller_can_give_up_and_can_be_declined() {
    let office = Office::open().await;
    let desk = office.desk().await;

    let far = Sipp::calls(&office.kamailio, "agent1", "call-and-cancel");
    desk.phone.find("button", "Answer").await;
    far.succeeds().await;
    desk.phone.gone("button", "Answer").await;
    over(&desk, 1).await;

    let far = Sipp::calls(&office.kamailio, "agent1", "call-is-declined");
    desk.phone.click("button", "Decline").await;
    far.succeeds().await;
    desk.phone.gone("button", "Decline").await;
    over(&desk, 2).await;
}
