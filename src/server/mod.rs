//! The network side of the appliance: listeners, TLS, HTTP, and graceful shutdown.
//!
//! A request's way: listener → [`connection`] (protocol and time limits) → [`request_handler`] (which part of the server
//! it is for) → the API, an asset, or the SIP edge.

mod assets;
mod connection;
mod connection_info;
mod edge_directory;
mod http2_streams;
mod notify;
mod redirect;
mod request_handler;
mod sockets;
mod tls;
mod websocket;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::config::{LimitSettings, ListenSettings};
use connection::ServerContext;
use connection_info::{ConnectionInfo, Peer};
pub use edge_directory::EdgeDirectory;
pub use notify::ready as notify_ready;
pub use redirect::HttpTokens;
pub use request_handler::{Playground, RequestHandler};
pub use sockets::{BindError, Bound, ControlSocket, bind_tcp, raise_file_limit};
pub use tls::{CertificateFiles, FileCertificate};

/// How long accepting pauses after a failure that concerns more than one connection (no file descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The sockets, bound and not yet served. They are bound before anything slow happens, so that a taken port is the first
/// thing an administrator hears of.
#[derive(Default)]
pub struct Listeners {
    pub https: Vec<TcpListener>,
    pub http: Vec<TcpListener>,
    pub redirect: Vec<TcpListener>,
    pub ops: Option<TcpListener>,
    pub control: Option<ControlSocket>,
}

impl Listeners {
    pub fn bind(settings: &ListenSettings) -> Result<Self, BindError> {
        Ok(Self {
            https: bind_all(&settings.https)?,
            http: bind_all(&settings.http)?,
            redirect: bind_all(&settings.redirect)?,
            ops: bind_all(settings.ops.as_slice())?.pop(),
            control: Some(ControlSocket::bind(&settings.control)?),
        })
    }

    /// Logs the addresses, with the ports that the system chose.
    fn log_addresses(&self) {
        let named = [("https", &self.https), ("http", &self.http), ("redirect", &self.redirect)];
        let all = named
            .into_iter()
            .flat_map(|(name, listeners)| listeners.iter().map(move |listener| (name, listener)))
            .chain(self.ops.iter().map(|listener| ("operations", listener)));
        for (protocol, listener) in all {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(protocol, %address, "listening");
            }
        }
    }
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match bind_tcp(*address)? {
            Bound::Listening(listener) => listeners.push(listener),
            Bound::NoIpv6 => tracing::info!(%address, "not listened on: this machine has no IPv6"),
        }
    }
    Ok(listeners)
}

/// Where these listeners really listen.
pub fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// The server while it accepts connections.
pub struct Server {
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
    permits: Arc<Semaphore>,
    all_permits: u32,
    shared: Arc<ServerContext>,
    /// Removed from the file system with the server.
    _control: Option<ControlSocket>,
}

/// How the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every request was answered.
    Completely,
    /// The time was over; this many connections were cut.
    Cut { connections: u32 },
}

impl Server {
    /// Starts to accept on every listener. Must be called inside a tokio runtime.
    pub fn start(
        listeners: Listeners,
        tls: Option<Arc<ServerConfig>>,
        handler: RequestHandler,
        limits: LimitSettings,
    ) -> std::io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let all_permits = u32::try_from(limits.max_connections.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let permits = Arc::new(Semaphore::new(all_permits as usize));
        let shared = Arc::new(ServerContext { handler, limits });
        let mut accepting = JoinSet::new();

        listeners.log_addresses();
        let acceptor = |kind| Acceptor {
            kind,
            shared: Arc::clone(&shared),
            stopping: stopping.clone(),
            permits: Arc::clone(&permits),
        };
        let Listeners { https, http, redirect, ops, control } = listeners;
        if let Some(tls) = tls {
            for listener in https {
                let kind = ListenerKind::Https(TlsAcceptor::from(Arc::clone(&tls)));
                accepting.spawn(acceptor(kind).accept_tcp(tokio::net::TcpListener::from_std(listener)?));
            }
        }
        for listener in http {
            accepting.spawn(acceptor(ListenerKind::Http).accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        // Permits of its own, so that nobody can take those of the phones there.
        let redirect_permits = Arc::new(Semaphore::new(redirect::MAX_CONNECTIONS));
        for listener in redirect {
            let acceptor = Acceptor { permits: Arc::clone(&redirect_permits), ..acceptor(ListenerKind::Redirect) };
            accepting.spawn(acceptor.accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        if let Some(listener) = ops {
            accepting
                .spawn(acceptor(ListenerKind::Operations).accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        if let Some(control) = &control {
            let listener = tokio::net::UnixListener::from_std(control.listener.try_clone()?)?;
            accepting.spawn(acceptor(ListenerKind::Control).accept_unix(listener));
        }
        Ok(Self { stop, accepting, permits, all_permits, shared, _control: control })
    }

    /// Accepts nothing new, lets open requests finish, closes the rest when the drain timeout is over.
    pub async fn drain(mut self) -> DrainOutcome {
        notify::stopping();
        let timeout = self.shared.limits.drain_timeout;
        self.accepting.shutdown().await;
        // Fails only when no connection listens any more: then none is open.
        let _ = self.stop.send(true);
        let all_closed = async {
            tokio::join!(self.shared.handler.edge.shutdown(timeout), self.permits.acquire_many(self.all_permits))
        };
        if tokio::time::timeout(timeout, all_closed).await.is_ok() {
            return DrainOutcome::Completely;
        }
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        DrainOutcome::Cut { connections: self.all_permits.saturating_sub(free) }
    }
}

/// The accept loop of one listener.
struct Acceptor {
    kind: ListenerKind,
    shared: Arc<ServerContext>,
    stopping: watch::Receiver<bool>,
    permits: Arc<Semaphore>,
}

enum ListenerKind {
    Https(TlsAcceptor),
    Http,
    Redirect,
    Operations,
    Control,
}

impl Acceptor {
    async fn accept_tcp(self, listener: tokio::net::TcpListener) {
        while let Some(permit) = self.permit().await {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let peer = match self.kind {
                ListenerKind::Operations => Peer::Operations(address),
                ListenerKind::Redirect => Peer::Redirect(address),
                _ => Peer::remote(address),
            };
            let is_tls = matches!(self.kind, ListenerKind::Https(_));
            let info = ConnectionInfo::new(peer, is_tls, self.stopping.clone(), permit);
            let shared = Arc::clone(&self.shared);
            match &self.kind {
                ListenerKind::Https(acceptor) => {
                    drop(tokio::spawn(connection::serve_tls(stream, shared, info, acceptor.clone())));
                }
                ListenerKind::Redirect => drop(tokio::spawn(connection::serve_once(stream, shared, info))),
                _ => drop(tokio::spawn(connection::serve_plain(stream, shared, info))),
            }
        }
    }

    async fn accept_unix(self, listener: tokio::net::UnixListener) {
        while let Some(permit) = self.permit().await {
            let accepted = listener.accept().await.and_then(|(stream, _)| {
                let peer = Peer::local(&stream)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => {
                    let info = ConnectionInfo::new(peer, false, self.stopping.clone(), permit);
                    tokio::spawn(connection::serve_plain(stream, Arc::clone(&self.shared), info));
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Waits until one more connection is allowed; meanwhile the kernel queues them.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }
}

async fn pause_after(error: &std::io::Error) {
    if !sockets::concerns_one_connection(error) {
        tracing::warn!(%error, "no room for a further connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
