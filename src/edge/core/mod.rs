//! The edge's protocol without I/O: connections, messages and time go in, messages to
//! send and connections to close come out.
//!
//! Contract: after every call the caller drains [`Core::poll_output`] until it is
//! empty, and calls [`Core::handle_timeout`] no later than [`Core::next_timeout`].
//!
//! This file holds the connections and hands messages on: [`auth`] proves who asks,
//! [`registrar`] keeps the [`location`] table, [`routing`] decides where a request goes,
//! [`fork`] follows it there and back, [`echo_dialog`] is the far end of `*43`, [`budgets`] say how much one may take of
//! what all share.

#![allow(clippy::similar_names, reason = "caller and callee are the words of the field")]

mod auth;
mod budgets;
mod echo_dialog;
mod fork;
mod location;
mod registrar;
mod routing;
mod share_log;
mod sign_in_limiter;
mod sign_in_log;
#[cfg(test)]
mod tests;
mod token_generator;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcall_sip::message::{Header, Message, Request, Response};
use tracing::debug;

use super::echo::{CallId, EchoCommand};
use super::{EdgeLimits, ExtensionDirectory, Statistics};
use crate::rate_limiter::ClientNetwork;
use auth::{Fingerprint, UsedNonces};
use budgets::{Budget, Exhausted, MessageRates, Subject};
use echo_dialog::EchoCall;
use location::{Extension, Location};
use routing::PendingRequest;
use share_log::ShareLog;
use sign_in_limiter::SignInLimiter;
use sign_in_log::SignInLog;
use token_generator::TokenGenerator;

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
    /// Too much that is not SIP.
    Malformed,
    /// The extension or its tenant is gone, or the password is another one now.
    Revoked,
    /// It asks and does not read the answers.
    TooSlow,
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Output {
    Send { to: ConnectionId, message: Vec<u8> },
    Close { connection: ConnectionId, reason: CloseReason },
    Echo(EchoCommand),
}

/// The largest head (request line and header fields) taken, in bytes: heads are kept while a request is in flight.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Malformed messages that one connection may send before it is closed.
const MAX_MALFORMED_MESSAGES: u16 = 50;

struct Connection {
    peer: SocketAddr,
    /// The client's address, which is not `peer`'s behind a reverse proxy.
    source: IpAddr,
    network: ClientNetwork,
    /// Who has signed in on it.
    identity: Option<Extension>,
    /// By which password.
    password: Option<Fingerprint>,
    nonces: UsedNonces,
    malformed: u16,
    /// Requests in flight that it started.
    requests: usize,
    /// Bytes of messages to it that the driver has not reported as written.
    unsent_bytes: usize,
    /// Answers that are kept back, and until when.
    delayed: Option<(Instant, Vec<Vec<u8>>)>,
    /// It is being closed; nothing of it is heard any more.
    closing: bool,
}

/// What to look after when its time comes. Entries may be outdated: whoever handles one looks again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    SignIn(ConnectionId),
    Request(u64),
    Bindings(Extension),
    Echo(CallId),
    Delayed(ConnectionId),
    SignInLog,
    ShareLog,
}

pub struct Core {
    directory: Arc<dyn ExtensionDirectory>,
    limits: EdgeLimits,
    tokens: TokenGenerator,
    sign_in_limiter: SignInLimiter,
    sign_in_log: SignInLog,
    share_log: ShareLog,
    message_rates: MessageRates,
    connection_budget: Budget,
    /// Connections on which somebody has signed in.
    signed_in_budget: Budget,
    request_budget: Budget,
    echo_budget: Budget,
    connections: HashMap<ConnectionId, Connection>,
    next_connection: u64,
    location: Location,
    /// Extensions whose bindings have an entry among the timers, and when.
    expiry_timers: HashMap<Extension, Instant>,
    requests: HashMap<u64, PendingRequest>,
    /// Requests in flight by the connection they came from and their topmost Via's branch.
    transactions: HashMap<(ConnectionId, String), u64>,
    /// Branches of requests in flight by the number in the Via we put on them.
    branches: HashMap<u64, (u64, usize)>,
    echo: HashMap<CallId, EchoCall>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    outputs: VecDeque<Output>,
    going_away: bool,
}

impl Core {
    /// `seed` is random and secret.
    pub fn new(directory: Arc<dyn ExtensionDirectory>, limits: EdgeLimits, seed: [u8; 32], now: Instant) -> Self {
        let mut tokens = TokenGenerator::new(seed, now);
        let unlimited = usize::MAX;
        Self {
            directory,
            message_rates: MessageRates::new(now),
            connection_budget: Budget::new(limits.connections, unlimited),
            signed_in_budget: Budget::new(limits.connections, limits.connections_per_extension),
            request_budget: Budget::new(limits.requests, limits.requests_per_extension),
            echo_budget: Budget::new(limits.echo_calls, limits.echo_calls_per_extension),
            limits,
            // Numbers of an earlier process, still in some phone's Record-Route, must not name today's connections.
            next_connection: tokens.number() >> 1,
            tokens,
            sign_in_limiter: SignInLimiter::new(now),
            sign_in_log: SignInLog::default(),
            share_log: ShareLog::default(),
            connections: HashMap::new(),
            location: Location::default(),
            expiry_timers: HashMap::new(),
            requests: HashMap::new(),
            transactions: HashMap::new(),
            branches: HashMap::new(),
            echo: HashMap::new(),
            timers: BinaryHeap::new(),
            outputs: VecDeque::new(),
            going_away: false,
        }
    }

