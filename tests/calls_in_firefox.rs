//! Calls in Firefox, by sound.

use serde_json::json;

use crate::recording::File;
use crate::rig::b2bua::B2bua;
use crate::rig::baresip::Baresip;
use crate::rig::bitcall::Bitcall;
use crate::rig::firefox::Firefox;
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::office::Office;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

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
    let mut phone = TestPhone::open_in_firefox(&firefox, &host.url("/")).await;

    let mut anna = Baresip::start(&kamailio, 3, 900, true).await;
    phone.host_page.eval("BitcallWebphone.call('agent3,1*')").await;
    anna.hears(Firefox::TONE).await;
    anna.hears_digit("1").await;
    anna.hears_digit("*").await;
    phone.frame.hears_only(900).await;

    phone.frame.press_by_script("Hold").await;
    anna.hears_no_more(Firefox::TONE).await;
    phone.frame.hears_silence().await;
    phone.frame.press_by_script("Hold").await;
    anna.hears(Firefox::TONE).await;
    phone.frame.hears_only(900).await;

    // Firefox ends a SharedWorker with its last page, and the agent with it.
    phone.reload().await;
    phone.frame.hears_only(900).await;
    anna.hears(Firefox::TONE).await;

    phone.frame.press_by_script("Hang up").await;
    anna.event("CALL_CLOSED").await;
    phone.event("callEnded", 1).await;
    phone.frame.sees("Ready").await;

    anna.dials("agent1").await;
    phone.frame.press_by_script("Answer").await;
    anna.hears(Firefox::TONE).await;
    phone.frame.hears_only(900).await;
    anna.hangs_up().await;
    phone.event("callEnded", 2).await;
    phone.frame.sees("Ready").await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
}

#[tokio::test]
async fn early_media_hold_music_a_recording_and_a_conference_are_heard_in_firefox_and_go_on_after_a_reload() {
    let b2bua = B2bua::start().await;
    let settings = json!({ "behavior": { "recording": { "stereo": true } } });
    let (_bitcall, host) = Office::serve(&b2bua, "enterprise", settings).await;
    let firefox = Firefox::start().await;
    let mut phone = TestPhone::open_in_firefox(&firefox, &host.url("/")).await;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));

    // An announcement before the answer, which Firefox knows no provisional answers for; then the same device with other
    // keys, and another one.
    for (n, number, forked) in [(1, "203", false), (2, "204", true)] {
        let dora = b2bua.far_end_after_early_media(number, "Dora", 1_300, 900, forked);
        phone.host_page.eval(&format!("BitcallWebphone.call('{number}')")).await;
        phone.frame.hears_only(900).await;
        dora.answers();
        phone.frame.hears_only(1_300).await;
        dora.hears(Firefox::TONE).await;
        phone.frame.press_by_script("Hang up").await;
        phone.event("callEnded", n).await;
    }

    phone.host_page.eval("BitcallWebphone.call('201')").await;
    anna.hears(Firefox::TONE).await;
    phone.frame.hears_only(900).await;
    anna.moves();
    anna.hears(Firefox::TONE).await;
    phone.frame.hears_only(900).await;
    // Another page of the same agent comes and goes.
    let other = TestPhone::open_in_firefox(&firefox, &host.url("/")).await;
    other.frame.sees("In another window").await;
    other.host_page.close().await;
    anna.longest_silence_in(16_000).await;
    anna.hears(Firefox::TONE).await;
    phone.frame.hears_only(900).await;
    phone.frame.press_by_script("Record").await;
    phone.event("recordingState", 1).await;
    phone.frame.press_by_script("Hold").await;
    anna.hears_notes(&[262, 330, 392]).await;
    anna.hears_no_more(Firefox::TONE).await;
    phone.frame.press_by_script("Hold").await;
    anna.hears(Firefox::TONE).await;

    phone.host_page.eval("BitcallWebphone.call('202')").await;
    bert.hears(Firefox::TONE).await;
    phone.frame.hears_only(1_300).await;
    phone.frame.press_by_script("Merge with Anna").await;
    anna.hears_notes(&[Firefox::TONE, 1_300]).await;
    bert.hears_notes(&[Firefox::TONE, 900]).await;
    phone.frame.hears_each(&[900, 1_300]).await;

    phone.reload().await;
    phone.frame.hears_each(&[900, 1_300]).await;
    anna.hears_notes(&[Firefox::TONE, 1_300]).await;
    bert.hears_notes(&[Firefox::TONE, 900]).await;
    phone.frame.press_by_script("Drop Bert").await;
    phone.event("callEnded", 1).await;
    phone.frame.hears_only(900).await;
    anna.longest_silence_in(8_000).await;
    phone.frame.press_by_script("Hang up").await;
    phone.event("callEnded", 2).await;

    phone
        .frame
        .eval("[...document.querySelectorAll('[role=tab]')].find((t) => t.innerText.includes('Settings')).click()")
        .await;
    phone.frame.press_by_script("Download Anna").await;
    let path = firefox.downloaded("Anna").await;
    let file = tokio::task::spawn_blocking(move || File::read(&path)).await.unwrap();
    assert!(file.has(0, Firefox::TONE) && file.has(0, 330), "the person, and the music that the held party heard");
    assert!(file.has(1, 900) && file.has(1, 1_300), "both other sides");
    assert!(!file.has(0, 900) && !file.has(1, Firefox::TONE), "each side on its own channel");
}
