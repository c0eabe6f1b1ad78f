//! Everything that must not be guessed: tags, branches and nonces. Made from one random
//! key, so that the core needs no randomness of its own and tests are repeatable.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::ConnectionId;

/// How long a nonce is good for. A phone that comes later is told `stale=true` and needs no person.
const NONCE_TTL: Duration = Duration::from_mins(10);

pub struct TokenGenerator {
    key: [u8; 32],
    /// Where the nonces' time begins.
    epoch: Instant,
    counter: u64,
}

/// What a nonce turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonce {
    /// Ours, for this connection and realm, and young enough. Serial numbers grow.
    Fresh { serial: u64 },
    /// Not (or no longer) ours: expired, from another connection or from before a restart.
    Stale,
}

impl TokenGenerator {
    pub fn new(key: [u8; 32], epoch: Instant) -> Self {
        Self { key, epoch, counter: 0 }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            // HMAC takes keys of every length.
            return [0; 32];
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// 64 bits that nobody can foresee and that do not repeat in practice.
    pub fn number(&mut self) -> u64 {
        self.counter += 1;
        let mac = self.mac(&[b"number", &self.counter.to_be_bytes()]);
        mac.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// A To tag or Call-ID.
    pub fn token(&mut self) -> String {
        format!("{:016x}", self.number())
    }

    /// A nonce for one connection and realm (RFC 7616 section 3.3).
    pub fn nonce(&mut self, connection: ConnectionId, realm: &str, now: Instant) -> String {
        self.counter += 1;
        let age = now.saturating_duration_since(self.epoch).as_secs();
        let mut bytes = [0; 32];
        let (head, tail) = bytes.split_at_mut(16);
        let (time, serial) = head.split_at_mut(8);
        time.copy_from_slice(&age.to_be_bytes());
        serial.copy_from_slice(&self.counter.to_be_bytes());
        let mac = self.mac(&[b"nonce", head, &connection.0.to_be_bytes(), realm.as_bytes()]);
        tail.copy_from_slice(mac.split_at(16).0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn check_nonce(&self, nonce: &str, connection: ConnectionId, realm: &str, now: Instant) -> Nonce {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return Nonce::Stale };
        let Ok(bytes) = <[u8; 32]>::try_from(bytes) else { return Nonce::Stale };
        let (head, tail) = bytes.split_at(16);
        let mac = self.mac(&[b"nonce", head, &connection.0.to_be_bytes(), realm.as_bytes()]);
        if !bool::from(mac.split_at(16).0.ct_eq(tail)) {
            return Nonce::Stale;
        }
        let (time, serial) = head.split_at(8);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let made = self.epoch + Duration::from_secs(number(time));
        if now > made + NONCE_TTL { Nonce::Stale } else { Nonce::Fresh { serial: number(serial) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_connection_realm_and_time_only() {
        let now = Instant::now();
        let mut tokens = TokenGenerator::new([7; 32], now);
        let later = now + Duration::from_secs(5000);
        let nonce = tokens.nonce(ConnectionId(1), "acme.test", later);
        let check = |nonce: &str, connection, realm, at| tokens.check_nonce(nonce, ConnectionId(connection), realm, at);
        assert!(matches!(check(&nonce, 1, "acme.test", later), Nonce::Fresh { .. }));
        assert!(matches!(check(&nonce, 1, "acme.test", later + Duration::from_secs(599)), Nonce::Fresh { .. }));
        assert_eq!(check(&nonce, 1, "acme.test", later + Duration::from_secs(602)), Nonce::Stale);
        assert_eq!(check(&nonce, 2, "acme.test", later), Nonce::Stale);
        assert_eq!(check(&nonce, 1, "other.test", later), Nonce::Stale);
        for broken in ["", "AAAA", "§", &nonce[1..], &nonce.replace(&nonce[..1], "_")] {
            assert_eq!(check(broken, 1, "acme.test", later), Nonce::Stale, "{broken}");
        }
        let restarted = TokenGenerator::new([8; 32], now);
        assert_eq!(restarted.check_nonce(&nonce, ConnectionId(1), "acme.test", later), Nonce::Stale);
    }

    #[test]
    fn later_nonces_have_higher_serials() {
        let now = Instant::now();
        let mut tokens = TokenGenerator::new([7; 32], now);
        let serials: Vec<Nonce> = (0..3)
            .map(|_| {
                let nonce = tokens.nonce(ConnectionId(1), "r", now);
                tokens.check_nonce(&nonce, ConnectionId(1), "r", now)
            })
            .collect();
        assert!(serials.is_sorted_by_key(|n| match n {
            Nonce::Fresh { serial } => *serial,
            Nonce::Stale => 0,
        }));
    }
}
