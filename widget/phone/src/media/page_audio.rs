//! The one `AudioContext` of this page, in which tones and the mixes of all calls are made: browsers allow few, iOS one.
//!
//! It is suspended until the browser has seen a user gesture or the page has an open microphone, and each of them resumes
//! it; also after iOS has interrupted it.

use std::cell::{Cell, RefCell};

use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioContext, AudioContextState};

use super::speaker::{ignore_rejection, set_sink_id};

pub struct PageAudio {
    context: RefCell<Option<AudioContext>>,
    /// Where tones are heard; `None` is the system's default.
    speaker: RefCell<Option<String>>,
    unlocked: Cell<bool>,
}

impl PageAudio {
    pub fn new(speaker: Option<String>) -> PageAudio {
        PageAudio { context: RefCell::default(), speaker: RefCell::new(speaker), unlocked: Cell::new(false) }
    }

    /// Call it inside a user gesture, and when the microphone is open; may be repeated. The promises of earlier tries to
    /// resume the context are kept with it.
    pub fn unlock(&self) {
        self.unlocked.set(true);
        if let Some(promise) = self.create().and_then(|context| context.resume().ok()) {
            ignore_rejection(promise);
        }
    }

    pub fn use_speaker(&self, id: Option<&str>) {
        *self.speaker.borrow_mut() = id.map(str::to_owned);
        if let Some(context) = &*self.context.borrow() {
            set_sink_id(context, id);
        }
    }

    /// `None` until the first gesture or open microphone: a tone that is due before it sounds from then on.
    pub fn context(&self) -> Option<AudioContext> {
        if self.unlocked.get() { self.create() } else { None }
    }

    /// Without waiting.
    pub fn context_if_running(&self) -> Option<AudioContext> {
        self.context.borrow().clone().filter(|context| context.state() == AudioContextState::Running)
    }

    /// Waits until the context runs, which the browser may defer for as long as there is neither a gesture nor an open
    /// microphone. `None` where it gives none.
    pub async fn running_context(&self) -> Option<AudioContext> {
        let context = self.create()?;
        // Some browsers never settle the promise of a context that is not allowed to start.
        let resumed = context.resume().ok()?;
        JsFuture::from(resumed).await.ok()?;
        (context.state() == AudioContextState::Running).then_some(context)
    }

    fn create(&self) -> Option<AudioContext> {
        if self.context.borrow().is_none() {
            let context = AudioContext::new().ok()?;
            if let Some(id) = &*self.speaker.borrow() {
                set_sink_id(&context, Some(id));
            }
            *self.context.borrow_mut() = Some(context);
        }
        self.context.borrow().clone()
    }
}
