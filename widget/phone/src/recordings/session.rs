//! One recording in the store: what is known of it, and its sound in parts. Whoever writes to it holds its Web Lock, which
//! the browser takes from a page that has crashed.

use js_sys::{Array, JSON};
use wasm_bindgen::JsValue;
use web_sys::{Blob, BlobPropertyBag};

use super::Recording;
use super::ogg::{self, OggStream};
use super::storage::{self, RecordingStorage};
use super::webm::Item;
use crate::agent_client::web_lock::{TryAcquire, WebLock};
use crate::browser::Completion;
use crate::value;

/// Beside the parts, which have numbers.
const KNOWN: &str = "recording.json";
/// A part is written anew with every piece of sound, so it must not be large.
const PART_BYTES: usize = 48 << 10;
const TYPE: &str = "audio/ogg; codecs=opus";

pub struct RecordingSession {
    store: RecordingStorage,
    pub recording: Recording,
    stream: Option<OggStream>,
    part: u32,
    /// The last part so far.
    written: Vec<u8>,
    _lock: Option<WebLock>,
}

impl RecordingSession {
    /// Goes on with the recording if there is one with the id of `fresh`. Waits for a page that still writes to it.
    pub async fn open(store: &RecordingStorage, fresh: Recording) -> Result<RecordingSession, JsValue> {
        let held = Completion::pending();
        let lock = WebLock::acquire(&lock_name(&fresh.id), {
            let held = held.clone();
            move || held.complete()
        });
        // Where the browser has no locks, a page that writes to it still has at most half a second of sound left.
        if lock.is_some() {
            held.wait().await;
        }
        if let Some(recording) = known(store, &fresh.id).await {
            return RecordingSession::resume(store, recording, lock).await;
        }
        let (stream, part, written) = (None, 0, Vec::new());
        let session = RecordingSession { store: store.clone(), recording: fresh, stream, part, written, _lock: lock };
        session.save().await?;
        Ok(session)
    }

    /// `None` where there is no such recording, or a page writes to it.
    pub async fn try_open(store: &RecordingStorage, id: &str) -> Option<RecordingSession> {
        let lock = match WebLock::try_acquire(&lock_name(id)).await {
            TryAcquire::Acquired(lock) => Some(lock),
            TryAcquire::Unavailable => return None,
            TryAcquire::Unsupported => None,
        };
        RecordingSession::resume(store, known(store, id).await?, lock).await.ok()
    }

    async fn resume(
        store: &RecordingStorage,
        mut recording: Recording,
        lock: Option<WebLock>,
    ) -> Result<RecordingSession, JsValue> {
        let parts = parts(store, &recording.id).await;
        let (mut stream, mut part, mut written) = (None, 0, Vec::new());
        let first = match parts.first() {
            Some(first) => storage::bytes(first).await?,
            None => Vec::new(),
        };
        // The last one may be empty: a file is there before it has its content.
        for (place, last) in parts.iter().enumerate().rev() {
            written = storage::bytes(last).await?;
            if let Some((resumed, end)) = OggStream::resume(&first, &written) {
                stream = Some(resumed);
                part = u32::try_from(place).unwrap_or(u32::MAX);
                written.truncate(end);
                recording.milliseconds = resumed.milliseconds();
                recording.bytes = parts.iter().map(bytes_of).sum();
                break;
            }
        }
        Ok(RecordingSession { store: store.clone(), recording, stream, part, written, _lock: lock })
    }

    pub async fn write(&mut self, items: Vec<Item>) -> Result<(), JsValue> {
        let mut packets = Vec::new();
        for item in items {
            match item {
                Item::Packet(packet) => packets.push(packet),
                // Every recorder begins with one; the file has the first.
                Item::Head(head) if self.stream.is_none() => {
                    let (stream, pages) = OggStream::begin(serial(&self.recording.id), &head);
                    self.stream = Some(stream);
                    self.written = pages;
                }
                Item::Head(_) => {}
            }
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let pages = stream.write(&packets);
        self.recording.milliseconds = stream.milliseconds();
        self.append(&pages).await
    }

    async fn append(&mut self, pages: &[u8]) -> Result<(), JsValue> {
        if self.written.len() >= PART_BYTES {
            self.part += 1;
            self.written.clear();
        }
        self.written.extend_from_slice(pages);
        self.recording.bytes += pages.len() as u64;
        self.store.put(&self.recording.id, &part_name(self.part), &self.written).await
    }

    /// Writes what is known of it.
    pub async fn save(&self) -> Result<(), JsValue> {
        let text = value::to_js(&self.recording).and_then(|value| JSON::stringify(&value).ok());
        let text = text.and_then(|text| text.as_string()).unwrap_or_default();
        self.store.put(&self.recording.id, KNOWN, text.as_bytes()).await
    }

    /// Nothing is added any more. A recording without sound goes.
    pub async fn finish(mut self, now: u64) -> Result<(), JsValue> {
        if self.recording.is_over {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return self.store.delete(&self.recording.id).await };
        let page = stream.end();
        self.append(&page).await?;
        if self.recording.gaps.last().is_some_and(|gap| gap.lasted == 0) {
            self.recording.go_on(now);
        }
        self.recording.is_over = true;
        self.save().await
    }
}

/// What is known of a recording.
pub async fn known(store: &RecordingStorage, id: &str) -> Option<Recording> {
    let text = storage::bytes(&store.get(id, KNOWN).await?).await.ok()?;
    value::from_js(&JSON::parse(&String::from_utf8(text).ok()?).ok()?).ok()
}

pub async fn rename(store: &RecordingStorage, id: &str, name: String) -> Result<(), JsValue> {
    let Some(mut session) = RecordingSession::try_open(store, id).await else { return Ok(()) };
    session.recording.name = name;
    session.save().await
}

/// The recording as one file.
pub async fn file(store: &RecordingStorage, recording: &Recording, comments: &[String]) -> Result<Blob, JsValue> {
    let parts = parts(store, &recording.id).await;
    let first = parts.first().ok_or(JsValue::NULL)?;
    let (beginning, replaced) = ogg::commented(&storage::bytes(first).await?, comments).ok_or(JsValue::NULL)?;
    let file = Array::of1(&js_sys::Uint8Array::from(beginning.as_slice()));
    let rest = first.slice_with_i32(i32::try_from(replaced).unwrap_or(i32::MAX))?;
    file.push(&rest);
    for part in parts.iter().skip(1) {
        file.push(part);
    }
    blob(&file, TYPE)
}

pub fn blob(parts: &Array, kind: &str) -> Result<Blob, JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    Blob::new_with_blob_sequence_and_options(parts, &options)
}

pub fn bytes_of(blob: &Blob) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    let bytes = blob.size() as u64;
    bytes
}

async fn parts(store: &RecordingStorage, id: &str) -> Vec<Blob> {
    let mut parts = Vec::new();
    while let Some(part) = store.get(id, &part_name(u32::try_from(parts.len()).unwrap_or(u32::MAX))).await {
        parts.push(part);
    }
    parts
}

fn part_name(part: u32) -> String {
    format!("{part:05}.ogg")
}

fn lock_name(id: &str) -> String {
    format!("bitcall-recording-{id}")
}

/// Another one for every recording (RFC 3533 §4).
fn serial(id: &str) -> u32 {
    id.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(1)
}
