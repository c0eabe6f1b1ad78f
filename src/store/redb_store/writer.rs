//! The one thread that writes.
//!
//! Group commit: the thread takes the batch that waits and every other batch that has arrived meanwhile, and commits
//! them in one redb transaction. One fsync then answers many callers. A batch whose conditions do not hold is refused
//! and leaves the others of its group untouched.

use std::sync::Arc;
use std::thread::JoinHandle;

use redb::{Database, ReadableTable as _, Table};
use tokio::sync::{mpsc, oneshot};

use super::database::{COUNTERS, RECORDS, REVISION, Stored, failed};
use crate::store::{Batch, Error, Revision};

/// Batches in one transaction. Groups of 256 were measured to be slower than groups of 64.
const MAX_GROUP: usize = 64;
/// Batches that wait to be taken; beyond that, callers wait to be queued.
const MAX_QUEUED: usize = 1024;

/// The sending side; dropping it ends the thread and waits for its last commit.
pub struct WriterHandle {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl WriterHandle {
    pub fn start(database: Arc<Database>) -> Result<Self, Error> {
        let (sender, requests) = mpsc::channel(MAX_QUEUED);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_all(&database, requests))
            .map_err(|error| Error::Failed(format!("no thread for the store: {error}")))?;
        Ok(Self { requests: Some(sender), thread: Some(thread) })
    }

    pub async fn commit(&self, batch: Batch) -> Result<Revision, Error> {
        batch.check_limits()?;
        let stopped = || Error::Failed("the store's writer has stopped".into());
        let (answer, answered) = oneshot::channel();
        self.requests.as_ref().ok_or_else(stopped)?.send(Request { batch, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        // Closes the channel, which ends the thread.
        self.requests.take();
        // A panic of the thread was reported by the panic hook.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub struct Request {
    pub batch: Batch,
    pub answer: oneshot::Sender<Result<Revision, Error>>,
}

fn write_all(database: &Database, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = vec![first];
        while group.len() < MAX_GROUP {
            match requests.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        write_group(database, group);
    }
}

/// Commits the group, then answers each of its callers. A caller that went away does not get its answer; what was
/// committed stands.
pub fn write_group(database: &Database, group: Vec<Request>) {
    let outcomes = commit_group(database, group.iter().map(|request| &request.batch)).map_err(failed);
    match outcomes {
        Ok(outcomes) => {
            for (request, outcome) in group.into_iter().zip(outcomes) {
                let _ = request.answer.send(outcome);
            }
        }
        Err(error) => {
            for request in group {
                let _ = request.answer.send(Err(error.clone()));
            }
        }
    }
}

fn commit_group<'b>(
    database: &Database,
    batches: impl Iterator<Item = &'b Batch>,
) -> Result<Vec<Result<Revision, Error>>, redb::Error> {
    let mut transaction = database.begin_write()?;
    // The allocator's state is saved with each commit, so that the file opens at once after a crash.
    transaction.set_quick_repair(true);
    let mut outcomes = Vec::new();
    let changed = {
        let mut records = transaction.open_table(RECORDS)?;
        let mut counters = transaction.open_table(COUNTERS)?;
        let before = counters.get(REVISION)?.map_or(0, |revision| revision.value());
        let mut last = before;
        for batch in batches {
            if let Some(key) = broken_condition(&records, batch)? {
                outcomes.push(Err(Error::Conflict(key)));
                continue;
            }
            last += 1;
            apply(&mut records, batch, last)?;
            outcomes.push(Ok(Revision(last)));
        }
        if last > before {
            counters.insert(REVISION, last)?;
        }
        last > before
    };
    if changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(outcomes)
}

/// The key of the first condition of `batch` that does not hold.
fn broken_condition(records: &Table<'_, &'static str, Stored>, batch: &Batch) -> Result<Option<String>, redb::Error> {
    for (key, condition) in &batch.conditions {
        let found = records.get(key.as_str())?.map(|found| Revision(found.value().0));
        if !condition.holds(found) {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn apply(records: &mut Table<'_, &'static str, Stored>, batch: &Batch, revision: u64) -> Result<(), redb::Error> {
    for (key, change) in &batch.changes {
        match change {
            Some(bytes) => {
                records.insert(key.as_str(), (revision, bytes.as_slice()))?;
            }
            None => {
                records.remove(key.as_str())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use redb::ReadableDatabase as _;

    use super::super::database::prepare;
    use super::*;

    #[test]
    fn batches_of_one_group_are_applied_in_order_and_a_refused_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let database = Database::create(&path).unwrap();
        prepare(&database, &path).unwrap();
        let batches = [
            (Batch::new().require_absent("k").put("k", vec![1]), true),
            (Batch::new().require_absent("k").put("other", vec![2]), false),
            (Batch::new().require_present("k").remove("k").put("l", vec![3]), true),
            (Batch::new().require_present("k").put("other", vec![4]), false),
            (Batch::new().require_revision("l", Revision(2)).require_absent("k").put("l", vec![5]), true),
        ];
        let (batches, expected): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let (group, answers): (Vec<_>, Vec<_>) = batches
            .into_iter()
            .map(|batch| {
                let (answer, answered) = oneshot::channel();
                (Request { batch, answer }, answered)
            })
            .unzip();
        write_group(&database, group);
        let outcomes: Vec<_> = answers.into_iter().map(|mut answered| answered.try_recv().unwrap()).collect();
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), expected);
        assert!(outcomes.into_iter().flatten().map(|revision| revision.0).eq(1..=3));
        let records = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        let found = |key| records.get(key).unwrap().map(|found| found.value().1.to_vec());
        assert_eq!((found("k"), found("l"), found("other")), (None, Some(vec![5]), None));
    }
}
