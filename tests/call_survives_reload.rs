//! A call continues over a reload of its page.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn a_call_survives_the_reload_of_its_page() {
    let test_bed = TestBed::open().await;
    let mut phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    phone.reload().await;
    phone.frame.hears(TestBed::TONE).await;
    assert_eq!(far.received(&["BYE sip:"]).len(), 0);
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.ready().await;
}

#[tokio::test]
async fn mute_survives_a_reload() {
    let test_bed = TestBed::open().await;
    let mut phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Mute").await;

    phone.reload().await;
    // The far end echoes what it receives, which is silence now.
    phone
        .frame
        .until("__rig.hear().then((all) => all.some((c) => c.received > 50 && c.sent > 50 && c.pitch === 0))")
        .await;
    phone.frame.click("button", "Mute").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
