//! One connection, from the accepted stream to its end: handshake, protocol,
//! time limits, and a polite end when the server is told to stop.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::alarm::Alarms;
use super::batch::Batch;
use super::front::{Caller, Front};
use super::gather::Gathered;
use super::patience::{Patient, Watched};
use super::redirect;
use super::secured::Secured;
use crate::api::Via;
use crate::certs::ACME_TLS;
use crate::config::Limits;

/// A request's header may have this many bytes in all.
const MAX_HEADER: usize = 32 * 1024;
const MAX_STREAMS: u32 = 100;

/// What every connection of the server shares.
pub struct Shared {
    pub front: Front,
    pub limits: Limits,
    /// Turns true once: finish what is open, take nothing new.
    pub stop: watch::Receiver<bool>,
}

/// One connection's own part: who it is, and its place among the allowed ones,
/// which is free again when the last holder (this connection, or the WebSocket it became) is gone.
pub struct Visit {
    pub shared: Arc<Shared>,
    pub caller: Caller,
    pub tls: bool,
    _place: OwnedSemaphorePermit,
}

impl Visit {
    pub fn new(shared: Arc<Shared>, caller: Caller, tls: bool, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self { shared, caller, tls, _place: place })
    }

    /// What the API must know of how a request came in.
    pub fn via(&self) -> Via {
        match self.caller {
            Caller::Local { uid } => Via::ControlSocket { uid },
            Caller::Remote(peer) | Caller::Operations(peer) if self.tls => Via::Https { peer: peer.ip() },
            Caller::Remote(peer) | Caller::InClear(peer) | Caller::Operations(peer) => Via::Http { peer: peer.ip() },
        }
    }

    async fn stop_ordered(&self) {
        let mut stop = self.shared.stop.clone();
        // An error means that the server itself is gone, which is an order to stop as well.
        let _ = stop.wait_for(|ordered| *ordered).await;
    }
}

pub async fn serve_tls(stream: TcpStream, visit: Arc<Visit>, config: Arc<ServerConfig>) {
    let limits = &visit.shared.limits;
    let stream = Patient::new(stream, limits.write_timeout);
    // On the heap, so that the connection does not keep its room for as long as it lives.
    let handshake = Box::pin(Secured::accept(stream, config));
    match tokio::time::timeout(limits.header_timeout, handshake).await {
        Ok(Ok(stream)) => match stream.protocol() {
            Some(b"h2") => serve_http2(stream, visit).await,
            Some(ACME_TLS) => close_validation(stream, limits.header_timeout).await,
            _ => serve_http1(stream, visit).await,
        },
        Ok(Err(error)) => tracing::debug!(caller = %visit.caller, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(caller = %visit.caller, "TLS handshake took too long"),
    }
}

/// The handshake was the answer (RFC 8737 section 3): nothing more is said here.
async fn close_validation(mut stream: impl AsyncWrite + Unpin, patience: Duration) {
    // Whether the authority waits for our farewell is its own affair.
    let _ = tokio::time::timeout(patience, stream.shutdown()).await;
}

pub async fn serve_plain(stream: TcpStream, visit: Arc<Visit>) {
    let patience = visit.shared.limits.write_timeout;
    serve_http1(Patient::new(stream, patience), visit).await;
}

/// One request, and the connection is closed.
pub async fn serve_once(stream: TcpStream, visit: Arc<Visit>) {
    let limits = &visit.shared.limits;
    let service = service_fn({
        let visit = visit.clone();
        move |request| Front::answer(visit.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout.min(redirect::PATIENCE))
        .max_buf_size(redirect::MAX_HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.write_timeout)), service);
    note_end(&visit, connection.await);
}

pub async fn serve_unix(stream: UnixStream, visit: Arc<Visit>) {
    let patience = visit.shared.limits.write_timeout;
    serve_http1(Patient::new(stream, patience), visit).await;
}

async fn serve_http1<S>(stream: S, visit: Arc<Visit>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn({
        let visit = visit.clone();
        move |request| Front::answer(visit.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(Alarms::default())
        // Also closes a connection that stays idle between two requests.
        .header_read_timeout(visit.shared.limits.header_timeout)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = visit.stop_ordered() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    note_end(&visit, outcome);
}

async fn serve_http2<S>(stream: S, visit: Arc<Visit>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn({
        let visit = visit.clone();
        move |request| Front::answer(visit.clone(), request)
    });
    // An idle peer is kept as long as it answers pings; one that does not, or that never
    // begins to speak HTTP/2, is not.
    let silence = visit.shared.limits.header_timeout;
    let stream = Gathered::new(Watched::new(stream, silence));
    let batch = Batch::default();
    let connection = http2::Builder::new(batch.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(silence / 2)
        .keep_alive_timeout(silence)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream.clone()), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = poll_fn(|cx| batch.poll(connection.as_mut(), &stream, cx)) => outcome,
        () = visit.stop_ordered() => {
            connection.as_mut().graceful_shutdown();
            poll_fn(|cx| batch.poll(connection.as_mut(), &stream, cx)).await
        }
    };
    note_end(&visit, outcome);
}

fn note_end(visit: &Visit, outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(caller = %visit.caller, %error, "connection ended");
    }
}

/// The caller at the other end of the control socket, by `SO_PEERCRED`.
pub fn local_caller(stream: &UnixStream) -> io::Result<Caller> {
    Ok(Caller::Local { uid: stream.peer_cred()?.uid() })
}

pub fn remote_caller(address: SocketAddr) -> Caller {
    // An IPv4 client on a dual-stack socket is shown as what it is.
    Caller::Remote(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
