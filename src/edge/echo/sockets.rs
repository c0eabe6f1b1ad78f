//! UDP sockets on the machine's own addresses.
//!
//! One socket per address instead of one on the wildcard: ICE has to know on which
//! address a check arrived, and must answer from it. Browsers without special flags do
//! no ICE on 127.0.0.1, so the addresses of the real interfaces come first; loopback is
//! there for machines without any network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tracing::{debug, warn};

/// More addresses than this make offers long and help nobody (container hosts have hundreds).
const MAX_ADDRESSES: usize = 16;

#[derive(Default)]
pub struct Sockets {
    bound: Vec<(SocketAddr, UdpSocket)>,
    /// Where the next look for datagrams begins, so that a busy socket starves no other.
    next_index: usize,
}

impl Sockets {
    /// Binds addresses that appeared, forgets those that vanished.
    pub fn refresh(&mut self, port: u16) {
        let present = match if_addrs::get_if_addrs() {
            Ok(interfaces) => {
                usable(interfaces.iter().filter(|i| i.is_oper_up() || i.is_loopback()).map(if_addrs::Interface::ip))
            }
            Err(error) => {
                warn!(%error, "cannot list the network interfaces");
                return;
            }
        };
        self.bound.retain(|(address, _)| present.contains(&address.ip()));
        for ip in present {
            if self.bound.iter().any(|(address, _)| address.ip() == ip) {
                continue;
            }
            match bind(ip, port) {
                Ok(bound) => self.bound.push(bound),
                Err(error) => debug!(%ip, port, %error, "cannot receive media here"),
            }
        }
    }

    /// The bound addresses, the best first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(address, _)| *address).collect()
    }

    /// The public addresses with the port under which a 1:1 NAT passes datagrams on: that of the first real address of the same family.
    pub fn advertised(&self, public: &[IpAddr]) -> Vec<SocketAddr> {
        let port = |ip: &IpAddr| {
            self.bound
                .iter()
                .map(|(address, _)| *address)
                .find(|address| address.is_ipv4() == ip.is_ipv4() && !address.ip().is_loopback())
                .map(|address| address.port())
        };
        public.iter().filter_map(|ip| Some(SocketAddr::new(*ip, port(ip)?))).collect()
    }

    /// Waits for a datagram: local address, remote address, length in `buffer`.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> (SocketAddr, SocketAddr, usize) {
        std::future::poll_fn(|context| {
            let count = self.bound.len();
            for step in 0..count {
                let index = (self.next_index + step) % count;
                let Some((local, socket)) = self.bound.get(index) else { continue };
                let mut read = ReadBuf::new(buffer);
                // An error here is an ICMP answer to something sent earlier: ICE finds out by itself, so the next datagram is asked for.
                for _ in 0..8 {
                    match socket.poll_recv_from(context, &mut read) {
                        Poll::Ready(Ok(remote)) => {
                            self.next_index = index + 1;
                            return Poll::Ready((*local, remote, read.filled().len()));
                        }
                        Poll::Ready(Err(_)) => read.clear(),
                        Poll::Pending => break,
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    pub fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let Some((_, socket)) = self.bound.iter().find(|(address, _)| *address == from) else {
            return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        };
        socket.try_send_to(bytes, to).map(|_| ())
    }
}

fn bind(ip: IpAddr, port: u16) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = std::net::UdpSocket::bind((ip, port))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((address, UdpSocket::from_std(socket)?))
}

/// Real addresses first, IPv4 before IPv6, loopback last; link-local ones are left out, as they mean nothing without their interface.
fn usable(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut usable: Vec<IpAddr> = ips
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified(),
        })
        .collect();
    usable.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    usable.dedup();
    if usable.len() > MAX_ADDRESSES {
        let loopback = usable.iter().copied().find(IpAddr::is_loopback);
        usable.truncate(MAX_ADDRESSES - 1);
        usable.extend(loopback);
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::usable;
    use std::net::IpAddr;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().filter_map(|ip| ip.parse().ok()).collect()
    }

    #[test]
    fn real_addresses_come_before_loopback_and_link_local_ones_are_left_out() {
        let all = ips(&["::1", "127.0.0.1", "fe80::1", "2001:db8::1", "169.254.1.1", "192.0.2.7"]);
        assert_eq!(usable(all.into_iter()), ips(&["192.0.2.7", "2001:db8::1", "127.0.0.1", "::1"]));
    }

    #[test]
    fn loopback_survives_a_host_with_very_many_addresses() {
        let mut all: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        all.push(IpAddr::from([127, 0, 0, 1]));
        let usable = usable(all.into_iter());
        assert_eq!(usable.len(), super::MAX_ADDRESSES);
        assert!(usable.contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
