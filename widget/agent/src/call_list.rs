//! The part of the agent that handles pages and calls, without SIP. Messages of
//! pages become commands to the user agent. Events of the user agent become
//! events, snapshots and media requests to pages.

mod media;
mod page_commands;
mod page_takeover;
mod user_agent_events;

use std::collections::VecDeque;

use bitcall_sip::ua::{Command, Config, Millis};
use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallEndCause, CallSnapshot, CallState, HoldState, MediaRequest, RegistrationStatus,
    SipAccount, ToAgent, ToPage,
};

use crate::call_entry::{CallEntry, RequestPurpose};
use crate::pages::{Pages, PortId};

/// The agent signs out after this time without a page and without a call.
const NO_PAGE_TIMEOUT_MS: u64 = 15_000;
/// The same with a call. It is longer because a page may be reloading or be opened again.
const NO_PAGE_IN_CALL_TIMEOUT_MS: u64 = 60_000;

/// What the agent must do next.
#[derive(Clone, Debug, PartialEq)]
pub enum CallListOutput {
    ToPage {
        port: PortId,
        message: ToPage,
    },
    Command(Command),
    /// Check the connection to the server, because ICE was disconnected.
    Probe,
    /// Create a user agent for this account. It replaces the current one.
    Start(Box<Config>),
    /// No page is attached and the registration is removed.
    Finished,
}

/// The calls, pages and account of one person.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one machine")]
pub struct CallList {
    pages: Pages,
    account: Option<SipAccount>,
    /// SHA-256 of the account's secret, to compare with the secret of a second page.
    secret_hash: Option<[u8; 32]>,
    /// The server has accepted the account's secret.
    secret_accepted: bool,
    /// The user agent exists and has not reported `SignedOut`.
    running: bool,
    /// The user agent was told to sign out and has not reported `SignedOut` yet.
    signing_out: bool,
    /// The account that signs in when the current one has signed out.
    next: Option<SipAccount>,
    registration: RegistrationStatus,
    /// The last registration event to pages was `Registered`.
    reported_registered: bool,
    entries: Vec<CallEntry>,
    focus: u64,
    last_request_id: u32,
    last_snapshot: AgentSnapshot,
    no_page_until: Option<Millis>,
    finished: bool,
    out: VecDeque<CallListOutput>,
}

impl CallList {
    pub fn new() -> CallList {
        CallList::default()
    }

    /// Handles a message from a page. [`ToAgent::Probe`] and [`ToAgent::Offline`] only
    /// count as activity of the page here; [`Agent`](crate::Agent) passes them to the user agent.
    pub fn page(&mut self, port: PortId, message: ToAgent, now: Millis) {
        if let Some(page) = self.pages.record_activity(port, now) {
            self.page_resumed(&page);
        }
        match message {
            ToAgent::Attach { page, visible } => return self.attach(port, &page, visible, now),
            ToAgent::Detach => return self.page_gone(port, now),
            ToAgent::Alive { visible } => self.pages.keep_alive(port, visible, now),
            ToAgent::Probe | ToAgent::Offline => {}
            ToAgent::SignIn { account } => self.sign_in(port, *account),
            _ if self.pages.by_port(port).is_none_or(|page| !page.authorized) => return,
            ToAgent::SignOut => self.sign_out(now),
            ToAgent::Call { call, number, caller_id, offer } => {
                self.call(port, call, &number, caller_id, offer, now);
            }
            ToAgent::Answer { call, others } => self.answer(port, &call, others, now),
            ToAgent::Decline { call } => self.decline(port, &call, now),
            ToAgent::HangUp { call } => self.hang_up(port, &call, now),
            ToAgent::Hold { call, held } => self.hold(port, &call, held),
            ToAgent::Mute { call, muted } => {
                if let Some(entry) = self.entry(&call) {
                    entry.call.muted = muted;
                }
            }
            ToAgent::Digits { call, digits } => self.digits(port, &call, &digits),
            ToAgent::MediaReply { call, request_id, reply } => self.media_reply(port, &call, request_id, reply, now),
            ToAgent::Silenced { .. } => {}
            ToAgent::MediaChanged { call, state } => {
                self.media_changed(port, &call, state, now);
            }
        }
        self.advance(now);
    }

