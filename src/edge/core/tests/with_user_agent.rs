//! The phone's own user agent against the edge: both cores in one virtual time, no network.

use bitcall_sip::ua::{
    Command, Event, Input, InviteOptions, Millis, Output as AgentOutput, RegisterFailureKind, Registration,
    SipSecret as AgentSecret, TransportId, UserAgent, UserAgentConfig,
};

use super::*;

struct Agent {
    ua: UserAgent,
    link: Option<(TransportId, ConnectionId)>,
    events: Vec<Event>,
}

struct TestNetwork {
    edge: TestEdge,
    start: Instant,
    agents: Vec<Agent>,
}

impl TestNetwork {
    fn new(users: &[&str]) -> Self {
        let edge = TestEdge::new();
        let start = edge.now;
        let mut network = Self { edge, start, agents: Vec::new() };
        for user in users {
            network.enter(user, &format!("pw-{user}"));
        }
        network
    }

    /// A phone signs in.
    fn enter(&mut self, user: &str, password: &str) -> usize {
        let secret = AgentSecret::Password(password.to_owned());
        let mut config = UserAgentConfig::new(user, ACME, secret, vec!["wss://acme.test/sip".to_owned()]);
        let n = self.agents.len();
        config.instance_id = format!("urn:uuid:00000000-0000-4000-8000-{n:012}");
        let seed = [u8::try_from(n).unwrap() + 1; 32];
        let ua = UserAgent::new(config, seed, self.millis());
        self.agents.push(Agent { ua, link: None, events: Vec::new() });
        self.command(n, Command::Register);
        n
    }

    fn millis(&self) -> Millis {
        Millis(u64::try_from((self.edge.now - self.start).as_millis()).unwrap())
    }

    fn command(&mut self, who: usize, command: Command) {
        let now = self.millis();
        self.agents[who].ua.handle(Input::Command(command), now);
        self.settle();
    }

