//! This page's connection to the agent.
//!
//! The agent runs in a `SharedWorker`, so that one registration and one socket serve all tabs of a person
//! and survive a reload. Where the browser has none, the page loads the same module itself and talks to it
//! through a `MessageChannel` with the same messages, so that the rest of the phone sees no difference.
//!
//! The client also sends keep-alives, detaches and attaches as the page goes and comes back, reports network
//! changes, and passes media requests from the agent to [`Media`] and the replies back.

pub mod agent_port;
mod instance_number;
pub(crate) mod web_lock;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallId, CallOptions, KeptCalls, MediaRequest, OtherCalls, RecordingCommand, RegistrationFailure,
    RegistrationFailureCode, RegistrationStatus, SipAccount, ToAgent, ToPage,
};
use js_sys::Reflect;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventTarget, MessagePort};

use crate::browser::{self, BrowserTimer, EventListener};
use crate::media::Media;
use crate::page;

/// How often a page sends a keep-alive. The agent drops a page after 12 s without one.
const ALIVE_INTERVAL_MS: i32 = 5_000;

/// How long the agent may take to send its first message. It sends one as soon as it runs, and its module is
/// loaded from this page's own server.
const START_TIMEOUT_MS: i32 = 10_000;

/// Identifies an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// URL of the worker's module script, e.g. `/webphone/worker-1f2e.js`.
    pub worker_url: String,
    /// Name of the agent in that worker; pages with the same name share it, and no others. It has the tenant, the
    /// origin of the host page, the servers and the user, so that two extensions in one browser have two agents, and
    /// a page cannot reach the calls that the page of another origin has.
    pub name: String,
}

/// The connection of one page to its agent. Clones share the connection. It ends with [`AgentClient::close`]
/// or with the page.
#[derive(Clone)]
pub struct AgentClient(Rc<AgentClientShared>);

struct AgentClientShared {
    page: String,
    port: RefCell<Option<MessagePort>>,
    /// Messages sent before the port was connected.
    queued: RefCell<Vec<ToAgent>>,
    media: Media,
    on_message: Box<dyn Fn(ToPage)>,
    /// Needed to attach again when the page returns from the back/forward cache.
    address: AgentAddress,
    account: RefCell<Option<SipAccount>>,
    agent_port: RefCell<Option<agent_port::AgentPort>>,
    listeners: RefCell<Vec<EventListener>>,
    heartbeat: RefCell<Option<BrowserTimer>>,
    web_lock: RefCell<Option<web_lock::WebLock>>,
    /// Set where the agent runs in this page, which is then a user agent of its own.
    instance_number: RefCell<Option<instance_number::InstanceNumber>>,
    /// What the agent wants to be kept for the next page in this tab.
    kept: RefCell<String>,
    /// Runs until the first message of the agent.
    start_timer: RefCell<Option<BrowserTimer>>,
    /// The agent did not start. The next sign-in attaches again.
    start_failed: Cell<bool>,
    /// The shared worker failed to start: the agent runs in this page.
    in_page_only: Cell<bool>,
    hidden_by_browser: Cell<bool>,
    closed: Cell<bool>,
}

impl AgentClient {
    /// Attaches this page to the agent at `address` and signs in with `account`. An agent that is signed in
    /// with the same account stays so.
    ///
    /// `on_message` receives every [`ToPage`] except media requests, which `media` handles. It is never
    /// called before this function has returned.
    pub fn attach(
        address: AgentAddress,
        account: Option<SipAccount>,
        media: Media,
        on_message: impl Fn(ToPage) + 'static,
    ) -> AgentClient {
        let client = AgentClient(Rc::new(AgentClientShared {
            page: browser::random_id(),
            port: RefCell::default(),
            queued: RefCell::default(),
            media,
            on_message: Box::new(on_message),
            address,
            account: RefCell::new(account),
            agent_port: RefCell::default(),
            listeners: RefCell::default(),
            heartbeat: RefCell::default(),
            web_lock: RefCell::default(),
            instance_number: RefCell::default(),
            kept: RefCell::default(),
            start_timer: RefCell::default(),
            start_failed: Cell::new(false),
            in_page_only: Cell::new(false),
            hidden_by_browser: Cell::new(false),
            closed: Cell::new(false),
        }));
        client.0.media.connect({
            let client = Rc::downgrade(&client.0);
            move |message| {
                if let Some(client) = client.upgrade() {
                    client.send(&message);
                }
            }
        });
        client.0.open();
        client.0.watch_page();
        client
    }

