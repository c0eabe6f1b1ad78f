//! Offers that are made before the call, and answers that are made while it rings; both are dropped when they are outdated.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone};

/// The connection whose offer waits for a call.
const PREPARED_CONNECTION: &str = "__rig.connections.find((c) => c.signalingState === 'have-local-offer')";

/// Makes an offer of the page's own, with all its candidates, and drops it.
const GATHER: &str = "(async () => {
    const own = new RTCPeerConnection();
    own.addTransceiver('audio');
    const complete = new Promise((all) => {
        own.onicegatheringstatechange = () => own.iceGatheringState === 'complete' && all();
    });
    await own.setLocalDescription();
    await complete;
    own.close();
})()";

/// Kept as `ringing`: the connection that has answered the call's offer, with all its own candidates.
const PREPARED_ANSWER: &str = "window.ringing = __rig.connections.find((c) =>
    c.signalingState === 'stable' && c.remoteDescription?.type === 'offer' && c.iceGatheringState === 'complete')";

/// It does not look for the far end yet, and sends nothing.
const IS_AT_REST: &str =
    "ringing.iceConnectionState === 'new' && !ringing.remoteDescription.sdp.includes('a=candidate:')
    && ringing.getSenders().every((sender) => sender.track === null)";

async fn waits(phone: &TestPhone) {
    phone
        .frame
        .until(&format!(
            "performance.getEntriesByName('bitcall:prepared').length > 0 && {PREPARED_CONNECTION} !== undefined"
        ))
        .await;
    phone.frame.eval(&format!("void (window.ahead = {PREPARED_CONNECTION})")).await;
}

#[tokio::test]
async fn a_call_uses_the_prepared_offer() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    waits(&phone).await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.until("ahead.connectionState === 'connected'").await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// A browser may take its time to list the devices; the permission says enough.
#[tokio::test]
async fn an_offer_is_prepared_before_the_devices_are_listed() {
    const UNLISTED: &str = "() => { navigator.mediaDevices.enumerateDevices = () => new Promise(() => {}); }";
    let test_bed = TestBed::open().await;
    test_bed.browser.bidi().script().add_preload_script(UNLISTED).await.unwrap();
    let phone = test_bed.open_phone().await;
    waits(&phone).await;
}

#[tokio::test]
async fn a_prepared_offer_is_dropped_after_a_network_change() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    waits(&phone).await;
    // At once, because an unused offer expires after half a minute anyway.
    let state = phone.frame.eval("(dispatchEvent(new Event('online')), ahead.signalingState)").await;
    assert_eq!(state, "closed");
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn ice_servers_are_contacted_only_while_dialling() {
    let ice = serde_json::json!({ "iceServers": [{ "urls": ["stun:127.0.0.1:9"] }] });
    let test_bed = TestBed::open_with(&[], ice).await;
    let phone = test_bed.open_phone().await;
    // The phone at rest has tried a connection out and laid out a blank one. While the page
    // gathers for a connection of its own, an offer would have been made long ago.
    phone.frame.until("__rig.connections.length > 1").await;
    phone.frame.eval(GATHER).await;
    assert_eq!(phone.frame.eval(&format!("{PREPARED_CONNECTION} === undefined")).await, true);
    phone.frame.fill("textbox", "Phone number", "102").await;
    waits(&phone).await;
}

#[tokio::test]
async fn an_answer_is_made_while_the_call_rings_and_does_not_look_for_the_far_end() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call-is-refused", &[("status", "486")]);
    phone.frame.until(PREPARED_ANSWER).await;
    assert_eq!(phone.frame.eval(IS_AT_REST).await, true);
    phone.frame.click("button", "Decline").await;
    far.succeeds().await;
    phone.frame.until("ringing.signalingState === 'closed'").await;

    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.until(PREPARED_ANSWER).await;
    assert_eq!(phone.frame.eval(IS_AT_REST).await, true);
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    assert_eq!(phone.frame.eval("ringing.connectionState").await, "connected", "the call has the prepared answer");
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// Its addresses may be those of a network that is gone: the answer is made anew.
#[tokio::test]
async fn a_prepared_answer_is_dropped_after_a_network_change() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.until(PREPARED_ANSWER).await;
    let state = phone.frame.eval("(dispatchEvent(new Event('online')), ringing.signalingState)").await;
    assert_eq!(state, "closed");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// Whoever answers, the connections of the other pages are closed.
#[tokio::test]
async fn each_page_that_is_seen_prepares_its_answer_and_one_has_the_call() {
    let test_bed = TestBed::open().await;
    let phones = [test_bed.open_phone().await, test_bed.open_phone().await];
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phones[1].frame.until(PREPARED_ANSWER).await;
    phones[0].frame.find("button", "Answer").await;
    phones[0].frame.press_by_script("Answer").await;
    phones[0].frame.hears(TestBed::TONE).await;
    phones[1].frame.until("ringing.signalingState === 'closed'").await;
    phones[0].frame.press_by_script("Hang up").await;
    far.succeeds().await;
}
