//! Getting hold of a port to the agent.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{self, ToAgent, ToPage};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    CustomEvent, CustomEventInit, HtmlScriptElement, MessageChannel, MessageEvent, MessagePort, SharedWorker,
    WorkerOptions, WorkerType,
};

use super::Place;
use crate::browser::{Listener, debug, window};

/// Event by which the page hands a port to an agent that it loaded itself.
const ATTACH_EVENT: &str = "bitcall:attach";

/// The worker's name.
const WORKER: &str = "bitcall";

/// Where start.js leaves the worker that it has started, for the first who wants it.
const STARTED: &str = "bitcallWorker";

/// What the agent's script posts in place of a message when it cannot run.
const BROKEN: &str = "broken";

type OnBroken = Rc<dyn Fn()>;

/// An open port and what keeps it going.
pub struct Attachment {
    port: MessagePort,
    shared: bool,
    _messages: Listener,
    /// Loading of the agent's script, or its failure.
    _loading: Vec<Listener>,
}

impl Attachment {
    /// Messages posted to the port before the agent has started are kept by the browser.
    ///
    /// `on_broken` is called when the agent cannot run, e.g. since the server has
    /// another version now. Where it was shared, open another one with `may_share: false` then.
    pub fn open(
        place: &Place,
        may_share: bool,
        on_broken: impl Fn() + 'static,
        on_message: impl Fn(ToPage) + 'static,
    ) -> Attachment {
        let on_broken: OnBroken = Rc::new(on_broken);
        let worker = if may_share { shared(place, &on_broken) } else { None };
        let shared = worker.is_some();
        let (port, loading) = worker.unwrap_or_else(|| in_page(place, &on_broken));
        let messages = Listener::new(&port, "message", move |event| {
            let Some(data) = event.dyn_ref::<MessageEvent>().map(MessageEvent::data) else {
                return;
            };
            if data == BROKEN {
                return on_broken();
            }
            match data.dyn_into::<Uint8Array>().ok().and_then(|bytes| agent_protocol::from_bytes(&bytes.to_vec())) {
                Some(message) => on_message(message),
                None => debug(&JsValue::from_str("bitcall: unreadable message from the agent")),
            }
        });
        port.start();
        // Before all else: whose agent it is.
        let _ = port.post_message(&JsValue::from_str(&place.name));
        Attachment { port, shared, _messages: messages, _loading: loading }
    }

    pub fn port(&self) -> &MessagePort {
        &self.port
    }

    /// False where the agent runs in this page, for this page alone.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.port.close();
    }
}

pub fn post(port: &MessagePort, message: &ToAgent) {
    if let Some(bytes) = agent_protocol::to_bytes(message) {
        let _ = port.post_message(&Uint8Array::from(bytes.as_slice()));
    }
}

/// Lets the worker that start.js has started open its WebSocket to `wss` already, for whoever signs in within
/// the next seconds. A worker that has been taken has a connection, and one in this page is not worth the trouble.
pub fn open_ahead(wss: &str) {
    if let Some(worker) = started() {
        let ahead = Object::new();
        let _ = Reflect::set(&ahead, &JsValue::from_str("ahead"), &JsValue::from_str(wss));
        let _ = worker.port().post_message(&ahead);
    }
}

fn started() -> Option<SharedWorker> {
    let started = Reflect::get(window()?.as_ref(), &JsValue::from_str(STARTED));
    started.ok()?.dyn_into().ok()
}

/// `None` where the browser has no `SharedWorker` (Chrome on Android), or refuses it.
fn shared(place: &Place, on_broken: &OnBroken) -> Option<(MessagePort, Vec<Listener>)> {
    let worker = start(place)?;
    Some((worker.port(), vec![when_it_fails(&worker, on_broken)]))
}

/// Takes the worker that start.js has started, with its open port, or starts it.
fn start(place: &Place) -> Option<SharedWorker> {
    let window = window()?;
    if !Reflect::has(&window, &JsValue::from_str("SharedWorker")).unwrap_or(false) {
        return None;
    }
    if let Some(worker) = started() {
        // A port is good for one attachment.
        let _ = Reflect::delete_property(&window, &JsValue::from_str(STARTED));
        return Some(worker);
    }
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    options.set_name(WORKER);
    // Where it is offered, the worker and its socket outlive even the only page,
    // so that a reload keeps the call.
    let _ = Reflect::set(&options, &JsValue::from_str("extendedLifetime"), &JsValue::TRUE);
    SharedWorker::new_with_worker_options(&place.worker, &options).ok()
}

/// Loads the agent into this page. A script element, since the page's content
/// security policy allows its own scripts and no evaluation.
fn in_page(place: &Place, on_broken: &OnBroken) -> (MessagePort, Vec<Listener>) {
    let (ours, theirs) = channel();
    let mut listeners = Vec::new();
    if let Some(document) = window().and_then(|window| window.document())
        && let Ok(script) =
            document.create_element("script").map(wasm_bindgen::JsCast::unchecked_into::<HtmlScriptElement>)
    {
        script.set_type("module");
        script.set_src(&place.worker);
        listeners.push(Listener::new(&script, "load", move |_| {
            let init = CustomEventInit::new();
            init.set_detail(&theirs);
            if let (Some(window), Ok(event)) = (window(), CustomEvent::new_with_event_init_dict(ATTACH_EVENT, &init)) {
                let _ = window.dispatch_event(&event);
            }
        }));
        listeners.push(when_it_fails(&script, on_broken));
        if let Some(head) = document.head() {
            let _ = head.append_child(&script);
        }
    }
    (ours, listeners)
}

fn when_it_fails(what: &web_sys::EventTarget, on_broken: &OnBroken) -> Listener {
    let on_broken = Rc::clone(on_broken);
    Listener::new(what, "error", move |_| on_broken())
}

fn channel() -> (MessagePort, MessagePort) {
    match MessageChannel::new() {
        Ok(channel) => (channel.port1(), channel.port2()),
        // Every browser that runs WebAssembly has message channels.
        Err(error) => wasm_bindgen::throw_val(error),
    }
}
