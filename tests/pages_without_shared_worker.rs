//! Browsers without `SharedWorker` (Chrome on Android): every page has an agent and a registration of its own.

use std::collections::BTreeSet;

use serde_json::json;

use crate::rig::browser::Browser;
use crate::rig::office::Office;
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

/// The agent ends with its page; what the call is, is kept by the tab.
#[tokio::test]
async fn a_call_survives_the_reload_of_a_page_without_a_shared_worker() {
    let browser = Browser::start(Office::TONE).await;
    browser.bidi().script().add_preload_script(NO_SHARED_WORKER).await.unwrap();
    let mut office = Office::open_in(browser, "enterprise", json!({})).await;
    let (anna, bert) = (office.b2bua.far_end("201", "Anna", 900), office.b2bua.far_end("202", "Bert", 1_300));
    office.phone.dial("201").await;
    office.phone.frame.hears_only(900).await;
    anna.hears(Office::TONE).await;

    office.phone.reload().await;
    office.phone.frame.hears_only(900).await;
    anna.hears(Office::TONE).await;

    // With two calls: one talks, and the other stays on hold.
    office.phone.host_page.eval("BitcallWebphone.call('202')").await;
    bert.hears(Office::TONE).await;
    office.phone.reload().await;
    office.phone.frame.hears_only(1_300).await;
    bert.hears(Office::TONE).await;
    anna.hears_no_more(Office::TONE).await;
    office.phone.frame.click("button", "Hang up").await;
    office.phone.frame.click("button", "Hold").await;
    office.phone.frame.hears_only(900).await;
    anna.hears(Office::TONE).await;
    office.phone.frame.click("button", "Hang up").await;
    office.phone.frame.sees("Ready").await;

    // What is over is not taken up again.
    office.phone.reload().await;
    office.phone.ready().await;
    office.phone.frame.gone("button", "Hang up").await;
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
