//! The network side of the appliance: listeners, TLS, HTTP, and an orderly end.
//!
//! A request's way: listener → [`connection`] (protocol and time limits) →
//! [`front`] (which part of the house it is for) → the prepared runtime
//! configuration, an asset, the SIP edge, or the API's router.

mod alarm;
mod assets;
mod batch;
mod body;
mod connection;
mod directory;
mod front;
mod gather;
mod listen;
mod notify;
mod patience;
mod redirect;
mod secured;
mod tls;
mod websocket;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::{Limits, Listen};
use connection::{Shared, Visit};
pub use directory::Directory;
pub use front::{Caller, Front};
pub use listen::{BindError, Bound, ControlSocket, raise_file_limit, tcp};
pub use notify::ready as announce_ready;
#[allow(unused_imports)] // the room that orders certificates implements it
pub use redirect::HttpTokens;
pub use tls::{Certificates, Source as CertificateSource};

/// How long accepting pauses when the system has no room for a further connection.
const BREATHER: Duration = Duration::from_millis(50);

/// The sockets, bound and not yet served. Bound before anything slow happens,
/// so that a taken port is the first thing an administrator hears of.
#[derive(Default)]
pub struct Doors {
    pub https: Vec<TcpListener>,
    pub http: Vec<TcpListener>,
    pub redirect: Vec<TcpListener>,
    pub ops: Option<TcpListener>,
    pub control: Option<ControlSocket>,
}

impl Doors {
    pub fn open(settings: &Listen) -> Result<Self, BindError> {
        Ok(Self {
            https: open_all(&settings.https)?,
            http: open_all(&settings.http)?,
            redirect: open_all(&settings.redirect)?,
            ops: open_all(settings.ops.as_slice())?.pop(),
            control: Some(ControlSocket::bind(&settings.control)?),
        })
    }
}

impl Doors {
    /// Says on the log where the server is to be found, with the ports that the system chose.
    fn announce(&self) {
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

fn open_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match tcp(*address)? {
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
    places: Arc<Semaphore>,
    all_places: u32,
    shared: Arc<Shared>,
    /// Removed from the file system with the server.
    _control: Option<ControlSocket>,
}

/// How the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Completely,
    /// The time was over; this many connections were cut.
    Cut { connections: u32 },
}

impl Server {
    /// Starts to accept on every door. Must be called inside a tokio runtime.
    pub fn start(doors: Doors, tls: Option<Arc<ServerConfig>>, front: Front, limits: Limits) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let all_places = u32::try_from(limits.max_connections.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(all_places as usize));
        let shared = Arc::new(Shared { front, limits, stop: stopped });
        let mut accepting = JoinSet::new();

        doors.announce();
        let mut doors = doors;
        let door = |kind| Door { kind, shared: shared.clone(), places: places.clone() };
        // Of its own, so that nobody can take the phones' places there.
        let few = Arc::new(Semaphore::new(redirect::PLACES));
        if let Some(tls) = tls {
            for listener in doors.https.drain(..) {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                accepting.spawn(door(Kind::Https(tls.clone())).accept_tcp(listener));
            }
        }
        for listener in doors.http.drain(..) {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.spawn(door(Kind::Http).accept_tcp(listener));
        }
        for listener in doors.redirect.drain(..) {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let door = Door { kind: Kind::Redirect, shared: shared.clone(), places: few.clone() };
            accepting.spawn(door.accept_tcp(listener));
        }
        if let Some(listener) = doors.ops.take() {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.spawn(door(Kind::Operations).accept_tcp(listener));
        }
        if let Some(control) = &doors.control {
            let listener = tokio::net::UnixListener::from_std(control.listener.try_clone()?)?;
            accepting.spawn(door(Kind::Control).accept_unix(listener));
        }
        Ok(Self { stop, accepting, places, all_places, shared, _control: doors.control })
    }

    /// Accepts nothing new, lets open requests finish, closes the rest when the time is over.
    pub async fn drain(mut self) -> Drained {
        notify::stopping();
        let patience = self.shared.limits.drain_timeout;
        self.accepting.shutdown().await;
        // Fails only when nobody listens any more: then nothing is open.
        let _ = self.stop.send(true);
        let all_closed = async {
            tokio::join!(self.shared.front.edge.shutdown(patience), self.places.acquire_many(self.all_places),)
        };
        if tokio::time::timeout(patience, all_closed).await.is_ok() {
            return Drained::Completely;
        }
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        Drained::Cut { connections: self.all_places.saturating_sub(free) }
    }
}

/// A listening socket's loop.
struct Door {
    kind: Kind,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

enum Kind {
    Https(Arc<ServerConfig>),
    Http,
    Redirect,
    Operations,
    Control,
}

impl Door {
    async fn accept_tcp(self, listener: tokio::net::TcpListener) {
        while let Some(place) = self.place().await {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let caller = match self.kind {
                Kind::Operations => Caller::Operations(address),
                Kind::Redirect => Caller::InClear(address),
                _ => connection::remote_caller(address),
            };
            let tls = matches!(self.kind, Kind::Https(_));
            let visit = Visit::new(self.shared.clone(), caller, tls, place);
            match &self.kind {
                Kind::Https(config) => drop(tokio::spawn(connection::serve_tls(stream, visit, config.clone()))),
                Kind::Redirect => drop(tokio::spawn(connection::serve_once(stream, visit))),
                _ => drop(tokio::spawn(connection::serve_plain(stream, visit))),
            }
        }
    }

    async fn accept_unix(self, listener: tokio::net::UnixListener) {
        while let Some(place) = self.place().await {
            let accepted = listener.accept().await.and_then(|(stream, _)| {
                let caller = connection::local_caller(&stream)?;
                Ok((stream, caller))
            });
            match accepted {
                Ok((stream, caller)) => {
                    let visit = Visit::new(self.shared.clone(), caller, false, place);
                    tokio::spawn(connection::serve_unix(stream, visit));
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Waits until one more connection is allowed; meanwhile the kernel queues. Monitoring
    /// and administration share the count, but a few descriptors more would not save them
    /// when the machine is full, so there is no second limit.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}

async fn pause_after(error: &std::io::Error) {
    if !listen::concerns_one_connection(error) {
        tracing::warn!(%error, "no room for a further connection");
        tokio::time::sleep(BREATHER).await;
    }
}
