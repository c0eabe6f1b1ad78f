//! What one call sends: microphone → gate → sender; with a clip or in a conference, microphone → gate → mix → sender;
//! hold music → mix → sender.
//!
//! The gate is the `enabled` of the call's own copy of the microphone's track, so it holds for everything that the
//! track is connected to. It is open while the call has the voice and is not muted.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::CallId;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AudioBuffer, AudioContext, AudioNode, MediaStreamTrack};

use super::mix::Mix;
use super::peer_connection::PeerConnection;
use super::{MediaNotice, MediaShared};
use crate::browser::{EventListener, sleep};
use crate::recordings::RecordedSound;
use crate::secondary;

/// The microphone is reopened when the operating system mutes it for longer than this.
const SILENCED_TRACK_TIMEOUT_MS: i32 = 1_500;

pub struct OutgoingAudio {
    call: CallId,
    media: Weak<MediaShared>,
    microphone: RefCell<Option<OwnTrack>>,
    /// Is sent in place of the microphone.
    mix: RefCell<Option<Mix>>,
    muted: Cell<bool>,
    /// The call has the voice.
    voice: Cell<bool>,
    hold_music: Cell<bool>,
    connections: RefCell<Vec<Weak<PeerConnection>>>,
    closed: Cell<bool>,
}

/// A call's copy of the microphone's track: its gate does not affect other calls. Stopped when dropped.
struct OwnTrack {
    track: MediaStreamTrack,
    _listeners: [EventListener; 2],
}

impl Drop for OwnTrack {
    fn drop(&mut self) {
        self.track.stop();
    }
}

impl OutgoingAudio {
    /// Without a microphone; neither muted nor with the voice.
    pub fn new(call: &str, media: Weak<MediaShared>) -> Rc<OutgoingAudio> {
        Rc::new(OutgoingAudio {
            call: call.to_owned(),
            media,
            microphone: RefCell::default(),
            mix: RefCell::default(),
            muted: Cell::new(false),
            voice: Cell::new(false),
            hold_music: Cell::new(false),
            connections: RefCell::default(),
            closed: Cell::new(false),
        })
    }

    /// Stops everything at once, for good.
    pub fn close(&self) {
        self.closed.set(true);
        self.stop_clip();
        self.microphone.take();
        self.mix.take();
    }

