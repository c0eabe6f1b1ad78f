//! What the far end sends before it answers is heard, and nothing else then.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;
use crate::rig::voice::Voice;

/// Five seconds and more of packets: the phone's own ring-back repeats every five.
const A_WHOLE_RING: u64 = 300;

#[tokio::test]
async fn early_media_replaces_the_ring_back_and_is_replaced_by_the_answer() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let (early, answer) = (Voice::sings(&office.kamailio, 900).await, Voice::sings(&office.kamailio, 1_300).await);
    let ports = [("early", &*early.port.to_string()), ("final", &*answer.port.to_string())];
    let far = Sipp::called_with(&office.kamailio, "answer-after-early-media", &ports).await;

    // Silence from the other side: the phone makes the ring-back (RFC 3960 section 3.2).
    desk.dial(&far.number).await;
    desk.phone.until("__rig.tones.sounding").await;
    assert_eq!(desk.phone.heard().await.unwrap().iter().map(|h| h.received).sum::<u64>(), 0);

    far.goes_on().await;
    let heard = desk.phone.hears(900).await;
    desk.phone.until("__rig.tones.sounding === 0").await;
    let begun = desk.phone.eval("__rig.tones.begun").await;
    let enough = heard.received + A_WHOLE_RING;
    desk.phone.until(&format!("__rig.hear().then(([c]) => c.received > {enough})")).await;
    assert_eq!(desk.phone.eval("__rig.tones.begun").await, begun, "no ring-back over what the far end sends");
    assert_eq!(desk.events("callAnswered").await.len(), 0, "nobody has answered yet");

    far.goes_on().await;
    desk.event("callAnswered", 1).await;
    desk.phone.hears(1_300).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    let ended = desk.event("callEnded", 1).await;
    assert!(ended["duration"].as_u64().unwrap() < 30, "counted from the answer: {ended}");
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}
