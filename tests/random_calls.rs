//! Calls in random order: after each move the tones at every far end and in the pages are those that the model wants.
//!
//! Half of the moves do not wait until the last one has taken effect. A failure prints all moves. Other sequences than the
//! fixed ones: `RANDOM_CALLS=seed:moves cargo test --test behaviour random_calls`.

mod model;
mod moves;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::model::Model;
use crate::rig::b2bua::{B2bua, FarEnd};
use crate::rig::browser::Browser;
use crate::rig::firefox::Firefox;
use crate::rig::office::Office;
use crate::rig::test_bed::TestPhone;
use crate::rig::wait::until;

/// Index into [`FAR_ENDS`].
type Number = usize;

struct Far {
    number: &'static str,
    name: &'static str,
    hz: u32,
}

const FAR_ENDS: [Far; 3] = [
    Far { number: "201", name: "Anna", hz: 900 },
    Far { number: "202", name: "Bert", hz: 1_300 },
    Far { number: "203", name: "Carl", hz: 1_700 },
];

/// What the person's microphone hears, in either browser.
const PERSON: u32 = Office::TONE;

/// The share of the energy from which a tone counts as heard.
const HEARD: f64 = 0.1;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(150);
/// So many samples in a row are as they ought to be.
const SAMPLES_AT_REST: u32 = 3;
const REST_TIMEOUT: Duration = Duration::from_secs(15);

/// A linear congruential generator, so that a seed means the same sequence everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// How buttons are pressed: Firefox finds no controls by role.
#[derive(Clone, Copy, PartialEq)]
enum Hands {
    Mouse,
    Script,
}

struct RandomCalls<'a> {
    random: Random,
    b2bua: &'a B2bua,
    far: [FarEnd; 3],
    pages: Vec<TestPhone>,
    hands: Hands,
    model: Model,
    /// What was done, to be read after a failure.
    log: Vec<String>,
}

impl<'a> RandomCalls<'a> {
    fn new(seed: u64, b2bua: &'a B2bua, pages: Vec<TestPhone>, hands: Hands) -> Self {
        let far = [0, 1, 2].map(|n: Number| {
            let Far { number, name, hz } = FAR_ENDS[n];
            b2bua.far_end(number, name, hz)
        });
        let random = Random(seed.wrapping_mul(7_919));
        Self { random, b2bua, far, pages, hands, model: Model::default(), log: Vec::new() }
    }

    async fn run(&mut self, moves: usize) {
        let mut done = 0;
        let mut at_rest = true;
        while done < moves {
            let next = self.choose();
            if !at_rest && next.waits_for_rest() {
                self.comes_to_rest().await;
            }
            if !self.does(next).await {
                continue;
            }
            done += 1;
            at_rest = done == moves || self.random.below(2) == 0;
            if at_rest {
                self.comes_to_rest().await;
            }
            self.learns_which_call_is_displayed().await;
        }
    }

