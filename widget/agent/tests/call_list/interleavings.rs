//! Random orders of what people, pages, far ends, the network and time do to one to four calls.
//!
//! Invariants, checked after every step:
//! - at most one call has the voice, or several of the one conference, in the agent's state and in what the pages have
//!   applied of it; never do two pages have one open;
//! - a call that the person holds has no voice from that moment, nor have those in conference with it; and a call has none
//!   while its far end believes to be on hold;
//! - a conference has two or more calls that are up, of one page and with one state of the microphone;
//! - a call is recorded as it was asked for last, whatever its pages do, and not after its end;
//! - a call that is answered by itself interrupts no other one;
//! - a page gets the end of a call once for each start (it may take the call over later), and nothing is sent for a call
//!   that is over;
//! - at the end, when everybody answers, no exchange is open, no wish is lost, and every call can end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcall_agent::{CallList, CallListOutput, PortId};
use bitcall_sip::ua::{
    self, Command, EndCause, EndedBy, Event, Millis, OfferReason, TransferFailure, TransferProgress, TransferTarget,
};
use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallOptions, CallSnapshot, CallState, HoldState, MediaDirection, MediaError, MediaReply,
    MediaRequest, MediaState, OtherCalls, RecordingCommand, RecordingState, SipAccount, ToAgent, ToPage,
};
use bitcall_wire::config::CallBehavior;
use proptest::prelude::*;

use crate::test_call_list::account;

const HELD: &str = "held";
const OPEN: &str = "open";
const MAX_CALLS: usize = 4;
const MAX_PAGES: usize = 3;

/// One random step: its kind and two indexes.
type Step = (u8, u8, u8);

#[derive(Debug, Default)]
struct Page {
    port: PortId,
    inbox: VecDeque<ToPage>,
    /// The calls whose microphone and loudspeaker are open here.
    open: BTreeSet<String>,
    /// Media requests without a reply.
    requests: Vec<(String, u32, MediaRequest)>,
    /// The calls whose start was told, and not their end.
    known: BTreeSet<String>,
}

/// The user agent's side of a call.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Dialog {
    state: DialogState,
    /// The last description that was agreed puts the far end on hold.
    held: bool,
    /// The last description that was agreed.
    agreed: String,
    offered: String,
    detached: bool,
    /// The order in which the dialogs were created.
    born: usize,
    /// A transfer by our REFER has no result yet.
    transfers: bool,
    /// The far end has referred us to somebody else, which is not answered yet.
    refers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialogState {
    Calling,
    Ringing {
        offered: bool,
    },
    AwaitingAck {
        offered: bool,
    },
    Up,
    LocalOffer,
    /// Our offer was refused for the moment: `OfferNeeded` follows.
    Retry,
    RemoteOffer {
        offered: bool,
    },
    Over,
}

struct World {
    list: CallList,
    now: Millis,
    pages: Vec<Page>,
    dialogs: BTreeMap<String, Dialog>,
    snapshot: AgentSnapshot,
    /// What the calls that were ever recorded were asked for last.
    recordings: BTreeMap<String, RecordingState>,
    next: u32,
    next_port: PortId,
}

impl World {
    fn new(pages: u8) -> World {
        let mut world = World {
            list: CallList::new(),
            now: Millis(1_000_000),
            pages: Vec::new(),
            dialogs: BTreeMap::new(),
            snapshot: AgentSnapshot::default(),
            recordings: BTreeMap::new(),
            next: 0,
            next_port: 1,
        };
        for _ in 0..=usize::from(pages) % MAX_PAGES {
            world.open_page();
        }
        world.event(Event::Registration(ua::Registration::Registered {
            server: "wss://sip.test".into(),
            session: None,
        }));
        world
    }

    fn open_page(&mut self) {
        let port = self.next_port;
        self.next_port += 1;
        self.pages.push(Page { port, ..Page::default() });
        self.send(port, ToAgent::Attach { page: format!("page{port}"), visible: true });
        let calls = CallBehavior { auto_answer: true, ..CallBehavior::default() };
        let account = SipAccount { max_sessions: 0, calls, ..account() };
        self.send(port, ToAgent::SignIn { account: Box::new(account), kept: None });
    }

    fn send(&mut self, port: PortId, message: ToAgent) {
        self.list.page(port, message, self.now);
        self.collect();
    }

    fn event(&mut self, event: Event) {
        self.list.event(event, self.now);
        self.collect();
    }

