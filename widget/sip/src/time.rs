//! Time as a number that is passed in, and timers that are asked about instead of ringing.

use serde::{Deserialize, Serialize};

/// Milliseconds on the driver's clock. It must not run backwards by much and,
/// where state is kept over a restart, must mean the same after it (Unix time does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`, 0 if it lies in the future.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// At most one point in time for each name `K`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timers<K>(Vec<(Millis, K)>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq> Timers<K> {
    pub(crate) fn set(&mut self, name: K, at: Millis) {
        self.clear(name);
        self.0.push((at, name));
    }

    pub(crate) fn clear(&mut self, name: K) {
        self.0.retain(|(_, other)| *other != name);
    }

    pub(crate) fn clear_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.iter().map(|(at, _)| *at).min()
    }

    /// Takes out the earliest alarm that is due.
    pub(crate) fn due(&mut self, now: Millis) -> Option<K> {
        let (index, _) = self.0.iter().enumerate().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at)?;
        Some(self.0.remove(index).1)
    }
}
