//! What `/readyz` tells of the store.
//!
//! On a disk that is nearly full a small record still fits while a larger one does not, so that the store fails and recovers
//! with every other write. Readiness does not follow: after a failure it comes back when the store has been written for
//! [`RECOVERY_TIME`] without another.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::store::StoreState;
use crate::supervision::Health;

/// Longer than the pause between the tries of a store that fails, and than that between the probes of most monitors.
const RECOVERY_TIME: Duration = Duration::from_secs(10);

#[derive(Default)]
struct StoreReadiness {
    problem: Option<String>,
    /// It has failed and not recovered.
    is_failing: bool,
    recovered_at: Option<Instant>,
}

impl StoreReadiness {
    fn changed(&mut self, state: &StoreState, now: Instant) {
        match state.problem() {
            Some(problem) => {
                self.is_failing |= matches!(state, StoreState::ReadOnly(_));
                (self.problem, self.recovered_at) = (Some(problem), None);
            }
            None if self.is_failing => self.recovered_at = Some(now + RECOVERY_TIME),
            None => self.problem = None,
        }
    }

    /// To be called when [`Self::recovered_at`] has come.
    fn time_passed(&mut self, now: Instant) {
        if self.recovered_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
    }

    fn problem(&self) -> Option<String> {
        let problem = self.problem.clone()?;
        let more =
            if self.recovered_at.is_some() { "; it is written again, and ready once that has lasted" } else { "" };
        Some(problem + more)
    }
}

/// Keeps the readiness of the store up to date. For a task of its own; ends with the store.
pub async fn tell(mut state: watch::Receiver<StoreState>, health: Health) {
    let mut readiness = StoreReadiness::default();
    loop {
        readiness.changed(&state.borrow_and_update(), Instant::now());
        loop {
            health.set("store", readiness.problem());
            let recovery = async {
                match readiness.recovered_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = state.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = recovery => readiness.time_passed(Instant::now()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_store_that_fails_now_and_then_is_not_ready_until_it_has_been_written_for_a_while() {
        let mut now = Instant::now();
        let mut readiness = StoreReadiness::default();
        readiness.changed(&StoreState::Verifying, now);
        assert!(readiness.problem().unwrap().contains("verified"));
        readiness.changed(&StoreState::Writable, now);
        assert_eq!(readiness.problem(), None, "nothing has failed yet");
        let full = StoreState::ReadOnly("disk full".into());
        for _ in 0..20 {
            readiness.changed(&full, now);
            assert_eq!(readiness.problem().unwrap(), "the store cannot be written: disk full");
            readiness.changed(&StoreState::Writable, now);
            now += RECOVERY_TIME / 2;
            readiness.time_passed(now);
            assert!(readiness.problem().unwrap().contains("disk full; it is written again"));
        }
        now += RECOVERY_TIME / 2;
        readiness.time_passed(now);
        assert_eq!(readiness.problem(), None);
    }
}
