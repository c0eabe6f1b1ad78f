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
use super::echo::{self, Addresses, Order};
use super::{Directory, Limits, Options, Statistics};

/// A WebSocket's read buffer. Signalling messages fit it twice over at most, and thousands of phones sit idle.
const READ_BUFFER: usize = 1024;
/// The largest SIP message taken. A WebRTC offer has 2 to 6 KB.
const MAX_MESSAGE: usize = 64 * 1024;

pub struct Shared {
    state: Mutex<State>,
    /// Wakes the timer task: the core's next time-out may have moved.
    timer: Notify,
    /// Wakes [`shutdown`]: a connection is gone.
    gone: Notify,
    limits: Limits,
    /// To the task that carries the echo's media.
    echo: mpsc::UnboundedSender<Order>,
}

struct State {
    core: Core,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
}

/// What waits to be written to one connection.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    close: Option<CloseFrame>,
}

impl Outbox {
    fn push(&self, message: Vec<u8>, limit: usize) {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes + message.len() > limit {
            waiting.close = Some(frame(CloseCode::Policy, "too slow"));
        } else {
            waiting.bytes += message.len();
            waiting.messages.push_back(message);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    fn close(&self, frame: CloseFrame) {
        lock(&self.waiting).close.get_or_insert(frame);
        self.wake.notify_one();
    }

    fn take(&self) -> (VecDeque<Vec<u8>>, Option<CloseFrame>) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes = 0;
        (std::mem::take(&mut waiting.messages), waiting.close.clone())
    }
}

/// A poisoned lock means that a bug stopped one connection's future; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Runs one step of the core and hands out what it produced.
    fn step<T>(&self, step: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let result = step(&mut state.core, Instant::now());
        while let Some(output) = state.core.poll_output() {
            match output {
                Output::Send { to, message } => {
                    if let Some(outbox) = state.outboxes.get(&to) {
                        outbox.push(message, self.limits.unsent_bytes);
                    }
                }
                Output::Close { connection, reason } => {
                    if let Some(outbox) = state.outboxes.get(&connection) {
                        outbox.close(close_frame(reason));
                    }
                }
                // The echo's task lives as long as this sender.
                Output::Echo(order) => drop(self.echo.send(order)),
            }
        }
        drop(state);
        self.timer.notify_one();
        result
    }
}

pub fn start(directory: Arc<dyn Directory>, options: Options) -> Arc<Shared> {
    let mut limits = options.limits;
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        error!(%error, "no randomness from the system: the SIP edge refuses all connections, as anybody could sign in");
        limits.connections = 0;
    }
    let core = Core::new(directory, limits.clone(), seed, Instant::now());
    let (echo, orders) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        state: Mutex::new(State { core, outboxes: HashMap::new() }),
        timer: Notify::new(),
        gone: Notify::new(),
        limits,
        echo,
    });
    tokio::spawn(run_timers(Arc::downgrade(&shared)));
    let edge = Arc::downgrade(&shared);
    let addresses = Addresses { public: options.media_addresses, port: options.media_port };
    tokio::spawn(echo::run(addresses, orders, move |report| {
        if let Some(shared) = edge.upgrade() {
            shared.step(|core, now| core.handle_echo(report, now));
        }
    }));
    shared
}

/// Fires the core's time-outs. Holds the edge only weakly, so that it ends with it.
async fn run_timers(edge: std::sync::Weak<Shared>) {
    /// How often it looks whether the edge still exists when nothing else wakes it.
    const LOOK: Duration = Duration::from_secs(30);
    loop {
        let Some(shared) = edge.upgrade() else { return };
        let next = lock(&shared.state).core.next_timeout();
        let now = Instant::now();
        if next.is_some_and(|at| at <= now) {
            shared.step(Core::handle_timeout);
            continue;
        }
        let sleep = tokio::time::sleep(next.map_or(LOOK, |at| at - now).min(LOOK));
        tokio::select! {
            () = sleep => {}
            () = shared.timer.notified() => {}
        }
    }
}

