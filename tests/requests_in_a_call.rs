//! What a far end or its server sends within a call besides offers.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn a_text_a_new_identity_and_a_transfer_of_the_far_end_reach_the_person_and_the_call_goes_on() {
    let settings = serde_json::json!({ "behavior": { "calls": { "referrals": "refuse" } } });
    let test_bed = TestBed::open_with(&[], settings).await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called_with(&test_bed.kamailio, "answer-and-sends", &[("transfer", "603")]).await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    far.goes_on().await;
    phone.frame.sees("You are number 3 in the queue").await;
    far.receives(&["SIP/2.0 200", " MESSAGE"]).await;

    far.goes_on().await;
    let updated = phone.event("callUpdated", 1).await;
    assert_eq!((&updated["number"], &updated["displayName"]), (&"4711".into(), &"Beate Muster".into()), "{updated}");
    phone.frame.sees("Beate Muster").await;
    phone.frame.sees("4711").await;
    far.receives(&["SIP/2.0 200", " UPDATE"]).await;

    far.goes_on().await;
    far.receives(&["SIP/2.0 603", " REFER"]).await;
    phone.frame.hears(TestBed::TONE).await;
    assert_eq!(phone.events("callEnded").await.len(), 0);
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.event("callEnded", 1).await;
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}
