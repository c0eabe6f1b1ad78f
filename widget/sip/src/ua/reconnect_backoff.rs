//! Reconnect back-off: which server to connect to next, and when.
//!
//! After a lost connection it waits (with jitter, longer after each failure), then connects to
//! the next server. `registration` then sends REGISTER, and `calls::recovery` the re-INVITEs.
//! Only an accepted REGISTER resets the delay.

use serde::{Deserialize, Serialize};

use super::interface::{Millis, TransportId};
use super::random::Random;

/// Time-out for opening the WebSocket.
pub(super) const OPEN_TIMEOUT_MS: u64 = 8_000;
/// Longest delay before the first attempt. It is random, so that not all clients of a restarted server connect at once.
const MAX_FIRST_RETRY_DELAY_MS: u64 = 250;
/// Delay after the first failed round through all servers; doubled after each further round.
const MIN_RETRY_DELAY_MS: u64 = 1_000;
const MAX_RETRY_DELAY_MS: u64 = 30_000;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct ReconnectBackoff {
    state: ConnectionState,
    last_id: u64,
    /// Index of the current server in the list.
    server: usize,
    /// Failed attempts since the last accepted REGISTER.
    failures: u32,
    /// The current server accepted our registration, and no error of it followed.
    is_usable: bool,
    /// The browser reports that there is no network.
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

/// A timer that fired.
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

    /// The connection that is open or opening.
    pub(super) fn current(&self) -> Option<TransportId> {
        match self.state {
            ConnectionState::Opening { id, .. } | ConnectionState::Open { id } => Some(id),
            ConnectionState::Idle | ConnectionState::Waiting { .. } => None,
        }
    }

    /// Index in the list of the server in use or tried last.
    pub(super) fn server_index(&self) -> usize {
        self.server
    }

    /// URL of that server.
    pub(super) fn server<'a>(&self, servers: &'a [String]) -> Option<&'a str> {
        servers.get(self.server % servers.len().max(1)).map(String::as_str)
    }

    /// Starts to connect. None if there is no server.
    pub(super) fn connect(&mut self, servers: &[String], now: Millis) -> Option<(TransportId, String)> {
        let url = self.server(servers)?.to_owned();
        let id = self.next_id();
        self.state = ConnectionState::Opening { id, until: now.plus(OPEN_TIMEOUT_MS) };
        Some((id, url))
    }

    /// The id of a new connection.
    pub(super) fn next_id(&mut self) -> TransportId {
        self.last_id += 1;
        TransportId(self.last_id)
    }

    /// Another connection, which is open, takes the place of the present one.
    pub(super) fn switch_to(&mut self, id: TransportId, server: usize) {
        self.state = ConnectionState::Open { id };
        self.server = server;
    }

    /// Returns whether this is the connection that is opening.
    pub(super) fn on_open(&mut self, id: TransportId) -> bool {
        let expected = matches!(self.state, ConnectionState::Opening { id: ours, .. } if ours == id);
        if expected {
            self.state = ConnectionState::Open { id };
        }
        expected
    }

    /// The connection failed or was closed: returns the time of the next attempt. A server that
    /// accepted our registration is tried again at once; otherwise the next server is tried.
    pub(super) fn on_lost(&mut self, servers: usize, random: &mut Random, now: Millis) -> Millis {
        let was_usable = std::mem::take(&mut self.is_usable);
        if !was_usable {
            self.server = (self.server + 1) % servers.max(1);
        }
        self.failures = self.failures.saturating_add(1);
        let rounds = (self.failures - 1) / u32::try_from(servers).unwrap_or(1).max(1);
        let delay_ms = if self.is_offline {
            MAX_RETRY_DELAY_MS
        } else if was_usable || rounds == 0 {
            random.up_to(MAX_FIRST_RETRY_DELAY_MS)
        } else {
            let delay = (MIN_RETRY_DELAY_MS << (rounds - 1).min(8)).min(MAX_RETRY_DELAY_MS);
            delay / 2 + random.up_to(delay / 2)
        };
        let until = now.plus(delay_ms);
        self.state = ConnectionState::Waiting { until };
        until
    }

    /// The next attempt is made at this time.
    pub(super) fn wait_until(&mut self, until: Millis) {
        self.state = ConnectionState::Waiting { until };
    }

    /// A server accepted our registration.
    pub(super) fn on_registered(&mut self) {
        self.failures = 0;
        self.is_usable = true;
    }

    /// The server is connected but does not work: the next attempt uses another server.
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
    fn each_server_is_tried_once_quickly_then_delays_grow_to_30_seconds() {
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
        assert!(pauses[..2].iter().all(|pause| *pause <= MAX_FIRST_RETRY_DELAY_MS));
        assert!(pauses[2..4].iter().all(|pause| (500..=1_000).contains(pause)));
        assert!(pauses[14..].iter().all(|pause| (15_000..=30_000).contains(pause)));
    }

    #[test]
    fn a_usable_server_is_tried_again_at_once_after_a_lost_connection() {
        let mut backoff = ReconnectBackoff::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (id, _) = backoff.connect(&servers(), Millis(0)).unwrap();
        assert!(backoff.on_open(id));
        backoff.on_registered();
        let until = backoff.on_lost(2, &mut random, Millis(1_000));
        assert!(until <= Millis(1_000 + MAX_FIRST_RETRY_DELAY_MS));
        let (_, url) = backoff.connect(&servers(), until).unwrap();
        assert_eq!(url, "wss://a");
    }

    #[test]
    fn an_open_event_of_an_old_connection_is_ignored() {
        let mut backoff = ReconnectBackoff::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (old, _) = backoff.connect(&servers(), Millis(0)).unwrap();
        backoff.on_lost(2, &mut random, Millis(0));
        backoff.connect(&servers(), Millis(9)).unwrap();
        assert!(!backoff.on_open(old));
    }
}
