//! When this page plays a local ring-back tone: the far end rings, and no early media flows (RFC 3960 §3.2). A
//! description in a 183 says nothing about that: many servers send one and no packet, or packets of silence. Needs no browser.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallSnapshot, CallState};

/// Early media is over when no packet has arrived for so long, and is none when its packets were silent for so long.
const SILENCE_MS: f64 = 1_000.0;

/// The linear level from which a packet carries sound: −46 dBFS, beyond comfort noise.
const AUDIBLE: f64 = 0.005;

/// What is known of the packets of a call that is not answered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EarlyMedia {
    /// At the last sample.
    packets: Option<u64>,
    /// When packets first and last arrived, by a monotonic clock.
    arrived: Option<(f64, f64)>,
    /// Since the call began. An announcement may pause.
    audible: bool,
}

/// What `getStats` says of what a connection receives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Received {
    /// In all.
    pub packets: u64,
    /// Linear, 0.0 to 1.0. `None` in a browser that does not tell.
    pub level: Option<f64>,
}

impl EarlyMedia {
    pub fn sample(&mut self, received: Received, now_ms: f64) {
        if received.packets > self.packets.replace(received.packets).unwrap_or(0) {
            self.arrived = Some((self.arrived.map_or(now_ms, |(first, _)| first), now_ms));
            self.audible |= received.level.is_none_or(|level| level >= AUDIBLE);
        }
    }

    fn flows(&self, now_ms: f64) -> bool {
        self.arrived
            .is_some_and(|(first, last)| now_ms - last < SILENCE_MS && (self.audible || now_ms - first < SILENCE_MS))
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

    fn sound(packets: u64) -> Received {
        Received { packets, level: Some(0.1) }
    }

    fn early_media(samples: &[(u64, f64)]) -> EarlyMedia {
        let mut early_media = EarlyMedia::default();
        for (packets, now) in samples {
            early_media.sample(sound(*packets), *now);
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
        flowing.sample(sound(5), 750.0);
        flowing.sample(sound(5), 1_000.0);
        assert!(!is_due(&call, &flowing, 1_499.0), "a gap between two announcements");
        assert!(is_due(&call, &flowing, 1_500.0));
        flowing.sample(sound(6), 1_750.0);
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

    #[test]
    fn packets_of_silence_do_not_stop_ring_back_until_the_first_sound() {
        let call = call(CallState::EarlyMedia, true);
        let silence = |packets| Received { packets, level: Some(0.001) };
        let mut silent = EarlyMedia::default();
        silent.sample(silence(5), 250.0);
        assert!(!is_due(&call, &silent, 250.0), "the first packets may precede a sound");
        silent.sample(silence(55), 1_250.0);
        assert!(is_due(&call, &silent, 1_250.0));
        silent.sample(sound(65), 1_500.0);
        assert!(!is_due(&call, &silent, 1_500.0));
        silent.sample(silence(165), 3_500.0);
        assert!(!is_due(&call, &silent, 3_500.0), "an announcement pauses");
    }

    #[test]
    fn packets_count_as_sound_where_the_browser_tells_no_level() {
        let mut unknown = EarlyMedia::default();
        unknown.sample(Received { packets: 5, level: None }, 250.0);
        unknown.sample(Received { packets: 80, level: None }, 1_750.0);
        assert!(!is_due(&call(CallState::EarlyMedia, true), &unknown, 1_750.0));
    }
}
