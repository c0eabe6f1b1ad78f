//! What a party hears that is on hold: the tenant's file, else a melody of the phone's own. Either is one `AudioBuffer`,
//! which a loop repeats without a gap.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, CallSnapshot, CallState, HoldState};
use bitcall_wire::config;
use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AudioBuffer, Response};

use super::decoding::{SAMPLE_RATE, decode};
use super::peer_connection::error_message;
use crate::browser::{BrowserTimer, Completion, debug, window};
use crate::tones::{patterns, synthesizer};

const MAX_FILE_BYTES: u32 = 8 * 1024 * 1024;
/// A hold does not wait longer for the file: it has the melody, the next one the file.
const FILE_TIMEOUT_MS: i32 = 3_000;

pub struct HoldMusic {
    settings: config::HoldMusic,
    /// Calls whose far end is to hear music.
    due: RefCell<Vec<CallId>>,
    file: RefCell<Option<AudioBuffer>>,
    melody: RefCell<Option<AudioBuffer>>,
    /// The download that is running. Completed at its end, or when nobody waits for it any more.
    download: RefCell<Option<Completion>>,
}

impl HoldMusic {
    pub fn new(settings: config::HoldMusic) -> Rc<HoldMusic> {
        Rc::new(HoldMusic {
            settings,
            due: RefCell::default(),
            file: RefCell::default(),
            melody: RefCell::default(),
            download: RefCell::default(),
        })
    }

    pub fn apply_snapshot(&self, snapshot: &AgentSnapshot, page: &str) {
        let due = snapshot.calls.iter().filter(|call| self.settings.enabled && is_due(call, page));
        *self.due.borrow_mut() = due.map(|call| call.id.clone()).collect();
    }

    pub fn is_due(&self, call: &str) -> bool {
        self.due.borrow().iter().any(|due| due == call)
    }

    /// What to play in a loop. `None` where the browser renders no sound.
    pub async fn buffer(self: &Rc<Self>) -> Option<AudioBuffer> {
        if let Some(url) = &self.settings.url {
            self.wait_for_file(url).await;
            let file = self.file.borrow().clone();
            if file.is_some() {
                return file;
            }
        }
        let melody = self.melody.borrow().clone();
        if melody.is_some() {
            return melody;
        }
        let melody = synthesizer::render(&patterns::hold_melody(), SAMPLE_RATE).await.ok();
        self.melody.borrow_mut().clone_from(&melody);
        melody
    }

    async fn wait_for_file(self: &Rc<Self>, url: &str) {
        if self.file.borrow().is_some() {
            return;
        }
        let running = self.download.borrow().clone();
        let download = running.unwrap_or_else(|| self.start_download(url));
        let timed_out = download.clone();
        let _timer = BrowserTimer::after(FILE_TIMEOUT_MS, move || timed_out.complete());
        download.wait().await;
    }

    /// A failure is tried again at the next hold.
    fn start_download(self: &Rc<Self>, url: &str) -> Completion {
        let download = Completion::pending();
        *self.download.borrow_mut() = Some(download.clone());
        let (this, url, ended) = (Rc::clone(self), url.to_owned(), download.clone());
        spawn_local(async move {
            match load(&url).await {
                Ok(file) => *this.file.borrow_mut() = Some(file),
                Err(error) => {
                    let what = format!("The hold music {url} cannot be played: {}", error_message(&error));
                    debug(&what.into());
                }
            }
            this.download.take();
            ended.complete();
        });
        download
    }
}

/// This page has the call on hold, and the far end, as far as is known, listens.
fn is_due(call: &CallSnapshot, page: &str) -> bool {
    call.state == CallState::Active
        && call.page.as_deref() == Some(page)
        && call.hold != HoldState::None
        && !call.remote_held
}

async fn load(url: &str) -> Result<AudioBuffer, JsValue> {
    let window = window().ok_or(JsValue::NULL)?;
    let response: Response = JsFuture::from(window.fetch_with_str(url)).await?.unchecked_into();
    if !response.ok() {
        return Err(format!("the server answers with {}", response.status()).into());
    }
    let file: ArrayBuffer = JsFuture::from(response.array_buffer()?).await?.unchecked_into();
    if file.byte_length() > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes").into());
    }
    decode(&file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::test_call;

    fn held(change: impl Fn(&mut CallSnapshot)) -> bool {
        let mut call = test_call::call("1", CallState::Active);
        (call.page, call.hold) = (Some("here".to_owned()), HoldState::Held);
        change(&mut call);
        is_due(&call, "here")
    }

    #[test]
    fn a_party_on_hold_hears_music_from_the_wish_until_the_resume_is_agreed() {
        for hold in [HoldState::Holding, HoldState::Held, HoldState::HeldHere, HoldState::Resuming] {
            assert!(held(|call| call.hold = hold), "{hold:?}");
        }
        assert!(!held(|call| call.hold = HoldState::None));
    }

    #[test]
    fn a_party_that_has_us_on_hold_hears_none() {
        assert!(!held(|call| call.remote_held = true));
    }

    #[test]
    fn only_the_page_of_the_call_plays() {
        assert!(!held(|call| call.page = Some("elsewhere".to_owned())));
    }
}
