//! The SIP user agent: bytes, time and commands in; bytes and events out.
//!
//! It has no socket, clock or randomness of its own. The driver calls
//! [`UserAgent::handle`] whenever something happens, then takes everything
//! from [`UserAgent::poll`], then sleeps until [`UserAgent::next_timeout`].
//! The whole state can be serialised at any such point and picked up again.

mod contract;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use contract::{
    CallId, Cause, Command, Config, EndedBy, Event, Failure, FailureKind, Input, Limits, Millis,
    OfferReason, Output, Party, Registration, Secret, TransportId,
};

/// One account on one device.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserAgent {
    config: Config,
    out: VecDeque<Output>,
}

impl UserAgent {
    /// Nothing happens before [`Command::Register`]. `seed` must be random and
    /// secret: tags, branches and the rest are made of it.
    pub fn new(config: Config, _seed: [u8; 32], _now: Millis) -> Self {
        Self {
            config,
            out: VecDeque::new(),
        }
    }

    /// Takes one thing that happened. Never fails: what cannot be used yields [`Event::Dropped`].
    pub fn handle(&mut self, _input: Input, _now: Millis) {}

    /// The next thing to do, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call `handle` with [`Input::Tick`] at the latest. None: not needed.
    pub fn next_timeout(&self) -> Option<Millis> {
        None
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
}
