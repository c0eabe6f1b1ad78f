//! The sockets on which the zone is served: UDP and TCP on the same addresses and ports.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

const MAX_PORT_ATTEMPTS: u32 = 16;
const LISTEN_BACKLOG: i32 = 128;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Bound sockets that are not yet served.
#[derive(Default)]
pub struct DnsSockets {
    pub(super) bound: Vec<(UdpSocket, TcpListener)>,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "DNS cannot listen on {address}: another program does\nhint: `ss -lnptu 'sport = :{port}'` shows which; systemd-resolved has 127.0.0.53, so name this machine's public addresses in `dns.listen` instead of 0.0.0.0",
        port = .address.port()
    )]
    Taken { address: SocketAddr },
    #[error(
        "DNS is not allowed to listen on {address}\nhint: ports below 1024 need root, or CAP_NET_BIND_SERVICE as in systemd/bitcall.service"
    )]
    Forbidden { address: SocketAddr },
    #[error("DNS cannot listen on {address}: that is not an address of this machine\nhint: `ip address` lists them")]
    Foreign { address: SocketAddr },
    #[error("DNS cannot listen on {address}: {error}")]
    Other { address: SocketAddr, error: io::Error },
}

/// Those of an address that the service manager holds open; the missing ones are bound.
#[derive(Default)]
pub struct PassedSockets {
    pub udp: Option<UdpSocket>,
    pub tcp: Option<TcpListener>,
}

impl DnsSockets {
    pub fn open(
        addresses: &[SocketAddr],
        mut passed: impl FnMut(SocketAddr) -> PassedSockets,
    ) -> Result<Self, BindError> {
        let mut bound = Vec::with_capacity(addresses.len());
        for address in addresses {
            match bind_pair(*address, passed(*address)) {
                Ok(pair) => bound.push(pair),
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if *address == any_v6(address.port()) => {
                    tracing::info!(%address, "not listened on: this machine has no IPv6");
                }
                Err(Errno::ADDRINUSE) => return Err(BindError::Taken { address: *address }),
                Err(Errno::ACCESS | Errno::PERM) => return Err(BindError::Forbidden { address: *address }),
                Err(Errno::ADDRNOTAVAIL) => return Err(BindError::Foreign { address: *address }),
                Err(errno) => return Err(BindError::Other { address: *address, error: errno.into() }),
            }
        }
        Ok(Self { bound })
    }
}

/// Port 0 means any port that is free for both.
fn bind_pair(address: SocketAddr, passed: PassedSockets) -> Result<(UdpSocket, TcpListener), Errno> {
    let PassedSockets { udp, tcp } = passed;
    if udp.is_some() || tcp.is_some() {
        let udp = udp.map_or_else(|| bind(address, SocketType::DGRAM).map(UdpSocket::from), prepared_udp)?;
        let tcp = tcp.map_or_else(|| bind(address, SocketType::STREAM).map(TcpListener::from), prepared_tcp)?;
        return Ok((udp, tcp));
    }
    let mut attempts = if address.port() == 0 { MAX_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp = TcpListener::from(bind(address, SocketType::STREAM)?);
        let chosen = tcp.local_addr().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        match bind(chosen, SocketType::DGRAM) {
            Ok(udp) => return Ok((UdpSocket::from(udp), tcp)),
            Err(Errno::ADDRINUSE) if attempts > 0 => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn bind(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be bound.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
    } else {
        want_receive_buffer(&socket);
    }
    rustix::net::bind(&socket, &address)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, LISTEN_BACKLOG)?;
    }
    Ok(socket)
}

fn prepared_udp(socket: UdpSocket) -> Result<UdpSocket, Errno> {
    want_receive_buffer(&socket);
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn prepared_tcp(listener: TcpListener) -> Result<TcpListener, Errno> {
    sockopt::set_tcp_nodelay(&listener, true)?;
    rustix::io::ioctl_fionbio(&listener, true)?;
    Ok(listener)
}

/// Queries come in bursts. The kernel may grant less, which is no error.
fn want_receive_buffer(socket: impl AsFd) {
    let _ = sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES);
}

fn any_v6(port: u16) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))
}
