//! The agent with its clock and a server: a computer that sleeps, one whose clock is set, and a server that refuses.

use bitcall_agent::{Agent, AgentClock, ClockChange, ClockReading, Input, Output};
use bitcall_sip::message::{Header, Message, Request, Response};
use bitcall_sip::ua::TransportId;
use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallOptions, CallState, HoldState, KeptCalls, MediaReply, MediaRequest, RegistrationStatus,
    SipAccount, ToAgent, ToPage,
};

use crate::test_call_list::account;

const HOUR_MS: u64 = 3_600_000;
/// The registrar grants this much less than it is asked for.
const GRANT_SECONDS: u64 = 60;
const START: ClockReading = ClockReading { monotonic_ms: 5_000, wall_ms: 1_800_000_000_000 };

/// A computer with the agent, its page, and a server that answers everything.
struct Computer {
    agent: Agent,
    clock: AgentClock,
    reading: ClockReading,
    socket: Option<TransportId>,
    server: Server,
    snapshots: Vec<AgentSnapshot>,
    /// What the page was told to keep last.
    kept: String,
    /// Answers of the server and the page that are under way.
    arriving: Vec<Input>,
}

/// What the server knows, by real time.
#[derive(Default)]
struct Server {
    now_ms: u64,
    registered_until_ms: u64,
    registers: u32,
    keepalives: u32,
    byes: u32,
    is_cut: bool,
    /// Final status of every REGISTER, without a reason; 0: it is accepted.
    refuses_with: u16,
}

impl Computer {
    fn in_call() -> Computer {
        let mut computer = Computer {
            agent: Agent::new([7; 32]),
            clock: AgentClock::new(START),
            reading: START,
            socket: None,
            server: Server::default(),
            snapshots: Vec::new(),
            kept: String::new(),
            arriving: Vec::new(),
        };
        computer.page(ToAgent::Attach { page: "a".into(), visible: true });
        computer.page(ToAgent::SignIn { account: Box::new(account()), kept: None });
        computer.call("c1", "102");
        assert!(computer.is_ready() && computer.is_in_call());
        computer
    }

    fn call(&mut self, call: &str, number: &str) {
        self.page(ToAgent::Call {
            call: call.into(),
            number: number.into(),
            options: CallOptions::default(),
            offer: Some("v=0\r\n".into()),
        });
        self.run(1_000);
    }

    /// The agent ends with its page, and the page is loaded anew with what it kept.
    fn reload(&mut self, record: &str, age_ms: u64, username: &str) {
        self.agent = Agent::new([8; 32]);
        self.socket = None;
        self.arriving.clear();
        self.snapshots.clear();
        self.page(ToAgent::Attach { page: "b".into(), visible: true });
        let account = Box::new(SipAccount { username: username.into(), ..account() });
        self.page(ToAgent::SignIn { account, kept: Some(KeptCalls { record: record.into(), age_ms }) });
        self.run(1_000);
        assert!(self.is_ready());
    }

    fn page(&mut self, message: ToAgent) {
        self.handle(Input::Page { port: 1, message });
    }

