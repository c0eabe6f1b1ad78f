//! A call list with attached pages, and the steps that the tests are made of.

use bitcall_agent::{CallList, CallListOutput, PortId};
use bitcall_sip::ua::{self, Command, Millis};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, AgentSnapshot, CallOptions, CallSnapshot, MediaReply, MediaRequest, OtherCalls,
    SipAccount, TextMessage, ToAgent, ToPage, TransferStatus,
};
use bitcall_wire::config::{CallBehavior, Dtmf};

/// The account of the tests, with two calls at the most.
pub fn account() -> SipAccount {
    SipAccount {
        username: "101".into(),
        domain: "sip.test".into(),
        display_name: None,
        secret: AccountSecret::Password { password: "secret".into() },
        wss: vec!["wss://sip.test".into()],
        instance_id: "urn:uuid:1".into(),
        dtmf: Dtmf::default(),
        max_sessions: 2,
        calls: CallBehavior::default(),
        caller_id_headers: Vec::new(),
    }
}

pub struct TestCallList {
    call_list: CallList,
    pub now: Millis,
    /// What the tenant has set, for the next sign-in.
    pub behavior: CallBehavior,
    /// For the next sign-in; 0 is no limit.
    pub max_sessions: u32,
    /// The outputs that no step has taken or cleared.
    out: Vec<CallListOutput>,
}

impl TestCallList {
    pub fn new() -> TestCallList {
        TestCallList {
            call_list: CallList::new(),
            now: Millis(1_000_000),
            behavior: CallBehavior::default(),
            max_sessions: account().max_sessions,
            out: Vec::new(),
        }
    }

    /// Page `a` on port 1, signed in and registered, with empty output.
    pub fn registered() -> TestCallList {
        let mut phone = TestCallList::new();
        phone.attach(1, "a");
        phone.registration(ua::Registration::Registered { server: "wss://sip.test".into(), session: None });
        phone.out.clear();
        phone
    }

    /// Page `a` with the active outgoing call `c1`.
    pub fn in_call() -> TestCallList {
        let mut phone = TestCallList::registered();
        phone.call(1, "c1", "102");
        phone.establish("c1");
        phone
    }

    /// The page makes the offer, the far end answers, and the page applies the answer.
    pub fn establish(&mut self, call: &str) {
        self.reply_description(1, call, "offer");
        self.event(ua::Event::Answered { call: call.into(), sdp: Some("answer".into()), early_dialog: None });
        self.reply_done(1, call);
        self.out.clear();
    }

    /// Attaches a page that signs in at once.
    pub fn attach(&mut self, port: PortId, page: &str) {
        self.attach_without_sign_in(port, page);
        self.sign_in(port, "secret");
    }

    /// Attaches a page that sends nothing more.
    pub fn attach_without_sign_in(&mut self, port: PortId, page: &str) {
        self.send(port, ToAgent::Attach { page: page.into(), visible: true });
    }

    pub fn sign_in(&mut self, port: PortId, password: &str) {
        self.sign_in_as(port, "101", password);
    }

    pub fn sign_in_as(&mut self, port: PortId, username: &str, password: &str) {
        self.sign_in_with(port, username, AccountSecret::Password { password: password.into() });
    }

    pub fn sign_in_with(&mut self, port: PortId, username: &str, secret: AccountSecret) {
        let (calls, max_sessions) = (self.behavior, self.max_sessions);
        let account = SipAccount { username: username.into(), secret, calls, max_sessions, ..account() };
        self.send(port, ToAgent::SignIn { account: Box::new(account), kept: None });
    }

    pub fn call(&mut self, port: PortId, call: &str, number: &str) {
        self.send(
            port,
            ToAgent::Call { call: call.into(), number: number.into(), options: CallOptions::default(), offer: None },
        );
    }

    pub fn answer(&mut self, port: PortId, call: &str, others: OtherCalls) {
        self.send(port, ToAgent::Answer { call: call.into(), others });
    }

    pub fn hold(&mut self, port: PortId, call: &str, held: bool) {
        self.send(port, ToAgent::Hold { call: call.into(), held });
    }

