//! The network side of the appliance: listeners, TLS, HTTP, and graceful shutdown.
//!
//! A request's way: listener → [`connection`] (protocol and time limits) → [`request_handler`] (which part of the server
//! it is for) → the API, an asset, or the SIP edge.

mod access_log;
mod assets;
mod connection;
mod connection_info;
mod connection_limits;
mod edge_directory;
mod http2_flood;
mod http2_streams;
mod noted_request;
mod notify;
mod playground;
mod redirect;
mod request_body;
mod request_handler;
mod sockets;
mod tls;
mod websocket;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::config::{LimitSettings, ListenSettings};
pub use access_log::AccessLog;
use connection::ServerContext;
use connection_info::{ConnectionInfo, Peer};
use connection_limits::ConnectionLimits;
pub use edge_directory::EdgeDirectory;
pub use notify::{ready as notify_ready, reloading as notify_reloading};
pub use playground::Playground;
pub use redirect::HttpTokens;
pub use request_handler::RequestHandler;
pub use sockets::{BindError, Bound, ControlSocket, InheritedSockets, bind_tcp, raise_file_limit};
pub use tls::{CertificateFiles, FileCertificate};

/// How long accepting pauses after a failure that concerns more than one connection (no file descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The operator's connections, apart from those of phones and pages, which strangers can use up.
const MAX_CONTROL_CONNECTIONS: usize = 256;
const MAX_OPERATIONS_CONNECTIONS: usize = 64;

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
    pub fn bind(settings: &ListenSettings, inherited: &mut InheritedSockets) -> Result<Self, BindError> {
        let mut bind = |addresses: &[SocketAddr]| bind_all(addresses, inherited);
        Ok(Self {
            https: bind(&settings.https)?,
            http: bind(&settings.http)?,
            redirect: bind(&settings.redirect)?,
            ops: bind(settings.ops.as_slice())?.pop(),
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

fn bind_all(addresses: &[SocketAddr], inherited: &mut InheritedSockets) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match inherited.take_or_bind(*address)? {
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
    /// Of the listeners whose requests are waited for at the end.
    connections: Vec<ConnectionLimits>,
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
        limits: watch::Receiver<LimitSettings>,
    ) -> std::io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let max_connections = limits.borrow().max_connections;
        let public = ConnectionLimits::new(max_connections, {
            let limits = limits.clone();
            move || limits.borrow().max_connections_per_address
        });
        let shared = Arc::new(ServerContext { handler, limits });
        let mut accepting = JoinSet::new();

        listeners.log_addresses();
        let acceptor = |kind, limits: &ConnectionLimits| Acceptor {
            kind,
            shared: Arc::clone(&shared),
            stopping: stopping.clone(),
            limits: limits.clone(),
        };
        let Listeners { https, http, redirect, ops, control } = listeners;
        if let Some(tls) = tls {
            for listener in https {
                let kind = ListenerKind::Https(TlsAcceptor::from(Arc::clone(&tls)));
                accepting.spawn(acceptor(kind, &public).accept_tcp(tokio::net::TcpListener::from_std(listener)?));
            }
        }
        for listener in http {
            let acceptor = acceptor(ListenerKind::Http, &public);
            accepting.spawn(acceptor.accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        let redirects = ConnectionLimits::new(redirect::MAX_CONNECTIONS, || redirect::MAX_CONNECTIONS_PER_ADDRESS);
        for listener in redirect {
            let acceptor = acceptor(ListenerKind::Redirect, &redirects);
            accepting.spawn(acceptor.accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        let operations = ConnectionLimits::new(MAX_OPERATIONS_CONNECTIONS, || 0);
        if let Some(listener) = ops {
            let acceptor = acceptor(ListenerKind::Operations, &operations);
            accepting.spawn(acceptor.accept_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        let operators = ConnectionLimits::new(MAX_CONTROL_CONNECTIONS, || 0);
        if let Some(control) = &control {
            let listener = tokio::net::UnixListener::from_std(control.listener.try_clone()?)?;
            accepting.spawn(acceptor(ListenerKind::Control, &operators).accept_unix(listener));
        }
        Ok(Self { stop, accepting, connections: vec![public, operations, operators], shared, _control: control })
    }

    /// Waits until an accept loop breaks off, which none does but by a panic.
    pub async fn broken(&mut self) -> tokio::task::JoinError {
        loop {
            match self.accepting.join_next().await {
                Some(Err(error)) => return error,
                Some(Ok(())) => {}
                None => std::future::pending().await,
            }
        }
    }

    #[cfg(test)]
    #[allow(clippy::panic)]
    pub fn break_listener(&mut self) {
        self.accepting.spawn(async { panic!("on purpose") });
    }

    /// Accepts nothing new, lets open requests finish, closes the rest when the drain timeout is over.
    pub async fn drain(mut self) -> DrainOutcome {
        notify::stopping();
        let timeout = self.shared.limits.borrow().drain_timeout;
        self.accepting.shutdown().await;
        // Fails only when no connection listens any more: then none is open.
        let _ = self.stop.send(true);
        let all_closed = async {
            let connections = join_all(self.connections.iter().map(ConnectionLimits::all_closed));
            tokio::join!(self.shared.handler.edge.shutdown(timeout), connections)
        };
        if tokio::time::timeout(timeout, all_closed).await.is_ok() {
            return DrainOutcome::Completely;
        }
        DrainOutcome::Cut { connections: self.connections.iter().map(ConnectionLimits::open).sum() }
    }
}

/// The accept loop of one listener.
struct Acceptor {
    kind: ListenerKind,
    shared: Arc<ServerContext>,
    stopping: watch::Receiver<bool>,
    limits: ConnectionLimits,
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
        while let Some(permit) = self.limits.permit().await {
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
            // A reverse proxy on this machine connects for all its clients.
            let is_proxy = matches!(self.kind, ListenerKind::Http) && address.ip().is_loopback();
            let permit = if is_proxy { Some(permit) } else { self.limits.admit(permit, address.ip()) };
            let Some(permit) = permit else {
                tracing::debug!(%address, "closed at once: its network holds `limits.max_connections_per_address`");
                continue;
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
        while let Some(permit) = self.limits.permit().await {
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
}

async fn pause_after(error: &std::io::Error) {
    if !sockets::concerns_one_connection(error) {
        tracing::warn!(%error, "no room for a further connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
