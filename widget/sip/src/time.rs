//! Time as a number that the caller passes in, and timers that the caller polls.

use serde::{Deserialize, Serialize};

/// Milliseconds on the driver's clock. The clock must not run backwards, and must not run on while the driver is
/// stopped ([`Input::Woke`](crate::ua::Input::Woke)). If state is restored after a restart, the clock must have the
/// same epoch as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A set of one-shot timers with at most one deadline per timer name `K`.
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

    pub(crate) fn at(&self, name: K) -> Option<Millis> {
        self.0.iter().find(|(_, other)| *other == name).map(|(at, _)| *at)
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.iter().map(|(at, _)| *at).min()
    }

    /// Removes and returns the earliest timer that is due.
    pub(crate) fn take_due(&mut self, now: Millis) -> Option<K> {
        let (index, _) = self.0.iter().enumerate().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at)?;
        Some(self.0.remove(index).1)
    }
}