    pub fn send(&mut self, port: PortId, message: ToAgent) {
        self.call_list.page(port, message, self.now);
        self.collect();
    }

    pub fn event(&mut self, event: ua::Event) {
        self.call_list.event(event, self.now);
        self.collect();
    }

    pub fn registration(&mut self, registration: ua::Registration) {
        self.event(ua::Event::Registration(registration));
    }

    pub fn incoming(&mut self, call: &str, number: &str) {
        self.incoming_with_auto_answer(call, number, None);
    }

    /// The caller asks that the call is answered by itself.
    pub fn incoming_with_auto_answer(&mut self, call: &str, number: &str, auto_answer_ms: Option<u64>) {
        self.event(ua::Event::Incoming {
            call: call.into(),
            from: ua::RemoteParty { number: number.into(), ..ua::RemoteParty::default() },
            offer: Some("their offer".into()),
            replaces: None,
            diverted_from: None,
            auto_answer_ms,
            headers: Vec::new(),
        });
    }

    pub fn confirmed(&mut self, call: &str) {
        self.event(ua::Event::Confirmed { call: call.into(), sdp: None });
    }

    /// The page's reply to the last request about `call`, which must be open.
    pub fn reply_description(&mut self, port: PortId, call: &str, sdp: &str) {
        self.reply(port, call, MediaReply::Description { sdp: sdp.into() });
    }

    pub fn reply_done(&mut self, port: PortId, call: &str) {
        self.reply(port, call, MediaReply::Done);
    }

    pub fn reply(&mut self, port: PortId, call: &str, reply: MediaReply) {
        let request_id = self.request_id(port, call);
        self.reply_to(port, call, request_id, reply);
    }

    pub fn reply_to(&mut self, port: PortId, call: &str, request_id: u32, reply: MediaReply) {
        self.send(port, ToAgent::MediaReply { call: call.into(), request_id, reply });
    }

    pub fn request_id(&self, port: PortId, call: &str) -> u32 {
        self.out
            .iter()
            .rev()
            .find_map(|out| match out {
                CallListOutput::ToPage { port: to, message: ToPage::Media { call: about, request_id, .. } }
                    if *to == port && about == call =>
                {
                    Some(*request_id)
                }
                _ => None,
            })
            .expect("the page was asked for nothing")
    }

    /// Advances the time and ticks at every deadline, as a driver does.
    /// The pages on `ports` send `Alive` every second.
    pub fn advance_time(&mut self, milliseconds: u64, ports: &[PortId]) {
        let end = self.now.plus(milliseconds);
        while self.now < end {
            self.now = end.min(self.now.plus(1_000));
            for port in ports {
                self.call_list.page(*port, ToAgent::Alive { visible: true }, self.now);
            }
            if self.call_list.next_timeout().is_some_and(|at| at <= self.now) {
                self.call_list.tick(self.now);
                assert!(
                    self.call_list.next_timeout().is_none_or(|at| at > self.now),
                    "a deadline that does not go away"
                );
            }
            self.collect();
        }
    }

    pub fn clear_output(&mut self) {
        self.out.clear();
    }

    pub fn commands(&mut self) -> Vec<Command> {
        take(&mut self.out, |out| match out {
            CallListOutput::Command(command) => Some(command.clone()),
            _ => None,
        })
    }

    /// The user agent's call of the last INVITE with Replaces.
    pub fn replacement(&mut self) -> String {
        let commands = self.commands();
        commands
            .into_iter()
            .find_map(|command| match command {
                Command::Replace { call, .. } => Some(call),
                _ => None,
            })
            .expect("no INVITE with Replaces")
    }

    pub fn media_requests(&self, port: PortId) -> Vec<(String, MediaRequest)> {
        self.out
            .iter()
            .filter_map(|out| match out {
                CallListOutput::ToPage { port: to, message: ToPage::Media { call, request, .. } } if *to == port => {
                    Some((call.clone(), request.clone()))
                }
                _ => None,
            })
            .collect()
    }

