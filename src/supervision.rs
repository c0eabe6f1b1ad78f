//! Background tasks, and whether the appliance can do all that it should.
//!
//! A task that panics is started anew, after a pause that grows while it goes on to panic; one that cannot be started
//! anew ends the process, which systemd starts again. `/readyz` says what is wrong as long as something is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;

/// When a task is started anew.
#[derive(Clone, Copy, Debug)]
struct Times {
    first_pause: Duration,
    max_pause: Duration,
    /// A task that has run so long is well again.
    recovery: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            max_pause: Duration::from_mins(1),
            recovery: Duration::from_secs(10),
        }
    }
}

impl Times {
    /// The pause before the next start, after one of `before` and a task that has run for `ran`.
    fn pause(self, before: Duration, ran: Duration) -> Duration {
        if ran >= self.recovery { self.first_pause } else { (2 * before).clamp(self.first_pause, self.max_pause) }
    }
}

/// What is wrong, by the part of the appliance that is concerned. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Health {
    /// None: nothing is wrong with the part any more.
    pub fn set(&self, part: &'static str, problem: Option<String>) {
        match problem {
            Some(problem) => self.problems_mut().insert(part, problem),
            None => self.problems_mut().remove(part),
        };
    }

    /// Sentences. None: the appliance can do all that it should.
    pub fn problems(&self) -> Vec<String> {
        self.problems_mut().values().cloned().collect()
    }

    fn problems_mut(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    health: Health,
    /// Why the process must end.
    fatal: watch::Sender<Option<String>>,
    times: Times,
}

impl Supervisor {
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Runs what `make` makes until it ends by itself, and makes it anew when it panics.
    pub fn keep<F>(&self, name: &'static str, make: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (health, times) = (self.health.clone(), self.times);
        tokio::spawn(async move {
            let mut pause = Duration::ZERO;
            loop {
                let started = Instant::now();
                let mut task = AbortOnDrop(tokio::spawn(make()));
                let ended = if let Ok(ended) = tokio::time::timeout(times.recovery, &mut task.0).await {
                    ended
                } else {
                    health.set(name, None);
                    (&mut task.0).await
                };
                let Err(error) = ended else {
                    health.set(name, None);
                    return;
                };
                pause = times.pause(pause, started.elapsed());
                tracing::error!(task = name, %error, ?pause, "a background task broke off and is started anew");
                health.set(name, Some(format!("the task {name} broke off; it is started anew")));
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Runs `task` until it ends by itself. When it panics, the process must end.
    pub fn require(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let supervisor = self.clone();
        let task = tokio::spawn(task);
        tokio::spawn(async move {
            if let Err(error) = task.await {
                supervisor.broke_off(name, &error);
            }
        });
    }

    /// The process must end, because a task that cannot be started anew broke off.
    pub fn broke_off(&self, name: &'static str, error: &JoinError) {
        // A task is aborted when its owner drops it.
        if error.is_panic() {
            self.health.set(name, Some(format!("the task {name} broke off; the process ends")));
            self.fatal.send_replace(Some(format!("the task {name} broke off: {error}")));
        }
    }

    /// Waits until the process must end, and says why.
    pub async fn must_end(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // Never: `self` holds the sender, and a reason was waited for.
            _ => std::future::pending().await,
        }
    }
}

/// A task that ends when this is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn pauses_grow_while_a_task_goes_on_to_break_off_and_begin_anew_after_it_ran_well() {
        let times = Times::default();
        let mut pause = Duration::ZERO;
        let mut next = |ran| {
            pause = times.pause(pause, ran);
            pause.as_secs()
        };
        assert_eq!([(); 8].map(|()| next(Duration::ZERO)), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(next(times.recovery), 1);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_started_anew_and_readiness_says_so_until_it_has_run_well() {
        let (pause, recovery) = (Duration::from_millis(1), Duration::from_millis(20));
        let times = Times { first_pause: pause, max_pause: pause, recovery };
        let supervisor = Supervisor { times, ..Supervisor::default() };
        let (starts, health) = (AtomicU32::new(0), supervisor.health().clone());
        let (started, mut starting) = mpsc::unbounded_channel();
        supervisor.keep("test", move || {
            let number = starts.fetch_add(1, Ordering::Relaxed);
            started.send(health.problems()).unwrap();
            async move {
                assert!(number >= 2, "the first two break off");
                std::future::pending::<()>().await;
            }
        });
        assert_eq!(starting.recv().await.unwrap(), [""; 0]);
        for _ in 0..2 {
            assert_eq!(starting.recv().await.unwrap(), ["the task test broke off; it is started anew"]);
        }
        while !supervisor.health().problems().is_empty() {
            tokio::time::sleep(pause).await;
        }
        assert!(starting.is_empty(), "it runs well");
    }

    #[tokio::test]
    async fn a_required_task_that_panics_ends_the_process_and_one_that_ends_does_not() {
        let supervisor = Supervisor::default();
        supervisor.require("short", async {});
        supervisor.require("broken", async { panic!("on purpose") });
        let reason = supervisor.must_end().await;
        assert!(reason.contains("broken") && reason.contains("on purpose"), "{reason}");
        assert_eq!(supervisor.health().problems(), ["the task broken broke off; the process ends"]);
    }
}
