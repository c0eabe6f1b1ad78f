//! Opens a `MessagePort` to the agent.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{MOVED_MESSAGE, ToAgent, ToPage};
use bitcall_wire::encoding;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    CustomEvent, CustomEventInit, HtmlScriptElement, MessageChannel, MessageEvent, MessagePort, SharedWorker,
    WorkerOptions, WorkerType,
};

use super::AgentAddress;
use crate::browser::{EventListener, debug, window};

/// Event by which the page passes a port to an agent that it has loaded itself.
const ATTACH_EVENT: &str = "bitcall:attach";

/// Name of the `SharedWorker`.
const WORKER_NAME: &str = "bitcall";

/// Window property with the worker that start.js has started. The first attachment takes it.
const STARTED_WORKER_PROPERTY: &str = "bitcallStartedWorker";

/// Posted by the agent's script instead of a message when the agent cannot run.
const BROKEN_MESSAGE: &str = "broken";

/// `sessionStorage` key of the last build that this tab has left, by its worker's URL.
const MOVED_FROM_KEY: &str = "bitcall:moved-from";

type OnBroken = Rc<dyn Fn()>;

/// An open port with its event listeners.
pub struct AgentPort {
    port: MessagePort,
    shared: bool,
    _messages: EventListener,
    /// For the load and error events of the agent's script.
    _load_listeners: Vec<EventListener>,
}

impl AgentPort {
    /// Opens the port. The browser queues messages that are posted before the agent has started.
    ///
    /// `on_broken` is called when the agent cannot run, for example because the server now has another
    /// version. If the port was shared, open another one with `may_share: false` then.
    pub fn open(
        address: &AgentAddress,
        may_share: bool,
        on_broken: impl Fn() + 'static,
        on_message: impl Fn(ToPage) + 'static,
    ) -> AgentPort {
        let on_broken: OnBroken = Rc::new(on_broken);
        let worker = if may_share { shared_worker_port(address, &on_broken) } else { None };
        let shared = worker.is_some();
        let (port, loading) = worker.unwrap_or_else(|| load_in_page(address, &on_broken));
        let (own_port, worker_url) = (port.clone(), address.worker_url.clone());
        let messages = EventListener::new(&port, "message", move |event| {
            let Some(data) = event.dyn_ref::<MessageEvent>().map(MessageEvent::data) else {
                return;
            };
            if data == BROKEN_MESSAGE {
                return on_broken();
            }
            if data == MOVED_MESSAGE {
                return move_to_newer_build(&own_port, &worker_url);
            }
            match data.dyn_into::<Uint8Array>().ok().and_then(|bytes| encoding::from_bytes(&bytes.to_vec())) {
                Some(message) => on_message(message),
                None => debug(&JsValue::from_str("bitcall: unreadable message from the agent")),
            }
        });
        port.start();
        // The first message names the agent.
        let _ = port.post_message(&JsValue::from_str(&address.name));
        AgentPort { port, shared, _messages: messages, _load_listeners: loading }
    }

    pub fn port(&self) -> &MessagePort {
        &self.port
    }

    /// False where the agent runs in this page only.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

impl Drop for AgentPort {
    fn drop(&mut self) {
        self.port.close();
    }
}

/// Loads the page anew. Where the server still gives it this build, it stays with it: another attempt would be no
/// different, and two builds would drive each other's pages out for ever.
fn move_to_newer_build(port: &MessagePort, worker_url: &str) {
    let Some(window) = window() else { return };
    let Some(storage) = window.session_storage().ok().flatten() else { return };
    let has_moved = storage.get_item(MOVED_FROM_KEY).ok().flatten().is_some_and(|from| from == worker_url);
    if !has_moved && storage.set_item(MOVED_FROM_KEY, worker_url).is_ok() {
        post(port, &ToAgent::Leave);
        let _ = window.location().reload();
    }
}

pub fn post(port: &MessagePort, message: &ToAgent) {
    let _ = port.post_message(&Uint8Array::from(encoding::to_bytes(message).as_slice()));
}

/// Lets the worker that start.js has started open its WebSocket to `wss`, for a sign-in within the next
/// seconds. Does nothing once that worker was taken, because then it is connected, and for an agent in this
/// page.
pub fn preconnect(wss: &str) {
    if let Some(worker) = prestarted_worker() {
        let message = Object::new();
        let _ = Reflect::set(&message, &JsValue::from_str("preconnect"), &JsValue::from_str(wss));
        let _ = worker.port().post_message(&message);
    }
}

fn prestarted_worker() -> Option<SharedWorker> {
    let started = Reflect::get(window()?.as_ref(), &JsValue::from_str(STARTED_WORKER_PROPERTY));
    started.ok()?.dyn_into().ok()
}

/// `None` where the browser has no `SharedWorker` (Chrome on Android), or refuses it.
fn shared_worker_port(address: &AgentAddress, on_broken: &OnBroken) -> Option<(MessagePort, Vec<EventListener>)> {
    let worker = take_or_start_worker(address)?;
    Some((worker.port(), vec![on_load_error(&worker, on_broken)]))
}

/// Takes the worker that start.js has started, with its open port, or starts one.
fn take_or_start_worker(address: &AgentAddress) -> Option<SharedWorker> {
    let window = window()?;
    if !Reflect::has(&window, &JsValue::from_str("SharedWorker")).unwrap_or(false) {
        return None;
    }
    if let Some(worker) = prestarted_worker() {
        // A port serves one attachment only.
        let _ = Reflect::delete_property(&window, &JsValue::from_str(STARTED_WORKER_PROPERTY));
        return Some(worker);
    }
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    options.set_name(WORKER_NAME);
    // Where the browser supports it, the worker and its socket outlive the last page for a while, so that a
    // reload keeps the call.
    let _ = Reflect::set(&options, &JsValue::from_str("extendedLifetime"), &JsValue::TRUE);
    SharedWorker::new_with_worker_options(&address.worker_url, &options).ok()
}

/// Loads the agent into this page by a script element: the content security policy allows the page's own
/// scripts, but no `eval`.
fn load_in_page(address: &AgentAddress, on_broken: &OnBroken) -> (MessagePort, Vec<EventListener>) {
    let (ours, theirs) = channel();
    let mut listeners = Vec::new();
    if let Some(document) = window().and_then(|window| window.document())
        && let Ok(script) =
            document.create_element("script").map(wasm_bindgen::JsCast::unchecked_into::<HtmlScriptElement>)
    {
        script.set_type("module");
        script.set_src(&address.worker_url);
        listeners.push(EventListener::new(&script, "load", move |_| {
            let init = CustomEventInit::new();
            init.set_detail(&theirs);
            if let (Some(window), Ok(event)) = (window(), CustomEvent::new_with_event_init_dict(ATTACH_EVENT, &init)) {
                let _ = window.dispatch_event(&event);
            }
        }));
        listeners.push(on_load_error(&script, on_broken));
        if let Some(head) = document.head() {
            let _ = head.append_child(&script);
        }
    }
    (ours, listeners)
}

fn on_load_error(what: &web_sys::EventTarget, on_broken: &OnBroken) -> EventListener {
    let on_broken = Rc::clone(on_broken);
    EventListener::new(what, "error", move |_| on_broken())
}

fn channel() -> (MessagePort, MessagePort) {
    match MessageChannel::new() {
        Ok(channel) => (channel.port1(), channel.port2()),
        // Every browser with WebAssembly has message channels.
        Err(error) => wasm_bindgen::throw_val(error),
    }
}
