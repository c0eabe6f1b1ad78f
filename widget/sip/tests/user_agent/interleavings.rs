//! Random orders of hang-ups, answers, re-INVITEs, time-outs and lost connections.
//!
//! Invariants:
//! - every call ends exactly once, and no event follows for it;
//! - every 2xx to an INVITE gets an ACK at once, with the INVITE's `CSeq` number;
//! - a 2xx that establishes no call gets a BYE;
//! - every offer of ours is accepted or refused exactly once, unless its call ends;
//! - every transfer of ours has one result, unless its call ends, and no REFER is sent for a call that is over;
//! - without further messages all calls and transactions are removed;
//! - a user agent restored from its serialised state gives the same outputs;
//! - nothing panics.

use std::collections::{BTreeMap, BTreeSet};

use bitcall_sip::message::{Header, Message, Request, Response};
use bitcall_sip::ua::{
    Command, Event, Input, InviteOptions, Output, TextMessage, TransferProgress, TransferTarget, TransportId,
};
use proptest::prelude::*;

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

/// One random step: its kind, and an index for its call, request or variant.
type Step = (u8, u8);

struct Simulation {
    phone: TestUserAgent,
    placed: u32,
    remote_cseq: u32,
    connect_request: Option<TransportId>,
    /// Requests of the user agent that wait for a final response.
    pending: Vec<Request>,
    /// INVITEs of the user agent.
    invites: Vec<Request>,
    /// Requests of the receive end.
    remote_requests: Vec<Request>,
    /// 2xx responses of the user agent to INVITEs.
    accepted: Vec<Response>,
    calls: Vec<String>,
    ended: BTreeSet<String>,
    offers: BTreeMap<String, i32>,
    /// The calls whose transfer has no result yet.
    transfers: BTreeSet<String>,
    /// Texts that were sent, by their target, and have no answer yet.
    messages: BTreeSet<String>,
    acks: BTreeSet<(String, String, u32)>,
    byes: BTreeSet<(String, String)>,
    last: Vec<u8>,
}

impl Simulation {
    fn new(registered: bool) -> Self {
        let mut phone = if registered { TestUserAgent::registered() } else { TestUserAgent::unregistered() };
        if !registered {
            phone.command(Command::Register);
            phone.connect();
        }
        Self {
            phone,
            placed: 0,
            remote_cseq: 10,
            connect_request: None,
            pending: Vec::new(),
            invites: Vec::new(),
            remote_requests: Vec::new(),
            accepted: Vec::new(),
            calls: Vec::new(),
            ended: BTreeSet::new(),
            offers: BTreeMap::new(),
            transfers: BTreeSet::new(),
            messages: BTreeSet::new(),
            acks: BTreeSet::new(),
            byes: BTreeSet::new(),
            last: Vec::new(),
        }
    }

    fn call(&self, which: u8) -> Option<String> {
        (!self.calls.is_empty()).then(|| self.calls[usize::from(which) % self.calls.len()].clone())
    }

    /// Checks all outputs of the user agent.
    fn observe(&mut self) {
        for output in self.phone.drain() {
            match output {
                Output::Connect { id, .. } => self.connect_request = Some(id),
                Output::CloseTransport { id } => {
                    if self.phone.transport == Some(id) {
                        self.phone.transport = None;
                    }
                    if self.connect_request == Some(id) {
                        self.connect_request = None;
                    }
                }
                Output::Send { id, bytes } => {
                    assert_eq!(Some(id), self.phone.transport, "sent over a closed connection");
                    self.check_sent(&bytes);
                }
                Output::Event(event) => self.check_event(&event),
            }
        }
    }

