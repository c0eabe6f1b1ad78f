//! Two calls at a time: one is talked to, the other waits and hears nothing.

use crate::rig::baresip::Baresip;
use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn a_second_caller_is_taken_by_hold_or_by_end_and_a_third_finds_the_phone_busy() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let phone = &desk.phone;
    let mut anna = Baresip::start(&office.kamailio, 3, 900, false).await;
    let mut bert = Baresip::start(&office.kamailio, 4, 1_300, false).await;
    anna.dials("agent1").await;
    phone.click("button", "Answer").await;
    phone.hears_only(900).await;
    anna.hears(Office::TONE).await;

    bert.dials("agent1").await;
    phone.click("button", "Hold & Answer").await;
    phone.hears_only(1_300).await;
    bert.hears(Office::TONE).await;
    anna.hears_no_more(Office::TONE).await;

    // The plan allows two.
    let third = Sipp::calls(&office.kamailio, "agent1", "call-is-declined");
    third.receives(&["SIP/2.0 486"]).await;
    third.succeeds().await;
    phone.hears_only(1_300).await;
    assert_eq!(desk.events("callIncoming").await.len(), 2, "the third one disturbed nobody");

    phone.click("button", "Switch to agent3").await;
    phone.hears_only(900).await;
    anna.hears(Office::TONE).await;
    bert.hears_no_more(Office::TONE).await;
    phone.click("button", "Switch to agent4").await;
    phone.hears_only(1_300).await;
    bert.hears(Office::TONE).await;
    anna.hears_no_more(Office::TONE).await;

    // The one that talks ends: the other still waits, until it is taken back.
    bert.hangs_up().await;
    desk.event("callEnded", 1).await;
    phone.pressed("Hold", true).await;
    phone.click("button", "Hold").await;
    phone.hears_only(900).await;
    anna.hears(Office::TONE).await;

    bert.dials("agent1").await;
    phone.click("button", "End & Answer").await;
    anna.event("CALL_CLOSED").await;
    phone.hears_only(1_300).await;
    bert.hears(Office::TONE).await;
    phone.click("button", "Hang up").await;
    bert.event("CALL_CLOSED").await;
    desk.event("callEnded", 3).await;
    desk.ready().await;
    assert_eq!(desk.events("callEnded").await.len(), 3, "each call ended once");
    assert_eq!(phone.heard().await.unwrap().len(), 0, "no connection is left");
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}