    /// A connection was opened. `source` is the client's address, which is not `peer`'s behind a reverse proxy. `None`
    /// when there are too many connections, in all or from its network, or the edge is going down.
    pub fn connected(&mut self, peer: SocketAddr, source: IpAddr, now: Instant) -> Option<ConnectionId> {
        let network = ClientNetwork::of(source);
        if self.going_away {
            return None;
        }
        if let Err(exhausted) = self.connection_budget.take(&[Subject::Network(network)]) {
            self.note_exhausted("connections", exhausted, source, None, now);
            return None;
        }
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let connection = Connection {
            peer,
            source,
            network,
            identity: None,
            password: None,
            nonces: UsedNonces::default(),
            malformed: 0,
            requests: 0,
            unsent_bytes: 0,
            delayed: None,
            closing: false,
        };
        self.connections.insert(id, connection);
        self.schedule(now + self.limits.sign_in_timeout, Timer::SignIn(id));
        Some(id)
    }

    /// A connection is gone, and with it everything that was bound to it.
    pub fn disconnected(&mut self, connection: ConnectionId, now: Instant) {
        let Some(state) = self.connections.remove(&connection) else { return };
        self.connection_budget.release(&[Subject::Network(state.network)]);
        if let Some(extension) = &state.identity {
            self.signed_in_budget.release(&signed_in_subjects(extension));
            self.location.unbind_connection(extension, connection);
        }
        self.requests_lost(connection, now);
        self.echo_connection_lost(connection, now);
    }

    /// Counts a message of any kind that arrived on a connection, before it is handled.
    ///
    /// # Errors
    /// It comes too soon after others. It is kept, nothing further is read, and this is called again after the duration.
    pub fn count_message(&self, connection: ConnectionId, now: Instant) -> Result<(), Duration> {
        let Some(state) = self.connections.get(&connection) else { return Ok(()) };
        if let Some((until, _)) = &state.delayed {
            return Err(until.saturating_duration_since(now));
        }
        self.message_rates.count(state.network, state.identity.as_ref(), now)
    }

