//! The one microphone of this page, shared by all its calls.
//!
//! Device operations run one after another: two overlapping `getUserMedia` calls can leave a dead track
//! after a USB headset was plugged in.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::MediaError;
use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaStream, MediaStreamConstraints, MediaStreamTrack, MediaStreamTrackState};

use super::page_audio::PageAudio;
use crate::browser::{Completion, media_devices, object, window};

/// Why a call has no media, with a text for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFailure {
    pub kind: MediaError,
    pub message: String,
}

pub struct Microphone {
    audio: Rc<PageAudio>,
    chosen: RefCell<Option<String>>,
    track: RefCell<Option<MediaStreamTrack>>,
    /// Completed when the running operation has ended.
    operation: RefCell<Option<Completion>>,
    /// Permission was granted earlier, so that opening asks nothing.
    permission_granted: Cell<bool>,
    /// The last device list had at least one microphone, or there is no list yet.
    device_present: Cell<bool>,
    /// Set by `release` while an operation is running.
    release_requested: Cell<bool>,
}

impl Microphone {
    pub fn new(audio: &Rc<PageAudio>, chosen: Option<String>) -> Microphone {
        Microphone {
            audio: Rc::clone(audio),
            chosen: RefCell::new(chosen),
            track: RefCell::default(),
            operation: RefCell::default(),
            permission_granted: Cell::new(false),
            device_present: Cell::new(true),
            release_requested: Cell::new(false),
        }
    }

    pub fn chosen_device(&self) -> Option<String> {
        self.chosen.borrow().clone()
    }

    pub fn choose_device(&self, id: Option<String>) {
        *self.chosen.borrow_mut() = id;
    }

    pub fn is_open(&self) -> bool {
        self.live_track().is_some()
    }

    /// Open, and not muted by the operating system.
    pub fn has_sound(&self) -> bool {
        self.live_track().is_some_and(|track| !track.muted())
    }

    /// The open track. The browser may ask the person for permission. Concurrent callers get the same track.
    pub async fn open(&self) -> Result<MediaStreamTrack, MediaFailure> {
        self.release_requested.set(false);
        self.begin_operation().await;
        if let Some(track) = self.live_track() {
            self.end_operation();
            return Ok(track);
        }
        let opened = self.acquire().await;
        self.end_operation();
        opened
    }

    /// Whether the list of devices has a microphone.
    pub fn set_present(&self, device_present: bool) {
        self.device_present.set(device_present);
    }

    /// True when opening needs no permission prompt and is not expected to fail.
    pub async fn opens_without_prompt(&self) -> bool {
        self.is_open() || (self.device_present.get() && (self.permission_granted.get() || self.has_permission().await))
    }

    async fn has_permission(&self) -> bool {
        let query = || window()?.navigator().permissions().ok()?.query(&object(&[("name", "microphone".into())])).ok();
        // Browsers that do not know this permission name reject the query. Then a prompt is expected.
        match query() {
            Some(answer) => JsFuture::from(answer)
                .await
                .ok()
                .and_then(|status| Reflect::get(&status, &"state".into()).ok())
                .is_some_and(|state| state == "granted"),
            None => false,
        }
    }

    /// Opens a new track of the chosen device. The old track is stopped once the new one is open.
    pub async fn reopen(&self) -> Result<MediaStreamTrack, MediaFailure> {
        self.begin_operation().await;
        let opened = self.acquire().await;
        self.end_operation();
        opened
    }

    pub fn release(&self) {
        self.release_requested.set(true);
        if let Some(track) = self.track.borrow_mut().take() {
            track.stop();
        }
    }

    fn live_track(&self) -> Option<MediaStreamTrack> {
        self.track.borrow().clone().filter(|track| track.ready_state() == MediaStreamTrackState::Live)
    }

    async fn begin_operation(&self) {
        loop {
            let operation = self.operation.borrow().clone();
            match operation {
                Some(signal) => signal.wait().await,
                None => break,
            }
        }
        *self.operation.borrow_mut() = Some(Completion::pending());
    }

