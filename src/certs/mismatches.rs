//! Names for which clients get another certificate than the one that should be served.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::progress::{Problem, ProblemKind};
use crate::timestamp::Timestamp;

/// The mismatches found by the last check of each name.
#[derive(Default)]
pub struct Mismatches(Mutex<HashMap<String, Mismatch>>);

struct Mismatch {
    /// Serial number of the certificate that should have been served.
    expected: String,
    problem: Problem,
}

impl Mismatches {
    /// The problem of the certificate with this serial number and these names.
    pub fn of(&self, serial: &str, names: &[String]) -> Option<Problem> {
        let all = self.all();
        let of_it = names.iter().filter_map(|name| all.get(name)).find(|mismatch| mismatch.expected == serial);
        of_it.map(|mismatch| mismatch.problem.clone())
    }

    /// Records the result of a check; whether it differs from the one before.
    pub fn note(&self, name: &str, expected: &str, difference: Option<String>) -> bool {
        let mut all = self.all();
        let Some(message) = difference else { return all.remove(name).is_some() };
        if all.get(name).is_some_and(|known| known.expected == expected && known.problem.message == message) {
            return false;
        }
        let problem = Problem { kind: ProblemKind::NotServed, message, at: Timestamp::now() };
        all.insert(name.to_owned(), Mismatch { expected: expected.to_owned(), problem });
        true
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Mismatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
