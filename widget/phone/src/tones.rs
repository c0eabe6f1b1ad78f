//! Every sound the phone makes by itself, synthesised: ring tone, ring-back,
//! call waiting, keys.
//!
//! One `AudioContext` for the page's whole life (browsers allow few, iOS one).
//! It starts suspended and is unlocked by the first gesture; a tone that is
//! due meanwhile starts then. What sounds follows from the snapshot alone, so
//! a tone cannot outlive its state.

mod patterns;
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

/// What sounds now, and the clock of its repetition.
struct ActiveTone {
    sound: CallTone,
    voice: Rc<RefCell<Option<PlayingPattern>>>,
    _clock: BrowserTimer,
}

struct Inner {
    context: RefCell<Option<AudioContext>>,
    speaker: RefCell<Option<String>>,
    target: Cell<Option<CallTone>>,
    playing: RefCell<Option<ActiveTone>>,
    unlocked: Cell<bool>,
}

impl Tones {
    /// Nothing sounds before a gesture.
    pub fn silent() -> Tones {
        Tones(Rc::new(Inner {
            context: RefCell::default(),
            speaker: RefCell::default(),
            target: Cell::new(None),
            playing: RefCell::default(),
            unlocked: Cell::new(false),
        }))
    }

    /// Inside a gesture. Harmless when repeated; also wakes a context that iOS interrupted.
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

    /// The tone of a key (ITU-T Q.23).
    pub fn play_key(&self, digit: char) {
        if let (Some(context), Some((low, high))) = (self.0.context(), patterns::dtmf_frequencies(digit)) {
            synthesizer::play_key_tone(&context, low, high);
        }
    }

    pub fn apply_snapshot(&self, snapshot: &AgentSnapshot, page: &str) {
        self.0.target.set(patterns::tone_for(snapshot, page));
        self.0.update();
    }

    pub fn stop(&self) {
        self.0.target.set(None);
        self.0.update();
    }
}

impl Inner {
    /// Made at the first gesture: a context made before it is suspended and warns in the console.
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
        let target = self.target.get();
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
