//! The half of the agent that knows pages and calls, and no SIP: what pages
//! ask for becomes commands to the user agent, what the user agent tells
//! becomes events, snapshots and media requests to pages.

mod adopt;
mod commands;
mod media;
mod news;

use std::collections::VecDeque;

use bitcall_sip::ua::{Command, Config, Millis};
use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallEndCause, CallSnapshot, CallState, MediaRequest, RegistrationStatus, SipAccount,
    ToAgent, ToPage,
};

use crate::line::{Line, Purpose};
use crate::pages::{Pages, PortId};

/// Without a page and without a call the agent signs out after this long.
const EMPTY_MS: u64 = 15_000;
/// With a call: a reload may take its time, and so may a page that is opened again.
const EMPTY_IN_CALL_MS: u64 = 60_000;

/// What the board wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    ToPage {
        port: PortId,
        message: ToPage,
    },
    Command(Command),
    /// Something smells: check the connection.
    Probe,
    /// Make a user agent for this account in place of the present one.
    Start(Box<Config>),
    /// Nobody is left.
    Finished,
}

/// See the module.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one machine")]
pub struct Board {
    pages: Pages,
    account: Option<SipAccount>,
    /// What the account's password was, so that a second tab with the same one is recognised.
    proof: Option<[u8; 32]>,
    /// A server has accepted the account's secret.
    proven: bool,
    /// Signed in for good or trying: the user agent exists and has not said `SignedOut`.
    running: bool,
    /// The user agent was told to sign out and has not said yet that it has.
    leaving: bool,
    /// Who signs in when the present account has signed out.
    next: Option<SipAccount>,
    registration: RegistrationStatus,
    /// What pages were told last: `Registered` or `Unregistered`.
    announced: bool,
    lines: Vec<Line>,
    focus: u64,
    requests: u32,
    shown: AgentSnapshot,
    empty_until: Option<Millis>,
    finished: bool,
    out: VecDeque<Out>,
}

impl Board {
    pub fn new() -> Board {
        Board::default()
    }

    /// A message from a page. [`ToAgent::Probe`] and [`ToAgent::Offline`] only
    /// prove here that the page lives; they are news for the user agent.
    pub fn page(&mut self, port: PortId, message: ToAgent, now: Millis) {
        if let Some(page) = self.pages.heard(port, now) {
            self.awake(&page);
        }
        match message {
            ToAgent::Attach { page, visible } => return self.attach(port, &page, visible, now),
            ToAgent::Detach => return self.page_gone(port, now),
            ToAgent::Alive { visible } => self.pages.alive(port, visible, now),
            ToAgent::Probe | ToAgent::Offline => {}
            ToAgent::SignIn { account } => self.sign_in(port, *account),
            _ if self.pages.by_port(port).is_none_or(|page| !page.admitted) => return,
            ToAgent::SignOut => self.sign_out(now),
            ToAgent::Call { call, number, caller_id, offer } => {
                self.call(port, call, &number, caller_id, offer, now);
            }
            ToAgent::Answer { call, others } => self.answer(port, &call, others, now),
            ToAgent::Decline { call } => self.decline(port, &call, now),
            ToAgent::HangUp { call } => self.hang_up(port, &call, now),
            ToAgent::Hold { call, held } => self.hold(port, &call, held),
            ToAgent::Mute { call, muted } => {
                if let Some(line) = self.line(&call) {
                    line.call.muted = muted;
                }
            }
            ToAgent::Digits { call, digits } => self.digits(port, &call, &digits),
            ToAgent::MediaReply { call, request, reply } => self.media_reply(port, &call, request, reply, now),
            ToAgent::MediaChanged { call, state } => {
                self.media_changed(port, &call, state, now);
            }
        }
        self.move_on(now);
    }

    pub fn tick(&mut self, now: Millis) {
        while let Some(page) = self.pages.lost(now) {
            self.orphan(&page.name, now);
        }
        self.expire(now);
        if self.empty_until.is_some_and(|until| until <= now) {
            self.empty_until = None;
            self.leave(now);
        }
        self.move_on(now);
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        let lines = self.lines.iter().filter_map(Line::next_timeout).min();
        [lines, self.pages.next_timeout(), self.empty_until].into_iter().flatten().min()
    }

    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Tells every page what changed since the last time; false when nothing did.
    ///
    /// An ended call is in one such snapshot, and in none after it.
    pub fn show(&mut self) -> bool {
        let mut snapshot = self.snapshot();
        snapshot.revision = self.shown.revision;
        if snapshot == self.shown {
            return false;
        }
        snapshot.revision += 1;
        self.shown = snapshot;
        self.lines.retain(|line| !line.ended());
        for page in self.pages.iter() {
            self.out
                .push_back(Out::ToPage { port: page.port, message: ToPage::Snapshot { snapshot: self.shown.clone() } });
        }
        true
    }

    fn snapshot(&self) -> AgentSnapshot {
        AgentSnapshot {
            revision: 0,
            registration: self.registration.clone(),
            calls: self.lines.iter().map(|line| line.call.clone()).collect(),
            active: self.active(),
            ringer: self.pages.ringer().map(|page| page.name.clone()),
        }
    }

    /// The call that has the person's attention.
    fn active(&self) -> Option<String> {
        self.lines.iter().filter(|line| line.up()).max_by_key(|line| line.focus).map(|line| line.call.id.clone())
    }