    /// As the driver does.
    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            for input in std::mem::take(&mut inputs) {
                let change = self.clock.advance(self.reading, self.agent.next_timeout());
                if change != ClockChange::default() {
                    self.step(Input::ClockChanged { asleep_ms: change.asleep_ms });
                }
                self.step(input);
            }
            inputs.append(&mut self.arriving);
        }
    }

    fn step(&mut self, input: Input) {
        self.agent.handle(input, self.clock.now());
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Connect { id, .. } => {
                    self.socket = Some(id);
                    self.server.is_cut = false;
                    self.arriving.push(Input::SocketOpened { id });
                }
                Output::CloseSocket { .. } => self.socket = None,
                Output::Send { id, bytes } if Some(id) == self.socket => {
                    let answers = self.server.receive(&bytes);
                    self.arriving.extend(answers.into_iter().map(|bytes| Input::SocketReceived { id, bytes }));
                }
                Output::ToPage { mut message, .. } => {
                    message.map_times(|at| self.clock.shown(at));
                    match message {
                        ToPage::Snapshot { snapshot } => self.snapshots.push(snapshot),
                        ToPage::Media { call, request_id, request } => {
                            let reply = match request {
                                MediaRequest::Offer { .. } | MediaRequest::Answer { .. } => {
                                    MediaReply::Description { sdp: "v=0\r\n".into() }
                                }
                                MediaRequest::Accept { .. } | MediaRequest::RollBack | MediaRequest::Close => {
                                    MediaReply::Done
                                }
                            };
                            let message = ToAgent::MediaReply { call, request_id, reply };
                            self.arriving.push(Input::Page { port: 1, message });
                        }
                        ToPage::Keep { record } => self.kept = record,
                        ToPage::Event { .. } | ToPage::RingingOffer { .. } | ToPage::Log { .. } => {}
                    }
                }
                Output::Send { .. } | Output::Finished => {}
            }
        }
    }

    /// Time passes; the agent ticks when it is due, and the page says that it is there.
    fn run(&mut self, millis: u64) {
        let end = self.reading.monotonic_ms + millis;
        while self.reading.monotonic_ms < end {
            let wait = self.agent.next_timeout().map_or(5_000, |due| due.since(self.clock.now()));
            let step = wait.clamp(1, 5_000).min(end - self.reading.monotonic_ms);
            self.pass(step, step, step);
            self.handle(Input::Tick);
            self.page(ToAgent::Alive { visible: true });
        }
    }

    fn pass(&mut self, real_ms: u64, monotonic_ms: u64, wall_ms: u64) {
        self.server.now_ms += real_ms;
        self.reading.monotonic_ms += monotonic_ms;
        self.reading.wall_ms += wall_ms;
    }

    fn snapshot(&self) -> &AgentSnapshot {
        self.snapshots.last().unwrap()
    }

    fn is_ready(&self) -> bool {
        matches!(self.snapshot().registration, RegistrationStatus::Registered { .. })
    }

    fn is_in_call(&self) -> bool {
        self.snapshot().calls.iter().any(|call| call.state == CallState::Active)
    }

    /// REGISTER and keep-alive go on, the call too, and what the phone says is true.
    fn assert_goes_on(&mut self) {
        let (registers, keepalives) = (self.server.registers, self.server.keepalives);
        self.run(2 * GRANT_SECONDS * 1_000);
        assert!(self.server.registers >= registers + 2, "no REGISTER");
        assert!(self.server.keepalives >= keepalives + 3, "no keep-alive");
        assert!(self.is_ready() && self.server.registered_until_ms > self.server.now_ms);
        assert!(self.is_in_call());
        assert_eq!(self.server.byes, 0);
    }
}

impl Server {
    fn receive(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.is_cut {
            return Vec::new();
        }
        if bytes == b"\r\n\r\n" {
            self.keepalives += 1;
            return vec![b"\r\n".to_vec()];
        }
        let Ok(Message::Request(request)) = Message::parse(bytes) else {
            return Vec::new();
        };
        let mut ok = request.response(200, "OK", Some("far"));
        match request.method().as_str() {
            "REGISTER" if self.refuses_with > 0 => {
                self.registers += 1;
                ok = request.response(self.refuses_with, "No", Some("far"));
            }
            "REGISTER" => {
                self.registers += 1;
                self.registered_until_ms = self.now_ms + GRANT_SECONDS * 1_000;
                let contact = request.value(Header::Contact).unwrap();
                ok.append(Header::Contact, &contact.replace("expires=600", &format!("expires={GRANT_SECONDS}")));
            }
            "INVITE" | "UPDATE" => Self::answer_session(&request, &mut ok),
            "ACK" => return Vec::new(),
            "BYE" => self.byes += 1,
            _ => {}
        }
        vec![ok.to_bytes()]
    }

    /// The session is to be refreshed by the phone, in less than half an hour.
    fn answer_session(request: &Request, ok: &mut Response) {
        ok.append(Header::Contact, "<sip:far@far.test;transport=ws>");
        ok.append(Header::Allow, "INVITE, UPDATE");
        ok.append(Header::SessionExpires, "1800;refresher=uac");
        if request.method().as_str() == "INVITE" {
            ok.set_body("application/sdp", b"v=0\r\n");
        }
    }
}

/// The computer sleeps for an hour. `monotonic_ms` of it are counted by the monotonic clock: none on Linux and macOS, all on
/// Windows.
fn sleep(monotonic_ms: u64) {
    let mut computer = Computer::in_call();
    computer.run(20_000);
    let registers = computer.server.registers;
    computer.pass(HOUR_MS, monotonic_ms, HOUR_MS);
    computer.snapshots.clear();
    computer.handle(Input::Tick);
    // The grant is over: before the server has agreed again, the phone does not say that it is ready.
    assert!(!matches!(computer.snapshots[0].registration, RegistrationStatus::Registered { .. }));
    assert_eq!(computer.server.registers, registers + 1, "no REGISTER at once");
    computer.assert_goes_on();
}

#[test]
fn a_call_and_the_registration_survive_a_sleep_that_the_monotonic_clock_does_not_count() {
    sleep(0);
}

#[test]
fn a_call_and_the_registration_survive_a_sleep_that_the_monotonic_clock_counts() {
    sleep(HOUR_MS);
}

#[test]
fn a_connection_that_died_in_the_sleep_is_replaced_and_the_call_goes_on() {
    let mut computer = Computer::in_call();
    computer.run(20_000);
    computer.server.is_cut = true;
    computer.pass(HOUR_MS, 0, HOUR_MS);
    computer.handle(Input::Tick);
    computer.run(15_000);
    computer.assert_goes_on();
}