    pub fn tick(&mut self, now: Millis) {
        while let Some(page) = self.pages.remove_silent(now) {
            self.orphan_calls(&page.name, now);
        }
        self.handle_deadlines(now);
        if self.no_page_until.is_some_and(|until| until <= now) {
            self.no_page_until = None;
            self.shut_down(now);
        }
        self.advance(now);
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        let entries = self.entries.iter().filter_map(CallEntry::next_timeout).min();
        [entries, self.pages.next_timeout(), self.no_page_until].into_iter().flatten().min()
    }

    pub fn poll(&mut self) -> Option<CallListOutput> {
        self.out.pop_front()
    }

    /// Sends a snapshot to every page if the state has changed since the last one; false otherwise.
    ///
    /// An ended call is contained in one snapshot and then removed.
    pub fn send_snapshot_if_changed(&mut self) -> bool {
        let mut snapshot = self.snapshot();
        snapshot.revision = self.last_snapshot.revision;
        if snapshot == self.last_snapshot {
            return false;
        }
        snapshot.revision += 1;
        self.last_snapshot = snapshot;
        self.entries.retain(|entry| !entry.is_ended());
        for page in self.pages.iter() {
            self.out.push_back(CallListOutput::ToPage {
                port: page.port,
                message: ToPage::Snapshot { snapshot: self.last_snapshot.clone() },
            });
        }
        true
    }

    fn snapshot(&self) -> AgentSnapshot {
        let speaking = self
            .entries
            .iter()
            .filter(|entry| entry.is_in_progress() && entry.call.hold == HoldState::None)
            .max_by_key(|entry| entry.focus)
            .map(|entry| entry.call.id.clone());
        AgentSnapshot {
            revision: 0,
            registration: self.registration.clone(),
            calls: self
                .entries
                .iter()
                .map(|entry| CallSnapshot { voice: Some(&entry.call.id) == speaking.as_ref(), ..entry.call.clone() })
                .collect(),
            active: self.active(),
            ringer: self.pages.ringer().map(|page| page.name.clone()),
        }
    }

    /// The call that the person selected last.
    fn active(&self) -> Option<String> {
        self.entries
            .iter()
            .filter(|entry| entry.is_in_progress())
            .max_by_key(|entry| entry.focus)
            .map(|entry| entry.call.id.clone())
    }

    fn attach(&mut self, port: PortId, name: &str, visible: bool, now: Millis) {
        self.pages.attach(port, name, visible, now);
        self.finished = false;
        self.advance(now);
    }

    /// The page has the account's secret: it gets the current state and takes over calls without a page.
    fn authorize_page(&mut self, port: PortId) {
        if !self.pages.authorize(port) {
            return;
        }
        let Some(name) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let taken_over = self.take_over_calls(&name);
        if self.reported_registered
            && let Some(account) = &self.account
        {
            let event = AgentEvent::Registered { username: account.username.clone(), domain: account.domain.clone() };
            self.send(port, ToPage::Event { event });
        }
        for event in taken_over {
            self.send(port, ToPage::Event { event });
        }
        self.send_current_state(port, &name);
    }

    /// Sends the last snapshot, and `CallIncoming` for calls that the page has not been notified of.
    fn send_current_state(&mut self, port: PortId, name: &str) {
        let snapshot = self.last_snapshot.clone();
        self.send(port, ToPage::Snapshot { snapshot });
        let ringing: Vec<CallSnapshot> = self
            .entries
            .iter_mut()
            .filter(|entry| entry.call.state == CallState::Incoming)
            .filter(|entry| !entry.notified.iter().any(|notified| notified == name))
            .map(|entry| {
                entry.notified.push(name.to_owned());
                entry.call.clone()
            })
            .collect();
        for call in ringing {
            let event = AgentEvent::CallIncoming { call };
            self.send(port, ToPage::Event { event });
        }
    }

    /// The page is closed: it sent `Detach`, or its port or lock was released.
    pub fn page_gone(&mut self, port: PortId, now: Millis) {
        if let Some(page) = self.pages.detach(port) {
            self.orphan_calls(&page.name, now);
        }
        self.advance(now);
    }

