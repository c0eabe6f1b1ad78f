//! One UDP socket. An answer must leave from the address that was asked, or whoever asked takes it for forged;
//! on a socket for all addresses of the machine the kernel would choose one by its routes. So each datagram
//! comes with the address that it was sent to, and its answer goes out from there (`IP_PKTINFO`, by quinn-udp).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A datagram can be no longer, nor several in one buffer.
const MAX_DATAGRAM_BYTES: usize = 1 << 16;
/// Buffers filled in one go.
const RECEIVE_BATCH: usize = 8;

pub struct PacketInfoSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// What came in, until the next receipt.
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

    /// Fills the inbox with what is there; [`io::ErrorKind::WouldBlock`] where nothing is.
    pub fn receive(&self, buffer: &mut ReceiveBuffer) -> io::Result<()> {
        buffer.count = 0;
        let ReceiveBuffer { bytes, received, count } = buffer;
        let mut buffers: Vec<_> = bytes.chunks_exact_mut(MAX_DATAGRAM_BYTES).map(IoSliceMut::new).collect();
        let receive = || self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, received);
        *count = self.socket.try_io(Interest::READABLE, receive)?;
        Ok(())
    }

    /// A full send buffer drops it, as the network may: who asked asks again.
    pub fn answer(&self, asked: &Datagram<'_>, contents: &[u8]) {
        let transmit = Transmit { destination: asked.from, ecn: None, contents, segment_size: None, src_ip: asked.to };
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

    /// The kernel may have put several from one sender into one buffer.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let filled = self.received.iter().take(self.count).zip(self.bytes.chunks_exact(MAX_DATAGRAM_BYTES));
        filled.flat_map(|(meta, bytes)| {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            let datagram = |bytes| Datagram { from: meta.addr, to: meta.dst_ip, bytes };
            bytes.chunks(meta.stride.max(1)).map(datagram)
        })
    }
}
