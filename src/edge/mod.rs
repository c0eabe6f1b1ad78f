//! The SIP edge: a small registrar and proxy over WebSocket (RFC 3261, RFC 5626,
//! RFC 7118) for tenants' extensions, and the `*43` echo.
//!
//! It exists so that phones can call each other before any PBX is installed. It
//! serves extensions and nobody else: nothing is relayed for a connection that
//! has not proven who it is, nothing crosses from one tenant to another, and
//! nothing leaves for a foreign host.
//!
//! [`core`] is the protocol, without sockets or clocks; [`echo`] is the media end
//! of the echo; `driver` joins both to tokio.

mod core;
mod driver;
mod echo;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::supervision::Supervisor;

/// The WebSocket subprotocol of SIP (RFC 7118 section 4).
pub const SUBPROTOCOL: &str = "sip";

/// Who may register and call: the edge's only view of the domain model.
///
/// Called on the path of every request, so an implementation answers from memory.
pub trait ExtensionDirectory: Send + Sync + 'static {
    /// Whether this SIP domain (lower case) belongs to an enabled tenant that uses the edge.
    fn serves(&self, domain: &str) -> bool;

    /// What proves that somebody is `username` of `domain`; `None` when there is no such extension.
    fn credentials(&self, domain: &str, username: &str) -> Option<StoredCredentials>;

    /// By what a phone of this extension, which has just signed in, is known elsewhere: it gets it in `X-Bitcall-Session`.
    fn phone_session(&self, domain: &str, username: &str) -> Option<String>;
}

/// An extension's secrets as they are stored: never the password itself.
///
/// Both are lower-case hexadecimal of `H(username ":" domain ":" password)`.
#[derive(Clone)]
pub struct StoredCredentials {
    pub ha1_md5: String,
    pub ha1_sha256: String,
}

/// How an edge is set up. The defaults suit one machine without NAT.
#[derive(Debug, Clone, Default)]
pub struct EdgeOptions {
    /// Further addresses to offer for the echo's media: the public addresses of a
    /// server behind NAT. The machine's own ones are always offered.
    pub media_addresses: Vec<IpAddr>,
    /// UDP port of the echo's media on every address; 0 lets the system choose one.
    /// Behind a firewall or NAT a fixed one is needed.
    pub media_port: u16,
    pub limits: EdgeLimits,
    /// Of its background tasks.
    pub supervisor: Supervisor,
}

/// What one edge holds at most, so that nobody can fill its memory. What `core::budgets` says about the shares of
/// networks and tenants follows from the totals.
#[derive(Debug, Clone)]
pub struct EdgeLimits {
    /// WebSocket connections in all. No more than the server accepts, or the shares would be of what is not there.
    pub connections: usize,
    /// Connections on which one extension is signed in at a time. A phone that loses its network leaves a dead one behind
    /// for up to three `ping_interval`s.
    pub connections_per_extension: usize,
    /// Devices registered at a time per extension.
    pub contacts_per_extension: usize,
    /// Requests in flight in all.
    pub requests: usize,
    /// Requests in flight at a time that one extension started, on all its connections.
    pub requests_per_extension: usize,
    /// Calls to the echo at a time.
    pub echo_calls: usize,
    /// Calls to the echo at a time of one extension.
    pub echo_calls_per_extension: usize,
    /// Bytes waiting to be written to one connection before it is given up as stuck. What others send to it takes half of
    /// that at most.
    pub unsent_bytes: usize,
    /// How long one message may take to be written: as long as the server waits for any client that does not read.
    pub write_timeout: Duration,
    /// How long the answer to a password that is not compared, after too many wrong ones, is kept back at most; nothing else
    /// is read from its connection meanwhile.
    pub refusal_delay: Duration,
    /// How long a connection may stay without a successful sign-in.
    pub sign_in_timeout: Duration,
    /// How long a connection may be silent before it is pinged, and then again before it is dropped.
    pub ping_interval: Duration,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_extension: 30,
            contacts_per_extension: 10,
            requests: 2_000,
            requests_per_extension: 32,
            echo_calls: 32,
            echo_calls_per_extension: 4,
            unsent_bytes: 256 * 1024,
            write_timeout: Duration::from_secs(30),
            refusal_delay: Duration::from_secs(4),
            sign_in_timeout: Duration::from_mins(1),
            ping_interval: Duration::from_secs(30),
        }
    }
}

/// The running edge. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<driver::EdgeState>,
}

impl Edge {
    /// Starts an edge. Must be called inside a tokio runtime: its timers run there until the last clone is gone.
    pub fn new(directory: Arc<dyn ExtensionDirectory>, options: EdgeOptions) -> Self {
        Self { shared: driver::start(directory, options) }
    }

    /// Speaks SIP on a stream that has just been upgraded to WebSocket with the
    /// subprotocol [`SUBPROTOCOL`], until either side closes it.
    ///
    /// `peer` goes to the log and into `Via`. Failed sign-ins are limited by `source`, the client's own address where
    /// `peer` is a reverse proxy. Dropping the future closes the connection.
    pub async fn serve<S>(&self, io: S, peer: SocketAddr, source: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        driver::serve(Arc::clone(&self.shared), io, peer, source).await;
    }

    /// Re-reads the directory: connections of extensions and tenants that are gone are closed at once,
    /// and so are those that signed in by a password that is no longer the extension's.
    /// Call it after a tenant was disabled, or an extension removed or given a new password.
    pub fn directory_changed(&self) {
        driver::directory_changed(&self.shared);
    }

    /// Ends the echo calls, tells every phone to go (close code 1001) and waits until they have, at most `grace`.
    /// Connections that arrive later are closed at once.
    pub async fn shutdown(&self, grace: Duration) {
        driver::shutdown(&self.shared, grace).await;
    }
}

/// What the edge is doing right now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Statistics {
    connections: usize,
    contacts: usize,
    requests: usize,
    echo_calls: usize,
}

/// Whether a `Sec-WebSocket-Protocol` header value offers SIP. The upgrade is refused
/// without it (RFC 7118 section 4), and answered with [`SUBPROTOCOL`].
pub fn offers_sip(header: &str) -> bool {
    header.split(',').any(|offer| offer.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}