    pub fn ringing_offers(&self, port: PortId) -> Vec<&str> {
        let of_page = self.out.iter().filter_map(|out| match out {
            CallListOutput::ToPage { port: to, message: ToPage::RingingOffer { offer, .. } } if *to == port => {
                Some(offer.as_str())
            }
            _ => None,
        });
        of_page.collect()
    }

    pub fn events(&mut self, port: PortId) -> Vec<AgentEvent> {
        take(&mut self.out, |out| match out {
            CallListOutput::ToPage { port: to, message: ToPage::Event { event } } if *to == port => Some(event.clone()),
            _ => None,
        })
    }

    /// Short names of the events that the page got.
    pub fn event_names(&mut self, port: PortId) -> Vec<String> {
        self.events(port)
            .iter()
            .map(|event| match event {
                AgentEvent::CallEnded { cause, .. } => format!("ended: {}", cause.text),
                AgentEvent::Refused { code, .. } => format!("refused: {code}"),
                AgentEvent::CallStarted { .. } => "started".into(),
                AgentEvent::CallIncoming { .. } => "incoming".into(),
                AgentEvent::CallAnswered { .. } => "answered".into(),
                AgentEvent::CallerIdTaken { taken } => format!("{} takes {:?}", taken.server, taken.header),
                AgentEvent::Message { message: TextMessage { call, number, text, .. } } => {
                    let call = call.as_ref().map_or_else(String::new, |call| format!(" in {call}"));
                    format!("message of {number}{call}: {text}")
                }
                AgentEvent::MessageAnswered { number, failure } => format!("{number} answered: {failure:?}"),
                AgentEvent::CallMissed { call, cause } => format!("missed {}: {}", call.number, cause.text),
                AgentEvent::AutoAnswerDue { .. } => "auto-answer due".into(),
                AgentEvent::Registered { .. } => "registered".into(),
                AgentEvent::Unregistered { .. } => "unregistered".into(),
                AgentEvent::CallUpdated { call } => format!("updated: {}", call.number),
                AgentEvent::Ha1 { .. } => "ha1".into(),
                AgentEvent::PasswordNeeded { .. } => "password needed".into(),
                AgentEvent::HoldFailed { .. } => "hold failed".into(),
                AgentEvent::Transfer { status, .. } => match status {
                    TransferStatus::Started => "transfer started".into(),
                    TransferStatus::Accepted => "transfer accepted".into(),
                    TransferStatus::Failed { reason, .. } => format!("transfer failed: {reason}"),
                },
            })
            .collect()
    }

    pub fn started_configs(&self) -> Vec<ua::UserAgentConfig> {
        self.out
            .iter()
            .filter_map(|out| match out {
                CallListOutput::Start(config) => Some((**config).clone()),
                _ => None,
            })
            .collect()
    }

    pub fn probes(&self) -> bool {
        self.out.contains(&CallListOutput::Probe)
    }

    pub fn finished(&self) -> bool {
        self.out.contains(&CallListOutput::Finished)
    }

    /// The last snapshot sent to the page.
    pub fn snapshot(&self, port: PortId) -> AgentSnapshot {
        self.snapshots(port).pop().expect("no snapshot")
    }

    pub fn snapshots(&self, port: PortId) -> Vec<AgentSnapshot> {
        self.out
            .iter()
            .filter_map(|out| match out {
                CallListOutput::ToPage { port: to, message: ToPage::Snapshot { snapshot } } if *to == port => {
                    Some(snapshot.clone())
                }
                _ => None,
            })
            .collect()
    }

    pub fn call_snapshot(&self, port: PortId, call: &str) -> CallSnapshot {
        self.snapshot(port).calls.into_iter().find(|shown| shown.id == call).expect("the call is not shown")
    }

    fn collect(&mut self) {
        loop {
            match self.call_list.poll() {
                Some(out) => self.out.push(out),
                None if self.call_list.send_snapshot_if_changed() => {}
                None => break,
            }
        }
    }
}

fn take<T>(out: &mut Vec<CallListOutput>, pick: impl Fn(&CallListOutput) -> Option<T>) -> Vec<T> {
    let mut taken = Vec::new();
    out.retain(|out| match pick(out) {
        Some(picked) => {
            taken.push(picked);
            false
        }
        None => true,
    });
    taken
}
