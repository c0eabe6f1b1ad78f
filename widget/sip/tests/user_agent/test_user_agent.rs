//! A user agent under test; the test acts as server and far end.
//!
//! All outputs are queued; a test takes them in order. For each input a second user agent,
//! restored from the serialised state, gets the same input and must have the same outputs.

use std::collections::VecDeque;

use bitcall_sip::message::{Header, Message, Request, Response};
use bitcall_sip::ua::{
    Command, DialogRecord, Event, Input, InviteOptions, Millis, Output, Registration, RemoteParty, SipSecret,
    TransportId, UserAgent, UserAgentConfig,
};

pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
pub const ANSWER: &str = "v=0\r\no=- 2 1 IN IP4 2.2.2.2\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

pub struct TestUserAgent {
    agent: UserAgent,
    /// Given back to the restored user agent, as a driver that has it does.
    password: Option<String>,
    pub now: Millis,
    pub transport: Option<TransportId>,
    outputs: VecDeque<Output>,
    branch: u32,
    /// CRLF keep-alives are answered automatically and not queued.
    pub answers_pings: bool,
}

impl TestUserAgent {
    /// Before the first command.
    pub fn unregistered() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut UserAgentConfig)) -> Self {
        let secret = SipSecret::Password("geheim".into());
        let mut config = UserAgentConfig::new("anna", "acme.test", secret, vec!["wss://a/sip".into()]);
        config.instance_id = "urn:uuid:00000000-0000-4000-8000-000000000001".into();
        config.max_sessions = 4;
        change(&mut config);
        let password = match &config.secret {
            SipSecret::Password(password) => Some(password.clone()),
            SipSecret::Ha1(_) => None,
        };
        Self {
            password,
            agent: UserAgent::new(config, [42; 32], Millis(1_000)),
            now: Millis(1_000),
            transport: None,
            outputs: VecDeque::new(),
            branch: 0,
            answers_pings: true,
        }
    }

    /// Connected and registered without a challenge; the outputs of that are removed.
    pub fn registered() -> Self {
        let mut phone = Self::unregistered();
        phone.register();
        phone
    }

    pub fn register(&mut self) {
        self.command(Command::Register);
        self.connect();
        self.accept_register();
        assert!(self.registration_is(|state| matches!(state, Registration::Registered { .. })));
        self.outputs.clear();
    }

    /// Answers the next REGISTER with 200.
    pub fn accept_register(&mut self) {
        let register = self.request("REGISTER");
        let contact = register.value(Header::Contact).unwrap().to_owned();
        self.reply(&register, 200, |response| response.append(Header::Contact, &contact));
    }

    /// Opens the requested connection and returns its URL.
    pub fn connect(&mut self) -> String {
        let (id, url) = self.take(|output| match output {
            Output::Connect { id, url } => Some((*id, url.clone())),
            _ => None,
        });
        self.transport = Some(id);
        self.input(Input::TransportConnected { id });
        url
    }

    /// Lets the requested connection fail and returns its URL.
    pub fn connect_fails(&mut self) -> String {
        let (id, url) = self.take(|output| match output {
            Output::Connect { id, url } => Some((*id, url.clone())),
            _ => None,
        });
        self.input(Input::TransportClosed { id, reason: "refused".into() });
        url
    }

    /// Whether a connection is requested.
    pub fn connects(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Connect { .. }))
    }

    /// Whether a connection is to be closed.
    pub fn outputs_close(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::CloseTransport { .. }))
    }

    pub fn has_ended(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Event(Event::Ended { .. })))
    }

    /// The serialised state.
    pub fn state(&self) -> String {
        serde_json::to_string(&self.agent).unwrap()
    }

    pub fn lose_connection(&mut self) {
        let id = self.transport.take().unwrap();
        self.input(Input::TransportClosed { id, reason: "test".into() });
    }

    /// Reconnects and registers.
    pub fn reconnect(&mut self) {
        self.wait_for(|output| matches!(output, Output::Connect { .. }));
        self.connect();
        self.accept_register();
    }

    // Inputs.

    pub fn input(&mut self, input: Input) {
        let json = serde_json::to_string(&self.agent).unwrap();
        let mut restored: UserAgent = serde_json::from_str(&json).unwrap();
        if let Some(password) = &self.password {
            restored.restore_password(password.clone());
        }
        if let Input::Command(Command::SetPassword { password }) = &input {
            self.password = Some(password.0.clone());
        }
        restored.handle(input.clone(), self.now);
        self.agent.handle(input, self.now);
        loop {
            let output = self.agent.poll();
            assert_eq!(output, restored.poll(), "a restored agent does the same");
            match output {
                Some(output) => self.outputs.push_back(output),
                None => break,
            }
        }
        assert_eq!(self.agent.next_timeout(), restored.next_timeout());
        let ping = |output: &Output| matches!(output, Output::Send { bytes, .. } if bytes == b"\r\n\r\n");
        if self.answers_pings && self.outputs.iter().any(ping) {
            self.outputs.retain(|output| !ping(output));
            self.bytes(b"\r\n");
        }
    }

    pub fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let id = self.transport.unwrap();
        self.input(Input::Received { id, bytes: bytes.to_vec() });
    }

    /// Advances the time, with a tick at each requested time.
    pub fn wait(&mut self, millis: u64) {
        let end = self.now.plus(millis);
        while let Some(next) = self.agent.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Advances the time until a matching output, at most ten minutes.
    pub fn wait_for(&mut self, wanted: impl Fn(&Output) -> bool) {
        let end = self.now.plus(600_000);
        while !self.outputs.iter().any(&wanted) {
            let next = self.agent.next_timeout().filter(|next| *next <= end);
            self.now = self.now.max(next.unwrap_or_else(|| panic!("never came: {:#?}", self.outputs)));
            self.input(Input::Tick);
        }
    }

    /// Advances the time to the next timer. False: no timer is running.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.agent.next_timeout() else {
            return false;
        };
        self.now = self.now.max(next);
        self.input(Input::Tick);
        true
    }

    /// A response to a request of the user agent.
    pub fn reply(&mut self, request: &Request, status: u16, fill: impl FnOnce(&mut Response)) {
        self.reply_as(request, status, "far", fill);
    }

    /// A response of a fork with another To tag.
    pub fn reply_as(&mut self, request: &Request, status: u16, tag: &str, fill: impl FnOnce(&mut Response)) {
        let mut response = request.response(status, "Test", Some(tag));
        if matches!(status, 101..=299) {
            response.append(Header::Contact, &format!("<sip:{tag}@far.test;transport=ws>"));
        }
        fill(&mut response);
        self.bytes(&response.to_bytes());
    }

    pub fn reply_sdp(&mut self, request: &Request, status: u16, sdp: &str) {
        self.reply(request, status, |response| response.set_body("application/sdp", sdp.as_bytes()));
    }

    /// A request of the far end, outside of a dialog unless `fill` sets To and From.
    pub fn remote_request(&mut self, method: &str, cseq: u32, fill: impl FnOnce(&mut Request)) -> Request {
        self.branch += 1;
        let mut request = Request::new(bitcall_sip::message::Method::from_name(method), "sip:anna@x.invalid");
        request.append(Header::Via, &format!("SIP/2.0/WSS far.test;branch=z9hG4bKfar{}", self.branch));
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, "\"Bob B.\" <sip:bob@acme.test>;tag=bobs");
        request.append(Header::To, "<sip:anna@acme.test>");
        request.append(Header::CallId, "incoming-1");
        request.append(Header::CSeq, &format!("{cseq} {method}"));
        request.append(Header::Contact, "<sip:bob@far.test;transport=ws>");
        fill(&mut request);
        self.bytes(&request.to_bytes());
        request
    }

    /// A request of the far end in the dialog of `ours`, a request of the user agent.
    pub fn remote_request_in(
        &mut self,
        ours: &Request,
        far_tag: &str,
        method: &str,
        cseq: u32,
        fill: impl FnOnce(&mut Request),
    ) -> Request {
        let from = ours.to().unwrap();
        let from = format!("<{}>;tag={far_tag}", from.uri_text);
        let to = ours.value(Header::From).unwrap().to_owned();
        let call_id = ours.value(Header::CallId).unwrap().to_owned();
        self.remote_request(method, cseq, |request| {
            request.set(Header::From, &from);
            request.set(Header::To, &to);
            request.set(Header::CallId, &call_id);
            fill(request);
        })
    }

    /// The far end's ACK for a 200 of the user agent.
    pub fn ack(&mut self, invite: &Request, ok: &Response) {
        self.ack_with(invite, ok, |_| {});
    }

    pub fn ack_with(&mut self, invite: &Request, ok: &Response, fill: impl FnOnce(&mut Request)) {
        let to = ok.value(Header::To).unwrap().to_owned();
        let from = invite.value(Header::From).unwrap().to_owned();
        let call_id = invite.value(Header::CallId).unwrap().to_owned();
        let cseq = invite.cseq().unwrap().number;
        self.remote_request("ACK", cseq, |request| {
            request.set(Header::From, &from);
            request.set(Header::To, &to);
            request.set(Header::CallId, &call_id);
            fill(request);
        });
    }

    // Outputs.

    fn take<T>(&mut self, wanted: impl Fn(&Output) -> Option<T>) -> T {
        let found = self.outputs.iter().enumerate().find_map(|(index, output)| Some((index, wanted(output)?)));
        let Some((index, value)) = found else {
            panic!("not put out; instead: {:#?}", self.shown());
        };
        self.outputs.remove(index);
        value
    }

    /// The next message sent; events before it stay.
    fn message(&mut self, wanted: &str) -> Message {
        let found = self.outputs.iter().position(|output| {
            matches!(output, Output::Send { bytes, .. } if bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')))
        });
        let Some(Output::Send { bytes, .. }) = found.and_then(|index| self.outputs.remove(index)) else {
            panic!("no message sent, expected {wanted}; instead: {:#?}", self.shown());
        };
        let message = Message::parse(&bytes).unwrap();
        message.validate().unwrap();
        message
    }

    /// The next message sent, which must be a request with this method.
    pub fn request(&mut self, method: &str) -> Request {
        match self.message(method) {
            Message::Request(request) if request.method().as_str() == method => request,
            other => panic!("expected {method}, sent: {}", text(&other.to_bytes())),
        }
    }

    /// The first request with this method that was sent; messages before it stay.
    pub fn request_among(&mut self, method: &str) -> Request {
        self.take(|output| match output {
            Output::Send { bytes, .. } => match Message::parse(bytes) {
                Ok(Message::Request(request)) if request.method().as_str() == method => Some(request),
                _ => None,
            },
            _ => None,
        })
    }

    /// The next message sent, which must be a response with this status.
    pub fn response(&mut self, status: u16) -> Response {
        match self.message("a response") {
            Message::Response(response) if response.status() == status => response,
            other => panic!("expected {status}, sent: {}", text(&other.to_bytes())),
        }
    }

    pub fn sends_nothing(&self) {
        let sent: Vec<String> = self.shown();
        assert!(!self.outputs.iter().any(|output| matches!(output, Output::Send { .. })), "sent: {sent:#?}");
    }

    /// Takes a CRLF keep-alive that must have been sent.
    pub fn sends_keepalive(&mut self, crlf: &[u8]) {
        self.take(|output| match output {
            Output::Send { bytes, .. } if bytes == crlf => Some(()),
            _ => None,
        });
    }

    pub fn closes(&mut self) {
        self.take(|output| matches!(output, Output::CloseTransport { .. }).then_some(()));
    }

    /// Takes the first event for which the function returns a value.
    pub fn event<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        self.take(|output| match output {
            Output::Event(event) => wanted(event),
            _ => None,
        })
    }

    pub fn emits(&mut self, wanted: &Event) {
        self.event(|event| (event == wanted).then_some(()));
    }

    pub fn emits_no(&self, unwanted: impl Fn(&Event) -> bool) {
        let found = self.outputs.iter().find(|output| matches!(output, Output::Event(event) if unwanted(event)));
        assert!(found.is_none(), "told: {found:?}");
    }

    pub fn registration(&mut self) -> Registration {
        self.event(|event| match event {
            Event::Registration(state) => Some(state.clone()),
            _ => None,
        })
    }

    fn registration_is(&self, wanted: impl Fn(&Registration) -> bool) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Event(Event::Registration(state)) if wanted(state)))
    }

    /// The end of a call: its cause text and status.
    pub fn ended(&mut self, call: &str) -> (String, Option<u16>) {
        self.event(|event| match event {
            Event::Ended { call: id, cause } if id == call => Some((cause.text.clone(), cause.sip_code)),
            _ => None,
        })
    }

    /// Whether the next message sent is a response.
    pub fn next_is_response(&self) -> bool {
        let mut sent = self.outputs.iter().filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        sent.next().is_some_and(|bytes| bytes.starts_with(b"SIP/2.0"))
    }

    pub fn drain(&mut self) -> Vec<Output> {
        self.outputs.drain(..).collect()
    }

    pub fn next(&self) -> Option<Millis> {
        self.agent.next_timeout()
    }

    /// Asserts that no call object and no request of a call is left.
    pub fn assert_no_calls(&self) {
        let state = serde_json::to_value(&self.agent).unwrap();
        let calls = state["calls"].as_array().unwrap();
        assert!(calls.is_empty(), "left behind: {calls:#?}");
        for client in state["context"]["client_requests"].as_array().unwrap() {
            let owner = &client["owner"];
            assert!(owner == "Register" || owner == "Nobody", "left behind: {client:#?}");
        }
        assert!(state["context"]["server_transactions"].as_array().unwrap().is_empty());
    }

    pub fn dialog_record(&self, call: &str) -> Option<DialogRecord> {
        self.agent.dialog_record(call)
    }

    /// Whether no call object and no pending request is left.
    pub fn is_clean(&self) -> bool {
        let state = serde_json::to_value(&self.agent).unwrap();
        state["calls"].as_array().unwrap().is_empty()
            && state["context"]["client_requests"].as_array().unwrap().is_empty()
            && state["context"]["server_transactions"].as_array().unwrap().is_empty()
    }

    fn shown(&self) -> Vec<String> {
        let show = |output: &Output| match output {
            Output::Send { bytes, .. } => text(bytes),
            other => format!("{other:?}"),
        };
        self.outputs.iter().map(show).collect()
    }

    // Shortcuts.

    pub fn invite(&mut self) -> Request {
        self.invite_as("c")
    }

    /// The INVITE of a new call with this id.
    pub fn invite_as(&mut self, call: &str) -> Request {
        self.command(Command::Invite {
            call: call.into(),
            target: "bob".into(),
            options: InviteOptions::default(),
            sdp: Some(OFFER.into()),
        });
        self.request("INVITE")
    }

    /// Establishes an outgoing call; returns its INVITE.
    pub fn outgoing_call(&mut self) -> Request {
        let invite = self.invite();
        self.reply_sdp(&invite, 200, ANSWER);
        self.request("ACK");
        self.answered();
        invite
    }

    /// A ringing incoming call: its INVITE and its [`CallId`](bitcall_sip::ua::CallId).
    pub fn incoming(&mut self) -> (Request, String) {
        let invite = self.remote_request("INVITE", 1, |request| request.set_body("application/sdp", OFFER.as_bytes()));
        let (call, ..) = self.rings();
        (invite, call)
    }

    /// Takes the incoming call that is reported: its id, its caller and its offer.
    pub fn rings(&mut self) -> (String, RemoteParty, Option<String>) {
        self.event(|event| match event {
            Event::Incoming { call, from, offer, .. } => Some((call.clone(), from.clone(), offer.clone())),
            _ => None,
        })
    }

    /// Takes the answer of the far end to an outgoing call.
    pub fn answered(&mut self) -> Option<String> {
        self.event(|event| match event {
            Event::Answered { sdp, .. } => Some(sdp.clone()),
            _ => None,
        })
    }

    pub fn hang_up(&mut self, call: &str) {
        self.command(Command::HangUp { call: call.into() });
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
