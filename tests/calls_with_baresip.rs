//! Calls with baresip, which sends a tone of its own.

use crate::rig::baresip::Baresip;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn bitcall_and_baresip_call_and_hear_each_other() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let mut far = Baresip::start(&test_bed.kamailio, 3, 900, true).await;

    phone.dial("agent3").await;
    phone.frame.hears(900).await;
    far.hears(TestBed::TONE).await;
    far.hangs_up().await;
    phone.frame.gone("button", "Hang up").await;
    phone.event("callEnded", 1).await;

    far.dials("agent1").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    far.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.event("CALL_CLOSED").await;
    phone.ready().await;
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}