    /// Carries messages until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for who in 0..self.agents.len() {
                while let Some(output) = self.agents[who].ua.poll() {
                    quiet = false;
                    self.perform(who, output);
                }
                let Some((id, connection)) = self.agents[who].link else { continue };
                for bytes in self.edge.received.remove(&connection).unwrap_or_default() {
                    quiet = false;
                    let now = self.millis();
                    self.agents[who].ua.handle(Input::Received { id, bytes }, now);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn perform(&mut self, who: usize, output: AgentOutput) {
        let now = self.millis();
        match output {
            AgentOutput::Connect { id, .. } => {
                let peer: SocketAddr = "192.0.2.8:1".parse().unwrap();
                let connection = self.edge.core.connected(peer, peer.ip(), self.edge.now).unwrap();
                self.agents[who].link = Some((id, connection));
                self.agents[who].ua.handle(Input::TransportConnected { id }, now);
            }
            AgentOutput::CloseTransport { .. } => self.cut(who, false),
            AgentOutput::Send { id, bytes } => {
                if let Some((link, connection)) = self.agents[who].link
                    && link == id
                {
                    self.edge.core.handle(connection, &bytes, self.edge.now);
                    self.edge.collect();
                }
            }
            AgentOutput::Event(event) => self.agents[who].events.push(event),
        }
    }

    /// The WebSocket breaks; the phone may be told.
    fn cut(&mut self, who: usize, tell: bool) {
        let Some((id, connection)) = self.agents[who].link.take() else { return };
        self.edge.core.disconnected(connection, self.edge.now);
        self.edge.collect();
        if tell {
            let now = self.millis();
            self.agents[who].ua.handle(Input::TransportClosed { id, reason: "cut".to_owned() }, now);
        }
    }

    /// Lets time pass for all.
    fn wait(&mut self, milliseconds: u64) {
        let end = self.edge.now + Duration::from_millis(milliseconds);
        while self.edge.now < end {
            let agents = self.agents.iter().filter_map(|agent| agent.ua.next_timeout());
            let next = agents.map(|at| self.start + Duration::from_millis(at.0)).chain(self.edge.core.next_timeout());
            let next = next.min().unwrap_or(end).clamp(self.edge.now, end);
            self.edge.now = next.max(self.edge.now + Duration::from_millis(1));
            self.edge.core.handle_timeout(self.edge.now);
            self.edge.collect();
            let now = self.millis();
            for agent in &mut self.agents {
                agent.ua.handle(Input::Tick, now);
            }
            self.settle();
        }
    }

    /// The first event that fits; it and all before it are taken.
    fn expect<T>(&mut self, who: usize, what: &str, fits: impl Fn(&Event) -> Option<T>) -> T {
        let events = std::mem::take(&mut self.agents[who].events);
        let Some(at) = events.iter().position(|event| fits(event).is_some()) else {
            panic!("{who}: no {what} in {events:?}");
        };
        let found = fits(&events[at]).unwrap();
        self.agents[who].events = events.into_iter().skip(at + 1).collect();
        found
    }

    fn registered(&mut self, who: usize) {
        self.expect(who, "registration", |event| {
            matches!(event, Event::Registration(Registration::Registered { .. })).then_some(())
        });
    }

    /// Returns the caller's name of the call.
    fn dial(&mut self, who: usize, target: &str) -> String {
        let call = format!("out-{}", self.edge.unique());
        let invite = Command::Invite {
            call: call.clone(),
            target: target.to_owned(),
            options: InviteOptions::default(),
            sdp: Some("v=0 offer\r\n".to_owned()),
        };
        self.command(who, invite);
        call
    }

    /// Agent 0 calls agent 1, who answers. Returns both their names of the call.
    fn call(&mut self) -> (String, String) {
        let outgoing = self.dial(0, "102");
        let (call, offer, number) = self.expect(1, "incoming call", |event| match event {
            Event::Incoming { call, offer, from, .. } => Some((call.clone(), offer.clone(), from.number.clone())),
            _ => None,
        });
        assert_eq!((offer.as_deref(), number.as_str()), (Some("v=0 offer\r\n"), "101"));
        self.command(1, Command::Answer { call: call.clone(), sdp: "v=0 answer\r\n".to_owned() });
        let sdp = self.expect(0, "answer", |event| match event {
            Event::Answered { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
        assert_eq!(sdp.as_deref(), Some("v=0 answer\r\n"));
        self.expect(1, "confirmation", |event| matches!(event, Event::Confirmed { .. }).then_some(()));
        (outgoing, call)
    }
}

/// The status a call ended with, 0 where none ended it.
fn ended(event: &Event) -> Option<u16> {
    match event {
        Event::Ended { cause, .. } => Some(cause.sip_code.unwrap_or(0)),
        _ => None,
    }
}

#[test]
fn two_phones_register_and_stay_registered_for_hours() {
    let mut network = TestNetwork::new(&["101", "102"]);
    network.registered(0);
    network.registered(1);
    network.wait(3 * 3600 * 1000);
    assert_eq!(network.edge.core.statistics().contacts, 2);
    for agent in &network.agents {
        let lost = agent.events.iter().any(|event| matches!(event, Event::Registration(_)));
        assert!(!lost, "{:?}", agent.events);
    }
}

#[test]
fn a_wrong_password_is_recognised_as_one() {
    let mut network = TestNetwork::new(&[]);
    let who = network.enter("101", "guess");
    let kind = network.expect(who, "failure", |event| match event {
        Event::Registration(Registration::Failed { failure }) => Some(failure.kind),
        _ => None,
    });
    assert_eq!(kind, RegisterFailureKind::WrongPassword);
}

#[test]
fn a_registration_over_the_contact_limit_is_reported_as_such() {
    let mut network = TestNetwork::new(&["101"; 10]);
    assert_eq!(network.edge.core.statistics().contacts, 10);
    let who = network.enter("101", "pw-101");
    network.expect(who, "failure", |event| match event {
        Event::Registration(Registration::Failed { failure } | Registration::Reconnecting { failure, .. }) => {
            (failure.kind == RegisterFailureKind::TooManyDevices).then_some(())
        }
        _ => None,
    });
}

#[test]
fn a_call_is_made_held_and_ended() {
    let mut network = TestNetwork::new(&["101", "102"]);
    let (outgoing, incoming) = network.call();
    network.command(0, Command::Reinvite { call: outgoing, sdp: "v=0 hold\r\n".to_owned() });
    network.expect(1, "hold", |event| match event {
        Event::Offer { sdp, .. } => (sdp.as_deref() == Some("v=0 hold\r\n")).then_some(()),
        _ => None,
    });
    network.command(1, Command::AnswerOffer { call: incoming.clone(), sdp: "v=0 held\r\n".to_owned() });
    network.expect(0, "held", |event| match event {
        Event::ReinviteAccepted { sdp, .. } => (sdp == "v=0 held\r\n").then_some(()),
        _ => None,
    });
    network.command(1, Command::HangUp { call: incoming });
    network.expect(0, "end", ended);
    network.wait(60_000);
    assert_eq!(network.edge.core.statistics().requests, 0);
}

#[test]
fn declining_busy_cancelling_and_absence_end_as_they_should() {
    let mut network = TestNetwork::new(&["101", "102"]);
    network.dial(0, "102");
    let call = network.expect(1, "incoming call", |event| match event {
        Event::Incoming { call, .. } => Some(call.clone()),
        _ => None,
    });
    network.command(1, Command::Reject { call, status: 486 });
    assert_eq!(network.expect(0, "end", ended), 486);

    let call = network.dial(0, "102");
    network.command(0, Command::HangUp { call });
    network.expect(1, "end", ended);

    for (number, status) in [("103", 480), ("999", 404)] {
        network.agents[0].events.clear();
        network.dial(0, number);
        assert_eq!(network.expect(0, "end", ended), status, "{number}");
    }
}

#[test]
fn a_call_outlives_the_connections_of_both_phones() {
    let mut network = TestNetwork::new(&["101", "102"]);
    let (outgoing, incoming) = network.call();
    for (lost, other, call, other_call) in [(0, 1, &outgoing, &incoming), (1, 0, &incoming, &outgoing)] {
        network.cut(lost, true);
        network.settle();
        network.wait(10_000);
        network.expect(lost, "recovery", |event| matches!(event, Event::OfferNeeded { .. }).then_some(()));
        network.command(lost, Command::Reinvite { call: call.clone(), sdp: "v=0 restart\r\n".to_owned() });
        network.expect(other, "restart", |event| matches!(event, Event::Offer { .. }).then_some(()));
        network.command(other, Command::AnswerOffer { call: other_call.clone(), sdp: "v=0 ok\r\n".to_owned() });
        network.expect(lost, "answer", |event| matches!(event, Event::ReinviteAccepted { .. }).then_some(()));
    }
    network.command(0, Command::HangUp { call: outgoing });
    network.expect(1, "end", ended);
}

#[test]
fn the_echo_is_called_held_refreshed_and_left() {
    use crate::edge::echo::EchoEvent;

    let mut network = TestNetwork::new(&["101"]);
    let outgoing = network.dial(0, "*43");
    let answer = |network: &mut TestNetwork, offer: &str| {
        let Some(EchoCommand::Offer { call, sdp }) = network.edge.orders.pop() else { panic!("no offer") };
        assert_eq!(sdp, offer);
        network.edge.core.handle_echo(EchoEvent::Answer { call, sdp: Ok("v=0 echo\r\n".to_owned()) }, network.edge.now);
        network.edge.collect();
        network.settle();
    };
    answer(&mut network, "v=0 offer\r\n");
    network.expect(0, "answer", |event| match event {
        Event::Answered { sdp, .. } => (sdp.as_deref() == Some("v=0 echo\r\n")).then_some(()),
        _ => None,
    });
    // An hour later, the session timer or a change of hold has renewed it many times.
    for _ in 0..6 {
        network.command(0, Command::Reinvite { call: outgoing.clone(), sdp: "v=0 hold\r\n".to_owned() });
        answer(&mut network, "v=0 hold\r\n");
        network.expect(0, "held", |event| matches!(event, Event::ReinviteAccepted { .. }).then_some(()));
        network.wait(600_000);
    }
    assert_eq!(network.edge.core.statistics().echo_calls, 1);
    network.command(0, Command::HangUp { call: outgoing });
    assert_eq!(network.edge.core.statistics().echo_calls, 0);
}
