//! The one thread that writes.
//!
//! Group commit: the thread takes the batch that waits and every other batch that has arrived meanwhile, and commits
//! them in one redb transaction. One fsync then answers many callers. A batch whose conditions do not hold is refused
//! and leaves the others of its group untouched.
//!
//! The thread begins by verifying the file. When a commit fails, it opens the file again, and so knows whether the group
//! was written nevertheless. Until a commit has succeeded, each group is another attempt; an empty one writes, too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::{Database, ReadableTable as _, Table};
use tokio::sync::{mpsc, oneshot};

use super::database::{COUNTERS, RECORDS, REVISION, Stored, failed, upgrade};
use super::file::{Identity, Open, StoreFile};
use super::verify::{DIGEST, digest, guarded, verify};
use crate::store::{Batch, Error, Revision, StoreState};

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
    /// Starts to write `file`, which `open` opens for it.
    pub fn start(file: Arc<StoreFile>, open: Open) -> Result<Self, Error> {
        let (sender, requests) = mpsc::channel(MAX_QUEUED);
        let (revision, identity) = (file.revision()?, file.identity());
        let mut writer = Writer { file, open, revision, attempted: revision, identity, is_suspect: true };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(requests))
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

struct Request {
    batch: Batch,
    answer: oneshot::Sender<Result<Revision, Error>>,
}

struct Writer {
    file: Arc<StoreFile>,
    open: Open,
    /// The one given out last.
    revision: u64,
    /// The last one of a group of which it is not known whether it was written.
    attempted: u64,
    /// Of the file after the last commit.
    identity: Option<Identity>,
    /// Whether the file is to be verified before it is written.
    is_suspect: bool,
}

impl Writer {
    fn run(&mut self, mut requests: mpsc::Receiver<Request>) {
        if self.open_again().is_ok() {
            self.set_state(StoreState::Writable);
        }
        while let Some(first) = requests.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP {
                match requests.try_recv() {
                    Ok(next) => group.push(next),
                    Err(_) => break,
                }
            }
            self.write_group(group);
        }
    }

    /// Commits the group, then answers each of its callers. A caller that went away does not get its answer; what was
    /// committed stands.
    fn write_group(&mut self, group: Vec<Request>) {
        let batches: Vec<_> = group.iter().map(|request| &request.batch).collect();
        match self.commit(&batches) {
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

    fn commit(&mut self, batches: &[&Batch]) -> Result<Vec<Result<Revision, Error>>, Error> {
        let was_writable = match &*self.file.state.borrow() {
            StoreState::Damaged(error) => return Err(error.clone()),
            state => *state == StoreState::Writable,
        };
        self.is_suspect |= self.file.identity() != self.identity;
        if self.is_suspect || self.file.write(|_| ()).is_none() {
            self.open_again()?;
        }
        let mut group = None;
        let attempt = |database: &Database| commit_group(database, batches, !was_writable, &mut group);
        let error = match catch_unwind(AssertUnwindSafe(|| self.file.write(attempt))) {
            Ok(Some(Ok(()))) => return Ok(self.committed(group)),
            Ok(Some(Err(error))) => {
                self.is_suspect = !matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo);
                failed(error)
            }
            Ok(None) => Error::Failed("the store is not open for writing".into()),
            Err(_) => {
                self.is_suspect = true;
                Error::Failed("a write broke off".into())
            }
        };
        let before = self.revision;
        self.attempted = group.as_ref().map_or(before, |group| group.last);
        if self.open_again().is_ok() {
            self.set_state(StoreState::ReadOnly(error.to_string()));
        }
        // Only the last step may have failed, after which the group counts.
        match group {
            Some(group) if group.last > before && self.file.revision() == Ok(group.last) => {
                self.revision = group.last;
                Ok(group.outcomes)
            }
            _ => Err(error),
        }
    }

    fn committed(&mut self, group: Option<Group>) -> Vec<Result<Revision, Error>> {
        self.identity = self.file.identity();
        self.set_state(StoreState::Writable);
        let Group { outcomes, last } = group.unwrap_or_default();
        (self.revision, self.attempted) = (last, last);
        outcomes
    }

    fn open_again(&mut self) -> Result<(), Error> {
        let file = Arc::clone(&self.file);
        let opened = guarded(file.path(), || self.try_open());
        match &opened {
            Ok(()) => {}
            Err(error @ Error::Unreadable(_)) => self.set_state(StoreState::Damaged(error.clone())),
            Err(error) => self.set_state(StoreState::ReadOnly(error.to_string())),
        }
        opened
    }

    fn try_open(&mut self) -> Result<(), Error> {
        let path = self.file.path();
        self.file.only_read();
        if self.is_suspect {
            verify(path)?;
        }
        self.file.open_for_writing(&self.open)?;
        let found = self.file.revision()?;
        if found != self.revision && found != self.attempted {
            return Err(Error::Unreadable(format!(
                "{} was replaced under the running server by one with other records; restart bitcall to take it over",
                path.display()
            )));
        }
        self.file.write(|database| upgrade(database, path, false)).transpose()?;
        self.revision = found;
        self.is_suspect = false;
        self.identity = self.file.identity();
        Ok(())
    }

    fn set_state(&self, state: StoreState) {
        self.file.state.send_if_modified(|current| {
            let is_news = std::mem::discriminant(current) != std::mem::discriminant(&state);
            match &state {
                StoreState::Writable if matches!(current, StoreState::ReadOnly(_)) => {
                    tracing::info!("the store is written again");
                }
                StoreState::ReadOnly(reason) if is_news => {
                    tracing::error!(reason, "the store cannot be written; this is tried again");
                }
                StoreState::Damaged(error) if is_news => tracing::error!(%error, "the store is not written any more"),
                _ => {}
            }
            let is_changed = *current != state;
            *current = state;
            is_changed
        });
    }
}

