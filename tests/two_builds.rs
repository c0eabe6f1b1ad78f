//! After an upgrade, tabs of the old build and of the new one are open side by side, each with a shared worker of its own.

use std::collections::BTreeSet;

use serde_json::json;

use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::{TestBed, TestPhone};

/// The build of a document, which the phone's origin says: another one has another worker's script.
const BUILDS: &str = "() => {
    const Shared = window.SharedWorker;
    window.SharedWorker = function (url, options) {
        return new Shared(`${url}?${localStorage.getItem('build') ?? 'older'}`, options);
    };
}";

/// Documents that are loaded from now on get the newer build.
async fn upgrade(phone: &TestPhone) {
    phone.frame.eval("localStorage.setItem('build', 'newer')").await;
}

async fn open() -> (TestBed, Tap) {
    let test_bed = TestBed::open().await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(json!({ "wss": tap.url() })).await;
    test_bed.browser.bidi().script().add_preload_script(BUILDS).await.unwrap();
    (test_bed, tap)
}

/// Every instance id that was registered by.
fn instances(tap: &Tap) -> BTreeSet<String> {
    let frames = tap.frames();
    let ids = frames.iter().filter_map(|frame| frame.text.split("+sip.instance=\"<").nth(1)?.split('>').next());
    ids.map(str::to_owned).collect()
}

/// A call rings in both tabs, and one user agent says so: there is one registration.
async fn share_one_registration(test_bed: &TestBed, tap: &Tap, one: &TestPhone, other: &TestPhone) {
    let before = tap.frames().len();
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    one.frame.find("button", "Answer").await;
    other.frame.click("button", "Answer").await;
    other.frame.hears(TestBed::TONE).await;
    other.frame.click("button", "Hang up").await;
    far.succeeds().await;
    let frames = tap.frames();
    let ringing = frames[before..].iter().filter(|frame| frame.text.starts_with("SIP/2.0 180 "));
    let tags: BTreeSet<&str> =
        ringing.filter_map(|frame| frame.text.lines().find(|line| line.starts_with("To:"))).collect();
    assert_eq!(tags.len(), 1, "{tags:?}");
}

#[tokio::test]
async fn tabs_of_an_older_build_move_to_the_newer_one_and_share_its_registration() {
    let (test_bed, tap) = open().await;
    let mut old = test_bed.open_phone().await;
    upgrade(&old).await;
    let new = test_bed.open_phone().await;
    old.event("registered", 2).await;
    old.frame = old.host_page.phone().await;
    old.ready().await;
    assert_eq!(instances(&tap).len(), 1, "one after the other");
    share_one_registration(&test_bed, &tap, &old, &new).await;
}

#[tokio::test]
async fn an_older_build_with_a_call_keeps_it_and_its_registration_until_the_call_is_over() {
    let (test_bed, tap) = open().await;
    let mut old = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    old.dial(&far.number).await;
    old.frame.hears(TestBed::TONE).await;
    upgrade(&old).await;
    let new = test_bed.open_phone().await;
    assert_eq!(instances(&tap).len(), 2, "two user agents, as long as there are two");
    old.frame.hears(TestBed::TONE).await;
    assert_eq!(old.events("registered").await.len(), 1);
    assert_eq!(old.events("unregistered").await.len(), 0);
    old.frame.click("button", "Hang up").await;
    far.succeeds().await;

    old.event("registered", 2).await;
    old.frame = old.host_page.phone().await;
    old.ready().await;
    assert_eq!(instances(&tap).len(), 2);
    share_one_registration(&test_bed, &tap, &old, &new).await;
}