    /// Requests the offers that are due, and starts or stops the time-out without a page.
    fn advance(&mut self, now: Millis) {
        for index in 0..self.entries.len() {
            if let Some(entry) = self.entries.get_mut(index) {
                let request = entry.next_offer(now);
                entry.update_hold_state();
                if let Some(request) = request {
                    self.request_media(index, RequestPurpose::LocalOffer, request);
                }
            }
        }
        if self.pages.iter().next().is_some() {
            self.no_page_until = None;
        } else if self.no_page_until.is_none() && !self.finished {
            let in_call = self.entries.iter().any(|entry| !entry.is_ended());
            self.no_page_until = Some(now.plus(if in_call { NO_PAGE_IN_CALL_TIMEOUT_MS } else { NO_PAGE_TIMEOUT_MS }));
        }
    }

    /// The time-out without a page has expired: signs out and finishes.
    fn shut_down(&mut self, now: Millis) {
        if self.running {
            self.finished = true;
            self.sign_out(now);
        } else {
            self.finish();
        }
    }

    /// Finishes unless a page is attached: one that is not authorized may try another password.
    fn finish(&mut self) {
        self.finished = self.pages.is_empty();
        if self.finished {
            self.out.push_back(CallListOutput::Finished);
        }
    }

    fn find(&self, call: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.call.id == call && !entry.is_ended())
    }

    fn entry(&mut self, call: &str) -> Option<&mut CallEntry> {
        self.entries.iter_mut().find(|entry| entry.call.id == call && !entry.is_ended())
    }

    fn focus_on(&mut self, index: usize) {
        self.focus += 1;
        let focus = self.focus;
        if let Some(entry) = self.entries.get_mut(index) {
            entry.focus = focus;
        }
    }

    fn send(&mut self, port: PortId, message: ToPage) {
        self.out.push_back(CallListOutput::ToPage { port, message });
    }

    fn notify_page(&mut self, name: &str, event: AgentEvent) {
        if let Some(port) = self.pages.by_name(name).map(|page| page.port) {
            self.send(port, ToPage::Event { event });
        }
    }

    fn notify_all(&mut self, event: &AgentEvent) {
        for page in self.pages.iter() {
            self.out
                .push_back(CallListOutput::ToPage { port: page.port, message: ToPage::Event { event: event.clone() } });
        }
    }

    fn log(&mut self, line: &str) {
        for page in self.pages.iter() {
            self.out
                .push_back(CallListOutput::ToPage { port: page.port, message: ToPage::Log { line: line.to_owned() } });
        }
    }

    /// Sends a media request to the page that owns the call. Without such a page nothing is sent.
    fn request_media(&mut self, index: usize, purpose: RequestPurpose, request: MediaRequest) {
        self.last_request_id = self.last_request_id.wrapping_add(1);
        let request_id = self.last_request_id;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let Some(port) = entry.call.page.as_deref().and_then(|name| self.pages.by_name(name)).map(|page| page.port)
        else {
            return;
        };
        entry.open_request(request_id, purpose);
        let call = entry.call.id.clone();
        self.send(port, ToPage::Media { call, request_id, request });
    }

    fn command(&mut self, command: Command) {
        self.out.push_back(CallListOutput::Command(command));
    }

    /// Ends the call for all pages. The caller has sent the command to the user agent, or
    /// handles its event.
    fn end(&mut self, index: usize, cause: CallEndCause, now: Millis) {
        self.request_media(index, RequestPurpose::RollBack, MediaRequest::Close);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.discard_all_requests();
        entry.call.state = CallState::Ended { cause: cause.clone() };
        entry.call.detached = false;
        entry.orphan_until = None;
        entry.restart_at = None;
        entry.negotiation = crate::call_entry::MediaNegotiation::Idle;
        let event = AgentEvent::CallEnded { call: entry.call.clone(), cause, duration: entry.duration(now) };
        let mut names = std::mem::take(&mut entry.notified);
        if let Some(owner) = entry.call.page.clone()
            && !names.contains(&owner)
        {
            names.push(owner);
        }
        for name in names {
            self.notify_page(&name, event.clone());
        }
    }
}
