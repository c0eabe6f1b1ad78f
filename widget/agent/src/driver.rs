//! The agent's I/O: message ports, WebSockets, timers, the clock, randomness, locks.
//!
//! It contains no logic of calls or SIP. It turns browser events into [`Input`]s and
//! performs every [`Output`] at once.

mod socket;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{self, ToAgent, ToPage};
use bitcall_wire::encoding;
use bitcall_wire::small_map::SmallMap;
use js_sys::{Date, Function, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort};

use crate::{Agent, AgentClock, ClockChange, ClockReading, Input, Output, PortId};
use socket::Socket;

/// Upper bound of one `setTimeout`. Browsers treat delays above 2^31 - 1 ms as 0; additional ticks have no effect.
const MAX_TIMER_DELAY_MS: u64 = 600_000;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The agents of one worker, created by `worker.js`. The key is the agent name that each page
/// sends as its first message. Agents share a worker so that it can be started before the
/// account is known.
#[wasm_bindgen]
pub struct Driver {
    agents: RefCell<SmallMap<String, Rc<AgentDriver>>>,
    active_agents: Rc<Cell<u32>>,
}

#[wasm_bindgen]
impl Driver {
    /// A driver without agents.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Driver {
        Driver { agents: RefCell::default(), active_agents: Rc::default() }
    }

    /// Whether any of the agents has a socket, open or being opened.
    pub fn has_socket(&self) -> bool {
        self.agents.borrow().values().any(|driver| !driver.sockets.borrow().is_empty())
    }

    /// Attaches a page's port to the agent `name`, which is created if it does not exist. `number` is that of this
    /// worker among those with an agent of this name.
    pub fn attach(&self, name: String, number: u32, port: MessagePort) {
        let known = self.agents.borrow().get(&name).cloned();
        let driver = known.unwrap_or_else(|| {
            let driver = AgentDriver::new(Rc::clone(&self.active_agents));
            self.agents.borrow_mut().insert(name, Rc::clone(&driver));
            driver
        });
        driver.number.set(number);
        driver.attach(port);
    }

    /// Another worker has an agent of this name, too, and is of a newer build. Without a call, this one makes room.
    pub fn hand_over(&self, name: &str) {
        let driver = self.agents.borrow().get(name).cloned();
        if let Some(driver) = driver {
            driver.hand_over();
        }
    }
}

struct AgentDriver {
    /// Its instance id is derived from the device's by this number.
    number: Cell<u32>,
    agent: RefCell<Agent>,
    clock: RefCell<AgentClock>,
    ports: RefCell<SmallMap<PortId, Port>>,
    next_port: Cell<PortId>,
    /// By `TransportId`.
    sockets: RefCell<SmallMap<u64, Socket>>,
    /// Inputs that are not handled yet.
    inputs: RefCell<Vec<Input>>,
    is_handling: Cell<bool>,
    /// The agent has finished or not started.
    idle: Cell<bool>,
    /// Number of this worker's agents that are not idle.
    active_agents: Rc<Cell<u32>>,
    timer: RefCell<JsValue>,
    tick: Closure<dyn FnMut()>,
}

struct Port {
    channel: MessagePort,
    /// The page's lock was requested. This is done once per port.
    lock_requested: Cell<bool>,
    page: RefCell<String>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    on_close: Closure<dyn FnMut()>,
}

/// The browser may still fire `close`. A closure that is gone would throw then, which Firefox reports to all pages of the
/// worker.
impl Drop for Port {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        let _ = self.channel.remove_event_listener_with_callback("close", self.on_close.as_ref().unchecked_ref());
    }
}

impl AgentDriver {
    fn new(active_agents: Rc<Cell<u32>>) -> Rc<AgentDriver> {
        Rc::new_cyclic(|driver: &Weak<AgentDriver>| AgentDriver {
            number: Cell::new(0),
            agent: RefCell::new(Agent::new(random_seed())),
            clock: RefCell::new(AgentClock::new(read_clocks())),
            ports: RefCell::default(),
            next_port: Cell::new(0),
            sockets: RefCell::default(),
            inputs: RefCell::default(),
            is_handling: Cell::new(false),
            idle: Cell::new(true),
            active_agents,
            timer: RefCell::new(JsValue::UNDEFINED),
            tick: {
                let driver = driver.clone();
                Closure::new(move || {
                    if let Some(driver) = driver.upgrade() {
                        driver.handle(Input::Tick);
                    }
                })
            },
        })
    }

