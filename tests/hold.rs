//! Hold: by us, refused, and by the far end.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn hold_silences_both_sides_until_resume() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    let held = far.received(&["INVITE sip:"]);
    let offer = held.last().unwrap();
    assert!(offer.contains("a=sendonly") || offer.contains("a=inactive"), "{offer}");
    phone.frame.hears_silence().await;

    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(TestBed::TONE).await;
    let resumed = far.received(&["INVITE sip:"]);
    assert_eq!(resumed.len(), 3, "the call, hold, resume");
    assert!(!resumed[2].contains("a=sendonly") && !resumed[2].contains("a=inactive"));

    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn a_refused_hold_applies_on_our_side() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer-refuses-hold").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    phone.frame.click("button", "Hold").await;
    far.receives(&["INVITE sip:", "a=sendonly"]).await;
    phone.frame.sees("The other side did not accept it, but cannot hear you").await;
    phone.frame.pressed("Hold", true).await;
    let played = phone.frame.heard().await.unwrap().iter().any(|heard| heard.plays);
    assert!(!played, "the far end is heard, though the call is on hold here");
    // It never agreed to the hold, so nothing has to be agreed to resume.
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn the_far_end_can_hold_and_resume() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer-and-hold").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.hears_silence().await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
