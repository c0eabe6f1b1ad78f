//! Tones of the phone where nobody has touched it: the person works in the page around it.

use serde_json::json;

use crate::rig::office::Office;

const SOUNDS: &str = "__rig.tones.sounding > 0 && __rig.tones.context.state === 'running'";

#[tokio::test]
async fn calls_of_the_host_page_ring_back_and_calls_ring_after_a_click_beside_the_phone() {
    let office = Office::open_with(json!({})).await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.ringing_far_end("201", "Anna", 900);

    // The microphone is open, so the browser lets the page play.
    phone.host_page.eval("BitcallWebphone.call('201')").await;
    phone.frame.until(SOUNDS).await;
    anna.answers();
    phone.frame.hears(900).await;
    phone.frame.until("__rig.tones.sounding === 0").await;
    anna.hangs_up();
    office.is_quiet_again(1).await;

    // Another page, in which only the page around the phone is clicked.
    let other = office.another_page().await;
    other
        .host_page
        .eval("document.body.append(Object.assign(document.createElement('button'), { innerText: 'Beside' }))")
        .await;
    other.host_page.click("button", "Beside").await;
    phone.host_page.eval("BitcallWebphone.destroy()").await;
    anna.calls();
    other.frame.until(SOUNDS).await;
    other.frame.click("button", "Answer").await;
    other.frame.hears(900).await;
    other.frame.until("__rig.tones.sounding === 0").await;
    anna.hangs_up();
    other.event("callEnded", 1).await;
}