    /// Closes the worker when its last agent has finished.
    fn set_idle(&self, idle: bool) {
        if self.idle.replace(idle) == idle {
            return;
        }
        let active_agents = self.active_agents.get();
        let active_agents = if idle { active_agents.saturating_sub(1) } else { active_agents + 1 };
        self.active_agents.set(active_agents);
        if active_agents == 0 {
            close_worker();
        }
    }

    fn attach(self: &Rc<Self>, port: MessagePort) {
        let id = self.next_port.get().wrapping_add(1);
        self.next_port.set(id);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new({
            let driver = Rc::downgrade(self);
            move |event: MessageEvent| {
                if let (Some(driver), Ok(bytes)) = (driver.upgrade(), event.data().dyn_into::<Uint8Array>()) {
                    driver.receive(id, &bytes.to_vec());
                }
            }
        });
        let on_close = Closure::<dyn FnMut()>::new({
            let driver = Rc::downgrade(self);
            move || {
                if let Some(driver) = driver.upgrade() {
                    driver.page_gone(id);
                }
            }
        });
        port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // Chromium fires `close` when the other side is gone, also after a crash.
        let _ = port.add_event_listener_with_callback("close", on_close.as_ref().unchecked_ref());
        let port = Port {
            channel: port,
            lock_requested: Cell::new(false),
            page: RefCell::default(),
            _on_message: on_message,
            on_close,
        };
        self.ports.borrow_mut().insert(id, port);
        self.set_idle(false);
    }

    fn receive(self: &Rc<Self>, port: PortId, bytes: &[u8]) {
        let Some(mut message) = encoding::from_bytes(bytes) else {
            return self.post(port, &ToPage::Log { line: "unreadable message from the page".into() });
        };
        match &mut message {
            ToAgent::SignIn { account, .. } => {
                account.instance_id = agent_protocol::numbered_instance(&account.instance_id, self.number.get());
            }
            ToAgent::Attach { page, .. } => {
                if let Some(port) = self.ports.borrow().get(&port) {
                    port.page.borrow_mut().clone_from(page);
                }
            }
            ToAgent::Alive { .. } => self.request_page_lock(port),
            _ => {}
        }
        let detached = matches!(message, ToAgent::Detach | ToAgent::Leave);
        self.handle(Input::Page { port, message });
        if detached {
            self.ports.borrow_mut().remove(&port);
        }
    }

    /// Requests the lock that the page holds under its name (Web Locks): it is granted when
    /// the page is gone. Called at the first `Alive`, which a page sends once it holds the lock.
    fn request_page_lock(self: &Rc<Self>, id: PortId) {
        let name = match self.ports.borrow().get(&id) {
            Some(port) if !port.lock_requested.replace(true) => port.page.borrow().clone(),
            _ => return,
        };
        let driver = Rc::downgrade(self);
        let granted = Closure::once_into_js(move || {
            if let Some(driver) = driver.upgrade() {
                driver.page_gone(id);
            }
        });
        let request = || {
            let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
            let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
            Reflect::get(&locks, &"request".into())
                .ok()?
                .dyn_into::<Function>()
                .ok()?
                .call2(&locks, &format!("bitcall-page:{name}").into(), &granted)
                .ok()
        };
        request();
    }

    /// The pages leave, and with the last one the agent signs out.
    fn hand_over(self: &Rc<Self>) {
        self.handle(Input::HandOver);
        if self.agent.borrow().has_calls() {
            return;
        }
        for port in self.ports.borrow().values() {
            let _ = port.channel.post_message(&agent_protocol::MOVED_MESSAGE.into());
        }
    }

    fn page_gone(self: &Rc<Self>, port: PortId) {
        if self.ports.borrow_mut().remove(&port).is_some() {
            self.handle(Input::PageGone { port });
        }
    }

    fn handle(self: &Rc<Self>, input: Input) {
        self.inputs.borrow_mut().push(input);
        if self.is_handling.replace(true) {
            return;
        }
        loop {
            let inputs = self.inputs.take();
            if inputs.is_empty() {
                break;
            }
            for input in inputs {
                let due = self.agent.borrow().next_timeout();
                let change = self.clock.borrow_mut().advance(read_clocks(), due);
                if change != ClockChange::default() {
                    self.step(Input::ClockChanged { asleep_ms: change.asleep_ms });
                }
                self.step(input);
            }
        }
        self.is_handling.set(false);
        self.schedule_tick();
    }