/// What came of a group's batches, and the revision of the last one.
#[derive(Default)]
struct Group {
    outcomes: Vec<Result<Revision, Error>>,
    last: u64,
}

/// Commits the batches as one. `group` is known before the commit, and says what came of them if it succeeds. With
/// `always` something is written in any case.
fn commit_group(
    database: &Database,
    batches: &[&Batch],
    always: bool,
    group: &mut Option<Group>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // The allocator's state is saved with each commit, so that the file opens at once after a crash.
    transaction.set_quick_repair(true);
    let mut outcomes = Vec::new();
    let changed = {
        let mut records = transaction.open_table(RECORDS)?;
        let mut counters = transaction.open_table(COUNTERS)?;
        let before = counters.get(REVISION)?.map_or(0, |revision| revision.value());
        let mut sum = counters.get(DIGEST)?.map_or(0, |sum| sum.value());
        let mut last = before;
        for batch in batches {
            if let Some(key) = broken_condition(&records, batch)? {
                outcomes.push(Err(Error::Conflict(key)));
                continue;
            }
            last += 1;
            apply(&mut records, batch, last, &mut sum)?;
            outcomes.push(Ok(Revision(last)));
        }
        let changed = last > before || always;
        if changed {
            counters.insert(REVISION, last)?;
            counters.insert(DIGEST, sum)?;
        }
        *group = Some(Group { outcomes, last });
        changed
    };
    if changed { Ok(transaction.commit()?) } else { Ok(transaction.abort()?) }
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

/// `sum` is that over all records before, and then after.
fn apply(
    records: &mut Table<'_, &'static str, Stored>,
    batch: &Batch,
    revision: u64,
    sum: &mut u64,
) -> Result<(), redb::Error> {
    for (key, change) in &batch.changes {
        let before = match change {
            Some(bytes) => {
                *sum = sum.wrapping_add(digest(key, revision, bytes));
                records.insert(key.as_str(), (revision, bytes.as_slice()))?
            }
            None => records.remove(key.as_str())?,
        };
        if let Some(before) = before {
            let (revision, bytes) = before.value();
            *sum = sum.wrapping_sub(digest(key, revision, bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::{RedbStore, Store as _};

    #[tokio::test]
    async fn batches_of_one_group_are_applied_in_order_and_a_refused_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        super::super::create(&path).unwrap();
        let batches = [
            (Batch::new().require_absent("k").put("k", vec![1]), true),
            (Batch::new().require_absent("k").put("other", vec![2]), false),
            (Batch::new().require_present("k").remove("k").put("l", vec![3]), true),
            (Batch::new().require_present("k").put("other", vec![4]), false),
            (Batch::new().require_revision("l", Revision(2)).require_absent("k").put("l", vec![5]), true),
        ];
        let (batches, expected): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let mut group = None;
        let database = Database::open(&path).unwrap();
        commit_group(&database, &batches.iter().collect::<Vec<_>>(), false, &mut group).unwrap();
        drop(database);
        let outcomes = group.unwrap().outcomes;
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), expected);
        assert!(outcomes.into_iter().flatten().map(|revision| revision.0).eq(1..=3));
        let store = RedbStore::open(&path).unwrap();
        let found = store.scan("").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), &*found[0].1.bytes), ("l", &[5][..]));
        StoreState::verified(store.state()).await.unwrap();
    }
}
