//! Browser services: timers and event listeners that end with their owner, random ids, performance marks.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, EventTarget, MediaDevices, VisibilityState, Window};

/// How long after it was asked for something is done at the latest that waits for an idle browser.
const IDLE_TIMEOUT_MS: i32 = 1_000;

/// An event listener that is removed when dropped.
pub struct EventListener {
    target: EventTarget,
    name: String,
    closure: Closure<dyn FnMut(Event)>,
}

impl EventListener {
    pub fn new(target: &EventTarget, name: &str, act: impl FnMut(Event) + 'static) -> EventListener {
        let closure = Closure::<dyn FnMut(Event)>::new(act);
        // Fails only for a listener that is not a function.
        let _ = target.add_event_listener_with_callback(name, function(&closure));
        EventListener { target: target.clone(), name: name.to_owned(), closure }
    }
}

impl Drop for EventListener {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(&self.name, function(&self.closure));
    }
}

/// A timer that is cancelled when dropped.
pub struct BrowserTimer {
    id: i32,
    repeats: bool,
    _closure: Closure<dyn FnMut()>,
}

impl BrowserTimer {
    pub fn after(milliseconds: i32, act: impl FnOnce() + 'static) -> BrowserTimer {
        let mut act = Some(act);
        let closure = Closure::<dyn FnMut()>::new(move || {
            if let Some(act) = act.take() {
                act();
            }
        });
        let id = window().map_or(0, |window| {
            window
                .set_timeout_with_callback_and_timeout_and_arguments_0(closure.as_ref().unchecked_ref(), milliseconds)
                .unwrap_or(0)
        });
        BrowserTimer { id, repeats: false, _closure: closure }
    }

    pub fn every(milliseconds: i32, act: impl FnMut() + 'static) -> BrowserTimer {
        let closure = Closure::<dyn FnMut()>::new(act);
        let id = window().map_or(0, |window| {
            window
                .set_interval_with_callback_and_timeout_and_arguments_0(closure.as_ref().unchecked_ref(), milliseconds)
                .unwrap_or(0)
        });
        BrowserTimer { id, repeats: true, _closure: closure }
    }
}

impl Drop for BrowserTimer {
    fn drop(&mut self) {
        if let Some(window) = window() {
            if self.repeats {
                window.clear_interval_with_handle(self.id);
            } else {
                window.clear_timeout_with_handle(self.id);
            }
        }
    }
}

/// Waits. 0 yields to the browser's event loop once.
pub async fn sleep(milliseconds: i32) {
    let signal = Completion::pending();
    let _timer = BrowserTimer::after(milliseconds, {
        let signal = signal.clone();
        move || signal.complete()
    });
    signal.wait().await;
}

/// Runs `act` when the browser has nothing else to do, and after [`IDLE_TIMEOUT_MS`] anyway.
pub fn when_idle(act: impl FnOnce() + 'static) {
    let Some(window) = window() else { return };
    let act = Closure::once_into_js(act).unchecked_into::<Function>();
    // Safari has no such function.
    match Reflect::get(&window, &"requestIdleCallback".into()).ok().and_then(|idle| idle.dyn_into::<Function>().ok()) {
        Some(when_idle) => {
            let _ = when_idle.call2(&window, &act, &object(&[("timeout", IDLE_TIMEOUT_MS.into())]));
        }
        None => {
            let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(&act, IDLE_TIMEOUT_MS);
        }
    }
}

/// A one-shot signal that any number of tasks can wait for.
#[derive(Clone)]
pub struct Completion(Rc<RefCell<Option<Function>>>, Promise);

impl Completion {
    pub fn pending() -> Completion {
        let slot = Rc::new(RefCell::new(None));
        let promise = Promise::new(&mut |resolve, _| {
            *slot.borrow_mut() = Some(resolve);
        });
        Completion(slot, promise)
    }

    /// Has no effect the second time.
    pub fn complete(&self) {
        if let Some(resolve) = self.0.borrow_mut().take() {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    }

    pub async fn wait(&self) {
        let _ = JsFuture::from(self.1.clone()).await;
    }
}

pub fn window() -> Option<Window> {
    web_sys::window()
}

pub fn is_page_visible() -> bool {
    window()
        .and_then(|window| window.document())
        .is_some_and(|document| document.visibility_state() == VisibilityState::Visible)
}

/// The storage of this tab, which survives a reload.
pub fn session_storage() -> Option<web_sys::Storage> {
    web_sys::window()?.session_storage().ok().flatten()
}

/// 96 random bits in hex.
pub fn random_id() -> String {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 12];
    if let Some(crypto) = window().and_then(|window| window.crypto().ok()) {
        let _ = crypto.get_random_values_with_u8_array(&mut bytes);
    }
    bytes.iter().fold(String::with_capacity(24), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Milliseconds since the page was opened, by its monotonic clock.
pub fn monotonic_ms() -> u64 {
    let now = window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the age of the page")]
    let now = now as u64;
    now
}

/// `performance.mark`, for the browser's profiler and real-user monitoring.
pub fn mark(name: &str) {
    if let Some(performance) = window().and_then(|window| window.performance()) {
        let _ = performance.mark(name);
    }
}

pub fn debug(what: &JsValue) {
    web_sys::console::debug_1(what);
}

/// `None` on pages without a secure context.
pub fn media_devices() -> Option<MediaDevices> {
    // web-sys declares it as always present, but it is `undefined` without a secure context.
    window()?.navigator().media_devices().ok().filter(|devices| !devices.is_undefined())
}

/// A plain object with these fields.
pub fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Fails only for a frozen object.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

fn function<T: ?Sized>(closure: &Closure<T>) -> &Function {
    closure.as_ref().unchecked_ref()
}