    fn step(self: &Rc<Self>, input: Input) {
        let now = self.clock.borrow().now();
        self.agent.borrow_mut().handle(input, now);
        loop {
            let output = self.agent.borrow_mut().poll();
            match output {
                Some(output) => self.perform(output),
                None => break,
            }
        }
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            Output::ToPage { port, mut message } => {
                message.map_times(|at| self.clock.borrow().shown(at));
                self.post(port, &message);
            }
            Output::Connect { id, url } => {
                let driver = Rc::downgrade(self);
                let socket = Socket::open(&url, move |event| {
                    if let Some(driver) = driver.upgrade() {
                        driver.handle(match event {
                            socket::SocketEvent::Open => Input::SocketOpened { id },
                            socket::SocketEvent::Message(bytes) => Input::SocketReceived { id, bytes },
                            socket::SocketEvent::Closed(reason) => Input::SocketClosed { id, reason },
                        });
                    }
                });
                match socket {
                    Ok(socket) => {
                        self.sockets.borrow_mut().insert(id.0, socket);
                    }
                    Err(reason) => self.inputs.borrow_mut().push(Input::SocketClosed { id, reason }),
                }
            }
            Output::Send { id, bytes } => {
                if bytes.starts_with(b"INVITE ") {
                    add_performance_mark("bitcall:invite");
                }
                if let Some(socket) = self.sockets.borrow().get(&id.0) {
                    socket.send(&bytes);
                }
            }
            // Dropping the socket closes it.
            Output::CloseSocket { id } => drop(self.sockets.borrow_mut().remove(&id.0)),
            Output::Finished => self.set_idle(true),
        }
    }

    fn post(&self, port: PortId, message: &ToPage) {
        if let Some(port) = self.ports.borrow().get(&port) {
            let _ = port.channel.post_message(&Uint8Array::from(encoding::to_bytes(message).as_slice()));
        }
    }

    fn schedule_tick(&self) {
        clear_timeout(&self.timer.borrow());
        let next = self.agent.borrow().next_timeout();
        *self.timer.borrow_mut() = match next {
            None => JsValue::UNDEFINED,
            Some(at) => {
                let wait = at.since(self.clock.borrow().now()).min(MAX_TIMER_DELAY_MS);
                #[expect(clippy::cast_precision_loss, reason = "at most ten minutes")]
                set_timeout(self.tick.as_ref().unchecked_ref(), wait as f64)
            }
        };
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds since the start and since 1970"
)]
fn read_clocks() -> ClockReading {
    ClockReading { monotonic_ms: performance_now() as u64, wall_ms: Date::now() as u64 }
}

/// Throws if there is no source of randomness: tags and nonces must not be predictable.
fn random_seed() -> [u8; 32] {
    let fill = || {
        let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
        let bytes = Uint8Array::new_with_length(32);
        Reflect::get(&crypto, &"getRandomValues".into())
            .ok()?
            .dyn_into::<Function>()
            .ok()?
            .call1(&crypto, &bytes)
            .ok()?;
        let mut seed = [0; 32];
        bytes.copy_to(&mut seed);
        Some(seed)
    };
    fill().unwrap_or_else(|| wasm_bindgen::throw_str("no source of randomness"))
}

fn add_performance_mark(name: &str) {
    let mark = || {
        let performance = Reflect::get(&js_sys::global(), &"performance".into()).ok()?;
        Reflect::get(&performance, &"mark".into())
            .ok()?
            .dyn_into::<Function>()
            .ok()?
            .call1(&performance, &name.into())
            .ok()
    };
    mark();
}

/// Closes the `SharedWorker`. Does nothing in a page that runs its own agent: its `close` would close the window.
fn close_worker() {
    let global = js_sys::global();
    let in_worker = Reflect::has(&global, &"onconnect".into()).unwrap_or(false);
    if in_worker
        && let Ok(close) = Reflect::get(&global, &"close".into())
        && let Ok(close) = close.dyn_into::<Function>()
    {
        let _ = close.call0(&global);
    }
}
