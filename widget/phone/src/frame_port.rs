//! The phone as a frame in a host page: messages of [`bitcall_wire::host_protocol`] over `window.postMessage`.
//!
//! Messages are accepted only from the parent window and, after the first `BITCALL_INIT`, only from the origin
//! that sent it; whether pages of that origin may embed the phone is for the server to say
//! ([`crate::runtime_config`]). Messages of the phone are sent to exactly that origin. The one message before
//! that, `BITCALL_READY`, has only a version; start.js sends it before this module runs.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::host_protocol::definition::PayloadReader;
use bitcall_wire::host_protocol::{FromPhone, HostCommand, HostEvent, PanelVisibility};
use js_sys::{Array, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, Window};

use crate::browser::{EventListener, debug};
use crate::host_port::{CommandId, HostPort, HostRequest};
use crate::value::{self, DecodeError};

/// Window property in which start.js stores the messages that arrive before this module listens.
const EARLY_MESSAGES_PROPERTY: &str = "bitcallEarlyMessages";

pub struct FramePort {
    host_page: Rc<HostPage>,
    listener: RefCell<Option<EventListener>>,
}

/// The window around the phone.
struct HostPage {
    window: Window,
    /// Set by `BITCALL_INIT`.
    origin: RefCell<Option<String>>,
}

impl FramePort {
    /// `None` when the page is not framed.
    pub fn of_this_page() -> Option<FramePort> {
        let window = web_sys::window()?;
        let parent = window.parent().ok().flatten().filter(|parent| *parent != window)?;
        let host_page = Rc::new(HostPage { window: parent, origin: RefCell::default() });
        Some(FramePort { host_page, listener: RefCell::default() })
    }

    /// Dropped before `BITCALL_INIT`.
    fn post<T: Serialize>(&self, message: &T) {
        if let Some(origin) = &*self.host_page.origin.borrow()
            && let Some(value) = value::to_js(message)
        {
            // Fails only for an opaque origin ("null"): a sandboxed host page receives nothing.
            let _ = self.host_page.window.post_message(&value, origin);
        }
    }
}

impl HostPort for FramePort {
    fn listen(&self, on_request: Box<dyn Fn(HostRequest)>) {
        let Some(window) = web_sys::window() else { return };
        let host_page = Rc::clone(&self.host_page);
        let deliver = Rc::new(move |event: &MessageEvent| {
            if let Some(request) = host_page.accept(event) {
                on_request(request);
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

    fn close(&self) {
        self.listener.borrow_mut().take();
    }

    fn emit(&self, event: &HostEvent) {
        self.post(event);
    }

    fn tell(&self, message: &FromPhone) {
        self.post(message);
    }

    fn can_minimise(&self) -> bool {
        true
    }
}

impl HostPage {
    fn accept(&self, event: &MessageEvent) -> Option<HostRequest> {
        let source = event.source()?;
        let from_parent = js_sys::Object::is(&source, &self.window);
        let origin = event.origin();
        let known = self.origin.borrow().clone();
        if !from_parent || known.as_ref().is_some_and(|known| *known != origin) {
            return None;
        }
        let request = read(&event.data(), &origin)?;
        match (known, &request) {
            (None, HostRequest::Start { .. }) => *self.origin.borrow_mut() = Some(origin),
            // `BITCALL_INIT` must come first, and only once.
            (None, _) | (Some(_), HostRequest::Start { .. }) => return None,
            (Some(_), _) => {}
        }
        Some(request)
    }
}

struct Payload(JsValue);

impl PayloadReader for Payload {
    type Error = DecodeError;

    fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let read = value::from_js(&self.0);
        if let Err(error) = &read {
            debug(&JsValue::from_str(&format!("bitcall: message from the host page: {error}")));
        }
        read
    }
}

/// `None` for messages of other protocols.
///
/// The type is read by hand first: serde would buffer the payload until it has seen the tag, which is more
/// code than this whole module.
fn read(data: &JsValue, origin: &str) -> Option<HostRequest> {
    let field = |name: &str| Reflect::get(data, &name.into()).ok();
    let kind = field("type")?.as_string()?;
    let payload = Payload(field("payload")?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the loader counts from 1")]
    let id = CommandId(field("id").and_then(|id| id.as_f64()).map(|id| id as u32));
    Some(match kind.as_str() {
        "BITCALL_INIT" => HostRequest::Start { page_origin: origin.to_owned(), init: payload.read().ok()?, id },
        "BITCALL_VISIBLE" => HostRequest::Visible(payload.read::<PanelVisibility>().ok()?.visible),
        "BITCALL_DESTROY" => HostRequest::Stop,
        kind => match HostCommand::read(kind, &payload) {
            Some(Ok(command)) => HostRequest::Command(command, id),
            None if id.0.is_none() => return None,
            Some(Err(_)) | None => HostRequest::Unreadable(id),
        },
    })
}
