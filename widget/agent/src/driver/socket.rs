//! One WebSocket that carries SIP (RFC 7118).

use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// Global property in which worker.js stores the WebSocket that it has opened before the sign-in.
const PRECONNECTED_PROPERTY: &str = "bitcallPreconnected";

/// Event of a socket.
pub enum SocketEvent {
    Open,
    Message(Vec<u8>),
    /// With the reason, for the debug log. Sent at most once, as the last event.
    Closed(String),
}

/// A WebSocket. Dropping it closes it, and no event follows.
pub struct Socket {
    web: WebSocket,
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    /// # Errors
    /// The browser's message if it refuses the URL, e.g. `ws:` from an `https:` page.
    pub fn open(url: &str, on_event: impl Fn(SocketEvent) + Clone + 'static) -> Result<Socket, String> {
        let preconnected = take_preconnected(url);
        let is_open = preconnected.as_ref().is_some_and(|socket| socket.ready_state() == WebSocket::OPEN);
        let socket = match preconnected {
            Some(socket) => socket,
            None => WebSocket::new_with_str(url, "sip").map_err(|error| {
                let message = error.dyn_ref::<js_sys::Error>();
                message.map_or_else(|| "the URL was refused".to_owned(), |error| error.message().into())
            })?,
        };
        socket.set_binary_type(BinaryType::Arraybuffer);
        let open = Closure::<dyn FnMut()>::new({
            let on_event = on_event.clone();
            move || on_event(SocketEvent::Open)
        });
        let message = Closure::<dyn FnMut(MessageEvent)>::new({
            let on_event = on_event.clone();
            move |event: MessageEvent| {
                let data = event.data();
                if let Some(text) = data.as_string() {
                    on_event(SocketEvent::Message(text.into_bytes()));
                } else if let Some(buffer) = data.dyn_ref::<ArrayBuffer>() {
                    on_event(SocketEvent::Message(Uint8Array::new(buffer).to_vec()));
                }
            }
        });
        // `error` is always followed by `close`, which has a code and a reason.
        let close = Closure::<dyn FnMut(CloseEvent)>::new({
            let on_event = on_event.clone();
            move |event: CloseEvent| on_event(SocketEvent::Closed(format!("{} {}", event.code(), event.reason())))
        });
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        if is_open {
            on_event(SocketEvent::Open);
        }
        Ok(Socket { web: socket, _open: open, _message: message, _close: close })
    }

    /// Sends a text message, or a binary one if the body is not UTF-8 (RFC 7118 §4.2). Has no
    /// effect on a socket that is closing; `Closed` follows.
    pub fn send(&self, bytes: &[u8]) {
        let _ = match std::str::from_utf8(bytes) {
            Ok(text) => self.web.send_with_str(text),
            Err(_) => self.web.send_with_u8_array(bytes),
        };
    }
}

/// The socket to `url` that `worker.js` has opened before the sign-in, if it is still usable.
fn take_preconnected(url: &str) -> Option<WebSocket> {
    let (global, name) = (js_sys::global(), JsValue::from_str(PRECONNECTED_PROPERTY));
    let preconnected = Reflect::get(&global, &name).ok()?;
    let part = |name: &str| Reflect::get(&preconnected, &name.into()).ok();
    if part("url")?.as_string()? != url {
        return None;
    }
    let _ = Reflect::delete_property(&global, &name);
    let socket: WebSocket = part("socket")?.dyn_into().ok()?;
    matches!(socket.ready_state(), WebSocket::CONNECTING | WebSocket::OPEN).then_some(socket)
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.web.set_onopen(None);
        self.web.set_onmessage(None);
        self.web.set_onclose(None);
        let _ = self.web.close();
    }
}