    fn end_operation(&self) {
        if let Some(signal) = self.operation.borrow_mut().take() {
            signal.complete();
        }
    }

    async fn acquire(&self) -> Result<MediaStreamTrack, MediaFailure> {
        let Some(devices) = media_devices() else {
            return Err(MediaFailure {
                kind: MediaError::MicrophoneBlocked,
                message: "The microphone works on secure pages (https) only.".to_owned(),
            });
        };
        let chosen = self.chosen_device();
        let constraints = MediaStreamConstraints::new();
        constraints.set_audio(&audio_constraints(chosen.as_deref()));
        let opened = match devices.get_user_media_with_constraints(&constraints) {
            Ok(promise) => JsFuture::from(promise).await,
            Err(error) => Err(error),
        };
        self.permission_granted.set(opened.is_ok());
        let stream: MediaStream = opened.map_err(|error| microphone_failure(&error))?.unchecked_into();
        let Ok(track) = stream.get_audio_tracks().get(0).dyn_into::<MediaStreamTrack>() else {
            return Err(MediaFailure {
                kind: MediaError::MicrophoneMissing,
                message: "No microphone was found.".to_owned(),
            });
        };
        if self.release_requested.get() {
            // The call ended while the permission prompt was open.
            track.stop();
            return Err(MediaFailure {
                kind: MediaError::Other,
                message: "The call ended before the microphone was open.".to_owned(),
            });
        }
        if let Some(old) = self.track.replace(Some(Clone::clone(&track))) {
            old.stop();
        }
        // A page without a gesture may play from now on, e.g. where the host page has placed the call: then ring-back is
        // due, and after a reload what is mixed or recorded has waited for it.
        self.audio.unlock();
        Ok(track)
    }
}

/// The device is an `ideal` constraint: when the chosen headset is gone, the browser falls back to the
/// default microphone instead of failing the call.
fn audio_constraints(chosen: Option<&str>) -> JsValue {
    let constraints = object(&[
        ("echoCancellation", JsValue::TRUE),
        ("noiseSuppression", JsValue::TRUE),
        ("autoGainControl", JsValue::TRUE),
    ]);
    if let Some(id) = chosen {
        let _ = Reflect::set(&constraints, &"deviceId".into(), &object(&[("ideal", id.into())]));
    }
    constraints.into()
}

fn microphone_failure(error: &JsValue) -> MediaFailure {
    let (kind, text) = match super::peer_connection::error_name(error).as_str() {
        "NotAllowedError" | "SecurityError" if is_blocked_by_policy() => (
            MediaError::MicrophoneBlocked,
            "The page around this phone does not let it use the microphone \
             (Permissions-Policy, or allow=\"microphone\" is missing).",
        ),
        "NotAllowedError" | "SecurityError" => {
            (MediaError::MicrophoneBlocked, "The microphone is blocked. Allow it in the browser's site settings.")
        }
        "NotFoundError" | "OverconstrainedError" => (MediaError::MicrophoneMissing, "No microphone was found."),
        "NotReadableError" | "AbortError" => {
            (MediaError::MicrophoneBusy, "The microphone cannot be opened. Another program may be using it.")
        }
        _ => (MediaError::Other, "The microphone cannot be opened."),
    };
    MediaFailure { kind, message: text.to_owned() }
}

/// Only Chromium says, by `document.featurePolicy`, whether the host page denies the microphone.
fn is_blocked_by_policy() -> bool {
    let ask = || {
        let document: JsValue = window()?.document()?.into();
        let policy = Reflect::get(&document, &"featurePolicy".into()).ok()?;
        let allows = Reflect::get(&policy, &"allowsFeature".into()).ok()?;
        allows.dyn_into::<js_sys::Function>().ok()?.call1(&policy, &"microphone".into()).ok()?.as_bool()
    };
    ask() == Some(false)
}
