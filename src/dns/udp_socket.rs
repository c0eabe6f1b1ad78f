//! A UDP socket whose responses leave from the address that the query was sent to; clients ignore those from another
//! address. On a socket for all addresses of the machine the kernel would choose one by its routes, so that each
//! datagram is received with its destination address (`IP_PKTINFO`, by quinn-udp).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The longest datagram, also for several of them in one buffer (GRO).
const MAX_DATAGRAM_BYTES: usize = 1 << 16;
/// Buffers filled by one call.
const RECEIVE_BATCH: usize = 8;

pub struct PacketInfoSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// The datagrams of the last receipt.
pub struct ReceiveBuffer {
    bytes: Box<[u8]>,
    received: [RecvMeta; RECEIVE_BATCH],
    count: usize,
}

pub struct Datagram<'a> {
    pub from: SocketAddr,
    /// The address of this machine that it was sent to.
    pub to: Option<IpAddr>,
    pub bytes: &'a [u8],
}

impl PacketInfoSocket {
    /// Must be called inside a tokio runtime.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives the datagrams that are there; [`io::ErrorKind::WouldBlock`] where there are none.
    pub fn receive(&self, buffer: &mut ReceiveBuffer) -> io::Result<()> {
        buffer.count = 0;
        let ReceiveBuffer { bytes, received, count } = buffer;
        let mut buffers: Vec<_> = bytes.chunks_exact_mut(MAX_DATAGRAM_BYTES).map(IoSliceMut::new).collect();
        let receive = || self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, received);
        *count = self.socket.try_io(Interest::READABLE, receive)?;
        Ok(())
    }

    /// Sends a response. It is dropped if the send buffer is full, as in the network: the client repeats its query.
    pub fn answer(&self, query: &Datagram<'_>, contents: &[u8]) {
        let transmit = Transmit { destination: query.from, ecn: None, contents, segment_size: None, src_ip: query.to };
        let send = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        let _ = self.socket.try_io(Interest::WRITABLE, send);
    }
}

impl ReceiveBuffer {
    pub fn new() -> Self {
        Self {
            bytes: vec![0; MAX_DATAGRAM_BYTES * RECEIVE_BATCH].into(),
            received: [RecvMeta::default(); RECEIVE_BATCH],
            count: 0,
        }
    }

    /// The kernel may put several datagrams of one sender into one buffer.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let filled = self.received.iter().take(self.count).zip(self.bytes.chunks_exact(MAX_DATAGRAM_BYTES));
        filled.flat_map(|(meta, bytes)| {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            let datagram = |bytes| Datagram { from: meta.addr, to: meta.dst_ip, bytes };
            bytes.chunks(meta.stride.max(1)).map(datagram)
        })
    }
}