    /// Bytes that [`Output::Send`] had for this connection were written.
    pub fn written(&mut self, connection: ConnectionId, bytes: usize) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.unsent_bytes = state.unsent_bytes.saturating_sub(bytes);
        }
    }

    /// One WebSocket message arrived.
    pub fn handle(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(state) = self.connections.get_mut(&connection).filter(|state| !state.closing) else { return };
        // RFC 5626 section 4.4.1 (and RFC 7118 section 6): the double CRLF asks, a single one answers.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            if bytes == b"\r\n\r\n" {
                self.send(connection, b"\r\n".to_vec());
            }
            return;
        }
        let peer = state.peer;
        let parsed = match Message::parse(bytes) {
            Ok(message) if bytes.len() - message.headers().body().len().min(bytes.len()) > MAX_HEAD_BYTES => {
                debug!(%peer, "SIP message with too large a head");
                if let Message::Request(request) = message {
                    self.answer(connection, &request.response(513, "Message Too Large", Some("edge")));
                }
                return;
            }
            Ok(message) => match (message.validate(), message) {
                (Ok(()), message) => Ok(message),
                (Err(fault), Message::Request(request)) => Err((fault, request.error_response(&fault))),
                (Err(fault), Message::Response(_)) => Err((fault, None)),
            },
            Err(error) => Err((error.error, error.response())),
        };
        match parsed {
            Ok(Message::Request(mut request)) => {
                request.stamp_via(peer);
                self.request(connection, request, now);
            }
            Ok(Message::Response(response)) => self.response(connection, response, now),
            Err((fault, refusal)) => {
                debug!(%peer, %fault, "malformed SIP message");
                state.malformed += 1;
                let too_many = state.malformed >= MAX_MALFORMED_MESSAGES;
                if let Some(refusal) = refusal {
                    self.send(connection, refusal.to_bytes());
                }
                if too_many {
                    self.close(connection, CloseReason::Malformed);
                }
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::SignIn(connection) => {
                    if self.connections.get(&connection).is_some_and(|state| state.identity.is_none()) {
                        self.close(connection, CloseReason::NotSignedIn);
                    }
                }
                Timer::Request(request) => self.request_timeout(request, now),
                Timer::Bindings(extension) => self.schedule_expiry(&extension, now),
                Timer::Echo(call) => self.echo_timeout(call, now),
                Timer::Delayed(connection) => self.send_delayed(connection, now),
                Timer::SignInLog => self.sign_in_log.summarize(),
                Timer::ShareLog => self.share_log.summarize(),
            }
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// No more connections; those that are there are told to go, and calls to the echo end.
    pub fn shutdown(&mut self) {
        self.going_away = true;
        self.end_all_echo_calls();
        let mut all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        all.sort_unstable();
        for connection in all {
            self.close(connection, CloseReason::GoingAway);
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            connections: self.connections.len(),
            contacts: self.location.len(),
            requests: self.requests.len(),
            echo_calls: self.echo.len(),
        }
    }

    fn identity(&self, connection: ConnectionId) -> Option<&Extension> {
        self.connections.get(&connection)?.identity.as_ref()
    }

    /// Sends what the connection itself has asked for. Whoever asks and does not read is closed.
    fn send(&mut self, to: ConnectionId, message: Vec<u8>) {
        if let Some((_, messages)) = self.connections.get_mut(&to).and_then(|state| state.delayed.as_mut()) {
            messages.push(message);
        } else if self.has_room(to, message.len(), self.limits.unsent_bytes) {
            self.push(to, message);
        } else {
            self.close(to, CloseReason::TooSlow);
        }
    }

    /// Sends what comes from another connection. What does not fit is dropped: nobody is closed for what others send.
    fn relay(&mut self, to: ConnectionId, message: Vec<u8>) {
        if self.has_room(to, message.len(), self.limits.unsent_bytes / 2) {
            self.push(to, message);
        } else {
            debug!(connection = to.0, "message dropped: too many wait to be written");
        }
    }

    /// Keeps back the answers that a connection gets from now on.
    fn delay_answers(&mut self, to: ConnectionId, until: Instant) {
        if let Some(state) = self.connections.get_mut(&to) {
            state.delayed.get_or_insert((until, Vec::new()));
            self.schedule(until, Timer::Delayed(to));
        }
    }

    fn send_delayed(&mut self, to: ConnectionId, now: Instant) {
        let Some(state) = self.connections.get_mut(&to) else { return };
        for message in
            state.delayed.take_if(|(until, _)| *until <= now).map(|(_, messages)| messages).unwrap_or_default()
        {
            self.send(to, message);
        }
    }

    fn push(&mut self, to: ConnectionId, message: Vec<u8>) {
        let Some(state) = self.connections.get_mut(&to) else { return };
        state.unsent_bytes += message.len();
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Whether `bytes` more may wait to be written to a connection, `limit` in all.
    fn has_room(&self, to: ConnectionId, bytes: usize, limit: usize) -> bool {
        self.connections.get(&to).is_none_or(|state| state.unsent_bytes + bytes <= limit)
    }

    fn answer(&mut self, to: ConnectionId, response: &Response) {
        self.log_refusal(to, response);
        self.send(to, response.to_bytes());
    }

    /// For whoever looks for the reason why a phone does not register or a call does not come about. A challenge is no
    /// refusal, and a wrong password has its own line.
    fn log_refusal(&self, to: ConnectionId, response: &Response) {
        let (status, reason) = (response.status(), response.reason_phrase());
        if status < 400 || matches!(status, 401 | 407) || !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Some(state) = self.connections.get(&to) else { return };
        let method = response.cseq().map_or("", |cseq| cseq.method.as_str());
        let address = |header| response.value(header).unwrap_or_default();
        let (from, to) = (address(Header::From), address(Header::To));
        debug!(source = %state.source, method, ?from, ?to, status, ?reason, "SIP request refused");
    }

    /// Something was refused because a share of a budget is used up.
    fn note_exhausted(
        &mut self,
        budget: &'static str,
        exhausted: Exhausted,
        source: IpAddr,
        extension: Option<&Extension>,
        now: Instant,
    ) {
        if let Some(at) = self.share_log.refused(budget, exhausted, source, extension, now) {
            self.schedule(at, Timer::ShareLog);
        }
    }

    fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        if let Some(state) = self.connections.get_mut(&connection)
            && !state.closing
        {
            state.closing = true;
            self.outputs.push_back(Output::Close { connection, reason });
        }
    }

    fn schedule(&mut self, at: Instant, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }
}

/// For whom a connection counts once an extension has signed in on it; its network has been counted before.
fn signed_in_subjects(extension: &Extension) -> [Subject<'_>; 2] {
    [Subject::Extension(extension), Subject::Tenant(&extension.domain)]
}

/// The answer to a request that is over a budget.
fn over_budget(request: &Request, reason: &str, exhausted: Exhausted, retry_after: Duration) -> Response {
    let mut response = request.response(503, &format!("{reason}{}", exhausted.reason()), Some("edge"));
    response.append(Header::RetryAfter, &retry_after.as_secs().to_string());
    response
}
