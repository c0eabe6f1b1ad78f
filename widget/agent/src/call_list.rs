//! The part of the agent that handles pages and calls, without SIP. Messages of
//! pages become commands to the user agent. Events of the user agent become
//! events, snapshots and media requests to pages.

mod account;
mod auto_answer;
mod conference;
mod far_end;
mod kept_calls;
mod media;
mod page_commands;
mod page_takeover;
mod reconcile;
mod referral;
mod transfer;
mod user_agent_events;

use std::collections::VecDeque;

use bitcall_sip::ua::{Command, Millis, UserAgentConfig};
use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallEndCause, CallId, MediaRequest, RecordingCommand, RegistrationStatus, SipAccount,
    ToAgent, ToPage,
};

use crate::call::{Call, CallPhase, MakingOffer, Negotiation, OfferMethod, RemoteOffer, Voice};
use crate::conference::Conference;
use crate::pages::{Pages, PortId};

/// The agent signs out after this time without a page and without a call.
const NO_PAGE_TIMEOUT_MS: u64 = 15_000;
/// The same with a call. It is longer because a page may be reloading or be opened again.
const NO_PAGE_IN_CALL_TIMEOUT_MS: u64 = 60_000;
/// Time for a page to make an offer within a call, or to apply an answer. The user agent waits equally long
/// for an answer of the page.
const MEDIA_TIMEOUT_MS: u64 = 20_000;
/// Time for a page to make the offer of a new call. The browser may ask the person for the microphone.
const INITIAL_OFFER_TIMEOUT_MS: u64 = 180_000;
/// Commands for this many calls that have ended are ignored: a second click on "Hang up" is no error.
const MAX_ENDED_CALLS: usize = 32;

