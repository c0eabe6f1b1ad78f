//! The page that frames the phone: messages of [`bitcall_wire::host_protocol`] over `window.postMessage`.
//!
//! Anybody may frame the phone, so only its parent window is listened to, and
//! after the first `BITCALL_INIT` only while that window shows the origin that
//! sent it. What the phone says goes to exactly that origin; the one message
//! before that, `BITCALL_READY`, holds nothing; start.js says it, before this module runs.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::host_protocol::{EmptyPayload, FromPhone, ToPhone};
use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, Window};

use crate::browser::{EventListener, debug};
use crate::value::{self, DecodeError};

/// The way to the host page.
pub struct HostPage {
    parent: Window,
    /// Known once `BITCALL_INIT` has come.
    origin: RefCell<Option<String>>,
    listener: RefCell<Option<EventListener>>,
}

/// Where start.js keeps the events that came before anybody listened.
const EARLY_EVENTS_PROPERTY: &str = "bitcallHeard";

impl HostPage {
    /// `None` when the page was opened by itself.
    pub fn of_this_page() -> Option<Rc<HostPage>> {
        let window = web_sys::window()?;
        let parent = window.parent().ok().flatten().filter(|parent| *parent != window)?;
        Some(Rc::new(HostPage { parent, origin: RefCell::default(), listener: RefCell::default() }))
    }

    /// Hears the host page from now on, and at once what it has said already.
    pub fn listen(self: &Rc<Self>, on_message: impl Fn(ToPhone) + 'static) {
        let Some(window) = web_sys::window() else { return };
        let weak = Rc::downgrade(self);
        let deliver = Rc::new(move |event: &MessageEvent| {
            let message = weak.upgrade().and_then(|host| host.accept(event));
            if let Some(message) = message {
                on_message(message);
            }
        });
        *self.listener.borrow_mut() = Some(EventListener::new(&window, "message", {
            let deliver = Rc::clone(&deliver);
            move |event| deliver(event.unchecked_ref())
        }));
        let name = JsValue::from_str(EARLY_EVENTS_PROPERTY);
        let early = Reflect::get(&window, &name).ok().and_then(|early| early.dyn_into::<Array>().ok());
        // From now on nothing is kept there.
        let _ = Reflect::delete_property(&window, &name);
        for event in early.unwrap_or_default().iter() {
            deliver(event.unchecked_ref());
        }
    }

    /// Dropped while nobody has introduced himself.
    pub fn post(&self, message: &FromPhone) {
        if let Some(origin) = &*self.origin.borrow() {
            self.send(message, origin);
        }
    }

    /// Hears nothing any more.
    pub fn stop_listening(&self) {
        self.listener.borrow_mut().take();
    }

    fn accept(&self, event: &MessageEvent) -> Option<ToPhone> {
        let source = event.source()?;
        let from_parent = js_sys::Object::is(&source, &self.parent);
        let origin = event.origin();
        let known = self.origin.borrow().clone();
        if !from_parent || known.as_ref().is_some_and(|known| *known != origin) {
            return None;
        }
        let message = match read(&event.data())? {
            Ok(message) => message,
            Err(error) => {
                debug(&JsValue::from_str(&format!("bitcall: message from the host page: {error}")));
                return None;
            }
        };
        match (known, &message) {
            (None, ToPhone::Init(_)) => *self.origin.borrow_mut() = Some(origin),
            // Nothing counts before the introduction, and there is only one.
            (None, _) | (Some(_), ToPhone::Init(_)) => return None,
            (Some(_), _) => {}
        }
        Some(message)
    }

    fn send(&self, message: &FromPhone, origin: &str) {
        if let Some(value) = value::to_js(message) {
            // Fails only for an origin that is none, e.g. "null": a sandboxed host page gets nothing.
            let _ = self.parent.post_message(&value, origin);
        }
    }
}

/// `None` for messages that are none of ours: a page has others to talk to.
///
/// Read by hand, kind first: serde would keep the payload in a buffer until it
/// has seen the type, and the code for that is larger than this whole module.
fn read(data: &JsValue) -> Option<Result<ToPhone, DecodeError>> {
    let kind = Reflect::get(data, &"type".into()).ok()?.as_string()?;
    let payload = Reflect::get(data, &"payload".into()).ok()?;
    Some(match kind.as_str() {
        "BITCALL_INIT" => value::from_js(&payload).map(ToPhone::Init),
        "BITCALL_CALL" => value::from_js(&payload).map(ToPhone::Call),
        "BITCALL_DIAL" => value::from_js(&payload).map(ToPhone::Dial),
        "BITCALL_HANGUP" => value::from_js(&payload).map(ToPhone::HangUp),
        "BITCALL_VISIBLE" => value::from_js(&payload).map(ToPhone::Visible),
        "BITCALL_DESTROY" => Ok(ToPhone::Destroy(EmptyPayload {})),
        _ => return None,
    })
}
