//! Where the browser has no `SharedWorker` (Chrome on Android), every page is a phone of its own.

use std::collections::BTreeSet;

use serde_json::json;

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;

const WITHOUT: &str = "() => { delete window.SharedWorker; }";

#[tokio::test]
async fn two_pages_ring_both_and_neither_takes_the_place_of_the_other() {
    let office = Office::open().await;
    office.browser.bidi().script().add_preload_script(WITHOUT).await.unwrap();
    let first = office.desk().await;
    let mut second = office.desk().await;
    // Loaded again it is the same phone as before, not a third one.
    second.again().await;
    second.ready().await;

    for (one, other) in [(&first, &second), (&second, &first)] {
        let far = Sipp::calls(&office.kamailio, "agent1", "call");
        other.phone.find("button", "Answer").await;
        one.phone.click("button", "Answer").await;
        one.phone.hears(Office::TONE).await;
        other.phone.gone("button", "Answer").await;
        assert_eq!(other.phone.heard().await.unwrap().len(), 0);
        one.phone.click("button", "Hang up").await;
        far.succeeds().await;
    }

    // One leaves: the other is still reachable.
    first.page.close().await;
    let far = Sipp::calls(&office.kamailio, "agent1", "call");
    second.phone.click("button", "Answer").await;
    second.phone.hears(Office::TONE).await;
    second.phone.click("button", "Hang up").await;
    far.succeeds().await;
}

/// What the pages register by: ids of their own (RFC 5626 section 4.1), the same again after a reload.
#[tokio::test]
async fn every_page_has_an_instance_of_its_own_and_keeps_it() {
    let office = Office::open().await;
    let tap = Tap::start(&office.kamailio.ws()).await;
    office.bitcall.patch(json!({ "wss": tap.url() })).await;
    office.browser.bidi().script().add_preload_script(WITHOUT).await.unwrap();
    let _first = office.desk().await;
    let mut second = office.desk().await;
    let two = instances(&tap);
    assert_eq!(two.len(), 2, "{two:?}");
    let before = tap.frames().len();
    second.again().await;
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
