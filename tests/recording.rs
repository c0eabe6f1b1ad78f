//! Recordings: what is in the file, over everything that may happen to a call, and what the person does with the files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::b2bua::FarEnd;
use crate::rig::browser::Browser;
use crate::rig::https_file::HttpsFile;
use crate::rig::office::Office;
use crate::rig::sound;
use crate::rig::test_bed::TestPhone;
use crate::rig::wait::until;

const RATE: u32 = 8_000;
/// What a tone is looked for in.
const WINDOW: usize = 160;
/// Samples below it are silent.
const QUIET: u16 = 300;
/// A silence that nobody notices, and the longest gap that a recording may have.
const UNNOTICED: Duration = Duration::from_millis(40);
/// The beginning of another sound has something of every tone for a moment.
const SHORTEST: Duration = Duration::from_millis(100);
/// Where a recording goes on after a pause, which is marked, another encoder begins.
const SEAM: Duration = Duration::from_millis(100);
/// A recording loses no more with its page.
const LOST: Duration = Duration::from_secs(2);

/// A file as `ffmpeg` decodes it.
pub struct File {
    /// As the container says.
    duration: Duration,
    chapters: Vec<String>,
    channels: Vec<Vec<i16>>,
}

impl File {
    pub fn read(path: &Path) -> Self {
        let about = Command::new("ffprobe")
            .args(["-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters"])
            .arg(path)
            .output()
            .expect("ffprobe: run tests/install-tools.sh");
        assert!(about.status.success(), "{}", String::from_utf8_lossy(&about.stderr));
        assert_eq!(String::from_utf8_lossy(&about.stderr), "", "what ffprobe complains of");
        let about: Value = serde_json::from_slice(&about.stdout).unwrap();
        assert_eq!(about["streams"][0]["codec_name"], "opus", "{about}");
        let count = usize::try_from(about["streams"][0]["channels"].as_u64().unwrap()).unwrap();
        let duration: f64 = about["format"]["duration"].as_str().expect("a duration").parse().unwrap();
        let titles = about["chapters"].as_array().unwrap().iter();
        Self {
            duration: Duration::from_secs_f64(duration),
            chapters: titles.map(|chapter| chapter["tags"]["title"].as_str().unwrap().to_owned()).collect(),
            channels: Self::decode(path, count, &[]),
        }
    }

    fn decode(path: &Path, count: usize, seek: &[&str]) -> Vec<Vec<i16>> {
        let rate = RATE.to_string();
        let decoded = Command::new("ffmpeg")
            .args(["-v", "error"])
            .args(seek)
            .arg("-i")
            .arg(path)
            .args(["-f", "s16le", "-ar", &rate, "-"])
            .output()
            .expect("ffmpeg: run tests/install-tools.sh");
        assert_eq!(String::from_utf8_lossy(&decoded.stderr), "", "what ffmpeg complains of");
        let samples: Vec<i16> =
            decoded.stdout.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect();
        (0..count).map(|channel| samples.iter().skip(channel).step_by(count).copied().collect()).collect()
    }

    /// The stretches in which a channel has this tone, as `(begin, end)`; a gap that nobody notices does not end one.
    fn stretches(&self, channel: usize, hz: u32) -> Vec<(Duration, Duration)> {
        let at = |window: usize| Duration::from_micros((window * WINDOW) as u64 * 1_000_000 / u64::from(RATE));
        let mut found: Vec<(Duration, Duration)> = Vec::new();
        for (window, samples) in self.channels[channel].chunks_exact(WINDOW).enumerate() {
            let is_silent = samples.iter().all(|sample| sample.unsigned_abs() < QUIET);
            if is_silent || sound::share_at(samples, RATE, f64::from(hz)) < 0.1 {
                continue;
            }
            match found.last_mut().filter(|(_, end)| at(window).saturating_sub(*end) <= UNNOTICED) {
                Some((_, end)) => *end = at(window + 1),
                None => found.push((at(window), at(window + 1))),
            }
        }
        found.retain(|(begin, end)| end.saturating_sub(*begin) >= SHORTEST);
        found
    }

    /// From the first of the tone to the last.
    fn span(&self, channel: usize, hz: u32) -> (Duration, Duration) {
        let stretches = self.stretches(channel, hz);
        let ends = stretches.first().zip(stretches.last());
        let Some(((begin, _), (_, end))) = ends else { panic!("no {hz} Hz in channel {channel}") };
        (*begin, *end)
    }

    /// The tone in one stretch, but for a seam at the pause.
    fn with_one_seam(&self, channel: usize, hz: u32) {
        let stretches = self.stretches(channel, hz);
        match stretches.as_slice() {
            [_] => {}
            [(_, end), (begin, _)] if begin.saturating_sub(*end) <= SEAM => {}
            _ => panic!("{hz} Hz in channel {channel} with more than the seam: {stretches:?}"),
        }
    }

