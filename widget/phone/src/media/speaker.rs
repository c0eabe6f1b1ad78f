//! Playback of the far ends.

use std::cell::RefCell;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlAudioElement, MediaStream};

/// All audio elements of this page, one per call.
pub struct Speaker {
    chosen: RefCell<Option<String>>,
    elements: RefCell<Vec<HtmlAudioElement>>,
}

impl Speaker {
    pub fn new(chosen: Option<String>) -> Speaker {
        Speaker { chosen: RefCell::new(chosen), elements: RefCell::default() }
    }

    pub fn chosen_device(&self) -> Option<String> {
        self.chosen.borrow().clone()
    }

    pub fn choose_device(&self, id: Option<String>) {
        for element in self.elements.borrow().iter() {
            set_sink_id(element, id.as_deref());
        }
        *self.chosen.borrow_mut() = id;
    }

    /// Adds an element that plays `stream`, muted unless `audible`. Remove it with [`Speaker::remove`].
    pub fn add(&self, stream: &MediaStream, audible: bool) -> Option<HtmlAudioElement> {
        let element = HtmlAudioElement::new().ok()?;
        element.set_autoplay(true);
        element.set_muted(!audible);
        // Without it iOS opens its full-screen player.
        let _ = element.set_attribute("playsinline", "");
        set_sink_id(&element, self.chosen.borrow().as_deref());
        element.set_src_object(Some(stream));
        self.elements.borrow_mut().push(element.clone());
        Some(element)
    }

    pub fn remove(&self, element: &HtmlAudioElement) {
        let _ = element.pause();
        element.set_src_object(None);
        self.elements.borrow_mut().retain(|other| !other.is_same_node(Some(element)));
    }

    pub fn play_all(&self) {
        for element in self.elements.borrow().iter() {
            if element.paused()
                && let Ok(promise) = element.play()
            {
                ignore_rejection(promise);
            }
        }
    }
}

/// True when the browser blocks autoplay of `element` until a user gesture.
pub async fn is_autoplay_blocked(element: &HtmlAudioElement) -> bool {
    match element.play() {
        Ok(playing) => JsFuture::from(playing)
            .await
            .is_err_and(|error| super::peer_connection::error_name(&error) == "NotAllowedError"),
        Err(_) => false,
    }
}

/// `setSinkId` exists in Chromium and Firefox. It fails without the permissions policy `speaker-selection`;
/// then the default speaker is used.
pub fn set_sink_id(target: &JsValue, id: Option<&str>) {
    let Ok(set) = Reflect::get(target, &"setSinkId".into()).and_then(JsCast::dyn_into::<Function>) else {
        return;
    };
    if let Ok(promise) = set.call1(target, &id.unwrap_or("").into())
        && let Ok(promise) = promise.dyn_into::<Promise>()
    {
        ignore_rejection(promise);
    }
}

/// Ignores a rejected promise, which would otherwise be an "unhandled rejection" in the console.
pub fn ignore_rejection(promise: Promise) {
    wasm_bindgen_futures::spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
