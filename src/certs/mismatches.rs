//! Names for which clients are shown another certificate than the one that should be served.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::progress::{Problem, ProblemKind};
use crate::timestamp::Timestamp;

/// What was wrong at the last look.
#[derive(Default)]
pub struct Mismatches(Mutex<HashMap<String, Mismatch>>);

struct Mismatch {
    /// Serial number of the certificate that should have been shown.
    meant: String,
    problem: Problem,
}

impl Mismatches {
    /// Of the certificate with this serial number, which is for these names.
    pub fn of(&self, serial: &str, names: &[String]) -> Option<Problem> {
        let all = self.all();
        let of_it = names.iter().filter_map(|name| all.get(name)).find(|mismatch| mismatch.meant == serial);
        of_it.map(|mismatch| mismatch.problem.clone())
    }

    /// Notes what a look at `name` came to; whether that is news.
    pub fn note(&self, name: &str, meant: &str, difference: Option<String>) -> bool {
        let mut all = self.all();
        let Some(message) = difference else { return all.remove(name).is_some() };
        if all.get(name).is_some_and(|known| known.meant == meant && known.problem.message == message) {
            return false;
        }
        let problem = Problem { kind: ProblemKind::NotServed, message, at: Timestamp::now() };
        all.insert(name.to_owned(), Mismatch { meant: meant.to_owned(), problem });
        true
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Mismatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
