//! This page's connection to the agent.
//!
//! The agent lives in a `SharedWorker`, so that one registration and one
//! socket serve all of a person's tabs and outlive a reload. Where the browser
//! has none, the page loads the very same module itself and talks to it
//! through a `MessageChannel`: same messages, so nothing else in the phone can
//! tell the difference.
//!
//! The link also does what no screen should have to think of: it says that
//! the page is alive, that it goes and comes back, that the network changed;
//! and it hands the agent's media requests to [`Media`] and the replies back.

pub mod agent_port;
mod instance_number;
mod web_lock;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallId, MediaRequest, OtherCalls, RegistrationFailure, RegistrationFailureCode, RegistrationStatus,
    SipAccount, ToAgent, ToPage,
};
use js_sys::Reflect;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventTarget, MessagePort};

use crate::browser::{self, Listener, Timer};
use crate::media::Media;

/// How often a page says that it is still there. The agent gives up on a page after 12 s.
const ALIVE_EVERY_MS: i32 = 5_000;

/// The agent says something as soon as it runs. Its module comes from this
/// page's own server, so that a longer silence means trouble.
const SILENT_MS: i32 = 10_000;

/// Where the agent is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// URL of the worker's module script, e.g. `/webphone/worker-1f2e.js`.
    pub worker: String,
    /// Name of the agent in that worker: two pages with the same name share it.
    /// `storageNamespace|userKey`, so that two extensions in one browser are two agents.
    pub name: String,
}

/// The connection of one page to its agent. Clones are the same connection;
/// it ends with [`Link::close`] or with the page.
#[derive(Clone)]
pub struct Link(Rc<Inner>);

struct Inner {
    page: String,
    port: RefCell<Option<MessagePort>>,
    /// Sent before the port was there.
    early: RefCell<Vec<ToAgent>>,
    media: Media,
    on_message: Box<dyn Fn(ToPage)>,
    /// What is needed to attach again after the page comes back from the back/forward cache.
    place: Place,
    account: RefCell<Option<SipAccount>>,
    attachment: RefCell<Option<agent_port::Attachment>>,
    listeners: RefCell<Vec<Listener>>,
    heartbeat: RefCell<Option<Timer>>,
    lock: RefCell<Option<web_lock::Lock>>,
    /// Where the agent lives in this page, which is then a device of its own.
    instance: RefCell<Option<instance_number::Instance>>,
    /// Runs until the agent has said something.
    silence: RefCell<Option<Timer>>,
    /// The agent could not start: the next sign-in tries it afresh.
    stuck: Cell<bool>,
    /// The shared worker does not run here: the agent lives in this page.
    alone: Cell<bool>,
    away: Cell<bool>,
    closed: Cell<bool>,
}

impl Link {
    /// Attaches this page to the agent at `place` and signs in with `account`
    /// (an agent that is signed in with the same account already just stays so).
    ///
    /// `on_message` gets every [`ToPage`] but the media requests, which `media`
    /// serves by itself. It is never called before this function has returned.
    pub fn attach(
        place: Place,
        account: Option<SipAccount>,
        media: Media,
        on_message: impl Fn(ToPage) + 'static,
    ) -> Link {
        let link = Link(Rc::new(Inner {
            page: browser::random_id(),
            port: RefCell::default(),
            early: RefCell::default(),
            media,
            on_message: Box::new(on_message),
            place,
            account: RefCell::new(account),
            attachment: RefCell::default(),
            listeners: RefCell::default(),
            heartbeat: RefCell::default(),
            lock: RefCell::default(),
            instance: RefCell::default(),
            silence: RefCell::default(),
            stuck: Cell::new(false),
            alone: Cell::new(false),
            away: Cell::new(false),
            closed: Cell::new(false),
        }));
        link.0.media.connect({
            let link = Rc::downgrade(&link.0);
            move |message| {
                if let Some(link) = link.upgrade() {
                    link.send(&message);
                }
            }
        });
        link.0.open();
        link.0.watch_page();
        link
    }

    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// This page load's name, as it stands in [`bitcall_wire::agent_protocol::CallSnapshot::page`]
    /// and [`bitcall_wire::agent_protocol::AgentSnapshot::ringer`].
    pub fn page(&self) -> &str {
        &self.0.page
    }