/// What the agent must do next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an output is carried out at once")]
pub enum CallListOutput {
    ToPage {
        port: PortId,
        message: ToPage,
    },
    Command(Command),
    /// Check the connection to the server, because ICE was disconnected.
    Probe,
    /// Create a user agent for this account. It replaces the current one.
    Start(Box<UserAgentConfig>),
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
    /// The user agent has the password, not only HA1s.
    has_password: bool,
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
    calls: Vec<Call>,
    conference: Conference,
    /// The calls that ended last, newest last.
    ended: VecDeque<CallId>,
    focus: u64,
    last_request_id: u32,
    /// How a call was picked up the last time that it had sound afterwards.
    pick_up_method: OfferMethod,
    /// Number of INVITEs with Replaces.
    replacements: u64,
    /// Number of calls that were placed because a far end referred us to somebody else.
    referred_calls: u64,
    /// Dialogs that the server has replaced, and when we end them if it does not.
    replaced_dialogs: Vec<(CallId, Millis)>,
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
            ToAgent::Leave => return self.page_left(port, now),
            ToAgent::Alive { visible } => self.pages.keep_alive(port, visible, now),
            ToAgent::Probe | ToAgent::Offline => {}
            ToAgent::SignIn { account, kept } => self.sign_in(port, *account, kept, now),
            _ if self.pages.by_port(port).is_none_or(|page| !page.authorized) => return,
            ToAgent::SignOut => self.sign_out(now),
            ToAgent::Retry => self.retry(),
            ToAgent::Call { call, number, options, offer } => {
                self.call(port, call, &number, options, offer, now);
            }
            ToAgent::Answer { call, others } => self.answer(port, &call, others),
            ToAgent::AutoAnswer { call } => self.auto_answer(port, &call),
            ToAgent::Decline { call } => self.decline(port, &call, now),
            ToAgent::HangUp { call } => self.hang_up(port, &call, now),
            ToAgent::Hold { call, held } => self.hold(port, &call, held),
            ToAgent::TakeOver { call } => self.take_over(port, &call, now),
            ToAgent::Transfer { call, target } => self.transfer(port, &call, &target, now),
            ToAgent::TransferTo { call, to } => self.transfer_to(port, &call, &to, now),
            ToAgent::AnswerReferral { call, follow } => self.answer_referral(port, &call, follow, now),
            ToAgent::Merge { call, into } => self.merge(port, &call, &into),
            ToAgent::Split { call, held } => self.split(port, &call, held),
            ToAgent::MuteParty { call, muted } => self.conference.mute(&call, muted),
            ToAgent::Mute { call, muted } => self.mute(&call, muted),
            ToAgent::Record { call, command } => self.record(port, &call, command),
            ToAgent::Digits { call, digits } => self.digits(port, &call, &digits),
            ToAgent::SendMessage { call, number, text } => self.send_message(call, number, text),
            ToAgent::MediaReply { call, request_id, reply } => self.media_reply(port, &call, request_id, reply, now),
            ToAgent::Silenced { call, revision } => self.silenced(port, &call, revision),
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
        let calls = self.calls.iter().filter_map(Call::next_timeout).min();
        let replaced = self.replaced_dialogs.iter().map(|(_, until)| *until).min();
        [calls, replaced, self.pages.next_timeout(), self.no_page_until].into_iter().flatten().min()
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
        self.calls.retain(|call| !call.is_ended());
        for page in self.pages.iter() {
            self.out.push_back(CallListOutput::ToPage {
                port: page.port,
                message: ToPage::Snapshot { snapshot: self.last_snapshot.clone() },
            });
        }
        true
    }

    /// Sends the last snapshot again, because its times are shown otherwise now.
    pub fn resend_snapshot(&mut self) {
        for page in self.pages.iter() {
            let message = ToPage::Snapshot { snapshot: self.last_snapshot.clone() };
            self.out.push_back(CallListOutput::ToPage { port: page.port, message });
        }
    }

    fn snapshot(&self) -> AgentSnapshot {
        AgentSnapshot {
            revision: 0,
            registration: self.registration.clone(),
            calls: self.calls.iter().map(Call::snapshot).collect(),
            active: self
                .latest(Call::is_in_progress)
                .and_then(|index| self.calls.get(index))
                .map(|call| call.id.clone()),
            conference: self.conference.parties().to_vec(),
            ringer: self.pages.ringer().map(|page| page.name.clone()),
        }
    }

    fn attach(&mut self, port: PortId, name: &str, visible: bool, now: Millis) {
        self.pages.attach(port, name, visible, now);
        self.finished = false;
        self.advance(now);
    }

    /// The page has the account's secret: it gets the current state and takes over calls without a page.
    fn authorize_page(&mut self, port: PortId, now: Millis) {
        if !self.pages.authorize(port) {
            return;
        }
        let Some(name) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let taken_over = self.take_over_calls(&name, now);
        if self.reported_registered
            && let Some(account) = &self.account
        {
            let event = AgentEvent::Registered { username: account.username.clone(), domain: account.domain.clone() };
            self.send(port, ToPage::Event { event });
        }
        for event in taken_over {
            self.send(port, ToPage::Event { event });
        }
        self.send_last_snapshot(port);
    }

    fn send_last_snapshot(&mut self, port: PortId) {
        let snapshot = self.last_snapshot.clone();
        self.send(port, ToPage::Snapshot { snapshot });
    }

    /// Sends `CallIncoming` to pages that do not know of a ringing call: they attached later, or while it was
    /// being answered on another page. Those that the person sees get its offer as well.
    fn announce_ringing_calls(&mut self) {
        for call in &mut self.calls {
            let CallPhase::Incoming { offer } = &call.phase else {
                continue;
            };
            let offer = offer.clone();
            for page in self.pages.iter() {
                if !call.notified.contains(&page.name) {
                    call.notified.push(page.name.clone());
                    let event = AgentEvent::CallIncoming { call: call.snapshot() };
                    self.out.push_back(CallListOutput::ToPage { port: page.port, message: ToPage::Event { event } });
                    if let RemoteOffer::Description(offer) = &offer
                        && page.visible
                    {
                        let message = ToPage::RingingOffer { call: call.id.clone(), offer: offer.clone() };
                        self.out.push_back(CallListOutput::ToPage { port: page.port, message });
                    }
                }
            }
        }
    }

    /// The page is closed: it sent `Detach`, or its port or lock was released.
    pub fn page_gone(&mut self, port: PortId, now: Millis) {
        if let Some(page) = self.pages.detach(port) {
            self.orphan_calls(&page.name, now);
        }
        self.advance(now);
    }

    /// The page was taken down for good: its calls end. A call of another page may be reloading.
    fn page_left(&mut self, port: PortId, now: Millis) {
        if let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) {
            for index in 0..self.calls.len() {
                if self.calls.get(index).is_some_and(|call| call.owner.is(&page)) {
                    self.hang_up_call(index, now);
                }
            }
        }
        self.page_gone(port, now);
        self.hand_over(now);
    }

    /// Nobody waits for this agent any more: without a page and a call it signs out now, and not after a while.
    pub fn hand_over(&mut self, now: Millis) {
        if self.pages.is_empty() && !self.has_calls() && !self.finished {
            self.no_page_until = None;
            self.shut_down(now);
            self.advance(now);
        }
    }

    pub fn has_calls(&self) -> bool {
        !self.calls.iter().all(Call::is_ended)
    }

    /// Everything that follows from the new state: who speaks, which offers are due, the time-out without a page.
    fn advance(&mut self, now: Millis) {
        self.announce_ringing_calls();
        self.start_auto_answers(now);
        self.reconcile(now);
        for index in 0..self.calls.len() {
            self.request_due_offer(index, now);
        }
        self.send_due_refers(now);
        if self.pages.iter().next().is_some() {
            self.no_page_until = None;
        } else if self.no_page_until.is_none() && !self.finished {
            let in_call = self.calls.iter().any(|call| !call.is_ended());
            self.no_page_until = Some(now.plus(if in_call { NO_PAGE_IN_CALL_TIMEOUT_MS } else { NO_PAGE_TIMEOUT_MS }));
        }
    }

    /// Requests the call's next offer from its page.
    fn request_due_offer(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get(index) else {
            return;
        };
        let Some(content) = call.next_offer() else {
            return;
        };
        if let Some(request) = self.request_media(index, call.offer_request(content))
            && let Some(call) = self.calls.get_mut(index)
        {
            call.wishes.offer = false;
            call.wishes.restart_ice = false;
            call.negotiation =
                Negotiation::MakingOffer(MakingOffer { request, content, until: now.plus(MEDIA_TIMEOUT_MS) });
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
        self.calls.iter().position(|known| known.id == call && !known.is_ended())
    }

    /// The call with this id in the user agent.
    fn find_dialog(&self, dialog: &str) -> Option<usize> {
        self.calls.iter().position(|call| call.dialog == dialog && !call.is_ended())
    }

    /// The call, if the page of this port owns it.
    fn find_of_page(&self, port: PortId, call: &str) -> Option<usize> {
        let page = self.pages.by_port(port)?;
        self.find(call).filter(|index| self.calls.get(*index).is_some_and(|call| call.owner.is(&page.name)))
    }

    fn call_mut(&mut self, call: &str) -> Option<&mut Call> {
        self.calls.iter_mut().find(|known| known.id == call && !known.is_ended())
    }

    fn focus_on(&mut self, index: usize) {
        self.focus += 1;
        let focus = self.focus;
        if let Some(call) = self.calls.get_mut(index) {
            call.focus = focus;
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

    /// Sends a media request to the page that owns the call, and returns its number. Without such a page
    /// nothing is sent.
    fn request_media(&mut self, index: usize, request: MediaRequest) -> Option<u32> {
        let call = self.calls.get(index)?;
        let port = call.owner.page().and_then(|name| self.pages.by_name(name))?.port;
        let call = call.id.clone();
        self.last_request_id = self.last_request_id.wrapping_add(1);
        let request_id = self.last_request_id;
        self.send(port, ToPage::Media { call, request_id, request });
        Some(request_id)
    }

    fn command(&mut self, command: Command) {
        self.out.push_back(CallListOutput::Command(command));
    }

    /// Ends the call's dialogs: the present one, and the one that was to replace it.
    fn hang_up_dialogs(&mut self, index: usize) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let replacement = call.replacement.take().map(|replacement| (replacement.dialog, replacement.present_ended));
        let replaced_by = call.replaced_by.take().map(|replaced_by| (replaced_by.dialog, replaced_by.present_ended));
        let replacement = replacement.or(replaced_by);
        let has_ended = matches!(replacement, Some((_, Some(_))));
        let present = (call.is_placed() && !has_ended).then(|| call.dialog.clone());
        for call in replacement.map(|(dialog, _)| dialog).into_iter().chain(present) {
            self.command(Command::HangUp { call });
        }
    }

    /// Ends the call for all pages. The caller has sent the command to the user agent, or
    /// handles its event.
    fn end(&mut self, index: usize, cause: CallEndCause, now: Millis) {
        self.end_transfer(index);
        self.request_media(index, MediaRequest::Close);
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.phase = CallPhase::Ended { cause: cause.clone() };
        call.negotiation = Negotiation::Idle;
        call.voice = Voice::Closed;
        call.detached = false;
        call.ends.clear();
        call.referral = None;
        call.handed_over = None;
        call.recording.apply(RecordingCommand::Stop);
        let event = AgentEvent::CallEnded { call: call.snapshot(), cause, duration: call.duration(now) };
        let mut names = std::mem::take(&mut call.notified);
        if let Some(owner) = call.owner.page()
            && !names.iter().any(|name| name == owner)
        {
            names.push(owner.to_owned());
        }
        self.ended.push_back(call.id.clone());
        if self.ended.len() > MAX_ENDED_CALLS {
            self.ended.pop_front();
        }
        for name in names {
            self.notify_page(&name, event.clone());
        }
        self.referral_decided(index, now);
    }
}
