//! The other party of a call: it plays a tone of its own, and recognises tones in what it hears. PCMU only.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::sound::{self, from_mu_law, mu_law};

/// 20 ms at 8 kHz.
pub const SAMPLES_PER_PACKET: usize = 160;
const RATE: u32 = 8_000;
/// What a tone is recognised in: half a second.
const HEARD_SAMPLES: usize = 4_000;
/// Packets that come later than this after the one before begin something new.
const GAP: Duration = Duration::from_millis(300);
/// A sample below it is silent: 40 dB below the loudest.
const QUIET: u16 = 300;

/// What happens to calls to a far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenCalled {
    Answers,
    /// A person presses "Decline".
    Declines,
    /// It rings until the test lets it answer.
    Rings,
    /// It answers, and refuses to be put on hold.
    AnswersAndRefusesHold,
}

pub struct Party {
    pub number: String,
    pub name: String,
    pub when_called: WhenCalled,
    /// Is heard before the answer.
    pub early: Option<EarlyMedia>,
    hz: AtomicU32,
    /// The network to the phone loses and delays packets.
    pub unsteady: bool,
    /// Nothing of the media arrives in either way.
    path_lost: AtomicBool,
    heard: Mutex<Heard>,
}

pub struct EarlyMedia {
    pub party: Arc<Party>,
    /// Another device answers: its 200 is of another dialog.
    pub forked: bool,
}

#[derive(Default)]
struct Heard {
    samples: VecDeque<i16>,
    last: Option<Instant>,
    silence: Silence,
}

/// Samples since [`Party::listen`].
#[derive(Default)]
struct Silence {
    heard: usize,
    /// How many of the last samples were silent, one after another.
    now: usize,
    longest: usize,
}

impl Party {
    pub fn new(number: &str, name: &str, hz: u32, when_called: WhenCalled) -> Self {
        let (number, name) = (number.to_owned(), name.to_owned());
        Self {
            number,
            name,
            when_called,
            early: None,
            unsteady: false,
            path_lost: AtomicBool::default(),
            hz: hz.into(),
            heard: Mutex::default(),
        }
    }

    /// `"Name" <sip:number@…>`
    pub fn identity(&self) -> String {
        identity(&self.name, &self.number)
    }

    /// Another tone from now on.
    pub fn set_tone(&self, hz: u32) {
        self.hz.store(hz, Ordering::Relaxed);
    }

    pub fn set_path_lost(&self, lost: bool) {
        self.path_lost.store(lost, Ordering::Relaxed);
    }

    pub fn is_path_lost(&self) -> bool {
        self.path_lost.load(Ordering::Relaxed)
    }

    /// Packet `number` of its endless tone.
    pub fn plays(&self, number: u64) -> Vec<u8> {
        let hz = f64::from(self.hz.load(Ordering::Relaxed));
        (0..SAMPLES_PER_PACKET as u64)
            .map(|n| {
                // A whole number of periods fits into a second, so the phase may start anew with each.
                let at = u32::try_from((number * SAMPLES_PER_PACKET as u64 + n) % u64::from(RATE)).unwrap();
                let phase = TAU * hz * f64::from(at) / f64::from(RATE);
                #[expect(clippy::cast_possible_truncation, reason = "bounded by the factor")]
                let sample = (phase.sin() * 8_000.0) as i16;
                mu_law(sample)
            })
            .collect()
    }

    pub fn hear(&self, payload: &[u8], now: Instant) {
        let mut heard = self.heard.lock().unwrap();
        if heard.last.is_some_and(|last| now.duration_since(last) > GAP) {
            heard.samples.clear();
        }
        heard.last = Some(now);
        for sample in payload.iter().map(|byte| from_mu_law(*byte)) {
            heard.samples.push_back(sample);
            heard.silence.add(sample);
        }
        let surplus = heard.samples.len().saturating_sub(HEARD_SAMPLES);
        heard.samples.drain(..surplus);
    }

    /// What was heard before does not count any more.
    pub fn forget(&self) {
        self.heard.lock().unwrap().samples.clear();
    }

    /// Begins to count silent samples.
    pub fn listen(&self) {
        self.heard.lock().unwrap().silence = Silence::default();
    }

    /// How many samples have come since [`Self::listen`], and the longest silence in them.
    pub fn silence(&self) -> (usize, Duration) {
        let silence = &self.heard.lock().unwrap().silence;
        (silence.heard, Duration::from_micros(silence.longest as u64 * 1_000_000 / u64::from(RATE)))
    }

    /// The share of `hz` in the last half second, from 0 to 1; `None` when less than that has come without a gap.
    pub fn share_of(&self, hz: u32) -> Option<f64> {
        let mut heard = self.heard.lock().unwrap();
        let fresh = heard.last.is_some_and(|last| last.elapsed() < GAP);
        (fresh && heard.samples.len() == HEARD_SAMPLES)
            .then(|| sound::share_at(heard.samples.make_contiguous(), RATE, f64::from(hz)))
    }
}

impl Silence {
    fn add(&mut self, sample: i16) {
        self.heard += 1;
        self.now = if sample.unsigned_abs() < QUIET { self.now + 1 } else { 0 };
        self.longest = self.longest.max(self.now);
    }
}

/// The value of a header field with an address.
pub fn identity(name: &str, number: &str) -> String {
    format!("\"{name}\" <sip:{number}@127.0.0.1>")
}
