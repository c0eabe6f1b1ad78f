//! The bars show what the other side hears.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn the_microphones_bars_fall_with_the_cut_and_not_bit_by_bit() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    let bars = "document.querySelector('[aria-label^=\"Sound level\"] [data-level]')";
    desk.phone.until(&format!("{bars}.dataset.level > 1")).await;
    desk.phone
        .eval(&format!(
            "void addEventListener('click', () => {{
                window.levels = [];
                new MutationObserver(() => levels.push({bars}.dataset.level)).observe({bars}, {{ attributes: true }});
            }}, {{ capture: true, once: true }})"
        ))
        .await;
    desk.phone.click("button", "Mute").await;
    desk.phone.until("levels.length > 0").await;
    assert_eq!(desk.phone.eval("levels[0]").await, "0");
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
