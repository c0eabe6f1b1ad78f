//! Calls through a tenant's TURN server.

use serde_json::json;

use crate::rig::coturn::Coturn;
use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::TestBed;

/// No switch of the browser closes a network, so this stands for one: only relayed candidates are used.
const RELAY_ONLY: &str = "() => {
    const Connection = window.RTCPeerConnection;
    window.RTCPeerConnection = new Proxy(Connection, {
        construct: (target, [options, ...rest], newTarget) =>
            Reflect.construct(target, [{ ...options, iceTransportPolicy: 'relay' }, ...rest], newTarget),
    });
}";

#[tokio::test]
async fn a_relay_only_call_carries_audio_through_turn() {
    let turn = Coturn::start().await;
    let test_bed = TestBed::open_with(&[], json!({ "iceServers": turn.ice_servers() })).await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(json!({ "wss": tap.url() })).await;

    // With every way open, the relay is offered beside them.
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    assert!(relay(&tap).is_some_and(|port| turn.relays(port)), "{:#?}\n{}", invite(&tap), turn.log());
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.host_page.close().await;

    test_bed.browser.bidi().script().add_preload_script(RELAY_ONLY).await.unwrap();
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    assert!(!invite(&tap).contains("typ host"), "{}", invite(&tap));
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// The newest INVITE on the wire.
fn invite(tap: &Tap) -> String {
    let mut invites = tap.frames().into_iter().map(|frame| frame.text);
    invites.rfind(|text| text.starts_with("INVITE ")).unwrap_or_default()
}

/// The port of the relayed candidate in it (RFC 8839 section 5.1).
fn relay(tap: &Tap) -> Option<u16> {
    let invite = invite(tap);
    let line = invite.lines().find(|line| line.starts_with("a=candidate:") && line.contains(" typ relay"))?;
    line.split(' ').nth(5)?.parse().ok()
}
