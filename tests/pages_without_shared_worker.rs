//! Browsers without `SharedWorker` (Chrome on Android): every page has an agent and a registration of its own.

use std::collections::BTreeSet;

use serde_json::json;

use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::TestBed;

const NO_SHARED_WORKER: &str = "() => { delete window.SharedWorker; }";

#[tokio::test]
async fn two_pages_without_a_shared_worker_both_ring_and_keep_their_registrations() {
    let test_bed = TestBed::open().await;
    test_bed.browser.bidi().script().add_preload_script(NO_SHARED_WORKER).await.unwrap();
    let first = test_bed.open_phone().await;
    let mut second = test_bed.open_phone().await;
    // After a reload it keeps its SIP instance.
    second.reload().await;
    second.ready().await;

    for (one, other) in [(&first, &second), (&second, &first)] {
        let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
        other.frame.find("button", "Answer").await;
        one.frame.click("button", "Answer").await;
        one.frame.hears(TestBed::TONE).await;
        other.frame.gone("button", "Answer").await;
        assert_eq!(other.frame.heard().await.unwrap().len(), 0);
        one.frame.click("button", "Hang up").await;
        far.succeeds().await;
    }

    // One leaves: the other is still reachable.
    first.host_page.close().await;
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    second.frame.click("button", "Answer").await;
    second.frame.hears(TestBed::TONE).await;
    second.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// What the pages register by: ids of their own (RFC 5626 section 4.1), the same again after a reload.
#[tokio::test]
async fn every_page_without_a_shared_worker_keeps_its_own_sip_instance() {
    let test_bed = TestBed::open().await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(json!({ "wss": tap.url() })).await;
    test_bed.browser.bidi().script().add_preload_script(NO_SHARED_WORKER).await.unwrap();
    let _first = test_bed.open_phone().await;
    let mut second = test_bed.open_phone().await;
    let two = instances(&tap);
    assert_eq!(two.len(), 2, "{two:?}");
    let before = tap.frames().len();
    second.reload().await;
    second.ready().await;
    assert!(tap.frames().len() > before);
    assert_eq!(instances(&tap), two);
}

/// Every instance id that was registered by.
fn instances(tap: &Tap) -> BTreeSet<String> {
    let frames = tap.frames();
    let ids = frames.iter().filter_map(|frame| frame.text.split("+sip.instance=\"<").nth(1)?.split('>').next());
    ids.map(str::to_owned).collect()
}
