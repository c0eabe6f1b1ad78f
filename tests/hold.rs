//! Hold: the far end is told, nothing is overheard, and the button tells the truth.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn holding_silences_both_sides_until_the_call_is_taken_back() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;

    desk.phone.click("button", "Hold").await;
    desk.phone.pressed("Hold", true).await;
    let held = far.received(&["INVITE sip:"]);
    let offer = held.last().unwrap();
    assert!(offer.contains("a=sendonly") || offer.contains("a=inactive"), "{offer}");
    desk.phone.hears_silence().await;

    desk.phone.click("button", "Hold").await;
    desk.phone.pressed("Hold", false).await;
    desk.phone.hears(Office::TONE).await;
    let resumed = far.received(&["INVITE sip:"]);
    assert_eq!(resumed.len(), 3, "the call, hold, resume");
    assert!(!resumed[2].contains("a=sendonly") && !resumed[2].contains("a=inactive"));

    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn a_far_end_that_refuses_hold_leaves_the_call_as_it_was() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer-refuses-hold").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;

    desk.phone.click("button", "Hold").await;
    far.receives(&["INVITE sip:", "a=sendonly"]).await;
    desk.phone.pressed("Hold", false).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn the_far_end_can_hold_and_take_back() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer-and-hold").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.hears_silence().await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
