//! Sockets: binding them with errors that say what to do, and accepting
//! connections without ever giving up.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that the kernel keeps ready while all workers are busy.
const BACKLOG: i32 = 1024;
/// Of the control socket: for its owner and its group.
const SOCKET_MODE: u32 = 0o660;
/// A peer that vanished without a word is noticed after about two minutes.
const KEEP_ALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{address} is taken by another program\nhint: `ss -ltnp 'sport = :{port}'` shows which; `[listen]` in the configuration names another port", port = .address.port())]
    Taken { address: SocketAddr },
    #[error(
        "not allowed to listen on {address}\nhint: ports below 1024 need root, or CAP_NET_BIND_SERVICE as in systemd/bitcall.service"
    )]
    Forbidden { address: SocketAddr },
    #[error("{address} is not an address of this machine\nhint: `ip address` lists them")]
    Foreign { address: SocketAddr },
    #[error("cannot listen on {address}: {error}")]
    Other { address: SocketAddr, error: io::Error },
    #[error("{path} is in use: another bitcall is running\nhint: stop it first, or give this one another `listen.control` and `data_dir`", path = .path.display())]
    SocketTaken { path: PathBuf },
    #[error("cannot create the control socket {path}: {error}", path = .path.display())]
    Socket { path: PathBuf, error: io::Error },
}

/// What an address turned into.
pub enum Bound {
    Listening(TcpListener),
    /// `[::]` on a machine without IPv6: nothing to listen on, and nothing wrong.
    NoIpv6,
}

/// Listens on `address`; accepted sockets inherit the options set here, which
/// saves three system calls per connection.
pub fn bind_tcp(address: SocketAddr) -> Result<Bound, BindError> {
    match try_bind_tcp(address) {
        Ok(listener) => Ok(Bound::Listening(listener)),
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if address.is_ipv6() && address.ip().is_unspecified() => {
            Ok(Bound::NoIpv6)
        }
        Err(Errno::ADDRINUSE) => Err(BindError::Taken { address }),
        Err(Errno::ACCESS | Errno::PERM) => Err(BindError::Forbidden { address }),
        Err(Errno::ADDRNOTAVAIL) => Err(BindError::Foreign { address }),
        Err(errno) => Err(BindError::Other { address, error: errno.into() }),
    }
}

fn try_bind_tcp(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be bound.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    set_connection_options(&socket)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn set_connection_options(socket: impl AsFd) -> Result<(), Errno> {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEP_ALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEP_ALIVE_PROBES)
}

/// Sockets that systemd holds and passes on (`sd_listen_fds(3)`). They stay open while the server restarts, so that
/// connections and DNS queries wait meanwhile and none is refused.
#[derive(Default)]
pub struct InheritedSockets {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl InheritedSockets {
    /// Changes the environment, which only a process of one thread may do.
    pub fn from_environment() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            // A socket of the other type is an error and stays.
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                sockets.tcp.push(listener);
                continue;
            }
            match passed.take_udp_socket(index) {
                Ok(socket) => sockets.udp.extend(socket),
                Err(error) => tracing::warn!(%error, "a socket of systemd is neither of TCP nor of UDP, and not used"),
            }
        }
        sockets
    }

    /// Listens on the socket for `address`, if it is among them, else on a new one.
    pub fn take_or_bind(&mut self, address: SocketAddr) -> Result<Bound, BindError> {
        let Some(listener) = self.take_tcp(address) else { return bind_tcp(address) };
        let prepared = set_connection_options(&listener).map_err(io::Error::from);
        match prepared.and_then(|()| listener.set_nonblocking(true)) {
            Ok(()) => Ok(Bound::Listening(listener)),
            Err(error) => Err(BindError::Other { address, error }),
        }
    }

    /// As systemd has set it up.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|local| local == address);
        self.tcp.iter().position(is_it).map(|index| self.tcp.swap_remove(index))
    }

    /// As systemd has set it up.
    pub fn take_udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let is_it = |socket: &UdpSocket| socket.local_addr().is_ok_and(|local| local == address);
        self.udp.iter().position(is_it).map(|index| self.udp.swap_remove(index))
    }

    /// Says which are not in the configuration, and closes them.
    pub fn warn_of_unused(self) {
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| ("tcp", address));
        let udp = self.udp.iter().filter_map(|socket| socket.local_addr().ok()).map(|address| ("udp", address));
        for (transport, address) in tcp.chain(udp) {
            tracing::warn!(
                transport, %address,
                "systemd listens there for bitcall, but neither `[listen]` nor `dns.listen` names it: nobody answers"
            );
        }
    }
}

/// The control socket; it disappears with the value.
pub struct ControlSocket {
    pub listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Takes the place of a socket that a dead server left behind, never of a live one's.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Socket { path: path.to_owned(), error };
        if UnixStream::connect(path).is_ok() {
            return Err(BindError::SocketTaken { path: path.to_owned() });
        }
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = listen_privately(path).map_err(|error| failed(error.into()))?;
        // Where the umask took something away.
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

/// Listens on `path`, which is never open to others: Linux gives it the mode that its socket had before.
fn listen_privately(path: &Path) -> Result<UnixListener, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, SOCKET_MODE.into())?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Best effort: the next start removes a stale one too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether accepting may go on at once after `error`: it concerned one
/// connection only. Otherwise (no file descriptors, no memory) a pause helps.
pub fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Raises the soft limit of open files to the hard one: each connection is a file.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where this is refused the old limit stays, and accepting pauses when it is reached.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_control_socket_is_at_no_moment_open_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _listener = listen_privately(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{mode:o}");
    }
}