#[test]
fn a_clock_that_is_set_forward_by_an_hour_changes_nothing() {
    let mut computer = Computer::in_call();
    computer.run(20_000);
    computer.pass(0, 0, HOUR_MS);
    computer.handle(Input::Tick);
    computer.assert_goes_on();
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_changes_nothing() {
    let mut computer = Computer::in_call();
    computer.run(20_000);
    let shown_before = computer.snapshot().calls[0].started_at;
    computer.reading.wall_ms -= HOUR_MS;
    computer.handle(Input::Tick);
    // The page counts the duration by the wall clock.
    assert_eq!(computer.snapshot().calls[0].started_at, shown_before - HOUR_MS);
    computer.assert_goes_on();
}

/// Each look at the phone would be one more refused attempt, and feed a ban list.
#[test]
fn a_refused_phone_is_not_tried_again_because_it_is_looked_at_but_by_its_button() {
    let mut computer = Computer::in_call();
    computer.server.refuses_with = 403;
    computer.run(50_000);
    let registers = computer.server.registers;
    for _ in 0..10 {
        computer.page(ToAgent::Probe);
        computer.run(1_000);
    }
    assert_eq!(computer.server.registers, registers);
    computer.server.refuses_with = 0;
    computer.page(ToAgent::Retry);
    assert_eq!(computer.server.registers, registers + 1);
    assert!(computer.is_ready() && computer.is_in_call());
}

#[test]
fn a_hidden_page_whose_timers_run_once_a_minute_is_not_taken_for_a_sleeping_one() {
    let mut clock = AgentClock::new(START);
    let due = clock.now().plus(1_000);
    let late = ClockReading { monotonic_ms: START.monotonic_ms + 61_000, wall_ms: START.wall_ms + 61_000 };
    assert_eq!(clock.advance(late, Some(due)), ClockChange::default());
    assert_eq!(clock.now().since(due), 60_000);
}

#[test]
fn small_corrections_of_the_wall_clock_change_no_shown_time() {
    let mut clock = AgentClock::new(START);
    let at = clock.now().0;
    for correction in [-400, 300, 900] {
        let wall_ms = START.wall_ms.saturating_add_signed(correction);
        let change = clock.advance(ClockReading { wall_ms, ..START }, None);
        assert_eq!((change, clock.shown(at)), (ClockChange::default(), at));
    }
}

#[test]
fn a_call_outlives_its_agent_by_what_the_page_kept() {
    let mut computer = Computer::in_call();
    let record = computer.kept.clone();
    assert!(!record.is_empty() && !record.contains("secret"));
    computer.reload(&record, 60_000, &account().username);
    assert!(computer.is_in_call());
    let call = computer.snapshots.last().unwrap().calls.first().unwrap().clone();
    assert_eq!((call.id.as_str(), call.number.as_str(), call.page.as_deref()), ("c1", "102", Some("b")));
    assert!(!call.detached, "the re-INVITE was accepted");
    computer.page(ToAgent::HangUp { call: "c1".into() });
    assert_eq!((computer.server.byes, computer.kept.as_str()), (1, ""));
}

#[test]
fn a_conference_outlives_its_agent_as_one() {
    let mut computer = Computer::in_call();
    computer.call("c2", "103");
    computer.page(ToAgent::Merge { call: "c1".into(), into: "c2".into() });
    computer.page(ToAgent::MuteParty { call: "c1".into(), muted: true });
    computer.run(1_000);
    let record = computer.kept.clone();
    let conference = computer.snapshot().conference.clone();
    assert_eq!(conference.len(), 2);
    computer.reload(&record, 1_000, &account().username);
    assert_eq!(computer.snapshot().conference, conference);
    assert!(computer.snapshot().calls.iter().all(|call| call.hold == HoldState::None && !call.detached));
    computer.page(ToAgent::HangUp { call: "c1".into() });
    assert!(computer.snapshot().conference.is_empty());
}

#[test]
fn a_record_that_is_old_malformed_or_of_another_account_is_dropped() {
    let mut computer = Computer::in_call();
    let record = computer.kept.clone();
    let cut: String = record.chars().take(record.chars().count() / 2).collect();
    let other_version = format!("0{}", &record[1..]);
    let name = account().username;
    for (record, age_ms, username) in [
        (record.as_str(), 60_001, name.as_str()),
        (&record, 0, "999"),
        (&cut, 0, &name),
        (&other_version, 0, &name),
        ("2\u{1f600}", 0, &name),
    ] {
        computer.reload(record, age_ms, username);
        assert!(computer.snapshots.last().unwrap().calls.is_empty());
    }
}
