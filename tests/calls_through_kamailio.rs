//! The phone pointed at an outside PBX: Kamailio over secure WebSocket, with
//! rtpengine to far ends that speak plain RTP.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

/// The far end echoes its audio, so a tone that returns has travelled both ways.
#[tokio::test]
async fn a_call_to_plain_rtp_has_sound_both_ways() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;

    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;

    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["direction"], "outbound", "{ended}");
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_from_plain_rtp_rings_and_has_sound_both_ways() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;

    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    // The caller's name is shown.
    phone.frame.sees("Far End").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;

    // A caller that leaves the offer to us gets a call as well.
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call-late-offer");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bye_from_the_far_end_returns_to_the_dialer() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;

    let far = Sipp::called(&test_bed.kamailio, "answer-and-end").await;
    phone.dial(&far.number).await;
    far.succeeds().await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["sipCode"], serde_json::Value::Null, "{ended}");
    phone.frame.gone("button", "Hang up").await;

    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call-and-end");
    phone.frame.click("button", "Answer").await;
    far.succeeds().await;
    phone.event("callEnded", 2).await;
    phone.ready().await;
}

/// SHA-256 digest (RFC 8760) from registration to call.
#[tokio::test]
async fn sha_256_digest_is_used_where_the_server_asks_for_it() {
    let test_bed = TestBed::open_with(&["WITH_SHA256"], serde_json::json!({})).await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
