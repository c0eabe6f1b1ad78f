//! What is known of a connection before its first request.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::HeaderMap;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::connection::CLOSE_TIMEOUT;
use super::connection_limits::ConnectionPermit;
use crate::api::EntryPoint;

/// Who is at the other end, and on which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// On a public listener.
    Remote(SocketAddr),
    /// On the listener that redirects to HTTPS.
    Redirect(SocketAddr),
    /// On the operations listener.
    Operations(SocketAddr),
    /// On the control socket, which its file permissions protect.
    Local { uid: u32 },
}

impl Peer {
    /// An IPv4 client on a dual-stack socket counts as one of IPv4.
    pub fn remote(address: SocketAddr) -> Self {
        Self::Remote(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The process at the other end of the control socket, by `SO_PEERCRED`.
    pub fn local(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self::Local { uid: stream.peer_cred()?.uid() })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) | Self::Redirect(address) | Self::Operations(address) => write!(f, "{address}"),
            Self::Local { uid } => write!(f, "uid {uid}"),
        }
    }
}

/// One connection. Its permit is free again when the last holder is gone: the connection, or the WebSocket it became.
pub struct ConnectionInfo {
    pub peer: Peer,
    pub is_tls: bool,
    /// Turns true once: finish open requests, take no new ones.
    pub stopping: watch::Receiver<bool>,
    _permit: ConnectionPermit,
}

impl ConnectionInfo {
    pub fn new(peer: Peer, is_tls: bool, stopping: watch::Receiver<bool>, permit: ConnectionPermit) -> Arc<Self> {
        Arc::new(Self { peer, is_tls, stopping, _permit: permit })
    }

    /// How a request came in, for the API.
    pub fn entry_point(&self) -> EntryPoint {
        match self.peer {
            Peer::Local { uid } => EntryPoint::ControlSocket { uid },
            Peer::Remote(peer) | Peer::Operations(peer) if self.is_tls => EntryPoint::Https { peer: peer.ip() },
            Peer::Remote(peer) | Peer::Redirect(peer) | Peer::Operations(peer) => EntryPoint::Http { peer: peer.ip() },
        }
    }

    /// The address of whoever sent a request: behind a reverse proxy on this machine, what that says. None for a user of
    /// this machine.
    pub fn client_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        self.entry_point().client_address(headers)
    }

    /// Waits until the server stops.
    pub async fn until_stopping(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the server itself is gone, which stops it as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Waits until a peer without an open request must be gone, because the server stops.
    pub async fn until_close_timeout(&self) {
        self.until_stopping().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    }
}
