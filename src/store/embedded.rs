//! The store in one redb file.
//!
//! One thread owns writing. It takes the batch that waits, and every other
//! batch that came meanwhile, into one transaction: one fsync then answers
//! many callers. Every commit saves the allocator's state (quick-repair), so
//! that after a crash the file opens at once instead of being walked.
//! Reads run on the blocking pool; they see the last commit and never wait for
//! the writer.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::file::create_private;
use super::{Batch, Error, Record, Revision, Store};

/// The embedded store. Cloning is cheap; the file closes when the last clone is gone.
#[derive(Clone)]
pub struct Embedded {
    database: Arc<Database>,
    writer: mpsc::Sender<Request>,
}

impl Embedded {
    /// Opens the file at `path`, or makes it, readable by its owner only.
    /// Blocks for the time of a few disk reads.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Unreadable`]
    /// when it is no store of ours or a newer one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // redb would make the file with the mode of the umask.
        match create_private(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::Failed(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.display().to_string()),
            DatabaseError::Storage(error) => Error::Unreadable(format!("{}: {error}", path.display())),
            other => Error::Unreadable(format!("{}: {other}", path.display())),
        })?;
        let last = prepare(&database)?;
        let database = Arc::new(database);
        let (writer, requests) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let database = Arc::clone(&database);
                move || write_all(&database, requests, last)
            })
            .map_err(|error| Error::Failed(format!("no thread for the store: {error}")))?;
        Ok(Self { database, writer })
    }

    fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&redb::ReadOnlyTable<&'static str, Stored>) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let database = Arc::clone(&self.database);
        async move {
            tokio::task::spawn_blocking(move || {
                let table = database.begin_read()?.open_table(RECORDS)?;
                reading(&table)
            })
            .await
            .map_err(|error| Error::Failed(error.to_string()))?
            .map_err(failed)
        }
        .boxed()
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &str) -> BoxFuture<'a, Result<Option<Record>, Error>> {
        let key = key.to_owned();
        self.read(move |table| Ok(table.get(key.as_str())?.map(|found| record(found.value()))))
    }

    fn scan<'a>(&'a self, prefix: &str) -> BoxFuture<'a, Result<Vec<(String, Record)>, Error>> {
        let prefix = prefix.to_owned();
        self.read(move |table| {
            let mut found = Vec::new();
            for entry in table.range(prefix.as_str()..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                found.push((key.value().to_owned(), record(value.value())));
            }
            Ok(found)
        })
    }

    fn keys<'a>(
        &'a self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        let prefix = prefix.to_owned();
        let after = after.map(str::to_owned);
        self.read(move |table| {
            let from = match after.as_deref() {
                Some(after) if after >= prefix.as_str() => Bound::Excluded(after),
                _ => Bound::Included(prefix.as_str()),
            };
            let mut found = Vec::new();
            for entry in table.range::<&str>((from, Bound::Unbounded))?.take(limit) {
                let (key, _) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                found.push(key.value().to_owned());
            }
            Ok(found)
        })
    }

    fn scan_back<'a>(
        &'a self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Record)>, Error>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.read(move |table| {
            if from >= to {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for entry in table.range(from.as_str()..to.as_str())?.rev().take(limit) {
                let (key, value) = entry?;
                found.push((key.value().to_owned(), record(value.value())));
            }
            Ok(found)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, Error>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let stopped = || Error::Failed("the store's writer has stopped".into());
            self.writer.send(Request { batch, answer }).await.map_err(|_| stopped())?;
            answered.await.map_err(|_| stopped())?
        }
        .boxed()
    }
}

struct Request {
    batch: Batch,
    answer: oneshot::Sender<Result<Revision, Error>>,
}

