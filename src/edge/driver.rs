//! Joins the sans-IO core to tokio: one future per WebSocket, one task for the timers.
//!
//! The core and the outboxes share one lock, held for microseconds and never across
//! an await, so that the messages to one connection leave in the order in which the
//! core produced them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Utf8Bytes};
use tracing::{debug, error};

use super::core::{CloseReason, ConnectionId, Core, Output};
use super::echo::{self, Addresses, EchoCommand};
use super::{EdgeLimits, EdgeOptions, ExtensionDirectory, Statistics};

/// A WebSocket's read buffer. Signalling messages fit it twice over at most, and thousands of phones sit idle.
const READ_BUFFER_BYTES: usize = 1024;
/// The longest time between two tries to read on where an extension, a tenant or a network sends too fast.
const MAX_READ_DELAY: Duration = Duration::from_secs(1);
/// How long a closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest SIP message taken. A WebRTC offer has 2 to 6 KB.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

pub struct EdgeState {
    state: Mutex<Connections>,
    /// Wakes the timer task: the core's next time-out may have moved.
    timer: Notify,
    /// Wakes [`shutdown`]: a connection is gone.
    gone: Notify,
    limits: EdgeLimits,
    /// To the task that carries the echo's media.
    echo: mpsc::UnboundedSender<EchoCommand>,
}

struct Connections {
    core: Core,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
}

/// What waits to be written to one connection.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<OutboxState>,
    wake: Notify,
}

#[derive(Default)]
struct OutboxState {
    messages: VecDeque<Vec<u8>>,
    close: Option<CloseFrame>,
}

impl Outbox {
    fn push(&self, message: Vec<u8>) {
        lock(&self.waiting).messages.push_back(message);
        self.wake.notify_one();
    }

    fn close(&self, frame: CloseFrame) {
        lock(&self.waiting).close.get_or_insert(frame);
        self.wake.notify_one();
    }

    fn take(&self) -> (VecDeque<Vec<u8>>, Option<CloseFrame>) {
        let mut waiting = lock(&self.waiting);
        (std::mem::take(&mut waiting.messages), waiting.close.clone())
    }
}

/// A poisoned lock means that a bug stopped one connection's future; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EdgeState {
    /// Runs one step of the core and hands out what it produced.
    fn step<T>(&self, step: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let result = step(&mut state.core, Instant::now());
        while let Some(output) = state.core.poll_output() {
            match output {
                Output::Send { to, message } => {
                    if let Some(outbox) = state.outboxes.get(&to) {
                        outbox.push(message);
                    }
                }
                Output::Close { connection, reason } => {
                    if let Some(outbox) = state.outboxes.get(&connection) {
                        outbox.close(close_frame(reason));
                    }
                }
                // The echo's task lives as long as this sender.
                Output::Echo(command) => drop(self.echo.send(command)),
            }
        }
        drop(state);
        self.timer.notify_one();
        result
    }
}

pub fn start(directory: Arc<dyn ExtensionDirectory>, options: EdgeOptions) -> Arc<EdgeState> {
    let mut limits = options.limits;
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        error!(%error, "no randomness from the system: the SIP edge refuses all connections, as anybody could sign in");
        limits.connections = 0;
    }
    let core = Core::new(directory, limits.clone(), seed, Instant::now());
    let (echo, commands) = mpsc::unbounded_channel();
    let shared = Arc::new(EdgeState {
        state: Mutex::new(Connections { core, outboxes: HashMap::new() }),
        timer: Notify::new(),
        gone: Notify::new(),
        limits,
        echo,
    });
    let supervisor = options.supervisor;
    let timers = Arc::downgrade(&shared);
    supervisor.keep("edge timers", move || run_timers(timers.clone()));
    let edge = Arc::downgrade(&shared);
    let addresses = Addresses { public: options.media_addresses, port: options.media_port };
    let echo = echo::run(addresses, commands, move |event| {
        if let Some(shared) = edge.upgrade() {
            shared.step(|core, now| core.handle_echo(event, now));
        }
    });
    supervisor.require("echo", echo);
    shared
}

/// Fires the core's time-outs. Holds the edge only weakly, so that it ends with it.
async fn run_timers(edge: std::sync::Weak<EdgeState>) {
    /// How often it looks whether the edge still exists when nothing else wakes it.
    const EDGE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
    loop {
        let Some(shared) = edge.upgrade() else { return };
        let next = lock(&shared.state).core.next_timeout();
        let now = Instant::now();
        if next.is_some_and(|at| at <= now) {
            shared.step(Core::handle_timeout);
            continue;
        }
        let sleep = tokio::time::sleep(next.map_or(EDGE_CHECK_INTERVAL, |at| at - now).min(EDGE_CHECK_INTERVAL));
        tokio::select! {
            () = sleep => {}
            () = shared.timer.notified() => {}
        }
    }
}

/// Removes a connection also when its future is dropped half-way.
struct ConnectionGuard {
    shared: Arc<EdgeState>,
    id: ConnectionId,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        lock(&self.shared.state).outboxes.remove(&self.id);
        let id = self.id;
        self.shared.step(|core, now| core.disconnected(id, now));
        self.shared.gone.notify_waiters();
    }
}

