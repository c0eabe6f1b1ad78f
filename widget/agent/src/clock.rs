//! The agent's clock.
//!
//! Its time comes from the browser's monotonic clock, so that setting the computer's clock neither stops nor fires a
//! timer. While the computer sleeps that clock stands still in some systems (Chromium on Linux and macOS) and runs on
//! in others (Windows). The agent's time stands still in both, so that no call and no request times out by it, and the
//! agent is told how long it was stopped. The wall clock only says which times people are shown.

use bitcall_sip::ua::Millis;

/// A tick that is later shows that the agent was stopped. Browsers run the timers of a hidden page once a minute.
const MAX_TICK_DELAY_MS: u64 = 75_000;
/// A wall clock that is ahead of the monotonic one by more may mean that the computer slept. It may also have been set.
const MIN_SLEEP_MS: u64 = 5_000;
/// Shown times follow the wall clock in steps of this size, so that they do not change with every correction of it.
const MIN_SHOWN_CHANGE_MS: u64 = 1_000;

/// The browser's two clocks, in whole milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// `performance.now()`.
    pub monotonic_ms: u64,
    /// `Date.now()`: milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// What a reading shows besides the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockChange {
    /// The agent was stopped for about this time; 0 if it was not.
    pub asleep_ms: u64,
    /// [`AgentClock::shown`] gives other times than before.
    pub shown_times_changed: bool,
}

#[derive(Clone, Debug)]
pub struct AgentClock {
    now: Millis,
    last: ClockReading,
    /// The wall clock's time at the agent's time 0; negative where that was before 1970.
    shown_offset_ms: i64,
}

impl AgentClock {
    pub fn new(reading: ClockReading) -> AgentClock {
        // Unix time as origin makes shown times and the agent's the same, as long as nobody sets the clock.
        AgentClock { now: Millis(reading.wall_ms), last: reading, shown_offset_ms: 0 }
    }

    /// The agent's time at the last reading.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Goes on to this reading. `due` is the time of the agent's next tick.
    pub fn advance(&mut self, reading: ClockReading, due: Option<Millis>) -> ClockChange {
        let last = std::mem::replace(&mut self.last, reading);
        let elapsed = reading.monotonic_ms.saturating_sub(last.monotonic_ms);
        let delay = due.map_or(0, |due| self.now.plus(elapsed).since(due.max(self.now)));
        let stopped = if delay > MAX_TICK_DELAY_MS { delay } else { 0 };
        self.now = self.now.plus(elapsed - stopped);
        let ahead = reading.wall_ms.saturating_sub(last.wall_ms).saturating_sub(elapsed);
        let asleep_ms = stopped + if ahead > MIN_SLEEP_MS { ahead } else { 0 };
        let offset = signed(reading.wall_ms).saturating_sub(signed(self.now.0));
        let shown_times_changed = offset.abs_diff(self.shown_offset_ms) > MIN_SHOWN_CHANGE_MS;
        if shown_times_changed {
            self.shown_offset_ms = offset;
        }
        ClockChange { asleep_ms, shown_times_changed }
    }

    /// A time of the agent as the wall clock shows it now, in milliseconds since the Unix epoch.
    pub fn shown(&self, at_ms: u64) -> u64 {
        at_ms.saturating_add_signed(self.shown_offset_ms)
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
