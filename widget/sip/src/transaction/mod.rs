//! Transactions (RFC 3261 §17, RFC 6026) over a reliable transport.
//!
//! A transaction decides what a message means (first time, repeated, too late)
//! and when waiting ends. It does not send, and it does not know what a call is.
//! WebSocket is reliable, so timers A, E and G (retransmission) do not exist
//! and D, I, J and K (absorbing duplicates) are zero.

mod client;
mod server;

pub use client::{ClientTransaction, ResponseKind};
pub use server::{ServerKey, ServerTransaction};

/// T1, the round trip's estimate (RFC 3261 §17.1.1.1), in milliseconds.
pub const T1_MS: u64 = 500;
/// T2, the longest pause between retransmissions of a 2xx, in milliseconds.
pub const T2_MS: u64 = 4_000;
/// 64·T1: timers B, F, H, L and M, in milliseconds.
pub const TRANSACTION_TIMEOUT_MS: u64 = 64 * T1_MS;