pub async fn serve<S>(shared: Arc<EdgeState>, io: S, peer: SocketAddr, source: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(shared.limits.unsent_bytes.max(2 * MAX_MESSAGE_BYTES))
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;

    let outbox = Arc::new(Outbox::default());
    let admitted = {
        let mut state = lock(&shared.state);
        let id = state.core.connected(peer, source, Instant::now());
        if let Some(id) = id {
            state.outboxes.insert(id, Arc::clone(&outbox));
        }
        id
    };
    let Some(id) = admitted else {
        debug!(%peer, "connection refused: the edge is full or going down");
        close(&mut socket, frame(CloseCode::Again, "try again later")).await;
        return;
    };
    shared.timer.notify_one();
    let guard = ConnectionGuard { shared, id };
    debug!(%peer, connection = id.0, "connected");
    let end = run_connection(&guard, &mut socket, &outbox).await;
    debug!(%peer, connection = id.0, ?end, "disconnected");
    // The core forgets the connection before the closing handshake, which may take a while.
    drop(guard);
    if let ConnectionEnd::Close(frame) = end {
        close(&mut socket, frame).await;
    }
}

/// How a connection ended.
#[derive(Debug)]
enum ConnectionEnd {
    /// The other side closed or vanished, or broke the WebSocket protocol.
    Gone,
    /// We close it.
    Close(CloseFrame),
}

async fn run_connection<S>(guard: &ConnectionGuard, socket: &mut WebSocketStream<S>, outbox: &Outbox) -> ConnectionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &guard.shared.limits;
    let mut pinged = false;
    let mut last_received = tokio::time::Instant::now();
    // A message that came too soon after others is held, and nothing is read until it is its turn.
    let mut held = None;
    let mut delay = Duration::ZERO;
    let mut next_try = last_received;
    loop {
        let timeout = if pinged { 2 * limits.ping_interval } else { limits.ping_interval };
        let message = tokio::select! {
            biased;
            () = outbox.wake.notified() => {
                let (messages, close) = outbox.take();
                for message in messages {
                    let bytes = message.len();
                    if !write(socket, websocket_message(message), limits.write_timeout).await {
                        return ConnectionEnd::Gone;
                    }
                    lock(&guard.shared.state).core.written(guard.id, bytes);
                }
                if let Some(frame) = close {
                    return ConnectionEnd::Close(frame);
                }
                continue;
            }
            incoming = socket.next(), if held.is_none() => match incoming {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    debug!(connection = guard.id.0, %error, "WebSocket broken");
                    return ConnectionEnd::Gone;
                }
                None => return ConnectionEnd::Gone,
            },
            Some(message) = async { tokio::time::sleep_until(next_try).await; held.take() }, if held.is_some() => message,
            () = tokio::time::sleep_until(last_received + timeout) => {
                if pinged {
                    return ConnectionEnd::Close(frame(CloseCode::Policy, "no answer to ping"));
                }
                pinged = true;
                if !write(socket, Message::Ping(Bytes::new()), limits.write_timeout).await {
                    return ConnectionEnd::Gone;
                }
                continue;
            }
        };
        last_received = tokio::time::Instant::now();
        pinged = false;
        if let Err(wait) = lock(&guard.shared.state).core.count_message(guard.id, Instant::now()) {
            // The longer the more often it was in vain, so that many connections of one sender do not all try each time.
            delay = (2 * delay).clamp(wait, wait.max(MAX_READ_DELAY));
            next_try = last_received + delay;
            held = Some(message);
            continue;
        }
        delay = Duration::ZERO;
        match message {
            Message::Text(text) => guard.shared.step(|core, now| core.handle(guard.id, text.as_bytes(), now)),
            Message::Binary(bytes) => guard.shared.step(|core, now| core.handle(guard.id, &bytes, now)),
            // tungstenite answers pings and close frames itself.
            _ => {}
        }
    }
}

/// Whether the message could be written in time.
async fn write<S>(socket: &mut WebSocketStream<S>, message: Message, timeout: Duration) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(tokio::time::timeout(timeout, socket.send(message)).await, Ok(Ok(())))
}

/// The closing handshake, as far as the other side takes part in it.
async fn close<S>(socket: &mut WebSocketStream<S>, frame: CloseFrame)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
}

/// SIP that is valid UTF-8 travels as text, which every client reads; anything else as it is (RFC 7118 section 4.2).
fn websocket_message(message: Vec<u8>) -> Message {
    let bytes = Bytes::from(message);
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

fn frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: Utf8Bytes::from_static(reason) }
}

fn close_frame(reason: CloseReason) -> CloseFrame {
    match reason {
        CloseReason::GoingAway => frame(CloseCode::Restart, "server restarting"),
        CloseReason::NotSignedIn => frame(CloseCode::Policy, "not signed in"),
        CloseReason::Malformed => frame(CloseCode::Policy, "too many malformed messages"),
        CloseReason::TooSlow => frame(CloseCode::Policy, "too slow"),
        CloseReason::Revoked => frame(CloseCode::Policy, "extension removed or password changed"),
    }
}

pub fn directory_changed(shared: &EdgeState) {
    shared.step(|core, _| core.directory_changed());
}

pub async fn shutdown(shared: &EdgeState, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    shared.step(|core, _| core.shutdown());
    loop {
        let gone = shared.gone.notified();
        tokio::pin!(gone);
        // Armed before the count is read, so that no departure is missed.
        gone.as_mut().enable();
        if statistics(shared).connections == 0 || tokio::time::timeout_at(deadline, gone).await.is_err() {
            return;
        }
    }
}

pub fn statistics(shared: &EdgeState) -> Statistics {
    lock(&shared.state).core.statistics()
}

#[cfg(test)]
mod tests;
