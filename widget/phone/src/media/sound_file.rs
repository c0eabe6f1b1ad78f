//! A sound file of the tenant's, loaded when it is first needed.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use web_sys::AudioBuffer;

use super::decoding::fetch_sound;
use super::peer_connection::error_message;
use crate::browser::{BrowserTimer, Completion, debug};

/// Nobody waits longer for the file: something else sounds this time, and the file the next time.
const TIMEOUT_MS: i32 = 3_000;

pub struct SoundFile {
    url: String,
    sound: RefCell<Option<AudioBuffer>>,
    /// The download that is running. Completed at its end, or when nobody waits for it any more.
    download: RefCell<Option<Completion>>,
}

impl SoundFile {
    pub fn new(url: String) -> Rc<SoundFile> {
        Rc::new(SoundFile { url, sound: RefCell::default(), download: RefCell::default() })
    }

    /// `None` where it cannot be had in time.
    pub async fn sound(self: &Rc<Self>) -> Option<AudioBuffer> {
        if self.sound.borrow().is_none() {
            let running = self.download.borrow().clone();
            let download = running.unwrap_or_else(|| self.start_download());
            let timed_out = download.clone();
            let _timer = BrowserTimer::after(TIMEOUT_MS, move || timed_out.complete());
            download.wait().await;
        }
        self.sound.borrow().clone()
    }

    /// A failure is tried again the next time.
    fn start_download(self: &Rc<Self>) -> Completion {
        let download = Completion::pending();
        *self.download.borrow_mut() = Some(download.clone());
        let (this, ended) = (Rc::clone(self), download.clone());
        spawn_local(async move {
            match fetch_sound(&this.url).await {
                Ok(sound) => *this.sound.borrow_mut() = Some(sound),
                Err(error) => {
                    debug(&format!("The sound {} cannot be played: {}", this.url, error_message(&error)).into());
                }
            }
            this.download.take();
            ended.complete();
        });
        download
    }
}
