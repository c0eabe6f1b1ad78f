//! What a call sends in place of the microphone's track, made by Web Audio: hold music, or a clip beside the microphone.
//!
//! A call that mixes nothing sends the microphone's track itself: no graph adds delay to it, and no `AudioContext` has
//! to run.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    AudioBuffer, AudioBufferSourceNode, AudioContext, AudioNode, AudioScheduledSourceNode, MediaStream,
    MediaStreamAudioDestinationNode, MediaStreamAudioSourceNode, MediaStreamTrack,
};

use crate::browser::EventListener;

/// How loud the person hears a clip.
const MONITOR_GAIN: f32 = 0.4;

/// Sounds until it is dropped.
pub struct Mix {
    context: AudioContext,
    output: MediaStreamAudioDestinationNode,
    track: MediaStreamTrack,
    source: AudioBufferSourceNode,
    clip: Option<Clip>,
}

/// What a mix with a clip has besides.
struct Clip {
    microphone: MediaStreamAudioSourceNode,
    monitor: AudioNode,
    _ended: EventListener,
}

impl Mix {
    /// `music` in a loop, without the microphone.
    pub fn of_music(context: &AudioContext, music: &AudioBuffer) -> Result<Mix, JsValue> {
        let mix = Mix::of(context, music)?;
        mix.source.set_loop(true);
        mix.source.start()?;
        Ok(mix)
    }

    /// `clip` once, beside what `microphone` has; the person hears it as well. Calls `ended` at its end.
    pub fn of_clip(
        context: &AudioContext,
        clip: &AudioBuffer,
        microphone: &MediaStreamTrack,
        ended: impl Fn() + 'static,
    ) -> Result<Mix, JsValue> {
        let mut mix = Mix::of(context, clip)?;
        let monitor = context.create_gain()?;
        monitor.gain().set_value(MONITOR_GAIN);
        mix.source.connect_with_audio_node(&monitor)?;
        monitor.connect_with_audio_node(&context.destination())?;
        let ended = EventListener::new(&mix.source, "ended", move |_| ended());
        let microphone = mix.connect(microphone)?;
        mix.clip = Some(Clip { microphone, monitor: monitor.into(), _ended: ended });
        mix.source.start()?;
        Ok(mix)
    }

    pub fn track(&self) -> &MediaStreamTrack {
        &self.track
    }

    pub fn has_clip(&self) -> bool {
        self.clip.is_some()
    }

    /// Another microphone takes the place of the present one, where that is mixed.
    pub fn set_microphone(&mut self, track: &MediaStreamTrack) {
        if self.has_clip()
            && let Ok(next) = self.connect(track)
            && let Some(clip) = &mut self.clip
        {
            let _ = clip.microphone.disconnect();
            clip.microphone = next;
        }
    }

    fn of(context: &AudioContext, sound: &AudioBuffer) -> Result<Mix, JsValue> {
        let output = MediaStreamAudioDestinationNode::new(context)?;
        let source = context.create_buffer_source()?;
        source.set_buffer(Some(sound));
        source.connect_with_audio_node(&output)?;
        let track = output.stream().get_audio_tracks().get(0).dyn_into()?;
        Ok(Mix { context: context.clone(), output, track, source, clip: None })
    }

    fn connect(&self, microphone: &MediaStreamTrack) -> Result<MediaStreamAudioSourceNode, JsValue> {
        let stream = MediaStream::new()?;
        stream.add_track(microphone);
        let node = self.context.create_media_stream_source(&stream)?;
        node.connect_with_audio_node(&self.output)?;
        Ok(node)
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        let source: &AudioScheduledSourceNode = &self.source;
        let _ = source.stop();
        let _ = self.source.disconnect();
        if let Some(clip) = &self.clip {
            let _ = clip.microphone.disconnect();
            let _ = clip.monitor.disconnect();
        }
        self.track.stop();
    }
}
