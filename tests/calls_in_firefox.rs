//! Calls in Firefox, by sound.

use serde_json::json;

use crate::rig::baresip::Baresip;
use crate::rig::bitcall::Bitcall;
use crate::rig::browsing_context::BrowsingContext;
use crate::rig::firefox::Firefox;
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};
use crate::rig::wait::until;

/// Presses a button by its name. Firefox finds no controls by role.
async fn press(frame: &BrowsingContext, name: &str) {
    let button = format!(
        "[...document.querySelectorAll('button:not([disabled])')]
            .find((b) => b.checkVisibility() && [b.ariaLabel, b.innerText].some((n) => n?.trim() === '{name}'))"
    );
    until(&format!("a button {name:?}"), async || {
        match frame.try_eval(&format!("{button}?.click() ?? !{button}")).await {
            Ok(missing) if missing == false => Ok(()),
            other => Err(format!("{other:?} in:\n{}", frame.text().await)),
        }
    })
    .await;
}

/// Waits until sound arrives in the only connection of the frame, and is played. Firefox without a sound card runs no
/// `AudioContext`, by which a tone could be told.
async fn hears_something(frame: &BrowsingContext) {
    let mut last = 0.0;
    until("sound to arrive", async || {
        let all = frame.heard().await?;
        let seen = format!("{all:?}");
        let [now] = all.as_slice() else { return Err(format!("{seen} in:\n{}", frame.text().await)) };
        let grows = last > 0.0 && now.energy > last;
        last = now.energy;
        if grows && now.plays && now.sent > 0 { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn calls_placed_and_answered_have_sound_both_ways_and_one_is_held_and_survives_a_reload_in_firefox() {
    let kamailio = Kamailio::start().await;
    let bitcall = Bitcall::demo().await;
    let (username, password) = Kamailio::subscriber(1);
    let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    let settings = json!({
        "origins": { "allowedOrigins": [host.origin()] },
        "sip": { "domain": Kamailio::DOMAIN },
        "wss": kamailio.ws(),
    });
    bitcall.patch(settings).await;
    let firefox = Firefox::start().await;
    let host_page = firefox.open(&host.url("/")).await;
    let frame = host_page.phone().await;
    let mut phone = TestPhone { host_page, frame };
    phone.host_page.until("BitcallWebphone.isRegistered()").await;

    let mut anna = Baresip::start(&kamailio, 3, 900, true).await;
    phone.host_page.eval("BitcallWebphone.call('agent3')").await;
    anna.hears(Firefox::TONE).await;
    hears_something(&phone.frame).await;

    press(&phone.frame, "Hold").await;
    anna.hears_no_more(Firefox::TONE).await;
    phone.frame.hears_silence().await;
    press(&phone.frame, "Hold").await;
    anna.hears(Firefox::TONE).await;
    hears_something(&phone.frame).await;

    // Firefox ends a SharedWorker with its last page, and the agent with it.
    phone.host_page.reload().await;
    phone.frame = phone.host_page.phone().await;
    hears_something(&phone.frame).await;
    anna.hears(Firefox::TONE).await;

    press(&phone.frame, "Hang up").await;
    anna.event("CALL_CLOSED").await;
    phone.event("callEnded", 1).await;
    phone.frame.sees("Ready").await;

    anna.dials("agent1").await;
    press(&phone.frame, "Answer").await;
    anna.hears(Firefox::TONE).await;
    hears_something(&phone.frame).await;
    anna.hangs_up().await;
    phone.event("callEnded", 2).await;
    phone.frame.sees("Ready").await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
}