    fn check_sent(&mut self, bytes: &[u8]) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return;
        }
        let message = Message::parse(bytes).expect("a sent message can be parsed");
        message.validate().expect("and is complete");
        match message {
            Message::Request(request) => {
                let call_id = request.value(Header::CallId).unwrap().to_owned();
                let tag = request.to().unwrap().tag().unwrap_or_default().to_owned();
                match request.method().as_str() {
                    "ACK" => {
                        self.acks.insert((call_id, tag, request.cseq().unwrap().number));
                        return;
                    }
                    "BYE" => {
                        self.byes.insert((call_id, tag));
                    }
                    "INVITE" => self.invites.push(request.clone()),
                    "REFER" => assert!(!self.transfers.is_empty(), "a REFER without a transfer"),
                    _ => {}
                }
                self.pending.push(request);
            }
            Message::Response(response) => {
                if response.is_success() && response.cseq().unwrap().method.as_str() == "INVITE" {
                    self.accepted.push(response);
                }
            }
        }
    }

    fn check_event(&mut self, event: &Event) {
        let call = match event {
            Event::Incoming { call, .. } => {
                self.calls.push(call.clone());
                call.clone()
            }
            Event::Ended { call, .. } => {
                assert!(self.ended.insert(call.clone()), "{call} ended twice");
                self.offers.remove(call);
                self.transfers.remove(call);
                return;
            }
            Event::ReinviteAccepted { call, .. } | Event::ReinviteRefused { call, .. } => {
                if let Some(open) = self.offers.get_mut(call) {
                    *open -= 1;
                }
                call.clone()
            }
            Event::Transfer { call, progress } => {
                assert!(self.transfers.contains(call), "{call}: {progress:?} without a transfer");
                if matches!(progress, TransferProgress::Succeeded | TransferProgress::Failed(_)) {
                    self.transfers.remove(call);
                }
                call.clone()
            }
            Event::Referred { call, .. }
            | Event::ReferralExpired { call }
            | Event::Progress { call, .. }
            | Event::Answered { call, .. }
            | Event::Confirmed { call, .. }
            | Event::Offer { call, .. }
            | Event::OfferWithdrawn { call }
            | Event::OfferNeeded { call, .. }
            | Event::Detached { call }
            | Event::Attached { call }
            | Event::Info { call, .. }
            | Event::IdentityChanged { call, .. }
            | Event::Message { call, .. }
            | Event::PasswordNeeded { call, .. }
            | Event::InfoAnswered { call, .. }
            | Event::Missed { call, .. } => call.clone(),
            Event::MessageAnswered { target, .. } => {
                assert!(self.messages.remove(target), "the text to {target} was answered twice");
                return;
            }
            Event::Registration(_)
            | Event::Ha1 { .. }
            | Event::CallerIdTaken { .. }
            | Event::NewMessage { .. }
            | Event::Dropped { .. } => return,
        };
        assert!(!self.ended.contains(&call), "{event:?} after the end");
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.phone.transport.is_some() {
            self.last = bytes.to_vec();
            self.phone.bytes(bytes);
            self.observe();
        }
    }

    fn apply(&mut self, (kind, which): Step) {
        match kind % 20 {
            0 => self.place(),
            1 | 2 => self.answer_invite(which),
            3 => self.answer_other(which),
            4 => self.command(which, |call| Command::HangUp { call }),
            5 => {
                if let Some(call) = self.call(which)
                    && !self.ended.contains(&call)
                {
                    *self.offers.entry(call.clone()).or_default() += 1;
                    self.phone.command(Command::Reinvite { call, sdp: OFFER.into() });
                }
            }
            6 => self.command(which, |call| match which % 3 {
                0 => Command::RefuseOffer { call, status: 488 },
                _ => Command::AnswerOffer { call, sdp: ANSWER.into() },
            }),
            7 => self.remote_request_in_dialog(which),
            8 => self.ring(which),
            9 => self.command(which, |call| match which % 4 {
                0 => Command::Reject { call, status: 486 },
                _ => Command::Answer { call, sdp: ANSWER.into() },
            }),
            10 => self.acknowledge(which),
            11 => self.advance_time(u64::from(which) * 20),
            12 if which.is_multiple_of(8) => self.phone.input(Input::Woke { asleep_ms: u64::from(which) * 10_000 }),
            12 => self.advance_time(u64::from(which) * 400),
            13 => self.break_or_connect(which),
            14 => {
                let bytes = self.last.clone();
                self.receive(&bytes);
            }
            16 => {
                if let Some(call) = self.call(which)
                    && !self.ended.contains(&call)
                {
                    // A second one is ignored.
                    self.transfers.insert(call.clone());
                    let target = match self.call(which / 4) {
                        Some(other) if which % 4 == 0 => TransferTarget::Call(other),
                        _ => TransferTarget::Address("300".into()),
                    };
                    self.phone.command(Command::Transfer { call, target });
                }
            }
            19 => {
                self.placed += 1;
                let target = format!("4{}", self.placed);
                self.messages.insert(target.clone());
                let call = self.call(which).filter(|_| !which.is_multiple_of(4));
                self.phone.command(Command::SendMessage(TextMessage { call, target, text: "Hello".into() }));
            }
            17 => self.command(which, |call| Command::RefuseReferral { call }),
            18 => {
                if let Some(referrer) = self.call(which) {
                    self.placed += 1;
                    let call = format!("r{}", self.placed);
                    self.calls.push(call.clone());
                    self.phone.command(Command::FollowReferral { call, referrer, sdp: OFFER.into() });
                }
            }
            _ => {
                let mut bytes = self.last.clone();
                let at = usize::from(which).wrapping_mul(37) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = which;
                }
                self.receive_mutated(&bytes);
            }
        }
        self.observe();
        for (call, open) in &self.offers {
            assert!(*open >= 0, "{call}: an offer answered twice");
        }
    }

    fn receive_mutated(&mut self, bytes: &[u8]) {
        if self.phone.transport.is_some() {
            self.phone.bytes(bytes);
        }
    }

    fn command(&mut self, which: u8, make: impl FnOnce(String) -> Command) {
        if let Some(call) = self.call(which) {
            self.phone.command(make(call));
        }
    }

    fn place(&mut self) {
        self.placed += 1;
        let call = format!("c{}", self.placed);
        self.calls.push(call.clone());
        self.phone.command(Command::Invite {
            call,
            target: "bob".into(),
            options: InviteOptions::default(),
            sdp: Some(OFFER.into()),
        });
    }

    fn answer_invite(&mut self, which: u8) {
        if self.invites.is_empty() || self.phone.transport.is_none() {
            return;
        }
        let invite = self.invites[usize::from(which / 16) % self.invites.len()].clone();
        let inside = invite.to().unwrap().tag().map(str::to_owned);
        let tag = inside.clone().unwrap_or_else(|| (if which.is_multiple_of(2) { "a" } else { "b" }).into());
        let status =
            [100, 180, 183, 200, 200, 200, 486, 401, 487, 491, 481, 500, 503, 422, 200, 180][usize::from(which % 16)];
        let mut response = invite.response(status, "Test", Some(&tag));
        if status > 100 && status < 300 {
            response.append(Header::Contact, "<sip:bob@far.test;transport=ws>");
        }
        if status == 183 && which >= 128 {
            response.append(Header::Require, "100rel");
            response.append(Header::RSeq, "1");
        }
        match status {
            183 | 200 => response.set_body("application/sdp", ANSWER.as_bytes()),
            401 => response.append(Header::WwwAuthenticate, &format!("Digest realm=\"r\", nonce=\"{which}\"")),
            422 => response.append(Header::MinSe, "2000"),
            _ => {}
        }
        self.receive(&response.to_bytes());
        if status != 200 {
            return;
        }
        let call_id = invite.value(Header::CallId).unwrap().to_owned();
        let number = invite.cseq().unwrap().number;
        assert!(
            self.acks.contains(&(call_id.clone(), tag.clone(), number)),
            "a 2xx without ACK: {call_id} {tag} {number}"
        );
        if self.calls.iter().all(|call| self.ended.contains(call)) && self.phone.transport.is_some() && inside.is_none()
        {
            let left = self.byes.contains(&(call_id, tag)) || self.remote_hung_up(&invite);
            assert!(left, "a 2xx to a call that is over without BYE");
        }
    }

    fn remote_hung_up(&self, invite: &Request) -> bool {
        self.remote_requests.iter().any(|request| {
            request.method().as_str() == "BYE" && request.value(Header::CallId) == invite.value(Header::CallId)
        })
    }

    fn answer_other(&mut self, which: u8) {
        if self.pending.is_empty() || self.phone.transport.is_none() {
            return;
        }
        let index = usize::from(which / 8) % self.pending.len();
        let request = self.pending[index].clone();
        if request.method().as_str() == "INVITE" {
            return;
        }
        self.pending.remove(index);
        let status = [200, 200, 200, 481, 407, 500, 403, 408][usize::from(which % 8)];
        let mut response = request.response(status, "Test", Some("far"));
        if status == 407 {
            response.append(Header::ProxyAuthenticate, &format!("Digest realm=\"r\", nonce=\"{which}\""));
        }
        if request.method().as_str() == "REGISTER"
            && let Some(contact) = request.value(Header::Contact)
        {
            response.append(Header::Contact, contact);
        }
        self.receive(&response.to_bytes());
    }

    fn remote_request_in_dialog(&mut self, which: u8) {
        if self.phone.transport.is_none() {
            return;
        }
        self.remote_cseq += 1;
        let cseq = self.remote_cseq;
        let method =
            ["BYE", "INVITE", "UPDATE", "INFO", "INVITE", "PRACK", "CANCEL", "NOTIFY", "MESSAGE", "UPDATE", "REFER"]
                [usize::from(which % 11)];
        let fill = |request: &mut Request| {
            if matches!(method, "INVITE" | "UPDATE") && which & 64 == 0 {
                request.set_body("application/sdp", OFFER.as_bytes());
            }
            match method {
                "REFER" => request.append(Header::ReferTo, "<sip:300@acme.test>"),
                "NOTIFY" => {
                    request.append(Header::Event, "refer");
                    request.append(Header::SubscriptionState, if which & 64 == 0 { "active" } else { "terminated" });
                    let status = [100, 180, 200, 486][usize::from(which / 16 % 4)];
                    request.set_body("message/sipfrag", format!("SIP/2.0 {status} X\r\n").as_bytes());
                }
                _ => {}
            }
        };
        let request_sent = if which & 8 == 0 && !self.invites.is_empty() {
            let ours = self.invites[usize::from(which / 16) % self.invites.len()].clone();
            let tag = ours.to().unwrap().tag().unwrap_or("a").to_owned();
            self.phone.remote_request_in(&ours, &tag, method, cseq, fill)
        } else if let Some(ok) = self.accepted.get(usize::from(which / 16) % self.accepted.len().max(1)).cloned() {
            self.phone.remote_request(method, cseq, |request| {
                request.set(Header::From, ok.value(Header::From).unwrap());
                request.set(Header::To, ok.value(Header::To).unwrap());
                request.set(Header::CallId, ok.value(Header::CallId).unwrap());
                fill(request);
            })
        } else {
            return;
        };
        self.remote_requests.push(request_sent);
    }

    fn ring(&mut self, which: u8) {
        if self.phone.transport.is_none() {
            return;
        }
        let cancelled = self.remote_requests.iter().rfind(|request| request.method().as_str() == "INVITE").cloned();
        if let (Some(invite), true) = (cancelled, which.is_multiple_of(3)) {
            let copy = |name| invite.value(name).unwrap().to_owned();
            let (via, from, to) = (copy(Header::Via), copy(Header::From), copy(Header::To));
            let call_id = copy(Header::CallId);
            self.phone.remote_request("CANCEL", invite.cseq().unwrap().number, |request| {
                request.set(Header::Via, &via);
                request.set(Header::From, &from);
                request.set(Header::To, &to);
                request.set(Header::CallId, &call_id);
            });
            return;
        }
        self.remote_cseq += 1;
        let call_id = format!("incoming-{}", self.remote_cseq);
        let ours = self.invites.get(usize::from(which / 16)).filter(|_| which.is_multiple_of(4));
        let replaces = ours.map(|ours| {
            let call_id = ours.value(Header::CallId).unwrap();
            format!("{call_id};to-tag={};from-tag=a", ours.from().unwrap().tag().unwrap())
        });
        let request_sent = self.phone.remote_request("INVITE", self.remote_cseq, |request| {
            request.set(Header::CallId, &call_id);
            if which % 3 == 1 {
                request.set_body("application/sdp", OFFER.as_bytes());
            }
            if which.is_multiple_of(5) {
                request.append(Header::Require, "100rel");
            }
            if let Some(replaces) = &replaces {
                request.append(Header::Replaces, replaces);
            }
        });
        self.remote_requests.push(request_sent);
    }

    fn acknowledge(&mut self, which: u8) {
        if self.accepted.is_empty() || self.phone.transport.is_none() {
            return;
        }
        let ok = self.accepted[usize::from(which / 2) % self.accepted.len()].clone();
        self.phone.remote_request("ACK", ok.cseq().unwrap().number, |request| {
            request.set(Header::From, ok.value(Header::From).unwrap());
            request.set(Header::To, ok.value(Header::To).unwrap());
            request.set(Header::CallId, ok.value(Header::CallId).unwrap());
            if which.is_multiple_of(2) {
                request.set_body("application/sdp", ANSWER.as_bytes());
            }
        });
    }

    /// Advances the time step by step, since a connection may close meanwhile.
    fn advance_time(&mut self, millis: u64) {
        let end = self.phone.now.plus(millis);
        while self.phone.next().is_some_and(|next| next <= end) {
            self.phone.step();
            self.observe();
        }
        self.phone.now = self.phone.now.max(end);
    }

    fn break_or_connect(&mut self, which: u8) {
        if self.phone.transport.is_some() {
            self.phone.lose_connection();
        } else if let Some(id) = self.connect_request.take() {
            if which.is_multiple_of(4) {
                self.phone.input(Input::TransportClosed { id, reason: "refused".into() });
                self.observe();
                return;
            }
            self.phone.transport = Some(id);
            self.phone.input(Input::TransportConnected { id });
            self.observe();
            let register = self.pending.iter().rposition(|request| request.method().as_str() == "REGISTER");
            if let Some(register) = register {
                let register = self.pending.remove(register);
                let contact = register.value(Header::Contact).unwrap().to_owned();
                self.phone.reply(&register, 200, |response| response.append(Header::Contact, &contact));
            }
        }
        self.observe();
    }

    /// All calls are hung up, and no message is answered any more.
    fn end_all(&mut self) {
        for call in self.calls.clone() {
            self.phone.command(Command::HangUp { call });
            self.observe();
        }
        self.phone.answers_pings = false;
        self.advance_time(300_000);
        for call in &self.calls {
            assert!(self.ended.contains(call), "{call} never ended");
        }
        assert!(self.offers.is_empty());
        assert!(self.transfers.is_empty());
        assert!(self.messages.is_empty(), "{:?} were not answered", self.messages);
        self.phone.assert_no_calls();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_for_any_order_of_inputs(registered: bool, steps in proptest::collection::vec(any::<Step>(), 1..60)) {
        let mut world = Simulation::new(registered);
        world.observe();
        world.place();
        world.observe();
        for step in steps {
            world.apply(step);
        }
        world.end_all();
    }

    #[test]
    fn bytes_of_any_kind_never_panic(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut phone = TestUserAgent::registered();
        phone.outgoing_call();
        for bytes in messages {
            phone.bytes(&bytes);
        }
        prop_assert!(!phone.has_ended());
    }
}
