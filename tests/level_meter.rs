//! The level meters of a call.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn the_microphone_meter_drops_to_zero_at_once_on_mute() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    let bars = "document.querySelector('[aria-label^=\"Sound level\"] [data-level]')";
    phone.frame.until(&format!("{bars}.dataset.level > 1")).await;
    phone
        .frame
        .eval(&format!(
            "void addEventListener('click', () => {{
                window.levels = [];
                new MutationObserver(() => levels.push({bars}.dataset.level)).observe({bars}, {{ attributes: true }});
            }}, {{ capture: true, once: true }})"
        ))
        .await;
    phone.frame.click("button", "Mute").await;
    phone.frame.until("levels.length > 0").await;
    assert_eq!(phone.frame.eval("levels[0]").await, "0");
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