    /// Sends a command. The outcome comes as a snapshot and, where something
    /// happened or was refused, as an event.
    pub fn send(&self, message: &ToAgent) {
        self.0.send(message);
    }

    /// Signs in, also with another account or a corrected password.
    pub fn sign_in(&self, account: SipAccount) {
        *self.0.account.borrow_mut() = Some(account.clone());
        if self.0.stuck.replace(false) {
            self.0.leave();
            self.0.alone.set(false);
            return self.0.open();
        }
        let account = Box::new(self.0.as_this_page(account));
        self.send(&ToAgent::SignIn { account });
    }

    /// Ends all calls and unregisters.
    pub fn sign_out(&self) {
        *self.0.account.borrow_mut() = None;
        self.send(&ToAgent::SignOut);
    }

    /// Places a call and returns its id. Call it straight from the click, before anything is drawn: the
    /// offer goes out with it where one was made ahead, else it is made while the command is on its way.
    pub fn call(&self, number: &str, caller_id: Option<String>) -> CallId {
        let call = browser::random_id();
        browser::mark("bitcall:call");
        let offer = self.0.media.prepare(&call);
        self.send(&ToAgent::Call { call: call.clone(), number: number.to_owned(), caller_id, offer });
        call
    }

    /// Answers a call. Call it straight from the click, for the same reason.
    pub fn answer(&self, call: &str, others: OtherCalls) {
        self.send(&ToAgent::Answer { call: call.to_owned(), others });
        self.0.media.open_microphone();
    }

    pub fn decline(&self, call: &str) {
        self.send(&ToAgent::Decline { call: call.to_owned() });
    }

    pub fn hang_up(&self, call: &str) {
        self.send(&ToAgent::HangUp { call: call.to_owned() });
    }

    /// The microphone is cut at once; it opens again when the far end has agreed to go on.
    pub fn hold(&self, call: &str, held: bool) {
        if held {
            self.0.media.cut(call);
        }
        self.send(&ToAgent::Hold { call: call.to_owned(), held });
    }

    /// Tries the connection now ("Retry").
    pub fn probe(&self) {
        self.send(&ToAgent::Probe);
    }

    /// Leaves the agent and stops all media of this page. Calls of this page end
    /// after the agent's grace, unless another page takes them over.
    pub fn close(&self) {
        if !self.0.closed.replace(true) {
            self.0.leave();
            self.0.listeners.borrow_mut().clear();
            self.0.media.close_all();
        }
    }
}

impl Inner {
    fn send(self: &Rc<Self>, message: &ToAgent) {
        match &*self.port.borrow() {
            Some(port) => agent_port::post(port, message),
            None => self.early.borrow_mut().push(message.clone()),
        }
    }

    fn open(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let on_broken = {
            let weak = weak.clone();
            move || {
                if let Some(link) = weak.upgrade() {
                    if link.alone.replace(true) {
                        return link.not_started();
                    }
                    link.leave();
                    link.open();
                }
            }
        };
        let on_message = {
            let weak = weak.clone();
            move |message| {
                if let Some(link) = weak.upgrade() {
                    link.receive(message);
                }
            }
        };
        let attachment = agent_port::Attachment::open(&self.place, !self.alone.get(), on_broken, on_message);
        let port = attachment.port().clone();
        let shared = attachment.is_shared();
        *self.attachment.borrow_mut() = Some(attachment);
        agent_port::post(&port, &ToAgent::Attach { page: self.page.clone(), visible: browser::visible() });
        if shared {
            self.enter(port);
        } else {
            let weak = weak.clone();
            let place = self.place.clone();
            spawn_local(async move {
                let instance = instance_number::Instance::take(&place.name).await;
                if let Some(link) = weak.upgrade()
                    && link.attachment.borrow().as_ref().is_some_and(|now| *now.port() == port)
                {
                    *link.instance.borrow_mut() = Some(instance);
                    link.enter(port);
                }
            });
        }
        *self.lock.borrow_mut() = web_lock::Lock::hold(&format!("bitcall-page:{}", self.page), {
            let weak = weak.clone();
            move || {
                if let Some(link) = weak.upgrade() {
                    link.alive();
                }
            }
        });
        *self.silence.borrow_mut() = Some(Timer::after(SILENT_MS, {
            let weak = weak.clone();
            move || {
                if let Some(link) = weak.upgrade() {
                    link.not_started();
                }
            }
        }));
        *self.heartbeat.borrow_mut() = Some(Timer::every(ALIVE_EVERY_MS, move || {
            if let Some(link) = weak.upgrade() {
                link.alive();
            }
        }));
    }

