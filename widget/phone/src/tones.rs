//! All sounds of the phone, synthesized: ring tone, ringback, call waiting, keys, the melody of hold music.
//!
//! A tone that is due before the first user gesture or open microphone starts with it. The tone follows from the snapshot and, for
//! ring-back, from the early media alone, so that it ends with the state it belongs to.

pub mod patterns;
pub mod ring_back;
pub mod synthesizer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::AgentSnapshot;
use wasm_bindgen_futures::spawn_local;

use crate::browser::BrowserTimer;
use crate::media::page_audio::PageAudio;
use patterns::CallTone;
use synthesizer::PlayingPattern;

pub struct Tones(Rc<TonesShared>);

/// The tone that is playing, and the timer of its repetition.
struct ActiveTone {
    sound: CallTone,
    voice: Rc<RefCell<Option<PlayingPattern>>>,
    _clock: BrowserTimer,
}

struct TonesShared {
    audio: Rc<PageAudio>,
    /// The tone for an incoming call.
    incoming: Cell<Option<CallTone>>,
    ring_back: Cell<bool>,
    playing: RefCell<Option<ActiveTone>>,
}

impl Tones {
    pub fn silent(audio: &Rc<PageAudio>) -> Tones {
        Tones(Rc::new(TonesShared {
            audio: Rc::clone(audio),
            incoming: Cell::new(None),
            ring_back: Cell::new(false),
            playing: RefCell::default(),
        }))
    }

    /// Starts a tone that is due, where sound was not possible so far.
    pub fn update(&self) {
        self.0.update();
    }

    /// Plays the DTMF tone of a key (ITU-T Q.23).
    pub fn play_key(&self, digit: char) {
        if let (Some(context), Some((low, high))) = (self.0.audio.context(), patterns::dtmf_frequencies(digit)) {
            synthesizer::play_key_tone(&context, low, high);
        }
    }

    pub fn apply_snapshot(&self, snapshot: &AgentSnapshot, page: &str) {
        self.0.incoming.set(patterns::incoming_tone(snapshot, page));
        self.0.update();
    }

    /// The ring-back tone of an outgoing call.
    pub fn set_ring_back(&self, due: bool) {
        self.0.ring_back.set(due);
        self.0.update();
    }

    pub fn stop(&self) {
        self.0.incoming.set(None);
        self.set_ring_back(false);
    }
}

impl TonesShared {
    fn update(self: &Rc<Self>) {
        let target = self.incoming.get().or(self.ring_back.get().then_some(CallTone::Ringback));
        let playing = self.playing.borrow().as_ref().map(|playing| playing.sound);
        if target == playing {
            return;
        }
        if let Some(playing) = self.playing.borrow_mut().take()
            && let Some(voice) = playing.voice.borrow_mut().take()
        {
            voice.stop();
        }
        let Some(sound) = target else { return };
        let Some(context) = self.audio.context() else {
            return self.start_when_allowed();
        };
        let pattern = patterns::pattern(sound);
        let voice = Rc::new(RefCell::new(PlayingPattern::start(&context, &pattern)));
        let clock = BrowserTimer::every(pattern.period_ms, {
            let voice = Rc::clone(&voice);
            move || {
                *voice.borrow_mut() = PlayingPattern::start(&context, &patterns::pattern(sound));
            }
        });
        *self.playing.borrow_mut() = Some(ActiveTone { sound, voice, _clock: clock });
    }

    /// A gesture in the host page counts for the phone's frame as well, which does not see it: only the browser knows.
    fn start_when_allowed(self: &Rc<Self>) {
        let inner = Rc::clone(self);
        spawn_local(async move {
            if inner.audio.running_context().await.is_some() {
                inner.audio.unlock();
                inner.update();
            }
        });
    }
}
