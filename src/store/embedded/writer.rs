//! The one thread that writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::database::{COUNTERS, REVISION, copied, failed};
use super::{Records, Shared};
use crate::store::file::replace;
use crate::store::journal::{Entry, Journal};
use crate::store::{Batch, Error, Revision, TRACES};

/// Bytes: what a start repeats in a few milliseconds.
const MOST_JOURNAL: u64 = 1 << 20;
/// So long the file may keep what was to leave no trace, where writing it anew is quick.
const MOST_TRACES_LAST: Duration = Duration::from_secs(1);
/// After it failed.
const CLEANED_AGAIN: Duration = Duration::from_mins(1);
/// Batches in one transaction. Larger groups were measured to be slower again.
const GROUP: usize = 64;
/// Batches waiting; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

/// The way to the thread, which ends with it.
pub struct Hand {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Hand {
    /// `last` is the revision given out last.
    pub fn start(shared: Arc<Shared>, journal: Journal, last: Revision) -> Result<Self, Error> {
        let has_traces = shared.records()?.get(TRACES).map_err(failed)?.is_some();
        let cleaning = Cleaning { due: has_traces.then(Instant::now), ..Cleaning::default() };
        let not_started = |error| Error::Failed(format!("no thread for the store: {error}"));
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(not_started)?;
        let (sender, requests) = mpsc::channel(QUEUE);
        let life = move || Writer { shared: &shared, journal, last, cleaning }.write_all(&clock, requests);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(life).map_err(not_started)?;
        Ok(Self { requests: Some(sender), thread: Some(thread) })
    }

