//! Unpredictable identifiers from one random seed: SHA-256 in counter mode.
//! The generator is plain state: it can be serialised, and a test can reproduce a run.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::interface::Millis;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Random {
    key: [u8; 32],
    counter: u64,
}

impl Random {
    /// The time makes two user agents with the same seed differ.
    pub(super) fn new(seed: [u8; 32], now: Millis) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update(now.0.to_le_bytes());
        Self { key: hash.finalize().into(), counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(self.counter.to_le_bytes());
        self.counter = self.counter.wrapping_add(1);
        hash.finalize().into()
    }

    /// A random SIP token of `length` (at most 32) characters with five random bits each.
    pub(super) fn token(&mut self, length: usize) -> String {
        token_characters(&self.block(), length)
    }

    /// A random token of 85 bits for a tag, branch or cnonce.
    pub(super) fn tag(&mut self) -> String {
        self.token(17)
    }

    /// A random number from 0 to `limit` inclusive.
    pub(super) fn up_to(&mut self, limit: u64) -> u64 {
        let number = self.block().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % limit.saturating_add(1)
    }
}

/// The first `length` bytes as letters and digits, five bits of each byte.
pub(super) fn token_characters(bytes: &[u8], length: usize) -> String {
    const TOKEN_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    bytes
        .iter()
        .take(length)
        .filter_map(|byte| TOKEN_ALPHABET.get(usize::from(byte & 31)))
        .map(|letter| char::from(*letter))
        .collect()
}