    pub fn has(&self, channel: usize, hz: u32) -> bool {
        !self.stretches(channel, hz).is_empty()
    }
}

/// A call with Anna, who plays 900 Hz, is up and heard on both sides.
async fn call(phone: &TestPhone, anna: &FarEnd) {
    phone.frame.click("tab", "Keypad").await;
    phone.ready().await;
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;
}

/// Lets the call go on until Anna has heard two seconds of it.
async fn goes_on(anna: &FarEnd) {
    anna.longest_silence_in(2 * RATE as usize).await;
}

async fn hang_up(phone: &TestPhone, number: usize) {
    phone.frame.click("tab", "Keypad").await;
    phone.frame.click("button", "Hang up").await;
    phone.event("callEnded", number).await;
}

/// The recording is in the settings under this name; it is downloaded and deleted there.
async fn take(phone: &TestPhone, browser: &Browser, name: &str) -> File {
    phone.frame.click("tab", "Settings").await;
    phone.frame.click("button", &format!("Download {name}")).await;
    let path = browser.downloaded(name).await;
    let file = aside(move || {
        let file = File::read(&path);
        std::fs::remove_file(path).unwrap();
        file
    })
    .await;
    phone.frame.click("button", &format!("Delete {name}")).await;
    phone.frame.gone("button", &format!("Delete {name}")).await;
    file
}

/// On a thread of its own: the far end plays on, and the server answers.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The one file in an archive.
fn unpack(archive: &Path) -> File {
    let listed = Command::new("python3").args(["-m", "zipfile", "-t"]).arg(archive).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stdout));
    let inside = tempfile::tempdir().unwrap();
    let unpacked = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(inside.path()).status();
    assert!(unpacked.unwrap().success());
    let files: Vec<_> = std::fs::read_dir(inside.path()).unwrap().flatten().map(|file| file.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].to_string_lossy().ends_with(" Order 2.ogg"), "{files:?}");
    File::read(&files[0])
}

async fn status(phone: &TestPhone, number: usize) -> String {
    phone.event("recordingState", number).await["status"].as_str().unwrap().to_owned()
}

fn stereo() -> Value {
    json!({ "behavior": { "recording": { "stereo": true } } })
}

