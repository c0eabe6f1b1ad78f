//! The lower rungs of the reconnect ladder: which server, and when to try it.
//!
//! Lost connection → wait a moment (jittered, growing) → connect the next
//! server. The upper rungs, REGISTER and the calls' re-INVITE, follow in
//! `registration` and `calls::recovery`; only a REGISTER that was accepted
//! makes the waiting short again.

use serde::{Deserialize, Serialize};

use super::interface::{Millis, TransportId};
use super::random::Random;

/// A WebSocket that is not open by then never will be.
const OPENING: u64 = 8_000;
/// The pause after a lost connection, at most: long enough that a restarted server is not stormed at once.
const FIRST_PAUSE: u64 = 250;
const SHORTEST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 30_000;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Ladder {
    state: State,
    last_id: u64,
    /// Index into the list of servers.
    server: usize,
    /// Tries since the last success.
    failures: u32,
    /// The server at hand accepted our registration, and nothing spoke against it since.
    trusted: bool,
    /// The browser says that there is no network.
    pub(super) offline: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
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
pub(super) enum Rung {
    Connect,
    /// This connection did not open in time.
    TooSlow(TransportId),
}

impl Ladder {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// The connection that is open or being opened.
    pub(super) fn current(&self) -> Option<TransportId> {
        match self.state {
            State::Opening { id, .. } | State::Open { id } => Some(id),
            State::Idle | State::Waiting { .. } => None,
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
        self.state = State::Opening { id, until: now.plus(OPENING) };
        Some((id, url))
    }

    /// Says whether this is the connection we wait for.
    pub(super) fn opened(&mut self, id: TransportId) -> bool {
        let expected = matches!(self.state, State::Opening { id: ours, .. } if ours == id);
        if expected {
            self.state = State::Open { id };
        }
        expected
    }

    /// The connection failed or was closed: when to try again. A connection that
    /// was good goes to the same server at once, others to the next.
    pub(super) fn lost(&mut self, servers: usize, random: &mut Random, now: Millis) -> Millis {
        let was_good = std::mem::take(&mut self.trusted);
        if !was_good {
            self.server = (self.server + 1) % servers.max(1);
        }
        self.failures = self.failures.saturating_add(1);
        let rounds = (self.failures - 1) / u32::try_from(servers).unwrap_or(1).max(1);
        let pause = if self.offline {
            LONGEST_PAUSE
        } else if was_good || rounds == 0 {
            random.up_to(FIRST_PAUSE)
        } else {
            let full = (SHORTEST_PAUSE << (rounds - 1).min(8)).min(LONGEST_PAUSE);
            full / 2 + random.up_to(full / 2)
        };
        let until = now.plus(pause);
        self.state = State::Waiting { until };
        until
    }

    /// A server accepted our registration.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.trusted = true;
    }

    /// The server is connected but does not do its work: the next one is better.
    pub(super) fn distrust(&mut self) {
        self.trusted = false;
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Idle;
        self.failures = 0;
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.state {
            State::Waiting { until } | State::Opening { until, .. } => Some(until),
            State::Idle | State::Open { .. } => None,
        }
    }

    pub(super) fn due(&self, now: Millis) -> Option<Rung> {
        match self.state {
            State::Waiting { until } if until <= now => Some(Rung::Connect),
            State::Opening { id, until } if until <= now => Some(Rung::TooSlow(id)),
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
        let mut ladder = Ladder::default();
        let mut random = Random::new([7; 32], Millis(0));
        let mut now = Millis(0);
        let mut pauses = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..16 {
            let Some((_, url)) = ladder.connect(&servers(), now) else {
                continue;
            };
            urls.push(url);
            let until = ladder.lost(2, &mut random, now);
            pauses.push(until.since(now));
            now = until;
        }
        assert_eq!(urls[..4], ["wss://a", "wss://b", "wss://a", "wss://b"]);
        assert!(pauses[..2].iter().all(|pause| *pause <= FIRST_PAUSE));
        assert!(pauses[2..4].iter().all(|pause| (500..=1_000).contains(pause)));
        assert!(pauses[14..].iter().all(|pause| (15_000..=30_000).contains(pause)));
    }

    #[test]
    fn a_good_connection_that_breaks_is_tried_again_at_the_same_server_at_once() {
        let mut ladder = Ladder::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (id, _) = ladder.connect(&servers(), Millis(0)).unwrap();
        assert!(ladder.opened(id));
        ladder.succeeded();
        let until = ladder.lost(2, &mut random, Millis(1_000));
        assert!(until <= Millis(1_000 + FIRST_PAUSE));
        let (_, url) = ladder.connect(&servers(), until).unwrap();
        assert_eq!(url, "wss://a");
    }

    #[test]
    fn news_from_an_old_connection_are_not_mistaken_for_the_new_one() {
        let mut ladder = Ladder::default();
        let mut random = Random::new([7; 32], Millis(0));
        let (old, _) = ladder.connect(&servers(), Millis(0)).unwrap();
        ladder.lost(2, &mut random, Millis(0));
        ladder.connect(&servers(), Millis(9)).unwrap();
        assert!(!ladder.opened(old));
    }
}
