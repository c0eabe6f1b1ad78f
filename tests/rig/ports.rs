//! Blocks of ports for programs that must be told their ports beforehand.
//!
//! A block belongs to whoever listens on its first port, so that tests, and
//! several runs on one machine, never get the same block. Blocks lie below the
//! range from which the kernel takes ephemeral ports.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST_PORT: u16 = 10_000;
const BLOCK_SIZE: u16 = 200;
const BLOCK_COUNT: u16 = 100;

pub struct Ports {
    base: u16,
    next: AtomicU16,
    _owned: TcpListener,
}

impl Ports {
    pub fn reserve() -> Self {
        let start = u16::try_from(std::process::id() % u32::from(BLOCK_COUNT)).unwrap();
        for n in 0..BLOCK_COUNT {
            let base = FIRST_PORT + ((start + n) % BLOCK_COUNT) * BLOCK_SIZE;
            if let Ok(owned) = TcpListener::bind(("127.0.0.1", base)) {
                return Self { base, next: AtomicU16::new(0), _owned: owned };
            }
        }
        panic!("no free block of ports between {FIRST_PORT} and {}", FIRST_PORT + BLOCK_COUNT * BLOCK_SIZE);
    }

    /// The next port of the block that is free for both TCP and UDP; those given back come round again.
    pub fn take(&self) -> u16 {
        for _ in 0..BLOCK_SIZE {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % (BLOCK_SIZE / 2 - 1);
            let port = self.base + 1 + turn;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
        panic!("all ports of the block are in use");
    }

    /// An even port with three free ones behind it, for RTP and RTCP.
    pub fn take_media(&self) -> u16 {
        loop {
            let port = self.take();
            if port.is_multiple_of(2) {
                self.next.fetch_add(3, Ordering::Relaxed);
                return port;
            }
        }
    }

    /// The upper half of the block, for a program that picks by itself.
    pub fn range(&self) -> (u16, u16) {
        (self.base + BLOCK_SIZE / 2, self.base + BLOCK_SIZE - 1)
    }
}

/// Whether somebody has a UDP socket at this port of 127.0.0.1. Asks the kernel (proc(5), `/proc/net/udp`): to try
/// whether the port can be had would take it from the program that is about to.
pub fn has_udp_socket(port: u16) -> bool {
    let address = format!(" {:08X}:{port:04X} ", u32::from_ne_bytes([127, 0, 0, 1]));
    std::fs::read_to_string("/proc/net/udp").unwrap().contains(&address)
}
