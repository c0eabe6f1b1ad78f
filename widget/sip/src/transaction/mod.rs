//! Transactions (RFC 3261 §17, RFC 6026) over a reliable transport.
//!
//! A transaction classifies messages (new, retransmission, too late) and decides
//! when it times out. It does not send, and it knows nothing about calls.
//! WebSocket is reliable, so timers A, E and G (retransmission) are not needed
//! and D, I, J and K (absorbing duplicates) are zero.

mod client;
mod server;

pub use client::{ClientTransaction, ResponseKind};
pub use server::{ServerKey, ServerTransaction};

/// T1, the estimated round-trip time (RFC 3261 §17.1.1.1), in milliseconds.
pub const T1_MS: u64 = 500;
/// T2, the longest interval between retransmissions of a 2xx (RFC 3261 §13.3.1.4), in milliseconds.
pub const T2_MS: u64 = 4_000;
/// 64·T1: timers B, F, H, L and M, in milliseconds.
pub const TRANSACTION_TIMEOUT_MS: u64 = 64 * T1_MS;
