//! The SIP user agent. Inputs: bytes, time and commands. Outputs: bytes and events.
//!
//! It has no socket, clock or random generator of its own. The driver calls
//! [`UserAgent::handle`] for each input, then [`UserAgent::poll`] until it
//! returns None, then waits until [`UserAgent::next_timeout`].
//! The whole state can be serialised between inputs and restored later. If connections were lost
//! meanwhile, report [`Input::TransportClosed`] for each [`Output::Connect`] that was not closed: the calls
//! then recover as after any lost connection.
//!
//! Modules: `reconnect_backoff`, `failback` and `keepalive` supervise the connection, `registration` drives
//! them, `calls` has one object per call, `inbound` dispatches received messages, `commands`
//! dispatches commands, `credential_store` answers challenges, and `context` is what all of
//! them use to send and to emit events.

mod calls;
mod commands;
mod connection_checks;
mod context;
mod credential_store;
mod failback;
mod inbound;
mod interface;
mod keepalive;
mod message;
mod random;
mod reconnect_backoff;
mod registration;
mod status_text;

use serde::{Deserialize, Serialize};

use self::context::{ALLOW, TransactionUser, UaContext};
use calls::Call;
pub use calls::DialogRecord;
use failback::Failback;
use keepalive::Keepalive;
pub use message::message_failure_text;
use reconnect_backoff::ReconnectBackoff;
use registration::RegisterClient;

pub use interface::{
    CallId, CallerIdHeader, Command, EndCause, EndedBy, Event, Input, InviteOptions, Millis, OfferReason, Output,
    Password, RealmHa1, RedirectPolicy, ReferralPolicy, RegisterFailure, RegisterFailureKind, Registration,
    RemoteParty, SipSecret, TextMessage, TimerConfig, TransferFailure, TransferProgress, TransferTarget, TransportId,
    UserAgentConfig,
};

/// The user agent of one account on one device.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserAgent {
    context: UaContext,
    backoff: ReconnectBackoff,
    failback: Failback,
    keepalive: Keepalive,
    register_client: RegisterClient,
    calls: Vec<Call>,
}

impl UserAgent {
    /// Does nothing before [`Command::Register`]. `seed` must be random and secret: tags, branches
    /// and Call-IDs are derived from it.
    pub fn new(config: UserAgentConfig, seed: [u8; 32], now: Millis) -> Self {
        let mut context = UaContext::new(config, seed, now);
        let register_client = RegisterClient::new(&mut context);
        Self {
            context,
            backoff: ReconnectBackoff::default(),
            failback: Failback::default(),
            keepalive: Keepalive::default(),
            register_client,
            calls: Vec::new(),
        }
    }

    /// Handles one input. Never fails: an input that cannot be used yields [`Event::Dropped`].
    pub fn handle(&mut self, input: Input, now: Millis) {
        match input {
            Input::TransportConnected { id } => self.on_connected(id, now),
            Input::TransportClosed { id, reason } => self.on_closed(id, &reason, now),
            Input::Received { id, bytes } => {
                let is_sip = bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
                if is_sip && self.failback.previous() == Some(id) {
                    self.return_to_previous_connection(now);
                }
                if self.context.transport == Some(id) {
                    self.on_received(&bytes, now);
                }
            }
            Input::Tick => {}
            Input::Online => self.on_online(true, now),
            Input::Offline => self.on_online(false, now),
            Input::Probe => self.probe(now),
            Input::Woke { asleep_ms } => self.on_woke(asleep_ms, now),
            Input::Command(command) => self.on_command(command, now),
        }
        self.on_tick(now);
    }

    /// Gives the password back to a restored user agent, whose state does not contain it. Has no other effect.
    pub fn restore_password(&mut self, password: String) {
        self.context.credential_store.set_password(password);
    }

    /// What another user agent needs for [`Command::Restore`]; None unless the call is established.
    pub fn dialog_record(&self, call: &str) -> Option<DialogRecord> {
        self.calls.iter().find(|other| other.id == call)?.record()
    }

    /// The next output, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.context.poll()
    }

    /// The latest time at which `handle` must be called with [`Input::Tick`]. None: no timer is running.
    pub fn next_timeout(&self) -> Option<Millis> {
        let calls = self.calls.iter().filter_map(Call::deadline);
        [
            self.backoff.deadline(),
            self.failback_deadline(),
            self.keepalive.deadline(),
            self.register_client.deadline(),
            self.context.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .chain(calls)
        .min()
    }

    /// The configuration without the secret.
    pub fn config(&self) -> &UserAgentConfig {
        &self.context.config
    }

    /// Handles all timers that are due. Handling one may make the next one due.
    fn on_tick(&mut self, now: Millis) {
        while self.on_registration_tick(now) || self.on_failback_tick(now) {}
        while let Some(client) = self.context.take_timed_out(now) {
            match client.owner {
                TransactionUser::Register => self.on_register_timeout(now),
                TransactionUser::Nobody => {}
                TransactionUser::Message(message) => self.context.report_message(message.target, 408),
                TransactionUser::Call { call, role } => {
                    if let Some(call) = self.calls.iter_mut().find(|other| other.id == call) {
                        call.on_timeout(&mut self.context, role, now);
                    }
                }
            }
        }
        for call in &mut self.calls {
            while call.on_tick(&mut self.context, now) {}
        }
        self.report_referred_calls(now);
        self.calls.retain(|call| !call.is_finished());
    }
}
