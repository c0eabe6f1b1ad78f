//! The offer is there before the call is placed, and only while it is true.

use crate::rig::desk::{Desk, Office};
use crate::rig::sipp::Sipp;

/// The connection whose offer waits for a call.
const AHEAD: &str = "__rig.connections.find((c) => c.signalingState === 'have-local-offer')";

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

async fn waits(desk: &Desk) {
    desk.phone
        .until(&format!("performance.getEntriesByName('bitcall:prepared').length > 0 && {AHEAD} !== undefined"))
        .await;
    desk.phone.eval(&format!("void (window.ahead = {AHEAD})")).await;
}

#[tokio::test]
async fn a_call_goes_out_with_the_offer_that_waited_for_it() {
    let office = Office::open().await;
    let desk = office.desk().await;
    waits(&desk).await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.until("ahead.connectionState === 'connected'").await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn an_offer_from_another_network_is_not_used() {
    let office = Office::open().await;
    let desk = office.desk().await;
    waits(&desk).await;
    // At once: after half a minute it goes by itself.
    let state = desk.phone.eval("(dispatchEvent(new Event('online')), ahead.signalingState)").await;
    assert_eq!(state, "closed");
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn idle_phones_ask_no_ice_server_and_dialling_ones_do() {
    let ice = serde_json::json!({ "iceServers": [{ "urls": ["stun:127.0.0.1:9"] }] });
    let office = Office::open_with(&[], ice).await;
    let desk = office.desk().await;
    // The phone at rest has tried a connection out and laid out a blank one. While the page
    // gathers for a connection of its own, an offer would have been made long ago.
    desk.phone.until("__rig.connections.length > 1").await;
    desk.phone.eval(GATHER).await;
    assert_eq!(desk.phone.eval(&format!("{AHEAD} === undefined")).await, true);
    desk.phone.fill("textbox", "Phone number", "102").await;
    waits(&desk).await;
}