    /// Waits until everybody hears those whom they ought to hear, and nobody else.
    async fn comes_to_rest(&self) {
        let wanted = [0, 1, 2].map(|n| self.model.heard_by(n, PERSON));
        let wanted_here = self.model.heard_by_person();
        let start = Instant::now();
        let mut right = 0;
        while right < SAMPLES_AT_REST {
            let heard = [0, 1, 2].map(|n| self.heard_by(n));
            let here = self.heard_here().await;
            let same = here.len() == wanted_here.len()
                && here.iter().zip(&wanted_here).all(|(heard, wanted)| (heard - f64::from(*wanted)).abs() < 20.0);
            right = if heard == wanted && same { right + 1 } else { 0 };
            if start.elapsed() > REST_TIMEOUT {
                let mut screens = Vec::new();
                for page in &self.pages {
                    screens.push(page.frame.text().await.replace('\n', " / "));
                }
                panic!(
                    "far ends hear {heard:?} instead of {wanted:?}, the person {here:?} instead of {wanted_here:?}\n{}",
                    screens.join("\n"),
                );
            }
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
    }

    fn heard_by(&self, n: Number) -> Vec<u32> {
        let tones = [PERSON, FAR_ENDS[0].hz, FAR_ENDS[1].hz, FAR_ENDS[2].hz];
        tones.into_iter().filter(|hz| self.far[n].share(*hz).is_some_and(|share| share > HEARD)).collect()
    }

    async fn heard_here(&self) -> Vec<f64> {
        let mut pitches = Vec::new();
        for page in &self.pages {
            let heard = page.frame.heard().await.unwrap_or_default();
            pitches.extend(heard.iter().filter(|h| h.plays && h.pitch > 0.0).map(|h| h.pitch));
        }
        pitches.sort_by(f64::total_cmp);
        pitches
    }

    /// Where the displayed call has ended and several wait on hold: one cannot be switched to, as it is there already.
    async fn learns_which_call_is_displayed(&mut self) {
        let model = &mut self.model;
        if model.displayed.is_some_and(|n| model.calls.contains_key(&n)) || model.calls.is_empty() {
            return;
        }
        let waiting: Vec<Number> = model.calls.keys().copied().collect();
        let frame = &self.pages[0].frame;
        let names = "[...document.querySelectorAll('button')].map((b) => b.ariaLabel ?? '').join('\\n')";
        let displayed = until("one conversation to be displayed", async || {
            let buttons = frame.try_eval(names).await?;
            let buttons: Vec<&str> = buttons.as_str().unwrap_or_default().lines().collect();
            let listed = |n: Number| buttons.iter().any(|b| b.starts_with("Switch to") && b.contains(FAR_ENDS[n].name));
            let displayed: Vec<Number> = waiting.iter().copied().filter(|n| !listed(*n)).collect();
            match displayed[..] {
                [n] => Ok(n),
                [n, ..] if displayed.iter().all(|n| model.together.contains(n)) => Ok(n),
                _ => Err(format!("{buttons:?}")),
            }
        })
        .await;
        model.displayed = Some(displayed);
    }
}

impl Drop for RandomCalls<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("──── moves ────\n{}\n{:?}", self.log.join("\n"), self.model);
        }
    }
}

/// The sequence of this run: the given one, unless the environment names another.
fn sequence(seed: u64, moves: usize) -> (u64, usize) {
    let Ok(named) = std::env::var("RANDOM_CALLS") else { return (seed, moves) };
    let numbers = named.split_once(':').and_then(|(seed, moves)| Some((seed.parse().ok()?, moves.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("RANDOM_CALLS={named} ought to be seed:moves, e.g. 10:60"))
}

/// Far ends on hold hear silence.
fn without_music() -> Value {
    json!({ "behavior": { "holdMusic": { "enabled": false } } })
}

async fn in_chromium(seed: u64, moves: usize, pages: usize) {
    let (seed, moves) = sequence(seed, moves);
    let office = Office::open_in(Browser::start(PERSON).await, "enterprise", without_music()).await;
    let mut open = Vec::new();
    for _ in 1..pages {
        open.push(office.another_page().await);
    }
    let Office { phone, b2bua, browser, .. } = office;
    open.push(phone);
    RandomCalls::new(seed, &b2bua, open, Hands::Mouse).run(moves).await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn everybody_hears_whom_they_ought_to_hear() {
    in_chromium(1, 30, 1).await;
}

#[tokio::test]
async fn everybody_hears_whom_they_ought_to_hear_in_two_tabs() {
    in_chromium(2, 30, 2).await;
}

#[tokio::test]
async fn everybody_hears_whom_they_ought_to_hear_in_firefox() {
    let (seed, moves) = sequence(3, 25);
    let firefox = Firefox::start().await;
    let b2bua = B2bua::start().await;
    let (_bitcall, host) = Office::serve(&b2bua, "enterprise", without_music()).await;
    let mut pages = Vec::new();
    for _ in 0..2 {
        pages.push(TestPhone::open_in_firefox(&firefox, &host.url("/")).await);
    }
    RandomCalls::new(seed, &b2bua, pages, Hands::Script).run(moves).await;
}
