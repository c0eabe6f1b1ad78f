//! Serves the zone on its sockets. Datagrams are answered one after the other by the task that receives them: a response
//! takes microseconds, and a task for each would cost more. Connections are limited in number and time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dns_sockets::DnsSockets;
use super::message::{DnsTransport, respond, truncated};
use super::response_limiter::{RateAction, ResponseLimiter};
use super::udp_socket::{PacketInfoSocket, ReceiveBuffer};
use super::zone::DnsZone;

/// Longer than any query with all its options.
const MAX_QUERY_BYTES: usize = 4096;
/// Batches received before the clock is read again and other tasks run.
const MAX_BATCHES: usize = 8;
/// Open at the same time.
const MAX_CONNECTIONS: usize = 256;
/// On one connection.
const MAX_QUERIES_PER_CONNECTION: usize = 1000;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The running server, which ends when this is dropped.
pub struct DnsServer {
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
}

impl DnsServer {
    /// Starts answering. `per_network`: datagrams in a second that one network is answered, see [`ResponseLimiter`].
    /// Must be called inside a tokio runtime.
    pub fn start(sockets: DnsSockets, zone: DnsZone, per_network: u32) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let zone = Arc::new(zone);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut loops = JoinSet::new();
        for (udp, tcp) in sockets.bound {
            let (udp, tcp) = (PacketInfoSocket::new(udp)?, TcpListener::from_std(tcp)?);
            tracing::info!(protocol = "dns", address = %udp.address()?, "listening");
            loops.spawn(serve_datagrams(udp, zone.clone(), ResponseLimiter::per_second(per_network), stopped.clone()));
            loops.spawn(connections(tcp, zone.clone(), permits.clone(), stopped.clone()));
        }
        Ok(Self { stop, loops })
    }

    /// Waits until a loop breaks off, which none does but by a panic.
    pub async fn broken(&mut self) -> tokio::task::JoinError {
        loop {
            match self.loops.join_next().await {
                Some(Err(error)) => return error,
                Some(Ok(())) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Accepts no further query, and sends the responses to those received.
    pub async fn drain(mut self) {
        // Fails if all loops have ended.
        let _ = self.stop.send(true);
        while self.loops.join_next().await.is_some() {}
    }
}

async fn serve_datagrams(
    socket: PacketInfoSocket,
    zone: Arc<DnsZone>,
    mut limiter: ResponseLimiter,
    mut stop: watch::Receiver<bool>,
) {
    let mut buffer = ReceiveBuffer::new();
    loop {
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            _ = stop.changed() => return,
        };
        if let Err(error) = ready {
            tracing::error!(%error, "DNS over UDP has stopped");
            return;
        }
        let now = seconds();
        let mut drained = false;
        for _ in 0..MAX_BATCHES {
            match socket.receive(&mut buffer) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drained = true;
                    break;
                }
                // An ICMP error for an earlier datagram.
                Err(_) => continue,
            }
            for datagram in buffer.datagrams() {
                // Port 0 cannot be a source, so that it is forged.
                if datagram.from.port() == 0 || datagram.bytes.len() > MAX_QUERY_BYTES {
                    continue;
                }
                let query = datagram.bytes;
                let answer = match limiter.check(datagram.from.ip()) {
                    RateAction::Answer => respond(&zone, query.to_vec(), datagram.from, DnsTransport::Udp, now),
                    RateAction::Truncate => truncated(query),
                    RateAction::Drop => None,
                };
                if let Some(answer) = answer {
                    socket.answer(&datagram, &answer);
                }
            }
        }
        if !drained {
            // A flood of queries must leave the other tasks their turn.
            tokio::task::yield_now().await;
        }
    }
}

async fn connections(
    listener: TcpListener,
    zone: Arc<DnsZone>,
    permits: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = open.join_next() => continue,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((stream, from, permit)) => {
                open.spawn(connection(stream, from, zone.clone(), permit, permits.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "a DNS connection was not accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    while open.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, permit))
}

/// Answers queries one after the other (RFC 7766), each with its length before it.
async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    zone: Arc<DnsZone>,
    _permit: OwnedSemaphorePermit,
    permits: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let mut stream = BufReader::with_capacity(MAX_QUERY_BYTES, stream);
    for _ in 0..MAX_QUERIES_PER_CONNECTION {
        // Idle connections are closed sooner while few are left (RFC 7766 section 6.2.3).
        let idle_timeout = if permits.available_permits() > MAX_CONNECTIONS / 4 { IDLE_TIMEOUT } else { BUSY_TIMEOUT };
        let query = tokio::select! {
            query = timeout(idle_timeout, read(&mut stream)) => query,
            _ = stop.changed() => return,
        };
        let Ok(Ok(query)) = query else { return };
        let Some(answer) = respond(&zone, query, from, DnsTransport::Tcp, seconds()) else { return };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let message = [&length.to_be_bytes(), answer.as_slice()].concat();
        if !matches!(timeout(BUSY_TIMEOUT, stream.get_mut().write_all(&message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_QUERY_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
