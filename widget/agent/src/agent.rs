//! Connects the [`CallList`] with the SIP user agent: the outputs of each are passed
//! to the other within the same call of [`Agent::handle`].

use std::collections::VecDeque;

use bitcall_sip::ua::{self, Millis, TransportId, UserAgent};
use bitcall_wire::agent_protocol::{ToAgent, ToPage};

use crate::call_list::{CallList, CallListOutput};
use crate::pages::PortId;

/// What the driver reports to the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Page {
        port: PortId,
        message: ToAgent,
    },
    /// The page of this port is closed: its port or its lock was released.
    PageGone {
        port: PortId,
    },
    SocketOpened {
        id: TransportId,
    },
    SocketClosed {
        id: TransportId,
        reason: String,
    },
    SocketReceived {
        id: TransportId,
        bytes: Vec<u8>,
    },
    /// The clocks have changed: the agent was stopped (`asleep_ms` is not 0), or times are to be shown anew.
    ClockChanged {
        asleep_ms: u64,
    },
    /// Another agent is to take this one's place.
    HandOver,
    /// The time of [`Agent::next_timeout`] has come. Additional ticks have no effect.
    Tick,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an output is carried out at once")]
pub enum Output {
    ToPage {
        port: PortId,
        message: ToPage,
    },
    /// Open a WebSocket with subprotocol `sip`.
    Connect {
        id: TransportId,
        url: String,
    },
    Send {
        id: TransportId,
        bytes: Vec<u8>,
    },
    CloseSocket {
        id: TransportId,
    },
    /// No page is attached and the registration is removed: the worker may be closed.
    Finished,
}

/// The agent of one account, without I/O.
pub struct Agent {
    call_list: CallList,
    sip: Option<UserAgent>,
    /// The seed of each user agent is derived from this one and `started_user_agents`.
    seed: [u8; 32],
    started_user_agents: u64,
    /// The browser reported that it has no network.
    offline: bool,
    out: VecDeque<Output>,
}

impl Agent {
    /// `seed` must be random and secret.
    pub fn new(seed: [u8; 32]) -> Agent {
        Agent {
            call_list: CallList::new(),
            sip: None,
            seed,
            started_user_agents: 0,
            offline: false,
            out: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Millis) {
        match input {
            Input::Page { port, message } => {
                match message {
                    ToAgent::Probe if std::mem::take(&mut self.offline) => {
                        self.forward_to_user_agent(ua::Input::Online, now);
                    }
                    // Each look at the phone would be one more refused attempt, which feeds ban lists.
                    ToAgent::Probe if self.call_list.is_refused() => {}
                    ToAgent::Probe => self.forward_to_user_agent(ua::Input::Probe, now),
                    ToAgent::Offline => {
                        self.offline = true;
                        self.forward_to_user_agent(ua::Input::Offline, now);
                    }
                    _ => {}
                }
                self.call_list.page(port, message, now);
            }
            Input::PageGone { port } => self.call_list.page_gone(port, now),
            Input::SocketOpened { id } => {
                self.forward_to_user_agent(ua::Input::TransportConnected { id }, now);
            }
            Input::SocketClosed { id, reason } => {
                self.forward_to_user_agent(ua::Input::TransportClosed { id, reason }, now);
            }
            Input::SocketReceived { id, bytes } => {
                self.forward_to_user_agent(ua::Input::Received { id, bytes }, now);
            }
            Input::ClockChanged { asleep_ms } => {
                if asleep_ms > 0 {
                    self.forward_to_user_agent(ua::Input::Woke { asleep_ms }, now);
                    self.run_until_idle(now);
                }
                self.call_list.resend_snapshot();
            }
            Input::HandOver => self.call_list.hand_over(now),
            Input::Tick => {
                self.forward_to_user_agent(ua::Input::Tick, now);
                self.call_list.tick(now);
            }
        }
        self.run_until_idle(now);
    }

    /// The next output, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The latest time for the next [`Input::Tick`]; `None` when no timer runs.
    pub fn next_timeout(&self) -> Option<Millis> {
        let agent = self.sip.as_ref().and_then(UserAgent::next_timeout);
        [agent, self.call_list.next_timeout()].into_iter().flatten().min()
    }

    pub fn has_calls(&self) -> bool {
        self.call_list.has_calls()
    }

    fn forward_to_user_agent(&mut self, input: ua::Input, now: Millis) {
        if let Some(user_agent) = &mut self.sip {
            user_agent.handle(input, now);
        }
    }

    /// Passes outputs between the user agent and the call list until neither has any.
    fn run_until_idle(&mut self, now: Millis) {
        loop {
            if let Some(output) = self.sip.as_mut().and_then(UserAgent::poll) {
                match output {
                    ua::Output::Connect { id, url } => {
                        self.out.push_back(Output::Connect { id, url });
                    }
                    ua::Output::CloseTransport { id } => {
                        self.out.push_back(Output::CloseSocket { id });
                    }
                    ua::Output::Send { id, bytes } => {
                        self.out.push_back(Output::Send { id, bytes });
                    }
                    ua::Output::Event(event) => self.call_list.event(event, now),
                }
                continue;
            }
            match self.call_list.poll() {
                Some(CallListOutput::ToPage { port, message }) => {
                    self.out.push_back(Output::ToPage { port, message });
                }
                Some(CallListOutput::Command(command)) => self.forward_to_user_agent(ua::Input::Command(command), now),
                Some(CallListOutput::Probe) => self.forward_to_user_agent(ua::Input::Probe, now),
                Some(CallListOutput::Start(config)) => self.start_user_agent(*config, now),
                Some(CallListOutput::Finished) => self.out.push_back(Output::Finished),
                None if self.call_list.send_snapshot_if_changed() => {}
                None if self.sip.as_ref().is_some_and(|sip| self.call_list.keep_calls(sip)) => {}
                None => break,
            }
        }
    }

    fn start_user_agent(&mut self, config: ua::UserAgentConfig, now: Millis) {
        let mut seed = self.seed;
        for (byte, count) in seed.iter_mut().zip(self.started_user_agents.to_le_bytes()) {
            *byte ^= count;
        }
        self.started_user_agents += 1;
        let mut user_agent = UserAgent::new(config, seed, now);
        user_agent.handle(ua::Input::Command(ua::Command::Register), now);
        self.sip = Some(user_agent);
    }
}