    /// Signs in, and says what was to be said before.
    fn enter(&self, port: MessagePort) {
        if let Some(account) = self.account.borrow().clone() {
            let account = Box::new(self.as_this_page(account));
            agent_port::post(&port, &ToAgent::SignIn { account });
        }
        for message in self.early.borrow_mut().drain(..) {
            agent_port::post(&port, &message);
        }
        *self.port.borrow_mut() = Some(port);
    }

    fn as_this_page(&self, mut account: SipAccount) -> SipAccount {
        if let Some(instance) = &*self.instance.borrow() {
            account.instance_id = instance.id(&account.instance_id);
        }
        account
    }

    /// Nobody else can say it. An agent that was only slow makes it good with its first snapshot.
    fn not_started(&self) {
        self.stuck.set(true);
        let words = "The phone could not start. Try again, or reload the page.".to_owned();
        let reason = RegistrationFailure { code: RegistrationFailureCode::NotStarted, sip_code: None, words };
        let snapshot =
            AgentSnapshot { registration: RegistrationStatus::Failed { reason }, ..AgentSnapshot::default() };
        (self.on_message)(ToPage::Snapshot { snapshot });
    }

    fn alive(self: &Rc<Self>) {
        self.send(&ToAgent::Alive { visible: browser::visible() });
    }

    fn leave(self: &Rc<Self>) {
        if let Some(attachment) = &*self.attachment.borrow() {
            agent_port::post(attachment.port(), &ToAgent::Detach);
        }
        *self.heartbeat.borrow_mut() = None;
        *self.silence.borrow_mut() = None;
        *self.lock.borrow_mut() = None;
        *self.instance.borrow_mut() = None;
        *self.port.borrow_mut() = None;
        *self.attachment.borrow_mut() = None;
    }

    /// No `unload`: browsers ban it, and it would keep the page out of the
    /// back/forward cache.
    fn watch_page(self: &Rc<Self>) {
        let Some(window) = web_sys::window() else {
            return;
        };
        let Some(document) = window.document() else {
            return;
        };
        let on = |target: &EventTarget, name: &str, act: fn(&Rc<Inner>)| {
            let weak: Weak<Inner> = Rc::downgrade(self);
            Listener::new(target, name, move |_| {
                if let Some(link) = weak.upgrade() {
                    act(&link);
                }
            })
        };
        *self.listeners.borrow_mut() = vec![
            on(&window, "pagehide", |link| {
                link.away.set(true);
                link.leave();
                link.media.close_all();
            }),
            on(&window, "pageshow", |link| {
                if link.away.replace(false) && !link.closed.get() {
                    link.open();
                }
            }),
            on(&window, "online", |link| {
                link.media.network_changed();
                link.send(&ToAgent::Probe);
            }),
            on(&window, "offline", |link| {
                link.media.network_changed();
                link.send(&ToAgent::Offline);
            }),
            on(&document, "visibilitychange", |link| {
                if link.away.get() {
                    return;
                }
                link.alive();
                if browser::visible() {
                    link.send(&ToAgent::Probe);
                }
            }),
            on(&document, "pointerdown", |link| link.media.unlock()),
            on(&document, "keydown", |link| link.media.unlock()),
        ];
        // Chromium tells of another network here, also where it never was without one.
        let network = Reflect::get(&window.navigator(), &"connection".into());
        if let Some(network) = network.ok().and_then(|network| network.dyn_into::<EventTarget>().ok()) {
            self.listeners.borrow_mut().push(on(&network, "change", |link| link.media.network_changed()));
        }
    }

    fn receive(self: &Rc<Self>, message: ToPage) {
        self.silence.borrow_mut().take();
        self.stuck.set(false);
        match &message {
            ToPage::Media { call, request, ask } => {
                if matches!(ask, MediaRequest::Close) {
                    self.media.close(call);
                } else {
                    self.media.serve(call, *request, ask.clone());
                }
                return;
            }
            ToPage::Snapshot { snapshot } => self.media.follow(snapshot, &self.page),
            ToPage::Event { .. } | ToPage::Log { .. } => {}
        }
        (self.on_message)(message);
    }
}