/// Makes the tables, checks the file's format, and returns the last revision given out.
fn prepare(database: &Database) -> Result<Revision, Error> {
    let prepare = || -> Result<(u64, u64), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(RECORDS)?;
        let found = {
            let mut counters = transaction.open_table(COUNTERS)?;
            let format = counters.get(FORMAT)?.map(|format| format.value());
            if format.is_none() {
                counters.insert(FORMAT, CURRENT_FORMAT)?;
            }
            let revision = counters.get(REVISION)?.map_or(0, |last| last.value());
            (format.unwrap_or(CURRENT_FORMAT), revision)
        };
        transaction.commit()?;
        Ok(found)
    };
    let (format, revision) = prepare().map_err(failed)?;
    if format > CURRENT_FORMAT {
        return Err(Error::Unreadable(format!(
            "it has format {format}, this version knows up to {CURRENT_FORMAT}; use the newer bitcall that wrote it"
        )));
    }
    Ok(Revision(revision))
}

/// The writer's life: until the last [`Embedded`] is gone.
fn write_all(database: &Database, mut requests: mpsc::Receiver<Request>, mut last: Revision) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match requests.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        let (batches, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|request| (request.batch, request.answer)).unzip();
        let outcomes = match write_group(database, &batches, last) {
            Ok((revision, outcomes)) => {
                last = revision;
                outcomes
            }
            Err(error) => vec![Err(failed(error)); batches.len()],
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // A caller that went away has no use for its answer; the commit stands.
            let _ = answer.send(outcome);
        }
    }
}

type Outcomes = Vec<Result<Revision, Error>>;

/// One transaction for all the batches. A batch whose conditions fail leaves the others untouched.
fn write_group(
    database: &Database,
    batches: &[Batch],
    mut last: Revision,
) -> Result<(Revision, Outcomes), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let mut outcomes = Vec::with_capacity(batches.len());
    {
        let mut records = transaction.open_table(RECORDS)?;
        for batch in batches {
            if let Some(key) = broken_condition(&records, batch)? {
                outcomes.push(Err(Error::Conflict(key)));
                continue;
            }
            last = Revision(last.0 + 1);
            for (key, change) in &batch.changes {
                match change {
                    Some(bytes) => {
                        records.insert(key.as_str(), (last.0, bytes.as_slice()))?;
                    }
                    None => {
                        records.remove(key.as_str())?;
                    }
                }
            }
            outcomes.push(Ok(last));
        }
        transaction.open_table(COUNTERS)?.insert(REVISION, last.0)?;
    }
    transaction.commit()?;
    Ok((last, outcomes))
}

