//! What a call sends in place of the microphone's track, made by Web Audio.
//!
//! A call that mixes nothing sends the microphone's track itself: no graph adds delay to it, and no `AudioContext` has
//! to run.

use wasm_bindgen::JsCast;
use web_sys::{AudioBuffer, AudioContext, AudioScheduledSourceNode, MediaStreamAudioDestinationNode, MediaStreamTrack};

/// Sounds until it is dropped.
pub struct Mix {
    track: MediaStreamTrack,
    music: AudioScheduledSourceNode,
}

impl Mix {
    /// `music` in a loop, without the microphone. `None` where the browser creates no audio nodes.
    pub fn of_music(context: &AudioContext, music: &AudioBuffer) -> Option<Mix> {
        let destination = MediaStreamAudioDestinationNode::new(context).ok()?;
        let source = context.create_buffer_source().ok()?;
        source.set_buffer(Some(music));
        source.set_loop(true);
        source.connect_with_audio_node(&destination).ok()?;
        source.start().ok()?;
        let track = destination.stream().get_audio_tracks().get(0).dyn_into().ok()?;
        Some(Mix { track, music: source.into() })
    }

    pub fn track(&self) -> &MediaStreamTrack {
        &self.track
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        let _ = self.music.stop();
        let _ = self.music.disconnect();
        self.track.stop();
    }
}
