//! The page that frames the phone: messages of [`bitcall_wire::host_protocol`] over `window.postMessage`.
//!
//! Messages are accepted only from the parent window and, after the first `BITCALL_INIT`, only from the origin
//! that sent it; whether pages of that origin may embed the phone is for the server to say
//! ([`crate::runtime_config`]). Messages of the phone are sent to exactly that origin. The one message before
//! that, `BITCALL_READY`, is empty; start.js sends it before this module runs.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::host_protocol::{EmptyPayload, FromPhone, ToPhone};
use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, Window};

use crate::browser::{EventListener, debug};
use crate::value::{self, DecodeError};

/// Window property in which start.js stores the messages that arrive before this module listens.
const EARLY_MESSAGES_PROPERTY: &str = "bitcallEarlyMessages";

/// The channel to the host page.
pub struct HostPage {
    parent: Window,
    /// Set by `BITCALL_INIT`.
    origin: RefCell<Option<String>>,
    listener: RefCell<Option<EventListener>>,
}

impl HostPage {
    /// `None` when the page is not framed.
    pub fn of_this_page() -> Option<Rc<HostPage>> {
        let window = web_sys::window()?;
        let parent = window.parent().ok().flatten().filter(|parent| *parent != window)?;
        Some(Rc::new(HostPage { parent, origin: RefCell::default(), listener: RefCell::default() }))
    }

    /// Receives messages from now on, starting with those collected by start.js.
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
        let name = JsValue::from_str(EARLY_MESSAGES_PROPERTY);
        let early = Reflect::get(&window, &name).ok().and_then(|early| early.dyn_into::<Array>().ok());
        // start.js then stops collecting.
        let _ = Reflect::delete_property(&window, &name);
        for event in early.unwrap_or_default().iter() {
            deliver(event.unchecked_ref());
        }
    }

    /// Sends a message to the host page. It is dropped before `BITCALL_INIT`.
    pub fn post(&self, message: &FromPhone) {
        if let Some(origin) = &*self.origin.borrow() {
            self.send(message, origin);
        }
    }

    /// The origin of the host page, by its first message; `None` before that.
    pub fn origin(&self) -> Option<String> {
        self.origin.borrow().clone()
    }

    /// Stops receiving messages.
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
            // `BITCALL_INIT` must come first, and only once.
            (None, _) | (Some(_), ToPhone::Init(_)) => return None,
            (Some(_), _) => {}
        }
        Some(message)
    }

    fn send(&self, message: &FromPhone, origin: &str) {
        if let Some(value) = value::to_js(message) {
            // Fails only for an opaque origin ("null"): a sandboxed host page receives nothing.
            let _ = self.parent.post_message(&value, origin);
        }
    }
}

/// `None` for messages of other protocols.
///
/// The type is read by hand first: serde would buffer the payload until it has seen the tag, which is more
/// code than this whole module.
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