    pub fn address(&self) -> &AgentAddress {
        &self.0.address
    }

    /// The id of this page load, as in [`bitcall_wire::agent_protocol::CallSnapshot::page`] and
    /// [`bitcall_wire::agent_protocol::AgentSnapshot::ringer`].
    pub fn page(&self) -> &str {
        &self.0.page
    }

    /// Sends a command. The result arrives as a snapshot and, where something happened or was refused, as an
    /// event.
    pub fn send(&self, message: &ToAgent) {
        self.0.send(message);
    }

    /// Signs in, also with another account or a corrected password.
    pub fn sign_in(&self, account: SipAccount) {
        *self.0.account.borrow_mut() = Some(account.clone());
        if self.0.start_failed.replace(false) {
            self.0.detach();
            self.0.in_page_only.set(false);
            return self.0.open();
        }
        let account = Box::new(self.0.with_own_instance_id(account));
        let kept = self.0.take_kept();
        self.send(&ToAgent::SignIn { account, kept });
    }

    /// Ends all calls and unregisters.
    pub fn sign_out(&self) {
        *self.0.account.borrow_mut() = None;
        self.send(&ToAgent::SignOut);
    }

    /// Places a call and returns its id. Call it directly from the click handler, before rendering: a
    /// prepared offer is sent with the command; without one, the offer is created meanwhile.
    pub fn call(&self, number: &str, options: CallOptions) -> CallId {
        let call = browser::random_id();
        browser::mark("bitcall:call");
        let offer = self.0.media.start_outgoing(&call);
        self.send(&ToAgent::Call { call: call.clone(), number: number.to_owned(), options, offer });
        call
    }

    /// Answers a call. Call it directly from the click handler, for the same reason.
    pub fn answer(&self, call: &str, others: OtherCalls) {
        self.send(&ToAgent::Answer { call: call.to_owned(), others });
        self.0.media.open_microphone();
    }

    /// The tone before a call is answered by itself has been played.
    pub fn auto_answer(&self, call: &str) {
        self.send(&ToAgent::AutoAnswer { call: call.to_owned() });
        self.0.media.open_microphone();
    }

    pub fn decline(&self, call: &str) {
        self.send(&ToAgent::Decline { call: call.to_owned() });
    }

    pub fn hang_up(&self, call: &str) {
        self.send(&ToAgent::HangUp { call: call.to_owned() });
    }

    /// The microphone is silenced at once. It is opened again when the far end has agreed to resume.
    pub fn hold(&self, call: &str, held: bool) {
        if held {
            self.0.media.silence_microphone(call);
        }
        self.send(&ToAgent::Hold { call: call.to_owned(), held });
    }

    /// Goes on with a call of another page in this one.
    pub fn take_over(&self, call: &str) {
        self.send(&ToAgent::TakeOver { call: call.to_owned() });
    }

    pub fn record(&self, call: &str, command: RecordingCommand) {
        self.send(&ToAgent::Record { call: call.to_owned(), command });
    }

    /// Connects the far end of the call with `target`, and leaves the call.
    pub fn transfer(&self, call: &str, target: &str) {
        self.send(&ToAgent::Transfer { call: call.to_owned(), target: target.to_owned() });
    }

    /// Connects the far ends of both calls.
    pub fn transfer_to(&self, call: &str, to: &str) {
        self.send(&ToAgent::TransferTo { call: call.to_owned(), to: to.to_owned() });
    }

    /// Whether to call the one whom the far end wants to connect us with.
    pub fn answer_referral(&self, call: &str, follow: bool) {
        self.send(&ToAgent::AnswerReferral { call: call.to_owned(), follow });
    }

    /// Tries to connect and register now ("Try now").
    pub fn retry(&self) {
        self.send(&ToAgent::Retry);
    }

    /// Detaches from the agent and stops all media of this page. The agent ends the page's calls after a
    /// grace period unless another page takes them over.
    pub fn close(&self) {
        self.close_with(&ToAgent::Detach);
    }

