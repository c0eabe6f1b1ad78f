//! The edge's protocol without I/O: connections, messages and time go in, messages to
//! send and connections to close come out.
//!
//! Contract: after every call the caller drains [`Core::poll_output`] until it is
//! empty, and calls [`Core::handle_timeout`] no later than [`Core::next_timeout`].

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Directory, Limits, Statistics};

/// One WebSocket connection, as long as it lives; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Why the edge closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The server goes down; the phone should come back (elsewhere).
    GoingAway,
    /// Nobody signed in for too long.
    NotSignedIn,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    Send { to: ConnectionId, message: Vec<u8> },
    Close { connection: ConnectionId, reason: CloseReason },
}

struct Connection {
    peer: SocketAddr,
    opened: Instant,
    signed_in: bool,
}

pub struct Core {
    directory: Arc<dyn Directory>,
    limits: Limits,
    connections: HashMap<ConnectionId, Connection>,
    next_connection: u64,
    closing: bool,
    outputs: VecDeque<Output>,
}

impl Core {
    pub fn new(directory: Arc<dyn Directory>, limits: Limits) -> Self {
        Self {
            directory,
            limits,
            connections: HashMap::new(),
            next_connection: 0,
            closing: false,
            outputs: VecDeque::new(),
        }
    }

    /// A connection was opened. `None` when there are too many, or the edge is going down.
    pub fn connected(&mut self, peer: SocketAddr, now: Instant) -> Option<ConnectionId> {
        if self.closing || self.connections.len() >= self.limits.connections {
            return None;
        }
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, Connection { peer, opened: now, signed_in: false });
        Some(id)
    }

    /// A connection is gone, and with it everything that was bound to it.
    pub fn disconnected(&mut self, connection: ConnectionId, _now: Instant) {
        self.connections.remove(&connection);
    }

    /// One WebSocket message arrived.
    pub fn handle(&mut self, connection: ConnectionId, message: &[u8], _now: Instant) {
        if !self.connections.contains_key(&connection) {
            return;
        }
        // RFC 5626 section 4.4.1 (and RFC 7118 section 6): the double CRLF asks, a single one answers.
        if message == b"\r\n\r\n" {
            self.outputs.push_back(Output::Send { to: connection, message: b"\r\n".to_vec() });
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let patience = self.limits.sign_in;
        for (&connection, state) in &self.connections {
            if !state.signed_in && now >= state.opened + patience {
                self.outputs.push_back(Output::Close { connection, reason: CloseReason::NotSignedIn });
            }
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.connections.values().filter(|c| !c.signed_in).map(|c| c.opened + self.limits.sign_in).min()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The directory changed.
    pub fn directory_changed(&mut self, _now: Instant) {}

    /// No more connections; those that are there are told to go.
    pub fn shutdown(&mut self, _now: Instant) {
        self.closing = true;
        for &connection in self.connections.keys() {
            self.outputs.push_back(Output::Close { connection, reason: CloseReason::GoingAway });
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics { connections: self.connections.len(), ..Statistics::default() }
    }
}
