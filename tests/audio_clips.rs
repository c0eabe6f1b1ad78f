//! Audio clips: added on this device, played into a call beside the microphone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::rig::https_file::HttpsFile;
use crate::rig::office::Office;
use crate::rig::sound;

/// A silence that nobody notices.
const UNNOTICED: Duration = Duration::from_millis(40);

fn write(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn a_clip_is_heard_beside_the_microphone_without_a_gap_and_also_while_muted() {
    let mut office = Office::open().await;
    office.bitcall.change_plan("pro").await;
    office.phone.reload().await;
    office.phone.ready().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let directory = tempfile::tempdir().unwrap();
    let tone = write(directory.path(), "Opening hours.wav", &sound::tone(1_100));
    let text = write(directory.path(), "notes.mp3", b"These are no sounds.");

    frame.click("tab", "Settings").await;
    frame.chooses_file("Add a clip", &text).await;
    frame.sees("“notes.mp3” is no MP3, OGG, WAV or M4A file.").await;
    frame.chooses_file("Add a clip", &tone).await;
    frame.find("textbox", "Name of the clip Opening hours").await;
    frame.fill("textbox", "Name of the clip Opening hours", "Hours").await;
    frame.keys(&['\u{e007}']).await;
    frame.find("textbox", "Name of the clip Hours").await;

    let anna = b2bua.far_end("201", "Anna", 900);
    frame.click("tab", "Keypad").await;
    phone.dial("201").await;
    frame.hears(900).await;
    anna.hears(Office::TONE).await;

    // The microphone goes on below the clip: from the track to the mix and back.
    frame.click("button", "Clips").await;
    anna.listens();
    frame.click("button", "Play Hours").await;
    anna.hears_notes(&[Office::TONE, 1_100]).await;
    frame.find("button", "Play Hours").await;
    anna.hears(Office::TONE).await;
    let silence = anna.longest_silence();
    assert!(silence <= UNNOTICED, "a gap of {silence:?} around the clip");

    frame.click("button", "Mute").await;
    anna.hears_no_more(Office::TONE).await;
    frame.click("button", "Play Hours").await;
    anna.hears(1_100).await;
    frame.click("button", "Stop Hours").await;
    anna.hears_no_more(1_100).await;
    frame.click("button", "Mute").await;

    // Every format that is named.
    for (n, ending) in ["ogg", "mp3", "m4a"].into_iter().enumerate() {
        let hz = 1_300 + 200 * u32::try_from(n).unwrap();
        let file = write(directory.path(), &format!("{ending}.{ending}"), &sound::encoded_tone(hz, ending));
        frame.click("tab", "Settings").await;
        frame.chooses_file("Add a clip", &file).await;
        frame.find("textbox", &format!("Name of the clip {ending}")).await;
        frame.click("tab", "Keypad").await;
        frame.click("button", &format!("Play {ending}")).await;
        anna.hears_notes(&[Office::TONE, hz]).await;
    }

    // On hold the clip ends.
    frame.click("button", "Play Hours").await;
    anna.hears_notes(&[1_100]).await;
    frame.click("button", "Hold").await;
    frame.find("button", "Play Hours").await;
    anna.hears_no_more(1_100).await;
    frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}

#[tokio::test]
async fn everybody_of_a_tenant_has_its_clips() {
    let clip = HttpsFile::serve(sound::tone(1_100)).await;
    let nothing = HttpsFile::serve(b"<!doctype html><h1>Not found</h1>".to_vec()).await;
    let settings = json!({ "behavior": {
        "clips": [{ "name": "Greeting", "url": clip.url }, { "name": "Gone", "url": nothing.url }],
    } });
    let office = Office::open_on_plan("pro", settings).await;
    let Office { phone, b2bua, browser, .. } = &office;
    let frame = &phone.frame;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    frame.hears(900).await;
    anna.hears(Office::TONE).await;

    frame.click("button", "Clips").await;
    frame.click("button", "Play Gone").await;
    frame.sees("The clip could not be loaded. Try again, or tell your administrator.").await;
    frame.click("button", "Play Greeting").await;
    anna.hears_notes(&[Office::TONE, 1_100]).await;
    frame.click("button", "Stop Greeting").await;
    anna.hears_no_more(1_100).await;

    frame.click("button", "Hang up").await;
    phone.event("callEnded", 1).await;

    // Only the person's own ones can be changed.
    frame.click("tab", "Settings").await;
    frame.sees("For everybody").await;
    assert_eq!(frame.all("button", "Delete Greeting").await.unwrap().len(), 0);
    assert_eq!(browser.errors(), Vec::<String>::new());
}
