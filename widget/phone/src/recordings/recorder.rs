//! Both sides of one call, encoded: sent → left, received → gate → right, or both into one channel → `MediaRecorder`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    AudioBuffer, AudioContext, AudioNode, Blob, BlobEvent, GainNode, MediaRecorder, MediaRecorderOptions, MediaStream,
    MediaStreamAudioDestinationNode, MediaStreamTrack,
};

use super::{BYTES_PER_SECOND, RecordedSound, RecordingSources};
use crate::browser::{Completion, EventListener};

const TYPE: &str = "audio/webm;codecs=opus";
/// How often a piece of sound comes: no more is lost with the page.
const PIECE_MS: i32 = 500;
/// 47 CFR 64.501 has 1,260 to 1,540 Hz for 170 to 250 ms, every 12 to 18 s.
const BEEP_HZ: f32 = 1_400.0;
const BEEP_S: f32 = 0.24;
/// Until the mix with the beep is sent in place of the microphone, and back.
const BEEP_LEAD_S: f32 = 0.3;
const BEEP_TAIL_S: f32 = 0.06;
const BEEP_LOUDNESS: f32 = 0.3;
pub const BEEP_INTERVAL_MS: i32 = 15_000;

pub struct Recorder {
    context: AudioContext,
    encoder: MediaRecorder,
    output: MediaStreamAudioDestinationNode,
    /// Where the sound that is sent goes to.
    near: AudioNode,
    /// Closed while the person does not hear the far end.
    gate: GainNode,
    sent: RefCell<Vec<Tap>>,
    received: RefCell<Vec<Tap>>,
    pieces: Rc<Pieces>,
    _listeners: [EventListener; 3],
}

#[derive(Default)]
struct Pieces {
    waiting: RefCell<VecDeque<Blob>>,
    is_over: Cell<bool>,
    changed: RefCell<Option<Completion>>,
}

/// A sound in the graph. It leaves it when dropped.
struct Tap {
    sound: RecordedSound,
    node: AudioNode,
    to: AudioNode,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.node.disconnect_with_audio_node(&self.to);
    }
}

impl Recorder {
    pub fn is_supported() -> bool {
        let exists = js_sys::Reflect::has(&js_sys::global(), &"MediaRecorder".into()).unwrap_or(false);
        exists && MediaRecorder::is_type_supported(TYPE)
    }

    pub fn start(context: &AudioContext, stereo: bool) -> Result<Recorder, JsValue> {
        let output = MediaStreamAudioDestinationNode::new(context)?;
        let gate = context.create_gain()?;
        let near: AudioNode = if stereo {
            let sides = context.create_channel_merger_with_number_of_inputs(2)?;
            gate.connect_with_audio_node_and_output_and_input(&sides, 0, 1)?;
            sides.connect_with_audio_node(&output)?;
            sides.into()
        } else {
            output.set_channel_count(1);
            gate.connect_with_audio_node(&output)?;
            Clone::clone(&output).into()
        };
        let options = MediaRecorderOptions::new();
        options.set_mime_type(TYPE);
        let bits = u32::try_from(BYTES_PER_SECOND * 8).unwrap_or_default();
        options.set_audio_bits_per_second(if stereo { 2 * bits } else { bits });
        let encoder = MediaRecorder::new_with_media_stream_and_media_recorder_options(&output.stream(), &options)?;
        let pieces = Rc::new(Pieces::default());
        let came = Rc::clone(&pieces);
        let data = EventListener::new(&encoder, "dataavailable", move |event| {
            if let Some(piece) = event.unchecked_into::<BlobEvent>().data() {
                came.waiting.borrow_mut().push_back(piece);
                came.wake();
            }
        });
        let ends = ["stop", "error"].map(|name| {
            let pieces = Rc::clone(&pieces);
            EventListener::new(&encoder, name, move |_| {
                pieces.is_over.set(true);
                pieces.wake();
            })
        });
        let [stop, error] = ends;
        encoder.start_with_time_slice(PIECE_MS)?;
        Ok(Recorder {
            context: context.clone(),
            encoder,
            output,
            near,
            gate,
            sent: RefCell::default(),
            received: RefCell::default(),
            pieces,
            _listeners: [data, stop, error],
        })
    }

    /// A sound that is there already stays, so that it has no gap.
    pub fn set_sources(&self, sources: &RecordingSources) {
        self.gate.gain().set_value(if sources.has_voice { 1.0 } else { 0.0 });
        self.tap(&self.sent, sources.sent.as_slice(), &self.near);
        self.tap(&self.received, &sources.received, &self.gate);
    }

    fn tap(&self, taps: &RefCell<Vec<Tap>>, sounds: &[RecordedSound], to: &AudioNode) {
        let mut taps = taps.borrow_mut();
        for sound in sounds {
            if !taps.iter().any(|tap| tap.sound == *sound)
                && let Ok(tap) = self.connect(sound, to)
            {
                taps.push(tap);
            }
        }
        taps.retain(|tap| sounds.contains(&tap.sound));
    }

    fn connect(&self, sound: &RecordedSound, to: &AudioNode) -> Result<Tap, JsValue> {
        let node: AudioNode = match sound {
            RecordedSound::Node(node) => node.clone(),
            RecordedSound::Track(track) => {
                let stream = MediaStream::new()?;
                stream.add_track(track);
                self.context.create_media_stream_source(&stream)?.into()
            }
        };
        // The first input of a merger is the left channel.
        node.connect_with_audio_node(to)?;
        Ok(Tap { sound: sound.clone(), node, to: to.clone() })
    }

    /// One last piece comes.
    pub fn stop(&self) {
        let _ = self.encoder.stop();
    }

    /// The next piece, once it has come. `None` after the last one.
    pub async fn next(&self) -> Option<Blob> {
        loop {
            let piece = self.pieces.waiting.borrow_mut().pop_front();
            if piece.is_some() || self.pieces.is_over.get() {
                return piece;
            }
            let changed = Completion::pending();
            *self.pieces.changed.borrow_mut() = Some(changed.clone());
            changed.wait().await;
        }
    }
}

impl Pieces {
    fn wake(&self) {
        if let Some(changed) = self.changed.take() {
            changed.complete();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.gate.disconnect();
        let _ = self.near.disconnect();
        for track in self.output.stream().get_tracks().iter() {
            track.unchecked_into::<MediaStreamTrack>().stop();
        }
    }
}

/// What tells both sides that they are recorded.
pub fn beep(context: &AudioContext) -> Result<AudioBuffer, JsValue> {
    let rate = context.sample_rate();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    let [before, sounding, after] = [BEEP_LEAD_S, BEEP_S, BEEP_TAIL_S].map(|seconds| (rate * seconds) as u16);
    // An abrupt edge clicks.
    let edge = rate * 0.01;
    let samples = (0..sounding).map(|n| {
        let fade = (f32::from(n.min(sounding - n)) / edge).min(1.0);
        // The browser's sine: Rust's would be 5 KB of the module.
        let phase = f32::from(n) / rate * BEEP_HZ * std::f32::consts::TAU;
        #[expect(clippy::cast_possible_truncation, reason = "of a sample")]
        let sine = js_sys::Math::sin(phase.into()) as f32;
        sine * fade * BEEP_LOUDNESS
    });
    let mut all = vec![0.0; before.into()];
    all.extend(samples);
    all.resize(all.len() + usize::from(after), 0.0);
    let count = u32::from(before) + u32::from(sounding) + u32::from(after);
    let buffer = context.create_buffer(1, count, rate)?;
    buffer.copy_to_channel(&all, 0)?;
    Ok(buffer)
}