#[tokio::test]
async fn both_sides_are_recorded_over_a_hold_a_pause_and_a_reload_and_each_is_left_out_or_kept_as_it_was() {
    let mut office = Office::open_with(stereo()).await;
    let Office { phone, b2bua, browser, .. } = &mut office;
    let anna = b2bua.far_end("201", "Anna", 900);

    // A hold: the music is recorded as what Anna heard, and nothing of her.
    call(phone, &anna).await;
    phone.frame.click("button", "Record").await;
    phone.frame.sees("Recording").await;
    phone.frame.pressed("Record", true).await;
    goes_on(&anna).await;
    phone.frame.click("button", "Hold").await;
    anna.hears_notes(&[262, 330, 392]).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;
    goes_on(&anna).await;
    phone.frame.click("button", "Record").await;
    phone.frame.pressed("Record", false).await;
    hang_up(phone, 1).await;
    let file = take(phone, browser, "Anna").await;
    assert_eq!(file.channels.len(), 2, "left and right");
    let (ours, theirs) = (file.stretches(0, Office::TONE), file.stretches(1, 900));
    let (music, all) = (file.stretches(0, 330), file.duration);
    assert_eq!(
        (ours.len(), theirs.len()),
        (2, 2),
        "before and after the hold, without a gap: {ours:?} {theirs:?}; music {music:?} of {all:?}"
    );
    assert!(!file.has(0, 900) && !file.has(1, Office::TONE), "each side on its own channel");
    assert!(!music.is_empty(), "the music");
    let decoded = f64::from(u32::try_from(file.channels[0].len()).unwrap()) / f64::from(RATE);
    assert!((file.duration.as_secs_f64() - decoded).abs() < 0.1, "{:?} is told of {decoded} s", file.duration);
    let told = [status(phone, 1).await, status(phone, 2).await];
    assert_eq!(told, ["started", "stopped"]);

    // A pause: what Anna says meanwhile is not in the file, and the file says so.
    call(phone, &anna).await;
    phone.host_page.eval("BitcallWebphone.startRecording()").await;
    assert_eq!(status(phone, 3).await, "started");
    goes_on(&anna).await;
    phone.frame.click("button", "Pause recording").await;
    phone.frame.sees("Recording paused").await;
    anna.plays(1_300);
    phone.frame.hears(1_300).await;
    goes_on(&anna).await;
    anna.plays(900);
    phone.frame.hears(900).await;
    phone.frame.click("button", "Resume recording").await;
    assert_eq!([status(phone, 4).await, status(phone, 5).await], ["paused", "started"]);
    goes_on(&anna).await;
    hang_up(phone, 2).await;
    assert_eq!(status(phone, 6).await, "stopped");
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("Paused at 00:0").await;
    let file = take(phone, browser, "Anna").await;
    assert!(!file.has(1, 1_300), "what was said during the pause");
    file.with_one_seam(0, Office::TONE);
    file.with_one_seam(1, 900);
    assert!(file.chapters.iter().any(|title| title.starts_with("Paused at 00:0")), "{:?}", file.chapters);

    // A reload: one recording.
    call(phone, &anna).await;
    phone.frame.click("button", "Record").await;
    goes_on(&anna).await;
    anna.plays(1_300);
    phone.frame.hears(1_300).await;
    goes_on(&anna).await;
    phone.reload().await;
    anna.plays(1_100);
    phone.frame.hears(1_100).await;
    phone.frame.pressed("Record", true).await;
    goes_on(&anna).await;
    hang_up(phone, 1).await;
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("Interrupted at 00:0").await;
    let file = take(phone, browser, "Anna").await;
    let (begin, end) = file.span(1, 1_300);
    assert!(
        file.has(1, 900) && end.saturating_sub(begin) + LOST > Duration::from_secs(2),
        "before the reload: {begin:?} to {end:?}"
    );
    assert!(file.has(1, 1_100) && file.has(0, Office::TONE), "after the reload");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn one_recording_goes_on_over_a_swap_and_a_conference() {
    let settings = json!({ "behavior": { "recording": { "stereo": true }, "holdMusic": { "enabled": false } } });
    let office = Office::open_on_plan("enterprise", settings).await;
    let Office { phone, b2bua, browser, .. } = &office;
    let frame = &phone.frame;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    call(phone, &anna).await;
    frame.click("button", "Record").await;
    frame.pressed("Record", true).await;
    goes_on(&anna).await;
    phone.host_page.eval("BitcallWebphone.call('202')").await;
    frame.hears_only(1_300).await;
    goes_on(&bert).await;
    frame.click("button", "Switch to Anna").await;
    frame.hears_only(900).await;
    goes_on(&anna).await;
    frame.click("button", "Merge with Bert").await;
    frame.hears_each(&[900, 1_300]).await;
    bert.hears_notes(&[Office::TONE, 900]).await;
    goes_on(&bert).await;
    frame.click("button", "Drop Bert").await;
    phone.event("callEnded", 1).await;
    frame.hears_only(900).await;
    goes_on(&anna).await;
    hang_up(phone, 2).await;

    let file = take(phone, browser, "Anna").await;
    let (ours, theirs, berts) = (file.stretches(0, Office::TONE), file.stretches(1, 900), file.stretches(1, 1_300));
    let all = format!("{ours:?} {theirs:?} {berts:?} of {:?}", file.duration);
    assert_eq!((ours.len(), theirs.len(), berts.len()), (2, 2, 1), "without a gap but the swap: {all}");
    assert!(
        berts[0].0 > theirs[1].0 && berts[0].1 < theirs[1].1,
        "Bert is in it as a party of the conference only: {all}"
    );
    assert!(!file.has(0, 900) && !file.has(0, 1_300) && !file.has(1, Office::TONE), "each side on its own channel");
    frame.gone("button", "Download Bert").await;
}

#[tokio::test]
async fn a_page_that_crashes_while_it_records_leaves_all_but_its_last_moments() {
    let office = Office::open_with(json!({ "behavior": { "recording": { "autoRecord": true } } })).await;
    let Office { phone, b2bua, browser, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    call(phone, &anna).await;
    assert_eq!(status(phone, 1).await, "started");
    phone.frame.pressed("Record", true).await;
    goes_on(&anna).await;
    anna.plays(1_300);
    phone.frame.hears(1_300).await;
    // Three times what may be lost.
    for _ in 0..3 {
        goes_on(&anna).await;
    }
    // Gone without a word, so there is no answer.
    let _ = tokio::time::timeout(LOST, browser.devtools(&phone.host_page, "Page.crash", json!({}))).await;

    anna.plays(1_100);
    // Where the worker outlives the page, the next one takes the call over, with its recording.
    let again = office.unready_page().await;
    again.host_page.until("BitcallWebphone.isRegistered()").await;
    again.host_page.eval("BitcallWebphone.hangup()").await;
    again.frame.sees("Ready").await;
    let file = take(&again, browser, "Anna").await;
    assert_eq!(file.channels.len(), 1, "both sides mixed");
    assert!(file.has(0, 900) && file.has(0, Office::TONE), "both sides");
    let (begin, end) = file.span(0, 1_300);
    assert!(end.saturating_sub(begin) >= Duration::from_secs(4), "of six seconds: {begin:?} to {end:?}");
}

#[tokio::test]
async fn a_person_plays_renames_and_downloads_recordings_and_is_told_of_full_storage_before() {
    let office = Office::open_with(json!({ "behavior": { "recording": { "beep": true } } })).await;
    let Office { phone, b2bua, browser, bitcall, .. } = &office;
    let (frame, anna) = (&phone.frame, b2bua.far_end("201", "Anna", 900));
    for n in 1..=2 {
        call(phone, &anna).await;
        frame.click("button", "Record").await;
        // Both sides are told.
        anna.hears_notes(&[1_400]).await;
        goes_on(&anna).await;
        hang_up(phone, n).await;
        frame.click("tab", "Settings").await;
        frame.fill("textbox", "Name of the recording Anna", &format!("Order {n}")).await;
        frame.keys(&['\u{e007}']).await;
        frame.find("textbox", &format!("Name of the recording Order {n}")).await;
    }
    frame.sees("There is room for").await;

    frame.click("button", "Play Order 1").await;
    frame.find("button", "Pause Order 1").await;
    let slider = frame.find("slider", "Position").await;
    frame
        .call(&slider, "e => { e.value = 1500; e.dispatchEvent(new Event('input', { bubbles: true })); }")
        .await
        .unwrap();
    frame.until("[...document.querySelectorAll('input[type=range]')].some((e) => e.value >= 1500)").await;
    frame.click("button", "Delete Order 1").await;
    frame.gone("button", "Delete Order 1").await;

    frame.click("button", "Download all").await;
    let archive = browser.downloaded(".zip").await;
    let file = aside(move || unpack(&archive)).await;
    assert!(file.has(0, 900) && file.has(0, 1_400), "the beep is in it, too");

    // Storage that is nearly full.
    call(phone, &anna).await;
    // Chromium tells nobody how much room there really is.
    frame.eval("(navigator.storage.estimate = async () => ({ usage: 1 << 20, quota: 21 << 20 }), 1)").await;
    frame.click("button", "Record").await;
    frame.sees("There is room for about").await;
    frame.pressed("Record", true).await;
    goes_on(&anna).await;
    frame
        .eval("(FileSystemWritableFileStream.prototype.write = async () => { throw new DOMException('', 'QuotaExceededError'); }, 1)")
        .await;
    frame.sees("This device has no room for recordings.").await;
    frame.pressed("Record", false).await;
    let failed = until("the host page to be told", async || {
        let told = phone.events("recordingState").await;
        told.iter().find(|event| event["status"] == "failed").cloned().ok_or(format!("{told:?}"))
    })
    .await;
    assert_eq!((&failed["reason"], &failed["number"]), (&json!("STORAGE_FULL"), &json!("201")));
    hang_up(phone, 3).await;
    let file = take(phone, browser, "Anna").await;
    assert!(file.has(0, 900), "what was recorded before is kept");

    // The tenant does not want it.
    bitcall.patch(json!({ "app": { "recording": false } })).await;
    let other = office.another_page().await;
    call(&other, &anna).await;
    other.frame.gone("button", "Record").await;
    other.host_page.eval("BitcallWebphone.startRecording()").await;
    other.host_page.until("faults.some((fault) => fault.code === 'RECORDING_NOT_ALLOWED')").await;
}

#[tokio::test]
async fn both_sides_hear_the_announcement_of_a_recording_or_a_beep_where_its_file_cannot_be_had() {
    let announcement = HttpsFile::serve(sound::tone(1_500)).await;
    let recording = |url: &str| json!({ "behavior": { "recording": { "stereo": true, "announcement": url } } });
    let mut office = Office::open_with(recording(&announcement.url)).await;
    let Office { phone, b2bua, browser, bitcall, .. } = &mut office;
    let anna = b2bua.far_end("201", "Anna", 900);
    call(phone, &anna).await;
    phone.frame.click("button", "Record").await;
    anna.hears_notes(&[Office::TONE, 1_500]).await;
    anna.hears_no_more(1_500).await;
    hang_up(phone, 1).await;
    // It is in the recording, on the side from which it was played.
    let file = take(phone, browser, "Anna").await;
    assert!(file.has(0, 1_500) && !file.has(1, 1_500), "{:?}", file.stretches(1, 1_500));
    assert!(file.has(0, Office::TONE) && file.has(1, 900));

    let nothing = HttpsFile::serve(b"<!doctype html><h1>Not found</h1>".to_vec()).await;
    bitcall.patch(recording(&nothing.url)).await;
    phone.reload().await;
    call(phone, &anna).await;
    phone.frame.click("button", "Record").await;
    goes_on(&anna).await;
    hang_up(phone, 1).await;
    let file = take(phone, browser, "Anna").await;
    assert!(file.has(0, 1_400) && !file.has(0, 1_500));
    assert_eq!(browser.errors(), Vec::<String>::new());
}
