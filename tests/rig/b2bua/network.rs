//! The way of media between phone and B2BUA: loopback, or one that loses and delays packets, or is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::far_end::Party;

/// Of this many packets one is lost: 3 %.
const LOST_OF: u64 = 33;
/// Longest delay of a packet, in ms. The delays differ, so that packets overtake each other.
const JITTER_MS: u64 = 150;

type Datagram = (SocketAddr, Vec<u8>);

pub struct Network {
    socket: Arc<UdpSocket>,
    party: Arc<Party>,
    /// Packets so far, both ways, where they are lost and delayed.
    packets: AtomicU64,
    delayed: (UnboundedSender<Datagram>, Mutex<UnboundedReceiver<Datagram>>),
}

impl Network {
    pub fn new(socket: UdpSocket, party: Arc<Party>) -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { socket: Arc::new(socket), party, packets: AtomicU64::default(), delayed: (sender, Mutex::new(receiver)) }
    }

    pub fn send(&self, bytes: &[u8], to: SocketAddr) {
        let Some(delay) = self.delay() else { return };
        if delay.is_zero() {
            self.socket.try_send_to(bytes, to).ok();
            return;
        }
        let (socket, bytes) = (Arc::clone(&self.socket), bytes.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            socket.try_send_to(&bytes, to).ok();
        });
    }

    /// The next packet. Cancel-safe.
    pub async fn receive(&self) -> Datagram {
        let mut buffer = [0; 2000];
        let mut delayed = self.delayed.1.lock().await;
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    // An error is an answer of the kernel's to something sent earlier.
                    let (Ok((length, source)), Some(delay)) = (received, self.delay()) else { continue };
                    let datagram = (source, buffer[..length].to_vec());
                    if delay.is_zero() {
                        return datagram;
                    }
                    let sender = self.delayed.0.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        sender.send(datagram).ok();
                    });
                }
                Some(datagram) = delayed.recv() => return datagram,
            }
        }
    }

    /// How long the next packet takes; `None`: it is lost.
    fn delay(&self) -> Option<Duration> {
        if self.party.is_path_lost() {
            return None;
        }
        if !self.party.unsteady {
            return Some(Duration::ZERO);
        }
        let number = self.packets.fetch_add(1, Ordering::Relaxed);
        // A prime, so that the delays are spread, and the same in each run.
        let delay = Duration::from_millis(number * 7_919 % JITTER_MS + 1);
        (number % LOST_OF != LOST_OF - 1).then_some(delay)
    }
}