    fn attach(&mut self, port: PortId, name: &str, visible: bool, now: Millis) {
        self.pages.attach(port, name, visible, now);
        self.finished = false;
        self.move_on(now);
    }

    /// The page may take part: it hears what there is, and takes over what has lost its page.
    fn admit(&mut self, port: PortId) {
        if !self.pages.admit(port) {
            return;
        }
        let Some(name) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let taken_over = self.adopt(&name);
        if self.announced
            && let Some(account) = &self.account
        {
            let event = AgentEvent::Registered { username: account.username.clone(), domain: account.domain.clone() };
            self.send(port, ToPage::Event { event });
        }
        for event in taken_over {
            self.send(port, ToPage::Event { event });
        }
        self.catch_up(port, &name);
    }

    /// Tells a page what it has missed.
    fn catch_up(&mut self, port: PortId, name: &str) {
        let snapshot = self.shown.clone();
        self.send(port, ToPage::Snapshot { snapshot });
        let ringing: Vec<CallSnapshot> = self
            .lines
            .iter_mut()
            .filter(|line| line.call.state == CallState::Incoming)
            .filter(|line| !line.told.iter().any(|told| told == name))
            .map(|line| {
                line.told.push(name.to_owned());
                line.call.clone()
            })
            .collect();
        for call in ringing {
            let event = AgentEvent::CallIncoming { call };
            self.send(port, ToPage::Event { event });
        }
    }

    /// The page is certainly gone: it said so, or its port or lock is.
    pub fn page_gone(&mut self, port: PortId, now: Millis) {
        if let Some(page) = self.pages.detach(port) {
            self.orphan(&page.name, now);
        }
        self.move_on(now);
    }

    /// Starts what has become possible: offers that waited, the end of an empty agent.
    fn move_on(&mut self, now: Millis) {
        for index in 0..self.lines.len() {
            if let Some(line) = self.lines.get_mut(index) {
                let ask = line.next_offer(now);
                line.show_hold();
                if let Some(ask) = ask {
                    self.ask(index, Purpose::Change, ask);
                }
            }
        }
        if self.pages.iter().next().is_some() {
            self.empty_until = None;
        } else if self.empty_until.is_none() && !self.finished {
            let in_call = self.lines.iter().any(|line| !line.ended());
            self.empty_until = Some(now.plus(if in_call { EMPTY_IN_CALL_MS } else { EMPTY_MS }));
        }
    }

    /// Nobody came back.
    fn leave(&mut self, now: Millis) {
        if self.running {
            self.finished = true;
            self.sign_out(now);
        } else {
            self.finish();
        }
    }

    /// A page that was not admitted may still try another password.
    fn finish(&mut self) {
        self.finished = self.pages.is_empty();
        if self.finished {
            self.out.push_back(Out::Finished);
        }
    }

    fn find(&self, call: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.call.id == call && !line.ended())
    }

    fn line(&mut self, call: &str) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.call.id == call && !line.ended())
    }

    fn focus_on(&mut self, index: usize) {
        self.focus += 1;
        let focus = self.focus;
        if let Some(line) = self.lines.get_mut(index) {
            line.focus = focus;
        }
    }

    fn send(&mut self, port: PortId, message: ToPage) {
        self.out.push_back(Out::ToPage { port, message });
    }

    fn tell_page(&mut self, name: &str, event: AgentEvent) {
        if let Some(port) = self.pages.by_name(name).map(|page| page.port) {
            self.send(port, ToPage::Event { event });
        }
    }

    fn tell_all(&mut self, event: &AgentEvent) {
        for page in self.pages.iter() {
            self.out.push_back(Out::ToPage { port: page.port, message: ToPage::Event { event: event.clone() } });
        }
    }

    fn log(&mut self, line: &str) {
        for page in self.pages.iter() {
            self.out.push_back(Out::ToPage { port: page.port, message: ToPage::Log { line: line.to_owned() } });
        }
    }

    /// Asks the page that holds the call's media; nothing happens when there is none.
    fn ask(&mut self, index: usize, purpose: Purpose, ask: MediaRequest) {
        self.requests = self.requests.wrapping_add(1);
        let request = self.requests;
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let Some(port) = line.call.page.as_deref().and_then(|name| self.pages.by_name(name)).map(|page| page.port)
        else {
            return;
        };
        line.opened(request, purpose);
        let call = line.call.id.clone();
        self.send(port, ToPage::Media { call, request, ask });
    }

    fn command(&mut self, command: Command) {
        self.out.push_back(Out::Command(command));
    }

    /// The end of a call for everyone. The user agent has been told, or told us.
    fn end(&mut self, index: usize, cause: CallEndCause, now: Millis) {
        self.ask(index, Purpose::RollBack, MediaRequest::Close);
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        line.forget_all();
        line.call.state = CallState::Ended { cause: cause.clone() };
        line.call.detached = false;
        line.orphan_until = None;
        line.restart_at = None;
        line.exchange = crate::line::Exchange::Idle;
        let event = AgentEvent::CallEnded { call: line.call.clone(), cause, duration: line.duration(now) };
        let mut names = std::mem::take(&mut line.told);
        if let Some(owner) = line.call.page.clone()
            && !names.contains(&owner)
        {
            names.push(owner);
        }
        for name in names {
            self.tell_page(&name, event.clone());
        }
    }
}