    /// Is sent to this connection from now on, as long as it exists.
    pub fn add_connection(&self, connection: &Rc<PeerConnection>) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|known| known.strong_count() > 0);
        connections.push(Rc::downgrade(connection));
    }

    /// Has a microphone track, even if the track has ended.
    pub fn has_microphone(&self) -> bool {
        self.microphone.borrow().is_some()
    }

    /// The far end must not hear the person.
    pub fn is_silenced(&self) -> bool {
        self.muted.get() || !self.voice.get()
    }

    pub fn set_muted(&self, muted: bool) {
        self.muted.set(muted);
        self.apply_gate();
    }

    /// Whether the call has the voice. Without it a clip ends as well.
    pub fn set_voice(&self, voice: bool) {
        self.voice.set(voice);
        self.apply_gate();
        self.notify_sound_changed();
        if !voice {
            self.stop_clip();
        }
    }

    /// The microphone's track, of which the call gets its own copy.
    pub fn set_microphone(self: &Rc<Self>, microphone: &MediaStreamTrack) {
        if self.closed.get() {
            return;
        }
        let track = clone_track(microphone);
        let weak = self.media.clone();
        let ended = EventListener::new(&track, "ended", move |_| {
            if let Some(media) = weak.upgrade() {
                media.reopen_microphone();
            }
        });
        let weak = Rc::downgrade(self);
        let silenced = EventListener::new(&track, "mute", move |_| {
            if let Some(this) = weak.upgrade() {
                this.check_silenced_track();
            }
        });
        let old = self.microphone.replace(Some(OwnTrack { track, _listeners: [ended, silenced] }));
        self.apply_gate();
        if let (Some(mix), Some(track)) = (&mut *self.mix.borrow_mut(), self.microphone_track()) {
            mix.set_microphone(&track);
        }
        self.update_senders();
        if old.is_none()
            && let Some(media) = self.media.upgrade()
        {
            media.update_conference();
        }
    }

    /// Starts or ends hold music.
    pub fn set_hold_music(self: &Rc<Self>, due: bool) {
        if self.hold_music.replace(due) == due {
            return;
        }
        if due {
            let this = Rc::downgrade(self);
            secondary::when_loaded(move |part| (part.start_hold_music)(this));
        } else {
            self.end_mix();
        }
    }

    /// Plays a clip beside the microphone, in place of one that is playing; with `monitored` the person hears it as well.
    /// False where the call has not the voice, or the browser makes no sound.
    pub fn play_clip(self: &Rc<Self>, context: &AudioContext, clip: &AudioBuffer, monitored: bool) -> bool {
        self.stop_clip();
        let weak = Rc::downgrade(self);
        let ended = Box::new(move || {
            if let Some(this) = weak.upgrade() {
                this.stop_clip();
            }
        });
        let plays = self.voice.get()
            && self.mix_microphone(context)
            && self.mix.borrow_mut().as_mut().is_some_and(|mix| mix.play_clip(clip, monitored, ended).is_ok());
        self.settle_mix();
        plays
    }

    pub fn play_beep(self: &Rc<Self>, context: &AudioContext, beep: &AudioBuffer) {
        if self.mix.borrow().is_none() {
            self.play_clip(context, beep, true);
        }
    }

    /// Ends the clip that is playing.
    pub fn stop_clip(&self) {
        let was_playing = self.mix.borrow_mut().as_mut().is_some_and(Mix::stop_clip);
        if was_playing {
            self.settle_mix();
            if let Some(media) = self.media.upgrade() {
                media.notify(MediaNotice::ClipEnded { call: self.call.clone() });
            }
        }
    }

    /// The other parties of the conference are sent beside the microphone. None of them without a context.
    pub fn set_others(&self, context: Option<&AudioContext>, others: Vec<AudioNode>) {
        if !others.is_empty() && context.is_none_or(|context| !self.mix_microphone(context)) {
            return;
        }
        let is_changed = self.mix.borrow_mut().as_mut().is_some_and(|mix| mix.set_others(others));
        if is_changed {
            self.settle_mix();
        }
    }

    /// Makes a mix with the microphone, unless there is one. False without a microphone.
    fn mix_microphone(&self, context: &AudioContext) -> bool {
        if self.mix.borrow().as_ref().is_some_and(Mix::has_microphone) {
            return true;
        }
        let microphone = self.microphone_track().filter(|_| !self.closed.get());
        let Some(mix) = microphone.and_then(|microphone| Mix::of_microphone(context, &microphone).ok()) else {
            return false;
        };
        *self.mix.borrow_mut() = Some(mix);
        true
    }

    /// Sends the mix, or the microphone again when there is nothing beside it.
    fn settle_mix(&self) {
        let is_idle = self.mix.borrow().as_ref().is_some_and(|mix| !mix.is_needed());
        if is_idle {
            self.end_mix();
        } else {
            self.update_senders();
        }
    }

    fn end_mix(&self) {
        let ended = self.mix.take();
        self.update_senders();
        drop(ended);
    }

    /// What the far end gets, without the other parties of the conference.
    pub fn own_sound(&self) -> Option<RecordedSound> {
        let mixed = self.mix.borrow().as_ref().map(|mix| RecordedSound::Node(mix.own().clone()));
        mixed.or_else(|| self.microphone_track().map(RecordedSound::Track))
    }

    /// What the far end gets.
    pub fn track(&self) -> Option<MediaStreamTrack> {
        let mixed = self.mix.borrow().as_ref().map(|mix| Clone::clone(mix.track()));
        mixed.or_else(|| self.microphone_track())
    }

    /// Needed after a negotiation: meanwhile the track may have changed, and the connection may have had no sender.
    pub fn update_senders(&self) {
        if let Some(track) = self.track() {
            for connection in self.connections.borrow().iter().filter_map(Weak::upgrade) {
                connection.send(&track);
            }
        }
        self.notify_sound_changed();
    }

    pub fn notify_sound_changed(&self) {
        if let Some(media) = self.media.upgrade()
            && !self.closed.get()
        {
            media.notify(MediaNotice::SoundChanged { call: self.call.clone() });
        }
    }

    fn microphone_track(&self) -> Option<MediaStreamTrack> {
        self.microphone.borrow().as_ref().map(|own| Clone::clone(&own.track))
    }

    fn apply_gate(&self) {
        if let Some(own) = &*self.microphone.borrow() {
            own.track.set_enabled(!self.is_silenced());
        }
    }

    /// The operating system has muted the track (a headset was switched off, another program took the
    /// device). Reopens the microphone if it stays muted, because opening another device may also mute the
    /// old track for a moment.
    fn check_silenced_track(self: &Rc<Self>) {
        let this = Rc::clone(self);
        spawn_local(async move {
            let before = this.microphone_track();
            sleep(SILENCED_TRACK_TIMEOUT_MS).await;
            let track = this.microphone_track();
            if track == before
                && track.is_some_and(|track| track.muted())
                && let Some(media) = this.media.upgrade()
            {
                media.reopen_microphone();
            }
        });
    }
}

/// Music starts when its sound is there and the browser lets it play. Until then the held party hears silence.
pub fn start_hold_music(outgoing: Weak<OutgoingAudio>) {
    spawn_local(async move {
        let media = outgoing.upgrade().and_then(|this| this.media.upgrade());
        let Some((music, audio)) = media.map(|media| (Rc::clone(&media.hold_music), Rc::clone(&media.audio))) else {
            return;
        };
        let (Some(buffer), Some(context)) = (music.buffer().await, audio.running_context().await) else {
            return;
        };
        if let Some(this) = outgoing.upgrade()
            && this.hold_music.get()
            && !this.closed.get()
            && this.mix.borrow().is_none()
        {
            *this.mix.borrow_mut() = Mix::of_music(&context, &buffer).ok();
            this.update_senders();
        }
    });
}

/// JavaScript's `MediaStreamTrack.clone()`, which creates a second track. web-sys gives it the name of
/// Rust's `clone`.
fn clone_track(microphone: &MediaStreamTrack) -> MediaStreamTrack {
    MediaStreamTrack::clone(microphone)
}
