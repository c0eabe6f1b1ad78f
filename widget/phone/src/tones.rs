//! All sounds of the phone, synthesized: ring tone, ringback, call waiting, keys.
//!
//! There is one `AudioContext` per page (browsers allow few, iOS one). It starts suspended and is resumed by
//! the first user gesture; a tone that is due by then starts at that moment. The tone follows from the
//! snapshot and, for ring-back, from the early media alone, so that it ends with the state it belongs to.

mod patterns;
pub mod ring_back;
mod synthesizer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::AgentSnapshot;
use web_sys::AudioContext;

use crate::browser::BrowserTimer;
use crate::media::speaker;
use patterns::CallTone;
use synthesizer::PlayingPattern;

pub struct Tones(Rc<Inner>);

/// The tone that is playing, and the timer of its repetition.
struct ActiveTone {
    sound: CallTone,
    voice: Rc<RefCell<Option<PlayingPattern>>>,
    _clock: BrowserTimer,
}

struct Inner {
    context: RefCell<Option<AudioContext>>,
    speaker: RefCell<Option<String>>,
    /// The tone for an incoming call.
    incoming: Cell<Option<CallTone>>,
    ring_back: Cell<bool>,
    playing: RefCell<Option<ActiveTone>>,
    unlocked: Cell<bool>,
}

impl Tones {
    /// Without an audio context until the first gesture.
    pub fn silent() -> Tones {
        Tones(Rc::new(Inner {
            context: RefCell::default(),
            speaker: RefCell::default(),
            incoming: Cell::new(None),
            ring_back: Cell::new(false),
            playing: RefCell::default(),
            unlocked: Cell::new(false),
        }))
    }

    /// Call it inside a user gesture; may be repeated. Also resumes a context that iOS has interrupted.
    pub fn unlock(&self) {
        self.0.unlocked.set(true);
        if let Some(context) = self.0.context()
            && let Ok(promise) = context.resume()
        {
            speaker::ignore_rejection(promise);
        }
        self.0.update();
    }

    pub fn use_speaker(&self, id: Option<&str>) {
        *self.0.speaker.borrow_mut() = id.map(str::to_owned);
        if let Some(context) = &*self.0.context.borrow() {
            speaker::set_sink_id(context, id);
        }
    }

    /// Plays the DTMF tone of a key (ITU-T Q.23).
    pub fn play_key(&self, digit: char) {
        if let (Some(context), Some((low, high))) = (self.0.context(), patterns::dtmf_frequencies(digit)) {
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

impl Inner {
    /// Created at the first gesture: before it, the context is suspended and the browser logs a warning.
    fn context(&self) -> Option<AudioContext> {
        if self.context.borrow().is_none() && self.unlocked.get() {
            let context = AudioContext::new().ok()?;
            if let Some(id) = &*self.speaker.borrow() {
                speaker::set_sink_id(&context, Some(id));
            }
            *self.context.borrow_mut() = Some(context);
        }
        self.context.borrow().clone()
    }

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
        let (Some(sound), Some(context)) = (target, self.context()) else {
            return;
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
}