    /// The same for a phone that is taken down for good: without another page the agent signs out at once.
    pub fn leave(&self) {
        self.close_with(&ToAgent::Leave);
    }

    fn close_with(&self, last: &ToAgent) {
        if !self.0.closed.replace(true) {
            self.0.detach_with(last);
            self.0.listeners.borrow_mut().clear();
            self.0.media.close_all();
        }
    }
}

impl AgentClientShared {
    fn send(self: &Rc<Self>, message: &ToAgent) {
        match &*self.port.borrow() {
            Some(port) => agent_port::post(port, message),
            None => self.queued.borrow_mut().push(message.clone()),
        }
    }

    fn open(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let on_broken = {
            let weak = weak.clone();
            move || {
                // Firefox reports faults of a worker that runs as well.
                let starting = weak.upgrade().filter(|client| client.start_timer.borrow().is_some());
                if let Some(client) = starting {
                    if client.in_page_only.replace(true) {
                        return client.report_not_started();
                    }
                    client.detach();
                    client.open();
                }
            }
        };
        let on_message = {
            let weak = weak.clone();
            move |message| {
                if let Some(client) = weak.upgrade() {
                    client.receive(message);
                }
            }
        };
        let agent_port = agent_port::AgentPort::open(&self.address, !self.in_page_only.get(), on_broken, on_message);
        let port = agent_port.port().clone();
        let shared = agent_port.is_shared();
        *self.agent_port.borrow_mut() = Some(agent_port);
        agent_port::post(&port, &ToAgent::Attach { page: self.page.clone(), visible: browser::is_page_visible() });
        if shared {
            self.connect_port(port);
        } else {
            let weak = weak.clone();
            let address = self.address.clone();
            spawn_local(async move {
                let instance = instance_number::InstanceNumber::acquire(&address.name).await;
                if let Some(client) = weak.upgrade()
                    && client.agent_port.borrow().as_ref().is_some_and(|now| *now.port() == port)
                {
                    *client.instance_number.borrow_mut() = Some(instance);
                    client.connect_port(port);
                }
            });
        }
        *self.web_lock.borrow_mut() = web_lock::WebLock::acquire(&format!("bitcall-page:{}", self.page), {
            let weak = weak.clone();
            move || {
                if let Some(client) = weak.upgrade() {
                    client.send_alive();
                }
            }
        });
        *self.start_timer.borrow_mut() = Some(BrowserTimer::after(START_TIMEOUT_MS, {
            let weak = weak.clone();
            move || {
                if let Some(client) = weak.upgrade() {
                    client.report_not_started();
                }
            }
        }));
        *self.heartbeat.borrow_mut() = Some(BrowserTimer::every(ALIVE_INTERVAL_MS, move || {
            if let Some(client) = weak.upgrade() {
                client.send_alive();
            }
        }));
    }

    /// Signs in and sends the queued messages.
    fn connect_port(&self, port: MessagePort) {
        if let Some(account) = self.account.borrow().clone() {
            let account = Box::new(self.with_own_instance_id(account));
            agent_port::post(&port, &ToAgent::SignIn { account, kept: self.take_kept() });
        }
        for message in self.queued.borrow_mut().drain(..) {
            agent_port::post(&port, &message);
        }
        *self.port.borrow_mut() = Some(port);
    }

    fn with_own_instance_id(&self, mut account: SipAccount) -> SipAccount {
        if let Some(instance) = &*self.instance_number.borrow() {
            account.instance_id = instance.id(&account.instance_id);
        }
        account
    }

    /// Stores what is to be kept, with the time, in this tab.
    fn store_kept(&self) {
        let kept = self.kept.borrow();
        if !kept.is_empty()
            && let Some(storage) = browser::session_storage()
        {
            let _ = storage.set_item(&self.address.name, &[&page::unix_now_ms().to_string(), " ", &**kept].concat());
        }
    }

    /// Takes what was kept last in this tab: it can be used once.
    fn take_kept(&self) -> Option<KeptCalls> {
        self.kept.take();
        let storage = browser::session_storage()?;
        let stored = storage.get_item(&self.address.name).ok()??;
        let _ = storage.remove_item(&self.address.name);
        let (at, record) = stored.split_once(' ')?;
        // Also where the clock was set back.
        let age_ms = page::unix_now_ms().abs_diff(at.parse().ok()?);
        Some(KeptCalls { record: record.to_owned(), age_ms })
    }

