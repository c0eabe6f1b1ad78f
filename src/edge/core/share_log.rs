//! What the log says of those that want more than their share of a budget: one line when it begins, one with the number of
//! all further refusals when the minute is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use super::budgets::Exhausted;
use super::location::Extension;
use crate::rate_limiter::ClientNetwork;

/// From the first refusal to the summaries.
const WINDOW: Duration = Duration::from_mins(1);
/// Lines at the beginning, and as many at the end of a window; who else is refused is only counted.
const MAX_LINES: usize = 10;
/// Shares that are told apart in a window.
const MAX_COUNTED: usize = 1_000;

#[derive(Default)]
pub struct ShareLog {
    refusals: HashMap<Share, Refusals>,
    /// Of shares beyond [`MAX_COUNTED`].
    others: u64,
}

/// Whose part of which budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Share {
    budget: &'static str,
    owner: Owner,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    All,
    Network(ClientNetwork),
    Extension(Extension),
    Tenant(String),
}

#[derive(Clone, Debug)]
struct Refusals {
    /// Who was refused first, as far as it is known.
    source: IpAddr,
    extension: Option<Extension>,
    exhausted: Exhausted,
    /// Without a line of their own.
    more: u64,
}

impl ShareLog {
    /// Something of a budget was refused to somebody. Returns when [`Self::summarize`] is due, if nobody has been told.
    pub fn refused(
        &mut self,
        budget: &'static str,
        exhausted: Exhausted,
        source: IpAddr,
        extension: Option<&Extension>,
        now: Instant,
    ) -> Option<Instant> {
        let owner = match (exhausted, extension) {
            (Exhausted::Network, _) => Owner::Network(ClientNetwork::of(source)),
            (Exhausted::Extension, Some(extension)) => Owner::Extension(extension.clone()),
            (Exhausted::Tenant, Some(extension)) => Owner::Tenant(extension.domain.clone()),
            (Exhausted::All | Exhausted::Extension | Exhausted::Tenant, _) => Owner::All,
        };
        let due = self.refusals.is_empty().then(|| now + WINDOW);
        let known = self.refusals.len();
        let share = Share { budget, owner };
        if let Some(refusals) = self.refusals.get_mut(&share) {
            refusals.more += 1;
        } else if known < MAX_COUNTED {
            let refusals = Refusals { source, extension: extension.cloned(), exhausted, more: 0 };
            if known < MAX_LINES {
                refusals.log(budget, 1, "refused: the share is used up");
                self.refusals.insert(share, refusals);
            } else {
                self.refusals.insert(share, Refusals { more: 1, ..refusals });
            }
        } else {
            self.others += 1;
        }
        due
    }

    /// The window is over.
    pub fn summarize(&mut self) {
        let (most, others) = self.take_summary();
        for (share, refusals) in most {
            refusals.log(share.budget, refusals.more, "more were refused in the last minute: the share is used up");
        }
        if others > 0 {
            warn!(refused = others, "as many were refused to others in the last minute, whose shares were used up");
        }
    }

    /// The shares that were most often wanted, and how many refusals there were of the others.
    fn take_summary(&mut self) -> (Vec<(Share, Refusals)>, u64) {
        let mut all: Vec<_> =
            std::mem::take(&mut self.refusals).into_iter().filter(|(_, refusals)| refusals.more > 0).collect();
        all.sort_by_key(|(_, refusals)| std::cmp::Reverse(refusals.more));
        let rest = all.split_off(all.len().min(MAX_LINES));
        let others = std::mem::take(&mut self.others) + rest.iter().map(|(_, refusals)| refusals.more).sum::<u64>();
        (all, others)
    }
}

impl Refusals {
    fn log(&self, budget: &str, refused: u64, message: &str) {
        let share = match self.exhausted {
            Exhausted::All => "all",
            Exhausted::Network => "address",
            Exhausted::Extension => "extension",
            Exhausted::Tenant => "tenant",
        };
        let (source, extension) = (self.source, self.extension.as_ref());
        let domain = extension.map(|extension| &extension.domain);
        let user = extension.map(|extension| &extension.user);
        warn!(budget, share, %source, domain, user = ?user, refused, "{message}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn extension(user: &str) -> Extension {
        Extension { domain: "acme.test".to_owned(), user: user.to_owned() }
    }

    #[test]
    fn whoever_is_refused_often_is_told_once_at_first_and_counted_for_one_summary() {
        let now = Instant::now();
        let mut log = ShareLog::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut refused =
            |user: &str| log.refused("echo calls", Exhausted::Extension, source, Some(&extension(user)), now);
        assert_eq!(refused("101"), Some(now + WINDOW));
        for _ in 0..5_000 {
            assert_eq!(refused("101"), None);
        }
        assert_eq!(refused("102"), None);
        let (most, others) = log.take_summary();
        let summary: Vec<_> = most.iter().map(|(share, refusals)| (&share.owner, refusals.more)).collect();
        assert_eq!((summary.as_slice(), others), (&[(&Owner::Extension(extension("101")), 5_000)][..], 0));
        let due = log.refused("echo calls", Exhausted::All, source, None, now);
        assert_eq!(due, Some(now + WINDOW), "a new minute");
    }

    #[test]
    fn neither_lines_nor_memory_follow_the_number_of_those_that_are_refused() {
        let now = Instant::now();
        let mut log = ShareLog::default();
        for n in 0..10_000_u32 {
            log.refused("connections", Exhausted::Network, IpAddr::from(n.to_be_bytes()), None, now);
        }
        assert_eq!(log.refusals.len(), MAX_COUNTED);
        let (most, others) = log.take_summary();
        assert_eq!((most.len(), others), (MAX_LINES, 10_000 - 2 * MAX_LINES as u64));
    }
}
