//! Which tone belongs to which state, and its frequencies and timing. Needs no browser.

use bitcall_wire::agent_protocol::{AgentSnapshot, CallState};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallTone {
    /// An incoming call, and this page is the one that rings.
    RingTone,
    /// An incoming call while another one is active: a short beep.
    CallWaiting,
    /// See [`super::ring_back`].
    Ringback,
}

/// The bursts of one repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct TonePattern {
    pub bursts: Vec<ToneBurst>,
    pub period_ms: i32,
    /// 0.0 to 1.0.
    pub loudness: f32,
    /// Each burst fades away over its whole length, as a plucked string does, instead of ending at once.
    pub decays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToneBurst {
    /// Two frequencies that sound together.
    pub hertz: [f32; 2],
    /// Offset from the start of the repetition.
    pub start_ms: f32,
    pub length_ms: f32,
}

/// The tone for an incoming call that this page has to play.
pub fn incoming_tone(snapshot: &AgentSnapshot, page: &str) -> Option<CallTone> {
    // One that is about to be answered by itself has a tone of its own.
    let incoming = snapshot.calls.iter().any(|call| call.state == CallState::Incoming && !call.auto_answer);
    let busy = snapshot.calls.iter().any(|call| {
        matches!(
            call.state,
            CallState::Active | CallState::Answering | CallState::Dialing | CallState::Ringing | CallState::EarlyMedia
        )
    });
    let rings = incoming && snapshot.ringer.as_deref() == Some(page);
    rings.then_some(if busy { CallTone::CallWaiting } else { CallTone::RingTone })
}

/// The two DTMF frequencies of a key, in hertz (ITU-T Q.23).
pub fn dtmf_frequencies(digit: char) -> Option<(f32, f32)> {
    const LOW_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let place = "123A456B789C*0#D".find(digit.to_ascii_uppercase())?;
    Some((*LOW_HZ.get(place / 4)?, *HIGH_HZ.get(place % 4)?))
}

pub fn pattern(sound: CallTone) -> TonePattern {
    match sound {
        CallTone::RingTone => ring_tone(),
        // Two short soft beeps every four seconds, which do not disturb the conversation.
        CallTone::CallWaiting => TonePattern {
            bursts: [0.0, 260.0]
                .map(|start_ms| ToneBurst { hertz: [440.0, 880.0], start_ms, length_ms: 140.0 })
                .to_vec(),
            period_ms: 4_000,
            loudness: 0.06,
            decays: false,
        },
        // 425 Hz, 1 s on, 4 s off: common in most of the world (ITU-T E.180).
        CallTone::Ringback => TonePattern {
            bursts: vec![ToneBurst { hertz: [425.0, 425.0], start_ms: 0.0, length_ms: 1_000.0 }],
            period_ms: 5_000,
            loudness: 0.08,
            decays: false,
        },
    }
}

/// Two short rising tones: the microphone opens after them.
pub fn auto_answer_tone() -> TonePattern {
    let bursts = [(0.0, 659.26), (220.0, 987.77)];
    TonePattern {
        bursts: bursts
            .map(|(start_ms, hertz)| ToneBurst { hertz: [hertz, hertz], start_ms, length_ms: 200.0 })
            .to_vec(),
        period_ms: 500,
        loudness: 0.15,
        decays: false,
    }
}

/// A rising figure of four marimba-like tones, twice, then a pause.
fn ring_tone() -> TonePattern {
    const FIGURE_HZ: [f32; 4] = [587.33, 739.99, 880.0, 1174.66];
    let mut bursts = Vec::new();
    for turn in [0.0, 900.0] {
        for (step, hertz) in (0_u8..).zip(FIGURE_HZ) {
            bursts.push(ToneBurst {
                hertz: [hertz, hertz * 2.0],
                start_ms: turn + f32::from(step) * 150.0,
                length_ms: 420.0,
            });
        }
    }
    TonePattern { bursts, period_ms: 3_600, loudness: 0.22, decays: false }
}

/// The melody of hold music: the arpeggio of C major, up and down again.
pub fn hold_melody() -> TonePattern {
    const ARPEGGIO_HZ: [f32; 8] = [261.63, 329.63, 392.0, 523.25, 659.26, 523.25, 392.0, 329.63];
    let bursts = (0_u8..).zip(ARPEGGIO_HZ).map(|(step, hertz)| ToneBurst {
        hertz: [hertz, hertz * 2.0],
        start_ms: f32::from(step) * 400.0,
        length_ms: 1_200.0,
    });
    TonePattern { bursts: bursts.collect(), period_ms: 4_000, loudness: 0.1, decays: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcall_wire::agent_protocol::CallSnapshot;

    use crate::test_call;

    fn call(id: &str, page: Option<&str>, state: CallState) -> CallSnapshot {
        CallSnapshot { page: page.map(str::to_owned), ..test_call::call(id, state) }
    }

    fn state(ringer: Option<&str>, calls: Vec<CallSnapshot>) -> AgentSnapshot {
        AgentSnapshot { ringer: ringer.map(str::to_owned), calls, ..AgentSnapshot::default() }
    }

    #[test]
    fn only_the_ringer_page_plays_the_ringtone() {
        let snapshot = state(Some("a"), vec![call("1", None, CallState::Incoming)]);
        assert_eq!(incoming_tone(&snapshot, "a"), Some(CallTone::RingTone));
        assert_eq!(incoming_tone(&snapshot, "b"), None);
    }

    #[test]
    fn a_call_that_is_about_to_be_answered_by_itself_does_not_ring() {
        let due = CallSnapshot { auto_answer: true, ..call("1", None, CallState::Incoming) };
        assert_eq!(incoming_tone(&state(Some("a"), vec![due]), "a"), None);
    }

    #[test]
    fn a_call_during_a_call_beeps_instead_of_ringing() {
        let snapshot =
            state(Some("a"), vec![call("1", Some("a"), CallState::Active), call("2", None, CallState::Incoming)]);
        assert_eq!(incoming_tone(&snapshot, "a"), Some(CallTone::CallWaiting));
    }

    #[test]
    fn keys_have_their_standard_frequencies() {
        assert_eq!(dtmf_frequencies('5'), Some((770.0, 1336.0)));
        assert_eq!(dtmf_frequencies('#'), Some((941.0, 1477.0)));
        assert_eq!(dtmf_frequencies('+'), None);
    }

    #[test]
    fn every_tone_ends_before_it_repeats() {
        let tones = [CallTone::RingTone, CallTone::CallWaiting, CallTone::Ringback].map(pattern);
        for pattern in tones.into_iter().chain([hold_melody(), auto_answer_tone()]) {
            let end = pattern.bursts.iter().map(|burst| burst.start_ms + burst.length_ms).fold(0.0, f32::max);
            assert!(f64::from(end) <= f64::from(pattern.period_ms), "{pattern:?}");
        }
    }
}
