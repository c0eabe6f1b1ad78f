//! Plays tone bursts by Web Audio: two sine waves each, faded in and out, because an abrupt edge clicks.

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioBuffer, AudioNode, BaseAudioContext, GainNode, OfflineAudioContext, OscillatorNode};

use super::patterns::{ToneBurst, TonePattern};

const ATTACK_S: f64 = 0.012;
const RELEASE_S: f64 = 0.06;
const KEY_TONE_MS: f32 = 110.0;
const KEY_LOUDNESS: f32 = 0.07;

/// One repetition of a pattern that is playing.
pub struct PlayingPattern {
    context: BaseAudioContext,
    master: GainNode,
    sources: Vec<OscillatorNode>,
}

impl PlayingPattern {
    /// `None` when the browser creates no audio nodes.
    pub fn start(context: &BaseAudioContext, pattern: &TonePattern) -> Option<PlayingPattern> {
        let master = context.create_gain().ok()?;
        master.gain().set_value(pattern.loudness);
        connect(&master, &context.destination());
        let mut sources = Vec::new();
        for burst in &pattern.bursts {
            sources.extend(play(context, &master, *burst, pattern.decays));
        }
        Some(PlayingPattern { context: context.clone(), master, sources })
    }

    /// Fades out within a few milliseconds.
    pub fn stop(self) {
        let now = self.context.current_time();
        let _ = self.master.gain().set_target_at_time(0.0, now, 0.015);
        for source in self.sources {
            let _ = source.stop_with_when(now + 0.1);
        }
    }
}

/// Plays the tone of a key.
pub fn play_key_tone(context: &BaseAudioContext, low: f32, high: f32) {
    let pattern = TonePattern {
        bursts: vec![ToneBurst { hertz: [low, high], start_ms: 0.0, length_ms: KEY_TONE_MS }],
        period_ms: 0,
        loudness: KEY_LOUDNESS,
        decays: false,
    };
    // It ends on its own.
    drop(PlayingPattern::start(context, &pattern));
}

/// One repetition of the pattern.
pub async fn render(pattern: &TonePattern, sample_rate: f32) -> Result<AudioBuffer, JsValue> {
    let samples = f64::from(pattern.period_ms) * f64::from(sample_rate) / 1_000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some seconds")]
    let samples = samples as u32;
    let context = OfflineAudioContext::new_with_number_of_channels_and_length_and_sample_rate(1, samples, sample_rate)?;
    drop(PlayingPattern::start(&context, pattern));
    Ok(JsFuture::from(context.start_rendering()?).await?.unchecked_into())
}

fn play(context: &BaseAudioContext, master: &GainNode, burst: ToneBurst, decays: bool) -> Vec<OscillatorNode> {
    let start = context.current_time() + f64::from(burst.start_ms) / 1_000.0;
    let end = start + f64::from(burst.length_ms) / 1_000.0;
    let mut sources = Vec::new();
    for hertz in burst.hertz {
        let (Ok(source), Ok(envelope)) = (context.create_oscillator(), context.create_gain()) else {
            continue;
        };
        source.frequency().set_value(hertz);
        let gain = envelope.gain();
        let _ = gain.set_value_at_time(0.0, start);
        let _ = gain.linear_ramp_to_value_at_time(1.0, start + ATTACK_S);
        if !decays {
            let _ = gain.set_value_at_time(1.0, (end - RELEASE_S).max(start + ATTACK_S));
        }
        let _ = gain.linear_ramp_to_value_at_time(0.0, end);
        connect(&source, &envelope);
        connect(&envelope, master);
        let _ = source.start_with_when(start);
        let _ = source.stop_with_when(end);
        sources.push(source);
    }
    sources
}

fn connect(from: &AudioNode, to: &AudioNode) {
    let _ = from.connect_with_audio_node(to);
}