    /// Carries out all outputs.
    fn collect(&mut self) {
        loop {
            match self.list.poll() {
                Some(CallListOutput::ToPage { port, message }) => {
                    if let ToPage::Snapshot { snapshot } = &message {
                        self.snapshot = snapshot.clone();
                    }
                    if let Some(page) = self.pages.iter_mut().find(|page| page.port == port) {
                        page.inbox.push_back(message);
                    }
                }
                Some(CallListOutput::Command(command)) => self.command(command),
                Some(_) => {}
                None if self.list.send_snapshot_if_changed() => {}
                None => break,
            }
        }
    }

    fn dialog(&mut self, call: &str) -> &mut Dialog {
        let dialog = self.dialogs.get_mut(call).unwrap_or_else(|| panic!("a command for the unknown call {call}"));
        assert_ne!(dialog.state, DialogState::Over, "a command for {call}, which is over");
        dialog
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Invite { call, sdp, .. } => {
                let offered = sdp.expect("an INVITE has our offer");
                self.add_dialog(call, DialogState::Calling, offered);
            }
            Command::Replace { call, replaced, sdp } => {
                let can = self
                    .dialogs
                    .get(&replaced)
                    .is_some_and(|dialog| dialog.state != DialogState::Over && !dialog.detached);
                self.add_dialog(call.clone(), DialogState::Calling, sdp);
                if !can {
                    self.end_dialog(&call);
                }
            }
            Command::Answer { call, sdp } => {
                let dialog = self.dialog(&call);
                let DialogState::Ringing { offered } = dialog.state else { panic!("answered in {dialog:?}") };
                dialog.state = DialogState::AwaitingAck { offered };
                if offered {
                    dialog.held = sdp.starts_with(HELD);
                    dialog.agreed = sdp;
                } else {
                    dialog.offered = sdp;
                }
            }
            Command::Reject { call, .. } | Command::HangUp { call } => {
                self.dialog(&call);
                self.end_dialog(&call);
            }
            Command::Reinvite { call, sdp } => {
                let dialog = self.dialog(&call);
                if dialog.state == DialogState::Up && !dialog.detached {
                    dialog.state = DialogState::LocalOffer;
                    dialog.offered = sdp;
                } else {
                    dialog.state = DialogState::Retry;
                    self.list.event(Event::ReinviteRefused { call, status: 491, will_retry: true }, self.now);
                }
            }
            Command::AnswerOffer { call, sdp } => {
                let dialog = self.dialog(&call);
                let DialogState::RemoteOffer { offered } = dialog.state else { panic!("answered in {dialog:?}") };
                if offered {
                    dialog.state = DialogState::Up;
                    dialog.held = sdp.starts_with(HELD);
                    dialog.agreed = sdp;
                } else {
                    dialog.state = DialogState::LocalOffer;
                    dialog.offered = sdp;
                }
            }
            Command::RefuseOffer { call, .. } => {
                let dialog = self.dialog(&call);
                assert!(matches!(dialog.state, DialogState::RemoteOffer { .. }), "refused in {dialog:?}");
                dialog.state = DialogState::Up;
            }
            Command::Info { call, .. } => {
                self.dialog(&call);
            }
            Command::Transfer { call, target } => {
                if let TransferTarget::Call(target) = target {
                    assert_ne!(target, call, "a call is transferred to itself");
                }
                let dialog = self.dialog(&call);
                assert!(!dialog.transfers, "two transfers of {call}");
                dialog.transfers = true;
            }
            Command::FollowReferral { call, referrer, sdp } => {
                // The user agent knows the referrer for a while after its end.
                let referrer = self.dialogs.get_mut(&referrer).expect("a referral of an unknown call");
                let can = std::mem::take(&mut referrer.refers);
                self.add_dialog(call.clone(), DialogState::Calling, sdp);
                if !can {
                    self.end_dialog(&call);
                }
            }
            Command::RefuseReferral { call } => self.dialog(&call).refers = false,
            Command::Register
            | Command::Unregister
            | Command::SetPassword { .. }
            | ua::Command::Restore { .. }
            | ua::Command::SendMessage(_) => {}
        }
    }

    fn add_dialog(&mut self, call: String, state: DialogState, offered: String) {
        let born = self.dialogs.len();
        let dialog = Dialog {
            state,
            held: false,
            agreed: String::new(),
            offered,
            detached: false,
            born,
            transfers: false,
            refers: false,
        };
        assert!(self.dialogs.insert(call, dialog).is_none(), "an id is used twice");
    }

    /// The user agent reports the end of a call at once.
    fn end_dialog(&mut self, call: &str) {
        if let Some(dialog) = self.dialogs.get_mut(call) {
            dialog.state = DialogState::Over;
            dialog.detached = false;
        }
        let cause = EndCause { by: EndedBy::Remote, text: "over".into(), sip_code: None };
        self.list.event(Event::Ended { call: call.into(), cause }, self.now);
    }

    /// A dialog in one of these states.
    fn pick(&self, index: u8, is_meant: impl Fn(&Dialog) -> bool) -> Option<String> {
        let meant: Vec<_> = self.dialogs.iter().filter(|(_, dialog)| is_meant(dialog)).collect();
        (!meant.is_empty()).then(|| meant[usize::from(index) % meant.len()].0.clone())
    }

    fn pick_call(&self, index: u8) -> Option<String> {
        let calls = &self.snapshot.calls;
        (!calls.is_empty()).then(|| calls[usize::from(index) % calls.len()].id.clone())
    }

    fn step(&mut self, (kind, a, b): Step) {
        let port = (!self.pages.is_empty()).then(|| self.pages[usize::from(b) % self.pages.len()].port);
        let call = self.pick_call(a);
        match (kind % 26, port, call) {
            (0, Some(port), _) if self.snapshot.calls.len() < MAX_CALLS => {
                self.next += 1;
                let offer = a.is_multiple_of(2).then(|| format!("{OPEN} page{port}"));
                let (call, number) = (format!("c{}", self.next), format!("2{}", a % 3));
                self.send(port, ToAgent::Call { call, number, options: CallOptions::default(), offer });
            }
            (1, _, _) if self.snapshot.calls.len() < MAX_CALLS => {
                self.next += 1;
                let call = format!("in{}", self.next);
                let offered = a % 4 > 0;
                self.add_dialog(call.clone(), DialogState::Ringing { offered }, String::new());
                let offer = offered.then(|| "v=0".to_owned());
                self.event(Event::Incoming {
                    call,
                    from: ua::RemoteParty::default(),
                    offer,
                    replaces: None,
                    diverted_from: None,
                    auto_answer_ms: b.is_multiple_of(3).then_some(u64::from(b) * 10),
                    headers: Vec::new(),
                });
            }
            (2, Some(port), Some(call)) => {
                let others = if a.is_multiple_of(3) { OtherCalls::End } else { OtherCalls::Hold };
                self.send(port, ToAgent::Answer { call, others });
            }
            (3, Some(port), Some(call)) if b.is_multiple_of(4) => self.send(port, ToAgent::HangUp { call }),
            (3, Some(port), Some(call)) if b % 4 == 1 => self.send(port, ToAgent::Decline { call }),
            (4, Some(port), Some(call)) => self.hold(port, &call, true),
            (5, Some(port), Some(call)) => self.hold(port, &call, false),
            (6 | 7, Some(port), _) => self.deliver(port),
            (8 | 9, Some(port), _) => self.reply(port, a),
            (10, _, _) => self.far_end(a, b),
            (11, _, _) => self.far_end(a, 0),
            (12, Some(port), _) if a.is_multiple_of(3) => {
                self.pages.retain(|page| page.port != port);
                self.send(port, ToAgent::Detach);
                if !b.is_multiple_of(3) || self.pages.is_empty() {
                    self.open_page();
                }
            }
            (13, _, _) => self.advance(u64::from(a) * u64::from(b % 60)),
            (14, Some(port), Some(call)) => {
                let state = match b % 4 {
                    0 => MediaState::IceConnected,
                    1 => MediaState::Disconnected,
                    2 => MediaState::Failed,
                    _ => MediaState::Connected,
                };
                self.send(port, ToAgent::MediaChanged { call, state });
            }
            (15, _, _) => self.network(a, b),
            (16, Some(port), Some(call)) => {
                self.send(port, ToAgent::Transfer { call, target: format!("3{}", b % 3) });
            }
            (17, Some(port), Some(call)) => {
                if let Some(to) = self.pick_call(b) {
                    self.send(port, ToAgent::TransferTo { call, to });
                }
            }
            (18, Some(port), Some(call)) if b.is_multiple_of(2) => {
                self.send(port, ToAgent::AnswerReferral { call, follow: b.is_multiple_of(4) });
            }
            (24, Some(port), Some(call)) => self.send(port, ToAgent::TakeOver { call }),
            (18 | 19, _, _) => self.connects_elsewhere(a, b),
            (20, Some(port), Some(call)) => {
                let up = |call: &&CallSnapshot| call.state == CallState::Active;
                let calls: Vec<_> = self.snapshot.calls.iter().filter(up).map(|call| call.id.clone()).collect();
                // Mostly two different calls that are up.
                let place = usize::from(a);
                let (call, into) = match calls.as_slice() {
                    [_, _, ..] if b % 4 > 0 => {
                        (calls[place % calls.len()].clone(), calls[(place + 1) % calls.len()].clone())
                    }
                    _ => (call.clone(), self.pick_call(b).unwrap_or(call)),
                };
                self.send(port, ToAgent::Merge { call, into });
            }
            (21, _, _) => self.everybody_answers(),
            (22, Some(port), Some(call)) => self.split(port, &call, b.is_multiple_of(2)),
            (23, Some(port), Some(call)) => {
                let muted = b.is_multiple_of(2);
                self.send(port, ToAgent::MuteParty { call: call.clone(), muted });
                let party = self.snapshot.conference.iter().find(|party| party.call == call);
                assert!(party.is_none_or(|party| party.muted == muted), "{party:?}");
                if b.is_multiple_of(3) {
                    self.send(port, ToAgent::Mute { call, muted });
                }
            }
            (25, Some(port), Some(call)) => self.record(port, &call, b),
            _ => {}
        }
        self.check();
    }

    fn hold(&mut self, port: PortId, call: &str, held: bool) {
        let parties = self.snapshot.conference.clone();
        let is_party = |id: &str| parties.iter().any(|party| party.call == id);
        self.send(port, ToAgent::Hold { call: call.to_owned(), held });
        for shown in &self.snapshot.calls {
            let is_held = shown.id == call || (is_party(call) && is_party(&shown.id));
            if held && is_held && shown.state == CallState::Active {
                assert!(!shown.voice, "{} has the voice after the hold of {call}", shown.id);
            }
        }
    }

    fn split(&mut self, port: PortId, call: &str, held: bool) {
        let was_party = self.snapshot.conference.iter().any(|party| party.call == call);
        self.send(port, ToAgent::Split { call: call.to_owned(), held });
        let shown = self.snapshot.calls.iter().find(|shown| shown.id == call);
        if let Some(shown) = shown.filter(|_| was_party) {
            assert!(!(held && shown.voice), "{call} has the voice after it was put on hold");
            let others = self.snapshot.calls.iter().filter(|other| other.voice && other.id != call);
            assert!(
                held || others.count() == 0,
                "others have the voice beside {call}, with which the person talks alone"
            );
        }
        assert!(self.snapshot.conference.iter().all(|party| party.call != call), "{call} is still a party");
    }

    fn record(&mut self, port: PortId, call: &str, luck: u8) {
        let shown = self.snapshot.calls.iter().find(|shown| shown.id == call);
        let is_up = shown.is_some_and(|shown| shown.state == CallState::Active);
        let known = self.recordings.get(call).cloned().unwrap_or_default();
        self.next += 1;
        let id = known.id().map_or_else(|| format!("r{}", self.next), str::to_owned);
        let (command, wanted) = match luck % 4 {
            0 => (RecordingCommand::Start { id: format!("r{}", self.next) }, RecordingState::On { id }),
            1 if known.id().is_some() => (RecordingCommand::Pause, RecordingState::Paused { id }),
            2 if known.id().is_some() => (RecordingCommand::Resume, RecordingState::On { id }),
            3 if known.id().is_some() => (RecordingCommand::Stop, RecordingState::Stopped),
            _ => (RecordingCommand::Pause, known),
        };
        self.send(port, ToAgent::Record { call: call.to_owned(), command });
        if is_up {
            self.recordings.insert(call.to_owned(), wanted);
        }
    }

    /// The page handles its oldest message.
    fn deliver(&mut self, port: PortId) {
        let Some(page) = self.pages.iter_mut().find(|page| page.port == port) else { return };
        let Some(message) = page.inbox.pop_front() else { return };
        let name = format!("page{port}");
        let mut silenced = Vec::new();
        let mut revision = 0;
        match message {
            ToPage::Snapshot { snapshot } => {
                let open = snapshot.calls.iter().filter(|call| call.voice && call.page.as_ref() == Some(&name));
                let open: BTreeSet<String> = open.map(|call| call.id.clone()).collect();
                let is_party = |id: &String| snapshot.conference.iter().any(|party| party.call == *id);
                assert!(open.len() <= 1 || open.iter().all(is_party), "open on page {port}: {open:?}");
                silenced.extend(page.open.difference(&open).cloned());
                page.open = open;
                revision = snapshot.revision;
            }
            ToPage::Media { call, request: MediaRequest::Close, .. } => {
                page.open.remove(&call);
                page.requests.retain(|(other, ..)| *other != call);
            }
            ToPage::Media { call, request_id, request } => page.requests.push((call, request_id, request)),
            ToPage::Event { event: AgentEvent::CallStarted { call } | AgentEvent::CallIncoming { call } } => {
                assert!(page.known.insert(call.id.clone()), "the start of {} is told twice", call.id);
            }
            ToPage::Event { event: AgentEvent::CallEnded { call, .. } } => {
                assert!(page.known.remove(&call.id), "the end of {} is told twice", call.id);
            }
            ToPage::Event { event: AgentEvent::AutoAnswerDue { call } } => self.tone_played(port, &call),
            ToPage::RingingOffer { call, .. } => {
                assert!(page.known.contains(&call), "an offer of the unknown call {call}");
            }
            ToPage::Event { .. } | ToPage::Keep { .. } | ToPage::Log { .. } => {}
        }
        for call in silenced {
            self.send(port, ToAgent::Silenced { call, revision });
        }
    }

    /// A call that is answered by itself interrupts no other one.
    fn tone_played(&mut self, port: PortId, call: &str) {
        let is_busy = self
            .snapshot
            .calls
            .iter()
            .any(|other| other.id != call && !matches!(other.state, CallState::Incoming | CallState::Ended { .. }));
        let is_ringing = |world: &World| {
            world.snapshot.calls.iter().any(|other| other.id == call && other.state == CallState::Incoming)
        };
        let rang = is_ringing(self);
        self.send(port, ToAgent::AutoAnswer { call: call.to_owned() });
        assert!(!rang || !is_busy || is_ringing(self), "{call} was answered during another call");
    }

    /// The page replies to its oldest request; one in eight fails.
    fn reply(&mut self, port: PortId, luck: u8) {
        let Some(page) = self.pages.iter_mut().find(|page| page.port == port) else { return };
        if page.requests.is_empty() {
            return;
        }
        let (call, request_id, request) = page.requests.remove(0);
        let reply = match request {
            _ if luck % 8 == 7 => {
                let error = if luck % 16 == 7 { MediaError::Unusable } else { MediaError::MicrophoneBlocked };
                MediaReply::Failed { error, message: "failed".into() }
            }
            MediaRequest::Offer { direction, .. } | MediaRequest::Answer { direction, .. } => {
                let sdp = if direction == MediaDirection::SendRecv { OPEN } else { HELD };
                MediaReply::Description { sdp: format!("{sdp} page{port}") }
            }
            MediaRequest::Accept { .. } | MediaRequest::RollBack | MediaRequest::Close => MediaReply::Done,
        };
        self.send(port, ToAgent::MediaReply { call, request_id, reply });
    }

    /// The far end of some call acts.
    fn far_end(&mut self, index: u8, luck: u8) {
        let Some(call) = self.pick(index, |dialog| dialog.state != DialogState::Over) else { return };
        let dialog = self.dialog(&call);
        let (state, detached) = (dialog.state, dialog.detached);
        if detached {
            return;
        }
        match (state, luck % 8) {
            (_, 7) => {
                self.end_dialog(&call);
                self.collect();
            }
            (DialogState::Calling, 1 | 2) => {
                let sdp = (luck % 8 == 2).then(|| "v=0".to_owned());
                let status = 180 + u16::from(luck / 8 % 2) * 3;
                self.event(Event::Progress { call, status, sdp, early_dialog: Some("a".into()) });
            }
            (DialogState::Calling, _) => {
                self.agree(&call);
                let sdp =
                    Some(if luck.is_multiple_of(2) { "v=0".to_owned() } else { "v=0\r\na=ice-ufrag:b".to_owned() });
                self.event(Event::Answered { call, sdp, early_dialog: None });
            }
            (DialogState::AwaitingAck { offered }, _) => {
                self.acknowledge(&call, offered);
                self.event(Event::Confirmed { call, sdp: (!offered).then(|| "v=0".to_owned()) });
            }
            (DialogState::LocalOffer, 1) => {
                self.dialog(&call).state = DialogState::Up;
                self.event(Event::ReinviteRefused { call, status: 488, will_retry: false });
            }
            (DialogState::LocalOffer, 2) => {
                self.dialog(&call).state = DialogState::Retry;
                self.event(Event::ReinviteRefused { call, status: 491, will_retry: true });
            }
            (DialogState::LocalOffer, _) => {
                self.agree(&call);
                let existing = if luck.is_multiple_of(5) { "v=0\r\na=connection:existing\r\n" } else { "v=0" };
                self.event(Event::ReinviteAccepted { call, sdp: existing.to_owned() });
            }
            (DialogState::Retry, _) => {
                self.dialog(&call).state = DialogState::Up;
                self.event(Event::OfferNeeded { call, reason: OfferReason::Glare });
            }
            (DialogState::Up, 0) => {}
            (DialogState::Up, 6) => self.event(Event::OfferNeeded { call, reason: OfferReason::Refresh }),
            (DialogState::Up, _) => {
                let offered = luck % 8 != 5;
                self.dialog(&call).state = DialogState::RemoteOffer { offered };
                self.event(Event::Offer { call, sdp: offered.then(|| "v=0".to_owned()) });
            }
            (DialogState::RemoteOffer { .. }, 1 | 2) => {
                self.dialog(&call).state = DialogState::Up;
                self.event(Event::OfferWithdrawn { call });
            }
            _ => {}
        }
    }

    /// The far end of some call reports a transfer, refers us to somebody else, or is replaced by somebody else.
    fn connects_elsewhere(&mut self, index: u8, luck: u8) {
        let is_up = |dialog: &Dialog| {
            !dialog.detached && !matches!(dialog.state, DialogState::Over | DialogState::Ringing { .. })
        };
        if let Some(call) = self.pick(index, |dialog| is_up(dialog) && dialog.transfers) {
            return self.report_transfer(call, luck);
        }
        let is_confirmed = |dialog: &Dialog| is_up(dialog) && dialog.state != DialogState::Calling;
        if luck.is_multiple_of(3) {
            let Some(call) = self.pick(index, |dialog| is_confirmed(dialog) && !dialog.refers) else { return };
            self.dialog(&call).refers = true;
            let target = ua::RemoteParty { number: "400".into(), ..ua::RemoteParty::default() };
            self.event(Event::Referred { call, target, is_allowed: luck.is_multiple_of(2) });
        } else if luck % 3 == 1 {
            let Some(call) = self.pick(index, |dialog| is_confirmed(dialog) && dialog.refers) else { return };
            self.dialog(&call).refers = false;
            self.event(Event::ReferralExpired { call });
        } else {
            let Some(replaced) = self.pick(index, is_up) else { return };
            self.next += 1;
            let base = replaced.split('~').next().unwrap_or_default();
            let call = format!("{base}~new{}", self.next);
            let offered = !luck.is_multiple_of(4);
            self.add_dialog(call.clone(), DialogState::Ringing { offered }, String::new());
            let offer = offered.then(|| "v=0".to_owned());
            let from = ua::RemoteParty { number: "500".into(), ..ua::RemoteParty::default() };
            self.event(Event::Incoming {
                call,
                from,
                offer,
                replaces: Some(replaced),
                diverted_from: None,
                auto_answer_ms: None,
                headers: Vec::new(),
            });
        }
    }

    fn report_transfer(&mut self, call: String, luck: u8) {
        let progress = match luck % 6 {
            0 => TransferProgress::Accepted,
            1 => TransferProgress::Proceeding { status: 180 },
            2 => TransferProgress::Succeeded,
            3 => TransferProgress::Failed(TransferFailure::Unreachable { status: 486 }),
            4 => TransferProgress::Failed(TransferFailure::NoResult),
            _ => TransferProgress::Failed(TransferFailure::Refused { status: 603 }),
        };
        self.dialog(&call).transfers = matches!(luck % 6, 0 | 1);
        self.event(Event::Transfer { call, progress });
    }

    fn agree(&mut self, call: &str) {
        let dialog = self.dialog(call);
        dialog.state = DialogState::Up;
        dialog.held = dialog.offered.starts_with(HELD);
        dialog.agreed.clone_from(&dialog.offered);
    }

    /// The ACK has the answer if we made the offer.
    fn acknowledge(&mut self, call: &str, offered: bool) {
        if offered {
            self.dialog(call).state = DialogState::Up;
        } else {
            self.agree(call);
        }
    }

    /// The connection to the server is lost or restored.
    fn network(&mut self, index: u8, luck: u8) {
        let up = |dialog: &Dialog| {
            matches!(dialog.state, DialogState::Up | DialogState::LocalOffer | DialogState::RemoteOffer { .. })
        };
        let Some(call) = self.pick(index, up) else { return };
        let dialog = self.dialog(&call);
        let state = dialog.state;
        if dialog.detached {
            dialog.detached = false;
            dialog.state = DialogState::Up;
            self.event(Event::Attached { call: call.clone() });
            self.event(Event::OfferNeeded { call, reason: OfferReason::Recovery });
        } else if luck.is_multiple_of(3) {
            dialog.detached = true;
            dialog.state = DialogState::Up;
            match state {
                DialogState::LocalOffer => {
                    self.event(Event::ReinviteRefused { call: call.clone(), status: 408, will_retry: true });
                }
                DialogState::RemoteOffer { .. } => self.event(Event::OfferWithdrawn { call: call.clone() }),
                _ => {}
            }
            self.event(Event::Detached { call });
        }
    }

    /// Time passes. Pages that exist handle their messages within half a second.
    fn advance(&mut self, milliseconds: u64) {
        let end = self.now.plus(milliseconds);
        while self.now < end {
            self.now = end.min(self.now.plus(500));
            for port in self.pages.iter().map(|page| page.port).collect::<Vec<_>>() {
                while self.pages.iter().any(|page| page.port == port && !page.inbox.is_empty()) {
                    self.deliver(port);
                }
                self.send(port, ToAgent::Alive { visible: true });
            }
            for _ in 0..100 {
                if self.list.next_timeout().is_none_or(|at| at > self.now) {
                    break;
                }
                self.list.tick(self.now);
                self.collect();
            }
            assert!(self.list.next_timeout().is_none_or(|at| at > self.now), "a deadline that does not go away");
            self.check();
        }
    }

    fn check(&self) {
        let voices: Vec<_> = self.snapshot.calls.iter().filter(|call| call.voice).collect();
        let conference = &self.snapshot.conference;
        let is_party = |id: &String| conference.iter().any(|party| party.call == *id);
        assert!(voices.len() <= 1 || voices.iter().all(|call| is_party(&call.id)), "{voices:?} {conference:?}");
        let parties: Vec<_> = self.snapshot.calls.iter().filter(|call| is_party(&call.id)).collect();
        assert_eq!(parties.len(), conference.len(), "{conference:?}");
        assert_ne!(conference.len(), 1, "{conference:?}");
        for pair in parties.windows(2) {
            let of = |call: &CallSnapshot| (call.state.clone(), call.page.clone(), call.muted);
            assert_eq!(of(pair[0]), of(pair[1]), "{conference:?}");
            assert_eq!(pair[0].state, CallState::Active);
        }
        for call in &self.snapshot.calls {
            let wanted = self.recordings.get(&call.id).cloned().unwrap_or_default();
            let ended = matches!(call.state, CallState::Ended { .. }) && wanted.id().is_some();
            assert_eq!(call.recording, if ended { RecordingState::Stopped } else { wanted }, "{call:?}");
        }
        let lives = |id: &String| {
            self.snapshot.calls.iter().any(|call| call.id == *id && !matches!(call.state, CallState::Ended { .. }))
        };
        let open: Vec<_> = self.pages.iter().map(|page| &page.open).filter(|open| open.iter().any(lives)).collect();
        assert!(open.len() <= 1, "open on the pages: {open:?}");
        for call in voices.iter().filter(|call| call.state == CallState::Active) {
            assert_eq!(call.hold, HoldState::None);
            let believes = self.current_dialog(&call.id).is_some_and(|dialog| dialog.held);
            assert!(!believes, "the far end of {} believes to be on hold", call.id);
        }
    }

    /// The dialog of the call that is up: the last one that has replaced another.
    fn current_dialog(&self, call: &str) -> Option<&Dialog> {
        let replacement = format!("{call}~");
        let is_up = |dialog: &Dialog| {
            !matches!(dialog.state, DialogState::Over | DialogState::Calling | DialogState::Ringing { .. })
        };
        let own =
            self.dialogs.iter().filter(|(id, dialog)| (*id == call || id.starts_with(&replacement)) && is_up(dialog));
        own.map(|(_, dialog)| dialog).max_by_key(|dialog| dialog.born)
    }

    /// The pages handle what they have, and the far ends answer once.
    fn everybody_answers(&mut self) {
        for port in self.pages.iter().map(|page| page.port).collect::<Vec<_>>() {
            for _ in 0..40 {
                self.deliver(port);
                self.reply(port, 0);
            }
        }
        for call in self.dialogs.keys().cloned().collect::<Vec<_>>() {
            let Some(dialog) = self.dialogs.get_mut(&call).filter(|dialog| dialog.state != DialogState::Over) else {
                continue;
            };
            if std::mem::take(&mut dialog.detached) {
                dialog.state = DialogState::Up;
                self.event(Event::Attached { call: call.clone() });
                self.event(Event::OfferNeeded { call, reason: OfferReason::Recovery });
                continue;
            }
            if std::mem::take(&mut dialog.transfers) {
                let progress = TransferProgress::Failed(TransferFailure::NoResult);
                self.event(Event::Transfer { call: call.clone(), progress });
                continue;
            }
            if std::mem::take(&mut dialog.refers) {
                self.event(Event::ReferralExpired { call: call.clone() });
                continue;
            }
            match dialog.state {
                DialogState::Calling | DialogState::LocalOffer => {
                    let is_calling = dialog.state == DialogState::Calling;
                    self.agree(&call);
                    let sdp = "v=0".to_owned();
                    self.event(if is_calling {
                        Event::Answered { call, sdp: Some(sdp), early_dialog: None }
                    } else {
                        Event::ReinviteAccepted { call, sdp }
                    });
                }
                DialogState::AwaitingAck { offered } => {
                    self.acknowledge(&call, offered);
                    self.event(Event::Confirmed { call, sdp: (!offered).then(|| "v=0".to_owned()) });
                }
                DialogState::Retry => {
                    dialog.state = DialogState::Up;
                    self.event(Event::OfferNeeded { call, reason: OfferReason::Glare });
                }
                _ => {}
            }
        }
    }

    /// Everybody answers from now on.
    fn settle(&mut self) {
        if self.pages.is_empty() {
            self.open_page();
        }
        for _ in 0..60 {
            self.everybody_answers();
            for call in self.snapshot.calls.clone() {
                if let Some(port) = call.page.and_then(|page| page.strip_prefix("page")?.parse().ok())
                    && self.pages.iter().any(|page| page.port == port)
                {
                    self.send(port, ToAgent::MediaChanged { call: call.id, state: MediaState::Connected });
                }
            }
            self.advance(500);
        }
        self.check_settled();
    }

    fn check_settled(&mut self) {
        let active: Vec<_> = self.snapshot.calls.iter().filter(|call| call.state == CallState::Active).collect();
        for call in &self.snapshot.calls {
            assert!(matches!(call.state, CallState::Active | CallState::Incoming), "{call:?}");
        }
        for call in &active {
            assert_eq!((&call.transfer, &call.referral), (&None, &None), "{call:?}");
            assert!(matches!(call.hold, HoldState::None | HoldState::Held | HoldState::HeldHere), "{call:?}");
            let held = self.current_dialog(&call.id).map(|dialog| dialog.held);
            assert_eq!(held, Some(call.hold == HoldState::Held), "what the far end of {} knows", call.id);
            let agreed = self.current_dialog(&call.id).and_then(|dialog| dialog.agreed.split_once(' '));
            assert_eq!(agreed.map(|(_, page)| page), call.page.as_deref(), "the page that the far end sends to");
            assert_eq!(call.voice, call.hold == HoldState::None, "{call:?}");
        }
        for (call, dialog) in &self.dialogs {
            let is_quiet = matches!(dialog.state, DialogState::Up | DialogState::Over | DialogState::Ringing { .. });
            assert!(is_quiet, "{call} is still in {dialog:?}");
        }
        for call in self.dialogs.keys().cloned().collect::<Vec<_>>() {
            if self.dialogs.get(&call).is_some_and(|dialog| dialog.state != DialogState::Over) {
                self.end_dialog(&call);
                self.collect();
            }
        }
        self.advance(1_000);
        assert!(self.snapshot.calls.is_empty(), "{:?}", self.snapshot.calls);
        for page in &self.pages {
            assert!(page.known.is_empty(), "ends that {} was not told: {:?}", page.port, page.known);
            assert!(page.open.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_voice_and_no_lost_wish_in_any_order(pages in any::<u8>(), steps in prop::collection::vec(any::<Step>(), 1..90)) {
        let mut world = World::new(pages);
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
