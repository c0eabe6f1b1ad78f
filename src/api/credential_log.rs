//! What the log says of wrong panel keys and master secrets: the first of a minute one by one, the others as a number, so
//! that whoever guesses cannot fill the log. Never what was guessed.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_mins(1);
/// Lines in each window before the rest is only counted.
const MAX_LINES: u32 = 10;

#[derive(Debug, Default)]
pub struct CredentialLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    /// What had no line of its own.
    more: u64,
}

/// What is to be logged of one wrong credential.
#[derive(Debug, Default, PartialEq, Eq)]
struct Logged {
    /// Of the window before, if there were any.
    more_before: u64,
    line: bool,
}

impl CredentialLog {
    /// `what` is the kind of credential, and `address` the one it came from.
    pub fn wrong(&self, what: &'static str, address: Option<IpAddr>) {
        let logged = self.0.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if logged.more_before > 0 {
            tracing::warn!(more = logged.more_before, "further wrong panel keys and master secrets were refused");
        }
        if logged.line {
            let address = address.map(tracing::field::display);
            tracing::warn!(address, "a wrong {what} was refused");
        }
    }
}

impl Window {
    fn count(&mut self, now: Instant) -> Logged {
        let mut logged = Logged::default();
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            logged.more_before = self.more;
            *self = Self { began: Some(now), ..Self::default() };
        }
        logged.line = self.lines < MAX_LINES;
        if logged.line {
            self.lines += 1;
        } else {
            self.more += 1;
        }
        logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_minute_have_a_line_each_and_the_rest_is_counted() {
        let (mut window, now) = (Window::default(), Instant::now());
        let lines = (0..25).filter(|_| window.count(now).line).count();
        assert_eq!(lines, 10);
        assert_eq!(window.count(now + WINDOW), Logged { more_before: 15, line: true });
        assert_eq!(window.count(now + 2 * WINDOW), Logged { more_before: 0, line: true });
    }
}
