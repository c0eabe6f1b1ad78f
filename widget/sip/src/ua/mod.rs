//! The SIP user agent: bytes, time and commands in; bytes and events out.
//!
//! It has no socket, clock or randomness of its own. The driver calls
//! [`UserAgent::handle`] whenever something happens, then takes everything
//! from [`UserAgent::poll`], then sleeps until [`UserAgent::next_timeout`].
//! The whole state can be serialised at any such point and picked up again. Where the connection
//! did not survive that, report [`Input::TransportClosed`] for the last [`Output::Connect`]: the
//! calls then recover as after any lost connection.
//!
//! How it is divided: `backoff` and `keepalive` look after the connection,
//! `registration` drives both, `calls` has one object per call, `inbound`
//! finds out whom a message is for, `credential_store` answers challenges, and `context` is
//! what all of them send and tell through.

mod calls;
mod commands;
mod context;
mod credential_store;
mod inbound;
mod interface;
mod keepalive;
mod random;
mod reconnect_backoff;
mod registration;
mod status_text;

use serde::{Deserialize, Serialize};

use self::context::{ALLOW, TransactionUser, UaContext};
use calls::Call;
use keepalive::Keepalive;
use reconnect_backoff::ReconnectBackoff;
use registration::RegisterClient;

pub use interface::{
    CallId, Command, Config, EndCause, EndedBy, Event, Input, Millis, OfferReason, Output, RegisterFailure,
    RegisterFailureKind, Registration, RemoteParty, SipSecret, TimerConfig, TransportId,
};

/// One account on one device.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserAgent {
    context: UaContext,
    backoff: ReconnectBackoff,
    keepalive: Keepalive,
    register_client: RegisterClient,
    calls: Vec<Call>,
}

impl UserAgent {
    /// Nothing happens before [`Command::Register`]. `seed` must be random and
    /// secret: tags, branches and the rest are made of it.
    pub fn new(config: Config, seed: [u8; 32], now: Millis) -> Self {
        let mut context = UaContext::new(config, seed, now);
        let register_client = RegisterClient::new(&mut context);
        Self {
            context,
            backoff: ReconnectBackoff::default(),
            keepalive: Keepalive::default(),
            register_client,
            calls: Vec::new(),
        }
    }

    /// Takes one thing that happened. Never fails: what cannot be used yields [`Event::Dropped`].
    pub fn handle(&mut self, input: Input, now: Millis) {
        match input {
            Input::TransportConnected { id } => self.on_connected(id, now),
            Input::TransportClosed { id, reason } => self.on_closed(id, &reason, now),
            Input::Received { id, bytes } => {
                if self.context.transport == Some(id) {
                    self.on_received(&bytes, now);
                }
            }
            Input::Tick => {}
            Input::Online => self.on_online(true, now),
            Input::Offline => self.on_online(false, now),
            Input::Probe => self.probe(now),
            Input::Command(command) => self.on_command(command, now),
        }
        self.on_time(now);
    }

    /// The next thing to do, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.context.poll()
    }

    /// When to call `handle` with [`Input::Tick`] at the latest. None: not needed.
    pub fn next_timeout(&self) -> Option<Millis> {
        let calls = self.calls.iter().filter_map(Call::deadline);
        [
            self.backoff.deadline(),
            self.keepalive.deadline(),
            self.register_client.deadline(),
            self.context.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .chain(calls)
        .min()
    }

    /// As given, but without the secret.
    pub fn config(&self) -> &Config {
        &self.context.config
    }

    /// Everything that is due; each thing done may make the next one due.
    fn on_time(&mut self, now: Millis) {
        while self.on_registration_time(now) {}
        while let Some(client) = self.context.timed_out(now) {
            match client.owner {
                TransactionUser::Register => self.on_register_timeout(now),
                TransactionUser::Nobody => {}
                TransactionUser::Call { call, role } => {
                    if let Some(call) = self.calls.iter_mut().find(|other| other.id == call) {
                        call.on_timeout(&mut self.context, role, now);
                    }
                }
            }
        }
        for call in &mut self.calls {
            while call.on_time(&mut self.context, now) {}
        }
        self.calls.retain(|call| !call.is_finished());
    }
}
