//! What the log says of wrong passwords: the first of a minute one by one, as they are mostly mistyped; the rest in one
//! line when the minute is over, however many there were.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::location::Extension;

/// From the first wrong password to the summary.
const WINDOW: Duration = Duration::from_mins(1);
/// Lines in each window before the rest is only counted.
const MAX_LINES: usize = 10;
/// Addresses and extensions that are told apart in a window.
const MAX_COUNTED: usize = 1_000;

#[derive(Default)]
pub struct SignInLog {
    window: Option<Window>,
}

#[derive(Default)]
struct Window {
    lines: usize,
    summary: Summary,
    sources: HashMap<IpAddr, u64>,
    extensions: HashMap<Extension, u64>,
}

/// What had no line of its own.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    /// Wrong passwords.
    wrong: u64,
    /// Passwords that were not compared, after too many wrong ones.
    not_compared: u64,
}

impl SignInLog {
    /// A password was wrong, and no more are compared for `lock_out`. Returns when [`Self::summarize`] is due, if nobody
    /// has been told.
    pub fn wrong(
        &mut self,
        extension: &Extension,
        source: IpAddr,
        lock_out: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        let Extension { domain, user } = extension;
        let (window, due) = self.window(extension, source, now);
        window.lines += 1;
        match lock_out {
            _ if window.lines > MAX_LINES => window.summary.wrong += 1,
            None => info!(%source, domain, ?user, "wrong SIP credentials"),
            Some(lock_out) => warn!(
                %source, domain, ?user, seconds = lock_out.as_secs(),
                "too many wrong SIP credentials: no more are compared for a while"
            ),
        }
        due
    }

    /// A password was not compared. See [`Self::wrong`].
    pub fn not_compared(&mut self, extension: &Extension, source: IpAddr, now: Instant) -> Option<Instant> {
        let Extension { domain, user } = extension;
        debug!(%source, domain, ?user, "SIP credentials not compared: too many wrong ones");
        let (window, due) = self.window(extension, source, now);
        window.summary.not_compared += 1;
        due
    }

    /// The window is over.
    pub fn summarize(&mut self) {
        let Some(window) = self.window.take() else { return };
        let Summary { wrong, not_compared } = window.summary;
        if (wrong, not_compared) == (0, 0) {
            return;
        }
        let (addresses, extensions) = (window.sources.len(), window.extensions.len());
        let most_from = most(&window.sources);
        let most_for = most(&window.extensions);
        warn!(
            wrong,
            not_compared,
            addresses,
            extensions,
            ?most_from,
            domain = most_for.map(|extension| &extension.domain),
            most_for = ?most_for.map(|extension| &extension.user),
            "more wrong SIP credentials in the last minute"
        );
    }

    fn window(&mut self, extension: &Extension, source: IpAddr, now: Instant) -> (&mut Window, Option<Instant>) {
        let due = self.window.is_none().then(|| now + WINDOW);
        let window = self.window.get_or_insert_default();
        count(&mut window.sources, &source);
        count(&mut window.extensions, extension);
        (window, due)
    }
}

fn most<K>(counts: &HashMap<K, u64>) -> Option<&K> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(key, _)| key)
}

fn count<K: Clone + Eq + std::hash::Hash>(counts: &mut HashMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else if counts.len() < MAX_COUNTED {
        counts.insert(key.clone(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_first_of_a_minute_are_counted_for_one_summary() {
        let now = Instant::now();
        let extension = Extension { domain: "acme.test".to_owned(), user: "101".to_owned() };
        let mut log = SignInLog::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(log.wrong(&extension, source, None, now), Some(now + WINDOW));
        for _ in 1..5_000 {
            assert_eq!(log.wrong(&extension, source, None, now), None);
            assert_eq!(log.not_compared(&extension, source, now), None);
        }
        let summary = log.window.as_ref().map(|window| &window.summary);
        assert_eq!(summary, Some(&Summary { wrong: 4_990, not_compared: 4_999 }));
        log.summarize();
        assert_eq!(log.not_compared(&extension, source, now), Some(now + WINDOW), "a new minute");
    }

    #[test]
    fn memory_does_not_follow_the_addresses_that_fail() {
        let now = Instant::now();
        let mut log = SignInLog::default();
        for n in 0..10_000_u32 {
            let extension = Extension { domain: "acme.test".to_owned(), user: n.to_string() };
            log.wrong(&extension, IpAddr::from(n.to_be_bytes()), None, now);
        }
        let counted = log.window.as_ref().map(|window| (window.sources.len(), window.extensions.len()));
        assert_eq!(counted, Some((MAX_COUNTED, MAX_COUNTED)));
    }
}