    /// Reports the failure in the agent's place. If the agent was only slow, its first snapshot replaces
    /// this one.
    fn report_not_started(&self) {
        self.start_failed.set(true);
        let text = "The phone could not start. Try again, or reload the page.".to_owned();
        let reason = RegistrationFailure { code: RegistrationFailureCode::NotStarted, sip_code: None, text };
        let snapshot =
            AgentSnapshot { registration: RegistrationStatus::Failed { reason }, ..AgentSnapshot::default() };
        (self.on_message)(ToPage::Snapshot { snapshot });
    }

    fn send_alive(self: &Rc<Self>) {
        self.store_kept();
        self.send(&ToAgent::Alive { visible: browser::is_page_visible() });
    }

    fn detach(self: &Rc<Self>) {
        self.detach_with(&ToAgent::Detach);
    }

    fn detach_with(self: &Rc<Self>, last: &ToAgent) {
        if let Some(agent_port) = &*self.agent_port.borrow() {
            agent_port::post(agent_port.port(), last);
        }
        if matches!(last, ToAgent::Leave) {
            self.take_kept();
        }
        *self.heartbeat.borrow_mut() = None;
        *self.start_timer.borrow_mut() = None;
        *self.web_lock.borrow_mut() = None;
        *self.instance_number.borrow_mut() = None;
        *self.port.borrow_mut() = None;
        *self.agent_port.borrow_mut() = None;
    }

    /// `pagehide` instead of `unload`: browsers phase out `unload`, and it keeps a page out of the
    /// back/forward cache.
    fn watch_page(self: &Rc<Self>) {
        let Some(window) = web_sys::window() else {
            return;
        };
        let Some(document) = window.document() else {
            return;
        };
        let on = |target: &EventTarget, name: &str, handler: fn(&Rc<AgentClientShared>)| {
            let weak: Weak<AgentClientShared> = Rc::downgrade(self);
            EventListener::new(target, name, move |_| {
                if let Some(client) = weak.upgrade() {
                    handler(&client);
                }
            })
        };
        *self.listeners.borrow_mut() = vec![
            on(&window, "pagehide", |client| {
                client.hidden_by_browser.set(true);
                client.store_kept();
                client.detach();
                client.media.close_all();
            }),
            on(&window, "pageshow", |client| {
                if client.hidden_by_browser.replace(false) && !client.closed.get() {
                    client.open();
                }
            }),
            on(&window, "online", |client| {
                client.media.network_changed();
                client.send(&ToAgent::Probe);
            }),
            on(&window, "offline", |client| {
                client.media.network_changed();
                client.send(&ToAgent::Offline);
            }),
            on(&document, "visibilitychange", |client| {
                if client.hidden_by_browser.get() {
                    return;
                }
                client.send_alive();
                if browser::is_page_visible() {
                    client.send(&ToAgent::Probe);
                }
            }),
            on(&document, "pointerdown", |client| client.media.unlock()),
            on(&document, "keydown", |client| client.media.unlock()),
        ];
        // Chromium reports a change of network here, also without an offline phase in between.
        let network = Reflect::get(&window.navigator(), &"connection".into());
        if let Some(network) = network.ok().and_then(|network| network.dyn_into::<EventTarget>().ok()) {
            self.listeners.borrow_mut().push(on(&network, "change", |client| client.media.network_changed()));
        }
    }

    fn receive(self: &Rc<Self>, message: ToPage) {
        self.start_timer.borrow_mut().take();
        self.start_failed.set(false);
        match &message {
            ToPage::Media { call, request_id, request } => {
                if matches!(request, MediaRequest::Close) {
                    self.media.close(call);
                } else {
                    self.media.serve(call, *request_id, request.clone());
                }
                return;
            }
            ToPage::RingingOffer { call, offer } => return self.media.prepare_answer(call, offer),
            ToPage::Snapshot { snapshot } => self.media.apply_snapshot(snapshot, &self.page),
            ToPage::Keep { record } => {
                self.take_kept();
                self.kept.borrow_mut().clone_from(record);
                return self.store_kept();
            }
            ToPage::Event { .. } | ToPage::Log { .. } => {}
        }
        (self.on_message)(message);
    }
}