fn broken_condition(
    records: &redb::Table<'_, &'static str, Stored>,
    batch: &Batch,
) -> Result<Option<String>, redb::Error> {
    for (key, condition) in &batch.conditions {
        let found = records.get(key.as_str())?.map(|found| Revision(found.value().0));
        if !condition.holds(found) {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn record((revision, bytes): (u64, &[u8])) -> Record {
    Record { bytes: bytes.to_vec(), revision: Revision(revision) }
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Failed(error.into().to_string())
}

/// Revision and bytes.
type Stored = (u64, &'static [u8]);

const RECORDS: TableDefinition<&str, Stored> = TableDefinition::new("records");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const FORMAT: &str = "format";
const REVISION: &str = "revision";
/// The layout of the tables above. What the records hold is versioned record by record.
const CURRENT_FORMAT: u64 = 1;
/// redb's default of 1 GiB would be filled by a large store and never given back.
const CACHE_BYTES: usize = 64 << 20;
/// Batches in one transaction. Larger groups were measured to be slower again.
const GROUP: usize = 64;
/// Batches waiting; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn store() -> (tempfile::TempDir, Embedded) {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
        (directory, store)
    }

    #[tokio::test]
    async fn a_batch_is_read_back_after_reopening() {
        let (directory, store) = store();
        let batch = Batch::new().put("a/1", b"one".to_vec()).put("a/2", b"two".to_vec());
        let revision = store.commit(batch).await.unwrap();
        store.commit(Batch::new().remove("a/2").put("b/1", vec![])).await.unwrap();
        drop(store);
        let store = reopened(&directory.path().join("store.redb"));
        let found = store.scan("a/").await.unwrap();
        let one = Record { bytes: b"one".to_vec(), revision };
        assert_eq!(found, [("a/1".to_owned(), one.clone())]);
        assert_eq!(store.get("a/1").await.unwrap(), Some(one));
        assert_eq!(store.get("a/2").await.unwrap(), None);
    }

    #[tokio::test]
    async fn keys_are_paged_in_their_order_within_their_prefix() {
        let (_directory, store) = store();
        let batch = ["a/1", "a/2", "a/3", "b/1"].into_iter().fold(Batch::new(), |batch, key| batch.put(key, vec![]));
        store.commit(batch).await.unwrap();
        assert_eq!(store.keys("a/", None, 2).await.unwrap(), ["a/1", "a/2"]);
        assert_eq!(store.keys("a/", Some("a/2"), 2).await.unwrap(), ["a/3"]);
        assert_eq!(store.keys("a/", Some("a/3"), 2).await.unwrap(), [""; 0]);
        assert_eq!(store.keys("b/", Some("a/3"), 2).await.unwrap(), ["b/1"]);
    }

    #[tokio::test]
    async fn a_range_is_read_from_its_end_page_by_page() {
        let (_directory, store) = store();
        let batch = ["a", "b/1", "b/2", "b/3", "c"].into_iter().fold(Batch::new(), |batch, key| batch.put(key, vec![]));
        store.commit(batch).await.unwrap();
        let keys = async |from, to, limit| {
            let found = store.scan_back(from, to, limit).await.unwrap();
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys("b/", "b0", 2).await, ["b/3", "b/2"]);
        assert_eq!(keys("b/", "b/2", 2).await, ["b/1"], "the end itself is not part of it");
        assert_eq!(keys("b/2", "b0", 9).await, ["b/3", "b/2"], "the start is");
        assert_eq!(keys("b/", "b/1", 9).await, [""; 0]);
        assert_eq!(keys("c", "a", 9).await, [""; 0], "the wrong way round");
    }

    #[tokio::test]
    async fn revisions_grow_across_restarts() {
        let (directory, store) = store();
        let before = store.commit(Batch::new().put("k", vec![])).await.unwrap();
        drop(store);
        let store = reopened(&directory.path().join("store.redb"));
        let after = store.commit(Batch::new().put("k", vec![])).await.unwrap();
        assert!(after > before);
    }

    #[tokio::test]
    async fn a_batch_whose_condition_fails_writes_nothing() {
        let (_directory, store) = store();
        let first = store.commit(Batch::new().put("k", b"1".to_vec())).await.unwrap();
        store.commit(Batch::new().put("k", b"2".to_vec())).await.unwrap();
        for batch in [
            Batch::new().require_revision("k", first),
            Batch::new().require_absent("k"),
            Batch::new().require_present("other"),
        ] {
            let outcome = store.commit(batch.put("k", b"3".to_vec()).put("new", vec![])).await;
            assert!(matches!(outcome, Err(Error::Conflict(_))));
        }
        assert_eq!(store.get("k").await.unwrap().unwrap().bytes, b"2");
        assert_eq!(store.get("new").await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_many_writers_that_read_the_same_revision_one_wins() {
        let (_directory, store) = store();
        let read = store.commit(Batch::new().put("k", vec![])).await.unwrap();
        let outcomes = futures_util::future::join_all(
            (0..100u8).map(|n| store.commit(Batch::new().require_revision("k", read).put("k", vec![n]))),
        )
        .await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_second_opener_is_told_that_the_store_is_in_use() {
        let (directory, _store) = store();
        let second = Embedded::open(&directory.path().join("store.redb"));
        assert!(matches!(second, Err(Error::InUse(_))));
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        std::fs::write(&path, "this is a letter, not a store".repeat(400)).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(Embedded::open(&path), Err(Error::Unreadable(_))));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    /// The file is free only once the writer thread has seen that nobody is left.
    fn reopened(path: &Path) -> Embedded {
        loop {
            match Embedded::open(path) {
                Err(Error::InUse(_)) => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    }
}
