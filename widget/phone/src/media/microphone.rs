//! The one microphone of this page, shared by all its calls.
//!
//! Device operations run one after another: two overlapping `getUserMedia`
//! calls are how other phones end up with a dead track after a USB headset was
//! plugged in.

use std::cell::{Cell, RefCell};

use bitcall_wire::agent_protocol::MediaError;
use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaStream, MediaStreamConstraints, MediaStreamTrack, MediaStreamTrackState};

use crate::browser::{Signal, media_devices, object, window};

/// Why there is no microphone, in words for the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub fault: MediaError,
    pub words: String,
}

pub struct Microphone {
    chosen: RefCell<Option<String>>,
    track: RefCell<Option<MediaStreamTrack>>,
    /// Told when the operation that is under way has ended.
    busy: RefCell<Option<Signal>>,
    /// The person has allowed it before, so opening will ask nothing.
    granted: Cell<bool>,
    /// The browser listed at least one, last time.
    present: Cell<bool>,
    /// Set by `release` while an operation is under way.
    unwanted: Cell<bool>,
}

impl Microphone {
    pub fn new(chosen: Option<String>) -> Microphone {
        Microphone {
            chosen: RefCell::new(chosen),
            track: RefCell::default(),
            busy: RefCell::default(),
            granted: Cell::new(false),
            present: Cell::new(false),
            unwanted: Cell::new(false),
        }
    }

    pub fn chosen(&self) -> Option<String> {
        self.chosen.borrow().clone()
    }

    pub fn choose(&self, id: Option<String>) {
        *self.chosen.borrow_mut() = id;
    }

    pub fn is_open(&self) -> bool {
        self.live().is_some()
    }

    /// Open, and the system lets its sound through.
    pub fn sounds(&self) -> bool {
        self.live().is_some_and(|track| !track.muted())
    }

    /// The open track; asks the person where that is needed. Callers that come
    /// meanwhile get the same one.
    pub async fn open(&self) -> Result<MediaStreamTrack, Trouble> {
        self.unwanted.set(false);
        self.turn().await;
        if let Some(track) = self.live() {
            self.done();
            return Ok(track);
        }
        let opened = self.acquire().await;
        self.done();
        opened
    }

    /// Whether the list of devices has a microphone.
    pub fn set_present(&self, present: bool) {
        self.present.set(present);
    }

    /// True when opening will ask the person nothing, and is not expected to fail.
    pub async fn ready(&self) -> bool {
        self.is_open() || (self.present.get() && (self.granted.get() || self.permitted().await))
    }

    async fn permitted(&self) -> bool {
        let query = || window()?.navigator().permissions().ok()?.query(&object(&[("name", "microphone".into())])).ok();
        // Browsers that do not know the name reject: then the question comes first.
        match query() {
            Some(answer) => JsFuture::from(answer)
                .await
                .ok()
                .and_then(|status| Reflect::get(&status, &"state".into()).ok())
                .is_some_and(|state| state == "granted"),
            None => false,
        }
    }

    /// A new track of the device chosen now; the old one ends when it is there.
    pub async fn reopen(&self) -> Result<MediaStreamTrack, Trouble> {
        self.turn().await;
        let opened = self.acquire().await;
        self.done();
        opened
    }

    pub fn release(&self) {
        self.unwanted.set(true);
        if let Some(track) = self.track.borrow_mut().take() {
            track.stop();
        }
    }

    fn live(&self) -> Option<MediaStreamTrack> {
        self.track.borrow().clone().filter(|track| track.ready_state() == MediaStreamTrackState::Live)
    }

    async fn turn(&self) {
        loop {
            let busy = self.busy.borrow().clone();
            match busy {
                Some(signal) => signal.wait().await,
                None => break,
            }
        }
        *self.busy.borrow_mut() = Some(Signal::untold());
    }

    fn done(&self) {
        if let Some(signal) = self.busy.borrow_mut().take() {
            signal.tell();
        }
    }

    async fn acquire(&self) -> Result<MediaStreamTrack, Trouble> {
        let Some(devices) = media_devices() else {
            return Err(Trouble {
                fault: MediaError::MicrophoneBlocked,
                words: "The microphone works on secure pages (https) only.".to_owned(),
            });
        };
        let chosen = self.chosen();
        let constraints = MediaStreamConstraints::new();
        constraints.set_audio(&wishes(chosen.as_deref()));
        let asked = match devices.get_user_media_with_constraints(&constraints) {
            Ok(promise) => JsFuture::from(promise).await,
            Err(error) => Err(error),
        };
        self.granted.set(asked.is_ok());
        let stream: MediaStream = asked.map_err(|error| trouble(&error))?.unchecked_into();
        let Ok(track) = stream.get_audio_tracks().get(0).dyn_into::<MediaStreamTrack>() else {
            return Err(Trouble { fault: MediaError::MicrophoneMissing, words: "No microphone was found.".to_owned() });
        };
        if self.unwanted.get() {
            // The call ended while the browser asked the person.
            track.stop();
            return Err(Trouble {
                fault: MediaError::Other,
                words: "The call ended before the microphone was open.".to_owned(),
            });
        }
        if let Some(old) = self.track.replace(Some(Clone::clone(&track))) {
            old.stop();
        }
        Ok(track)
    }
}

/// `ideal` for the device: a headset that is gone falls back to the default
/// microphone instead of failing the call.
fn wishes(chosen: Option<&str>) -> JsValue {
    let wishes = object(&[
        ("echoCancellation", JsValue::TRUE),
        ("noiseSuppression", JsValue::TRUE),
        ("autoGainControl", JsValue::TRUE),
    ]);
    if let Some(id) = chosen {
        let _ = Reflect::set(&wishes, &"deviceId".into(), &object(&[("ideal", id.into())]));
    }
    wishes.into()
}

fn trouble(error: &JsValue) -> Trouble {
    let (fault, words) = match super::peer_connection::name(error).as_str() {
        "NotAllowedError" | "SecurityError" if forbidden_by_host() => (
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
    Trouble { fault, words: words.to_owned() }
}

/// Chromium tells through `document.featurePolicy`; elsewhere nobody knows.
fn forbidden_by_host() -> bool {
    let ask = || {
        let document: JsValue = window()?.document()?.into();
        let policy = Reflect::get(&document, &"featurePolicy".into()).ok()?;
        let allows = Reflect::get(&policy, &"allowsFeature".into()).ok()?;
        allows.dyn_into::<js_sys::Function>().ok()?.call1(&policy, &"microphone".into()).ok()?.as_bool()
    };
    ask() == Some(false)
}
