//! Identifiers nobody can guess, from one random seed: SHA-256 in counter mode.
//! Being plain state it can be saved, and a test can replay a run.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::interface::Millis;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Random {
    key: [u8; 32],
    counter: u64,
}

impl Random {
    /// The time only keeps two agents apart that were given the same seed.
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

    /// `length` (at most 32) characters of five random bits each, valid in every SIP token.
    pub(super) fn token(&mut self, length: usize) -> String {
        token_characters(&self.block(), length)
    }

    /// 85 random bits or more in a tag, branch or Call-ID of this length.
    pub(super) fn tag(&mut self) -> String {
        self.token(17)
    }

    /// A number from 0 to `limit`, both included.
    pub(super) fn up_to(&mut self, limit: u64) -> u64 {
        let number = self.block().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % limit.saturating_add(1)
    }
}

/// The first `length` bytes as letters and digits.
pub(super) fn token_characters(bytes: &[u8], length: usize) -> String {
    const TOKEN_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    bytes
        .iter()
        .take(length)
        .filter_map(|byte| TOKEN_ALPHABET.get(usize::from(byte & 31)))
        .map(|letter| char::from(*letter))
        .collect()
}
