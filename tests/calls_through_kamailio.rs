//! The phone pointed at an outside PBX: Kamailio over secure WebSocket, with
//! rtpengine to far ends that speak plain RTP.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

/// The far end sends back what it gets: the tone that returns went both ways.
#[tokio::test]
async fn a_call_to_plain_rtp_has_sound_both_ways() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;

    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;

    let ended = desk.event("callEnded", 1).await;
    assert_eq!(ended["direction"], "outbound", "{ended}");
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_from_plain_rtp_rings_and_has_sound_both_ways() {
    let office = Office::open().await;
    let desk = office.desk().await;

    let far = Sipp::calls(&office.kamailio, "agent1", "call");
    // The caller's name is shown.
    desk.phone.sees("Far End").await;
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;

    // A caller that leaves the offer to us gets a call as well.
    let far = Sipp::calls(&office.kamailio, "agent1", "call-late-offer");
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn when_the_far_end_hangs_up_the_phone_is_free_again() {
    let office = Office::open().await;
    let desk = office.desk().await;

    let far = Sipp::called(&office.kamailio, "answer-and-end").await;
    desk.dial(&far.number).await;
    far.succeeds().await;
    let ended = desk.event("callEnded", 1).await;
    assert_eq!(ended["sipCode"], serde_json::Value::Null, "{ended}");
    desk.phone.gone("button", "Hang up").await;

    let far = Sipp::calls(&office.kamailio, "agent1", "call-and-end");
    desk.phone.click("button", "Answer").await;
    far.succeeds().await;
    desk.event("callEnded", 2).await;
    desk.ready().await;
}

/// SHA-256 digest (RFC 8760) from registration to call.
#[tokio::test]
async fn a_server_that_wants_sha_256_is_served() {
    let office = Office::open_with(&["WITH_SHA256"], serde_json::json!({})).await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
