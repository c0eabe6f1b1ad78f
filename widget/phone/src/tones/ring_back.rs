//! When this page plays a local ring-back tone: the far end rings, and no early media flows (RFC 3960 §3.2). A
//! description in a 183 says nothing about that: many servers send one and no packet. Needs no browser.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallSnapshot, CallState};

/// Early media is over when no packet has arrived for so long.
const SILENCE_MS: f64 = 1_000.0;

/// What is known of the packets of a call that is not answered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EarlyMedia {
    /// At the last sample.
    packets: Option<u64>,
    /// When packets last arrived, by a monotonic clock.
    arrived_at: Option<f64>,
}

impl EarlyMedia {
    /// `packets` have arrived in all.
    pub fn sample(&mut self, packets: u64, now_ms: f64) {
        if packets > self.packets.replace(packets).unwrap_or(0) {
            self.arrived_at = Some(now_ms);
        }
    }

    fn flows(&self, now_ms: f64) -> bool {
        self.arrived_at.is_some_and(|arrived_at| now_ms - arrived_at < SILENCE_MS)
    }
}

/// The call of this page whose packets are counted.
pub fn watched_call<'a>(snapshot: &'a AgentSnapshot, page: &str) -> Option<&'a CallSnapshot> {
    let early = |call: &&CallSnapshot| matches!(call.state, CallState::Ringing | CallState::EarlyMedia);
    snapshot.calls.iter().filter(early).find(|call| call.voice && call.page.as_deref() == Some(page))
}

/// Whether the tone sounds now. A far end that has sent a description may be sending already, so then the first
/// sample is waited for.
pub fn is_due(call: &CallSnapshot, early_media: &EarlyMedia, now_ms: f64) -> bool {
    let known = call.state == CallState::Ringing || early_media.packets.is_some();
    call.rings && known && !early_media.flows(now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::test_call;

    fn call(state: CallState, rings: bool) -> CallSnapshot {
        CallSnapshot { rings, page: Some("here".to_owned()), ..test_call::call("1", state) }
    }

    fn early_media(samples: &[(u64, f64)]) -> EarlyMedia {
        let mut early_media = EarlyMedia::default();
        for (packets, now) in samples {
            early_media.sample(*packets, *now);
        }
        early_media
    }

    #[test]
    fn ring_back_sounds_at_once_after_a_180_without_a_description() {
        assert!(is_due(&call(CallState::Ringing, true), &EarlyMedia::default(), 0.0));
    }

    #[test]
    fn without_a_180_there_is_no_ring_back() {
        let silent = early_media(&[(0, 0.0), (0, 250.0)]);
        assert!(!is_due(&call(CallState::EarlyMedia, false), &silent, 250.0));
    }

    #[test]
    fn a_description_without_packets_does_not_stop_ring_back() {
        let call = call(CallState::EarlyMedia, true);
        assert!(!is_due(&call, &EarlyMedia::default(), 0.0), "not known yet");
        assert!(is_due(&call, &early_media(&[(0, 250.0)]), 250.0));
    }

    #[test]
    fn ring_back_pauses_while_packets_flow() {
        let call = call(CallState::EarlyMedia, true);
        let mut flowing = early_media(&[(0, 250.0), (5, 500.0)]);
        assert!(!is_due(&call, &flowing, 500.0));
        flowing.sample(5, 750.0);
        flowing.sample(5, 1_000.0);
        assert!(!is_due(&call, &flowing, 1_499.0), "a gap between two announcements");
        assert!(is_due(&call, &flowing, 1_500.0));
        flowing.sample(6, 1_750.0);
        assert!(!is_due(&call, &flowing, 1_750.0));
    }

    #[test]
    fn only_a_call_of_this_page_that_has_the_voice_is_watched() {
        let watched = |call: CallSnapshot| {
            let snapshot = AgentSnapshot { calls: vec![call], ..AgentSnapshot::default() };
            watched_call(&snapshot, "here").is_some()
        };
        assert!(watched(call(CallState::Ringing, true)));
        assert!(watched(call(CallState::EarlyMedia, false)));
        assert!(!watched(call(CallState::Active, true)));
        assert!(!watched(CallSnapshot { voice: false, ..call(CallState::Ringing, true) }));
        assert!(!watched(CallSnapshot { page: None, ..call(CallState::Ringing, true) }));
    }
}
