//! The lower rungs of the reconnect backoff: which server, and when to try it.
//!
//! Lost connection → wait a moment (jittered, growing) → connect the next
//! server. The upper rungs, REGISTER and the calls' re-INVITE, follow in
//! `registration` and `calls::recovery`; only a REGISTER that was accepted
//! makes the waiting short again.

use serde::{Deserialize, Serialize};

use super::interface::{Millis, TransportId};
use super::random::Random;

/// A WebSocket that is not open by then never will be.
const OPEN_TIMEOUT_MS: u64 = 8_000;
/// The pause after a lost connection, at most: long enough that a restarted server is not stormed at once.
const FIRST_PAUSE_MAX_MS: u64 = 250;
const PAUSE_MIN_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 30_000;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct ReconnectBackoff {
    state: ConnectionState,
    last_id: u64,
    /// Index into the list of servers.
    server: usize,
    /// Tries since the last success.
    failures: u32,
    /// The server at hand accepted our registration, and nothing spoke against it since.
    is_usable: bool,
    /// The browser says that there is no network.
    pub(super) is_offline: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ConnectionState {
    #[default]
    Idle,
    Waiting {
        until: Millis,
    },
    Opening {
        id: TransportId,
        until: Millis,
    },
    Open {
        id: TransportId,
    },
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionTimer {
    Connect,
    /// This connection did not open in time.
    OpenTimeout(TransportId),
}

impl ReconnectBackoff {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, ConnectionState::Waiting { .. })
    }

    /// The connection that is open or being opened.
    pub(super) fn current(&self) -> Option<TransportId> {
        match self.state {
            ConnectionState::Opening { id, .. } | ConnectionState::Open { id } => Some(id),
            ConnectionState::Idle | ConnectionState::Waiting { .. } => None,
        }
    }

    /// The server in use, or last tried.
    pub(super) fn server<'a>(&self, servers: &'a [String]) -> Option<&'a str> {
        servers.get(self.server % servers.len().max(1)).map(String::as_str)
    }

    /// Begins to connect. None when there is no server at all.
    pub(super) fn connect(&mut self, servers: &[String], now: Millis) -> Option<(TransportId, String)> {
        let url = self.server(servers)?.to_owned();
        self.last_id += 1;
        let id = TransportId(self.last_id);
        self.state = ConnectionState::Opening { id, until: now.plus(OPEN_TIMEOUT_MS) };
        Some((id, url))
    }

    /// Says whether this is the connection we wait for.
    pub(super) fn on_open(&mut self, id: TransportId) -> bool {
        let expected = matches!(self.state, ConnectionState::Opening { id: ours, .. } if ours == id);
        if expected {
            self.state = ConnectionState::Open { id };
        }
        expected
    }

    /// The connection failed or was closed: when to try again. A connection that
    /// was good goes to the same server at once, others to the next.
    pub(super) fn on_lost(&mut self, servers: usize, random: &mut Random, now: Millis) -> Millis {
        let was_good = std::mem::take(&mut self.is_usable);
        if !was_good {
            self.server = (self.server + 1) % servers.max(1);
        }
        self.failures = self.failures.saturating_add(1);
        let rounds = (self.failures - 1) / u32::try_from(servers).unwrap_or(1).max(1);
        let pause = if self.is_offline {
            PAUSE_MAX_MS
        } else if was_good || rounds == 0 {
            random.up_to(FIRST_PAUSE_MAX_MS)
        } else {
            let full = (PAUSE_MIN_MS << (rounds - 1).min(8)).min(PAUSE_MAX_MS);
            full / 2 + random.up_to(full / 2)
        };
        let until = now.plus(pause);
        self.state = ConnectionState::Waiting { until };
        until
    }

    /// A server accepted our registration.
    pub(super) fn on_registered(&mut self) {
        self.failures = 0;
        self.is_usable = true;
    }

    /// The server is connected but does not do its work: the next one is better.
    pub(super) fn mark_unusable(&mut self) {
        self.is_usable = false;
    }

    pub(super) fn stop(&mut self) {
        self.state = ConnectionState::Idle;
        self.failures = 0;
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.state {
            ConnectionState::Waiting { until } | ConnectionState::Opening { until, .. } => Some(until),
            ConnectionState::Idle | ConnectionState::Open { .. } => None,
        }
    }

    pub(super) fn due(&self, now: Millis) -> Option<ConnectionTimer> {
        match self.state {
            ConnectionState::Waiting { until } if until <= now => Some(ConnectionTimer::Connect),
            ConnectionState::Opening { id, until } if until <= now => Some(ConnectionTimer::OpenTimeout(id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn servers() -> Vec<String> {
        vec!["wss://a".into(), "wss://b".into()]
    }

    #[test]
    fn every_server_is_tried_quickly_once_then_pauses_grow_to_half_a_minute() {
        let mut backoff = ReconnectBackoff::default();
        let mut random = Random::new([7; 32], Millis(0));
        let mut now = Millis(0);
        let mut pauses = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..16 {
            let Some((_, url)) = backoff.connect(&servers(), now) else {
                continue;
            };
            urls.push(url);
            let until = backoff.on_lost(2, &mut random, now);
            pauses.push(until.since(now));
            now = until;
        }
        assert_eq!(urls[..4], ["wss://a", "wss://b", "wss://a", "wss://b"]);
        assert!(pauses[..2].iter().all(|pause| *pause <= FIRST_PAUSE_MAX_MS));
        assert!(pauses[2..4].iter().all(|pause| (500..=1_000).contains(pause)));
        assert!(pauses[14..].iter().all(|pause| (15_000..=30_000).contains(pause)));
    }

    #[test]
    fn a_good_connection_that_breaks_is_tried_again_at_the_same_server_at_once() {
        let mut backoff = ReconnectBackoff::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (id, _) = backoff.connect(&servers(), Millis(0)).unwrap();
        assert!(backoff.on_open(id));
        backoff.on_registered();
        let until = backoff.on_lost(2, &mut random, Millis(1_000));
        assert!(until <= Millis(1_000 + FIRST_PAUSE_MAX_MS));
        let (_, url) = backoff.connect(&servers(), until).unwrap();
        assert_eq!(url, "wss://a");
    }

    #[test]
    fn news_from_an_old_connection_are_not_mistaken_for_the_new_one() {
        let mut backoff = ReconnectBackoff::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (old, _) = backoff.connect(&servers(), Millis(0)).unwrap();
        backoff.on_lost(2, &mut random, Millis(0));
        backoff.connect(&servers(), Millis(9)).unwrap();
        assert!(!backoff.on_open(old));
    }
}