    pub async fn commit(&self, batch: Batch) -> Result<Revision, Error> {
        let stopped = || Error::Failed("the store's writer has stopped".into());
        let (answer, answered) = oneshot::channel();
        self.requests.as_ref().ok_or_else(stopped)?.send(Request { batch, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // By this it hears that nobody is left.
        self.requests.take();
        // One that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Request {
    batch: Batch,
    answer: oneshot::Sender<Result<Revision, Error>>,
}

impl Request {
    fn answer(self, outcome: Result<Revision, Error>) {
        // A caller that went away has no use for its answer; what was done stands.
        let _ = self.answer.send(outcome);
    }
}

/// What the thread has.
struct Writer<'s> {
    shared: &'s Shared,
    journal: Journal,
    /// Given out last.
    last: Revision,
    cleaning: Cleaning,
}

/// When the file is written anew, for the sake of what was to leave no trace.
#[derive(Default)]
struct Cleaning {
    due: Option<Instant>,
    /// What the last one took.
    took: Duration,
}

impl Cleaning {
    /// Soon, and together with others; and of the writer's time a small part.
    fn plan(&mut self) {
        let pause = MOST_TRACES_LAST.max(self.took * 10);
        self.due.get_or_insert_with(|| Instant::now() + pause);
    }
}

impl Writer<'_> {
    /// Its life: until the last [`Embedded`] is gone. By the `clock`, it waits.
    fn write_all(mut self, clock: &Runtime, mut requests: mpsc::Receiver<Request>) {
        loop {
            let first = match self.cleaning.due {
                None => Ok(requests.blocking_recv()),
                Some(due) => clock.block_on(async { timeout_at(due.into(), requests.recv()).await }),
            };
            match first {
                Ok(Some(first)) => self.write_with_others(first, &mut requests),
                Ok(None) => break,
                Err(_) => {}
            }
            if self.cleaning.due.is_some_and(|due| due <= Instant::now()) {
                self.clean();
            }
        }
        if self.cleaning.due.is_some() {
            self.clean();
        }
        // Nothing is left there of what was removed since.
        if self.write_database() {
            self.journal.cut_if_possible(0);
        }
    }

    fn write_with_others(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut group = vec![first];
        while group.len() < GROUP {
            match requests.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        self.write_group(group);
        if self.journal.length() > MOST_JOURNAL && self.write_database() {
            self.journal.begin_anew();
        }
    }

    /// One entry of the journal for each batch whose conditions hold, and one wait for the disk for all of them. A batch
    /// that is refused leaves the others untouched.
    fn write_group(&mut self, mut group: Vec<Request>) {
        let batches: Vec<_> = group.iter_mut().map(|request| std::mem::take(&mut request.batch)).collect();
        let outcomes = self.decide(&batches).and_then(|outcomes| {
            let accepted = batches.iter().zip(&outcomes).filter_map(|(batch, outcome)| {
                let changes = batch.changes.iter().map(|(key, change)| (key.as_str(), change.as_deref()));
                Some(Entry { revision: *outcome.as_ref().ok()?, changes: changes.collect() })
            });
            let entries: Vec<_> = accepted.collect();
            if !entries.is_empty() {
                self.journal.append(&entries).map_err(failed)?;
            }
            Ok((outcomes, entries))
        });
        let (outcomes, entries) = match outcomes {
            Ok(kept) => kept,
            Err(error) => return group.into_iter().for_each(|request| request.answer(Err(error.clone()))),
        };
        // From here on it is done, whatever becomes of the database; and nobody reads there until that knows it.
        let mut current = self.shared.change();
        for (request, outcome) in group.into_iter().zip(outcomes) {
            request.answer(outcome);
        }
        if let Some(entry) = entries.last() {
            self.last = entry.revision;
            current.follow(|follow| entries.iter().try_for_each(follow));
        }
        if entries.iter().any(|entry| entry.changes.iter().any(|(key, _)| *key == TRACES)) {
            self.cleaning.plan();
        }
    }

    /// What becomes of each batch, were the ones before it done.
    fn decide(&mut self, batches: &[Batch]) -> Result<Vec<Result<Revision, Error>>, Error> {
        self.make_whole()?;
        let records = self.shared.records()?;
        let (mut last, mut outcomes) = (self.last, Vec::with_capacity(batches.len()));
        // What the ones before it change.
        let mut changed: HashMap<&str, Option<Revision>> = HashMap::new();
        for batch in batches {
            if let Some(key) = broken_condition(&records, &changed, batch).map_err(failed)? {
                outcomes.push(Err(Error::Conflict(key)));
                continue;
            }
            last = Revision(last.0 + 1);
            changed.extend(batch.changes.iter().map(|(key, change)| (key.as_str(), change.as_ref().map(|_| last))));
            outcomes.push(Ok(last));
        }
        Ok(outcomes)
    }

    /// Where the database could not follow, it tries again by the journal.
    fn make_whole(&mut self) -> Result<(), Error> {
        let mut current = self.shared.change();
        if current.whole.is_err() {
            current.follow(|follow| self.journal.repeat(follow).map(drop));
        }
        current.whole.clone()
    }

    /// Makes the database itself durable as it is now, after which the journal is not needed. On an error it is, and
    /// this is tried again after the next group.
    fn write_database(&mut self) -> bool {
        let (database, last) = (self.shared.database(), self.last);
        let written = || -> Result<(), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            transaction.open_table(COUNTERS)?.insert(REVISION, last.0)?;
            Ok(transaction.commit()?)
        };
        let outcome = self.make_whole().and_then(|()| written().map_err(failed));
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the store's file could not be written; its journal grows");
        }
        outcome.is_ok()
    }

    /// Writes the file anew, with nothing but the records that are. On an error this is tried again, and nothing is lost.
    fn clean(&mut self) {
        let started = Instant::now();
        let replaced = self.make_whole().and_then(|()| {
            let old = self.shared.database();
            replace(&self.shared.path, |file| copied(&old, file, self.last)).map_err(failed)
        });
        let cleaned = replaced.and_then(|(database, kept)| {
            self.shared.change().database = Arc::new(database);
            // Else the old file may come back, which needs the journal.
            kept.map_err(failed)?;
            self.journal.cut_if_possible(0);
            Ok(())
        });
        self.cleaning = Cleaning { due: None, took: started.elapsed() };
        if let Err(error) = cleaned {
            tracing::warn!(%error, "the store's file could not be written anew; it may hold traces of what was deleted");
            self.cleaning.due = Some(Instant::now() + CLEANED_AGAIN);
        }
    }
}

/// The key of the first condition of `batch` that does not hold, `changed` being done.
fn broken_condition(
    records: &Records,
    changed: &HashMap<&str, Option<Revision>>,
    batch: &Batch,
) -> Result<Option<String>, redb::Error> {
    for (key, condition) in &batch.conditions {
        let found = match changed.get(key.as_str()) {
            Some(revision) => *revision,
            None => records.get(key.as_str())?.map(|found| Revision(found.value().0)),
        };
        if !condition.holds(found) {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
