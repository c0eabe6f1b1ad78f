//! What a call sends in place of the microphone's track, made by Web Audio: hold music; or the microphone with a clip, and
//! with the other parties of a conference.
//!
//! A call that mixes nothing sends the microphone's track itself: no graph adds delay to it, and no `AudioContext` has
//! to run.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    AudioBuffer, AudioBufferSourceNode, AudioContext, AudioNode, AudioScheduledSourceNode, GainNode, MediaStream,
    MediaStreamAudioDestinationNode, MediaStreamAudioSourceNode, MediaStreamTrack,
};

use crate::browser::EventListener;

/// How loud the person hears a clip.
const MONITOR_GAIN: f32 = 0.4;

/// Sounds until it is dropped.
pub struct Mix {
    context: AudioContext,
    output: MediaStreamAudioDestinationNode,
    /// All but the other parties.
    own: GainNode,
    track: MediaStreamTrack,
    microphone: Option<MediaStreamAudioSourceNode>,
    /// The music, or the clip that is playing.
    sound: Option<Sound>,
    /// The other parties of the conference, whose nodes belong to it.
    others: Vec<AudioNode>,
}

/// Sounds until it is dropped.
struct Sound {
    source: AudioBufferSourceNode,
    /// The person hears it by this one.
    monitor: Option<GainNode>,
    _ended: Option<EventListener>,
}

impl Mix {
    /// `music` in a loop, without the microphone.
    pub fn of_music(context: &AudioContext, music: &AudioBuffer) -> Result<Mix, JsValue> {
        let mut mix = Mix::silent(context)?;
        let source = mix.source(music)?;
        source.set_loop(true);
        source.start()?;
        mix.sound = Some(Sound { source, monitor: None, _ended: None });
        Ok(mix)
    }

    /// The microphone, to which more is added.
    pub fn of_microphone(context: &AudioContext, microphone: &MediaStreamTrack) -> Result<Mix, JsValue> {
        let mut mix = Mix::silent(context)?;
        mix.microphone = Some(mix.connect(microphone)?);
        Ok(mix)
    }

    /// Plays `clip` once; with `monitored` the person hears it as well. Calls `ended` at its end.
    pub fn play_clip(&mut self, clip: &AudioBuffer, monitored: bool, ended: Box<dyn Fn()>) -> Result<(), JsValue> {
        let source = self.source(clip)?;
        let monitor = if monitored {
            let monitor = self.context.create_gain()?;
            monitor.gain().set_value(MONITOR_GAIN);
            source.connect_with_audio_node(&monitor)?;
            monitor.connect_with_audio_node(&self.context.destination())?;
            Some(monitor)
        } else {
            None
        };
        let ended = EventListener::new(&source, "ended", move |_| ended());
        source.start()?;
        self.sound = Some(Sound { source, monitor, _ended: Some(ended) });
        Ok(())
    }

    /// Returns whether one was playing.
    pub fn stop_clip(&mut self) -> bool {
        self.has_microphone() && self.sound.take().is_some()
    }

    /// Returns whether these are not the present ones.
    pub fn set_others(&mut self, others: Vec<AudioNode>) -> bool {
        if self.others == others {
            return false;
        }
        for gone in self.others.iter().filter(|node| !others.contains(node)) {
            let _ = gone.disconnect_with_audio_node(&self.output);
        }
        for new in others.iter().filter(|node| !self.others.contains(node)) {
            let _ = new.connect_with_audio_node(&self.output);
        }
        self.others = others;
        true
    }

    pub fn own(&self) -> &AudioNode {
        &self.own
    }

    pub fn track(&self) -> &MediaStreamTrack {
        &self.track
    }

    pub fn has_microphone(&self) -> bool {
        self.microphone.is_some()
    }

    /// Without anything else, the microphone's track can be sent itself.
    pub fn is_needed(&self) -> bool {
        self.sound.is_some() || !self.others.is_empty()
    }

    /// Another microphone takes the place of the present one, where that is mixed.
    pub fn set_microphone(&mut self, track: &MediaStreamTrack) {
        if self.has_microphone()
            && let Ok(next) = self.connect(track)
            && let Some(old) = self.microphone.replace(next)
        {
            let _ = old.disconnect();
        }
    }

    fn silent(context: &AudioContext) -> Result<Mix, JsValue> {
        let output = MediaStreamAudioDestinationNode::new(context)?;
        let track = output.stream().get_audio_tracks().get(0).dyn_into()?;
        let own = context.create_gain()?;
        own.connect_with_audio_node(&output)?;
        Ok(Mix { context: context.clone(), output, own, track, microphone: None, sound: None, others: Vec::new() })
    }

    fn source(&self, sound: &AudioBuffer) -> Result<AudioBufferSourceNode, JsValue> {
        let source = self.context.create_buffer_source()?;
        source.set_buffer(Some(sound));
        source.connect_with_audio_node(&self.own)?;
        Ok(source)
    }

    fn connect(&self, microphone: &MediaStreamTrack) -> Result<MediaStreamAudioSourceNode, JsValue> {
        let stream = MediaStream::new()?;
        stream.add_track(microphone);
        let node = self.context.create_media_stream_source(&stream)?;
        node.connect_with_audio_node(&self.own)?;
        Ok(node)
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        self.set_others(Vec::new());
        let _ = self.own.disconnect();
        if let Some(microphone) = &self.microphone {
            let _ = microphone.disconnect();
        }
        self.track.stop();
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let source: &AudioScheduledSourceNode = &self.source;
        let _ = source.stop();
        let _ = self.source.disconnect();
        if let Some(monitor) = &self.monitor {
            let _ = monitor.disconnect();
        }
    }
}
