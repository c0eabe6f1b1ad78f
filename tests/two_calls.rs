//! Two calls at a time: one active, one held.

use crate::rig::baresip::Baresip;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn a_second_call_is_taken_by_hold_or_end_and_a_third_gets_486() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let frame = &phone.frame;
    let mut anna = Baresip::start(&test_bed.kamailio, 3, 900, false).await;
    let mut bert = Baresip::start(&test_bed.kamailio, 4, 1_300, false).await;
    anna.dials("agent1").await;
    frame.click("button", "Answer").await;
    frame.hears_only(900).await;
    anna.hears(TestBed::TONE).await;

    bert.dials("agent1").await;
    frame.click("button", "Hold & Answer").await;
    frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
    anna.hears_no_more(TestBed::TONE).await;

    // The plan allows two.
    let third = Sipp::calls_with(&test_bed.kamailio, "agent1", "call-is-refused", &[("status", "486")]);
    third.receives(&["SIP/2.0 486"]).await;
    third.succeeds().await;
    frame.hears_only(1_300).await;
    assert_eq!(phone.events("callIncoming").await.len(), 2, "the third one disturbed nobody");

    frame.click("button", "Switch to agent3").await;
    frame.hears_only(900).await;
    anna.hears(TestBed::TONE).await;
    bert.hears_no_more(TestBed::TONE).await;
    frame.click("button", "Switch to agent4").await;
    frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
    anna.hears_no_more(TestBed::TONE).await;

    // The one that talks ends: the other still waits, until it is taken back.
    bert.hangs_up().await;
    phone.event("callEnded", 1).await;
    frame.pressed("Hold", true).await;
    frame.click("button", "Hold").await;
    frame.hears_only(900).await;
    anna.hears(TestBed::TONE).await;

    bert.dials("agent1").await;
    frame.click("button", "End & Answer").await;
    anna.event("CALL_CLOSED").await;
    frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
    frame.click("button", "Hang up").await;
    bert.event("CALL_CLOSED").await;
    phone.event("callEnded", 3).await;
    phone.ready().await;
    assert_eq!(phone.events("callEnded").await.len(), 3, "each call ended once");
    assert_eq!(frame.heard().await.unwrap().len(), 0, "no connection is left");
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}