/// Removes a connection also when its future is dropped half-way.
struct Presence {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Presence {
    fn drop(&mut self) {
        lock(&self.shared.state).outboxes.remove(&self.id);
        let id = self.id;
        self.shared.step(|core, now| core.disconnected(id, now));
        self.shared.gone.notify_waiters();
    }
}

pub async fn serve<S>(shared: Arc<Shared>, io: S, peer: SocketAddr, source: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let patience = shared.limits.write;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(shared.limits.unsent_bytes.max(2 * MAX_MESSAGE))
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
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
        close(&mut socket, frame(CloseCode::Again, "try again later"), patience).await;
        return;
    };
    shared.timer.notify_one();
    let presence = Presence { shared, id };
    debug!(%peer, connection = id.0, "connected");
    let end = converse(&presence, &mut socket, &outbox).await;
    debug!(%peer, connection = id.0, ?end, "disconnected");
    // The core forgets the connection before the closing handshake, which may take a while.
    drop(presence);
    if let End::Close(frame) = end {
        close(&mut socket, frame, patience).await;
    }
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// The other side closed or vanished, or broke the WebSocket protocol.
    Gone,
    /// We close it.
    Close(CloseFrame),
}

async fn converse<S>(presence: &Presence, socket: &mut WebSocketStream<S>, outbox: &Outbox) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &presence.shared.limits;
    let mut pinged = false;
    let mut heard = tokio::time::Instant::now();
    loop {
        let patience = if pinged { 2 * limits.silence } else { limits.silence };
        tokio::select! {
            biased;
            () = outbox.wake.notified() => {
                let (messages, close) = outbox.take();
                for message in messages {
                    if !write(socket, websocket_message(message), limits.write).await {
                        return End::Gone;
                    }
                }
                if let Some(frame) = close {
                    return End::Close(frame);
                }
            }
            incoming = socket.next() => {
                heard = tokio::time::Instant::now();
                pinged = false;
                match incoming {
                    Some(Ok(Message::Text(text))) => {
                        presence.shared.step(|core, now| core.handle(presence.id, text.as_bytes(), now));
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        presence.shared.step(|core, now| core.handle(presence.id, &bytes, now));
                    }
                    // tungstenite answers pings and close frames itself.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        debug!(connection = presence.id.0, %error, "WebSocket broken");
                        return End::Gone;
                    }
                    None => return End::Gone,
                }
            }
            () = tokio::time::sleep_until(heard + patience) => {
                if pinged {
                    return End::Close(frame(CloseCode::Policy, "no answer to ping"));
                }
                pinged = true;
                if !write(socket, Message::Ping(Bytes::new()), limits.write).await {
                    return End::Gone;
                }
            }
        }
    }
}

/// Whether the message could be written in time.
async fn write<S>(socket: &mut WebSocketStream<S>, message: Message, patience: Duration) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(tokio::time::timeout(patience, socket.send(message)).await, Ok(Ok(())))
}

/// The closing handshake, as far as the other side takes part in it.
async fn close<S>(socket: &mut WebSocketStream<S>, frame: CloseFrame, patience: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = tokio::time::timeout(patience, async {
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
        CloseReason::GoingAway => frame(CloseCode::Away, "server going down"),
        CloseReason::NotSignedIn => frame(CloseCode::Policy, "not signed in"),
        CloseReason::TooManyFailures => frame(CloseCode::Policy, "too many wrong passwords"),
        CloseReason::Malformed => frame(CloseCode::Policy, "too many malformed messages"),
        CloseReason::Revoked => frame(CloseCode::Policy, "extension removed or password changed"),
    }
}

pub fn directory_changed(shared: &Shared) {
    shared.step(|core, _| core.directory_changed());
}

pub async fn shutdown(shared: &Shared, grace: Duration) {
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

pub fn statistics(shared: &Shared) -> Statistics {
    lock(&shared.state).core.statistics()
}

#[cfg(test)]
mod tests;
