//! What the party hears that is on hold.

use std::time::Duration;

use serde_json::json;

use crate::rig::https_file::HttpsFile;
use crate::rig::office::Office;
use crate::rig::sound;

/// C, E and G of the melody.
const MELODY: [u32; 3] = [262, 330, 392];
/// A silence that nobody notices.
const UNNOTICED: Duration = Duration::from_millis(40);

#[tokio::test]
async fn a_party_on_hold_hears_the_melody_and_nothing_of_the_microphone_muted_or_not() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;

    for muted in [false, true] {
        if muted {
            phone.frame.click("button", "Mute").await;
            anna.hears_no_more(Office::TONE).await;
        }
        phone.frame.click("button", "Hold").await;
        phone.frame.pressed("Hold", true).await;
        anna.hears_notes(&MELODY).await;
        anna.hears_no_more(Office::TONE).await;
        anna.hears_notes(&MELODY).await;
        assert!(b2bua.received(&["INVITE sip:", "a=sendonly"]).len() > usize::from(muted), "held, and sent to");
        phone.frame.click("button", "Hold").await;
        phone.frame.pressed("Hold", false).await;
        for note in MELODY {
            anna.hears_no_more(note).await;
        }
        phone.frame.hears(900).await;
    }
    anna.hears_no_more(Office::TONE).await;
    phone.frame.click("button", "Mute").await;
    anna.hears(Office::TONE).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}

#[tokio::test]
async fn the_tenant_chooses_a_file_in_place_of_the_melody_or_silence() {
    let file = HttpsFile::serve(sound::tone(1_100)).await;
    let office = Office::open_with(json!({ "behavior": { "holdMusic": { "url": file.url } } })).await;
    let Office { mut phone, b2bua, bitcall, .. } = office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    anna.hears(Office::TONE).await;
    phone.frame.click("button", "Hold").await;
    anna.hears(1_100).await;
    // The file has two seconds, so it begins anew within these three.
    let silence = anna.longest_silence_in(3 * 8_000).await;
    assert!(silence <= UNNOTICED, "a gap of {silence:?} where the file begins anew");
    phone.frame.click("button", "Hang up").await;
    phone.event("callEnded", 1).await;

    for ending in ["ogg", "mp3"] {
        let file = HttpsFile::serve(sound::encoded_tone(1_100, ending)).await;
        bitcall.patch(json!({ "behavior": { "holdMusic": { "url": file.url } } })).await;
        phone.reload().await;
        phone.ready().await;
        phone.dial("201").await;
        anna.hears(Office::TONE).await;
        phone.frame.click("button", "Hold").await;
        anna.hears(1_100).await;
        let silence = anna.longest_silence_in(3 * 8_000).await;
        assert!(silence <= UNNOTICED, "a gap of {silence:?} where the {ending} file begins anew");
        phone.frame.click("button", "Hang up").await;
        phone.event("callEnded", 1).await;
    }

    // No sound at all.
    let page = HttpsFile::serve(b"<!doctype html><h1>Not found</h1>".to_vec()).await;
    bitcall.patch(json!({ "behavior": { "holdMusic": { "url": page.url } } })).await;
    phone.reload().await;
    phone.ready().await;
    phone.dial("201").await;
    anna.hears(Office::TONE).await;
    phone.frame.click("button", "Hold").await;
    anna.hears_notes(&MELODY).await;
    phone.frame.click("button", "Hang up").await;
    phone.event("callEnded", 1).await;

    bitcall.patch(json!({ "behavior": { "holdMusic": { "enabled": false } } })).await;
    phone.reload().await;
    phone.ready().await;
    phone.dial("201").await;
    anna.hears(Office::TONE).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hears_silence().await;
}
