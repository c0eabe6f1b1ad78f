//! The store in one redb file, and a [`journal`](super::journal) beside it.
//!
//! One thread owns writing. It takes the batch that waits, and every other
//! batch that came meanwhile, into one transaction and one entry of the journal: one fsync then answers
//! many callers. The database itself is written when the journal has grown long. Then
//! it saves the allocator's state, too (quick-repair), so that after a crash the file opens at once instead of
//! being walked. Reads run on the blocking pool; they see the last commit and never wait for the writer.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::{Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::file::create_private;
use super::journal::{Entry, Journal};
use super::{Batch, Error, Record, Revision, Store, Visitor};

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
        let (journal, last) = prepare(&database, &path.with_extension(JOURNAL))?;
        let database = Arc::new(database);
        let (writer, requests) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let database = Arc::clone(&database);
                move || Writer { database: &database, journal, last }.write_all(requests)
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

    fn visit_back<'a>(&'a self, from: &str, to: &str, mut visitor: Visitor) -> BoxFuture<'a, Result<(), Error>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let visited = self.read(move |table| {
            for entry in table.range(from.as_str()..to.as_str())?.rev() {
                let (key, value) = entry?;
                if let Err(error) = visitor(key.value(), value.value().1) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        });
        async move { visited.await? }.boxed()
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

/// Makes the tables, checks the file's format, and lets the database have what the journal at `path` still holds.
/// Returns the empty journal and the last revision given out.
fn prepare(database: &Database, path: &Path) -> Result<(Journal, Revision), Error> {
    let format = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let counters = transaction.open_table(COUNTERS)?;
        let format = counters.get(FORMAT)?.map_or(CURRENT_FORMAT, |format| format.value());
        Ok(format)
    };
    let format = format().map_err(failed)?;
    if format > CURRENT_FORMAT {
        return Err(Error::Unreadable(format!(
            "it has format {format}, this version knows up to {CURRENT_FORMAT}; use the newer bitcall that wrote it"
        )));
    }
    let catch_up = || -> Result<(Journal, Revision), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let mut last;
        let journal = {
            let mut records = transaction.open_table(RECORDS)?;
            let mut counters = transaction.open_table(COUNTERS)?;
            last = Revision(counters.get(REVISION)?.map_or(0, |last| last.value()));
            let journal = Journal::open(path, |entry| -> Result<(), redb::Error> {
                if entry.revision > last {
                    last = entry.revision;
                    apply(&mut records, entry)?;
                }
                Ok(())
            })?;
            counters.insert(FORMAT, CURRENT_FORMAT)?;
            counters.insert(REVISION, last.0)?;
            journal
        };
        transaction.commit()?;
        Ok((journal, last))
    };
    let (mut journal, last) = catch_up().map_err(failed)?;
    journal.cut_if_possible(0);
    Ok((journal, last))
}

/// The thread that writes.
struct Writer<'d> {
    database: &'d Database,
    journal: Journal,
    last: Revision,
}

type Outcomes = Vec<Result<Revision, Error>>;

impl Writer<'_> {
    /// Its life: until the last [`Embedded`] is gone.
    fn write_all(mut self, mut requests: mpsc::Receiver<Request>) {
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
            let outcomes = match self.write_group(&batches) {
                Ok((revision, outcomes)) => {
                    self.last = revision;
                    outcomes
                }
                Err(error) => vec![Err(failed(error)); batches.len()],
            };
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that went away has no use for its answer; the commit stands.
                let _ = answer.send(outcome);
            }
            if self.journal.length() > MOST_JOURNAL && self.write_database() {
                self.journal.begin_anew();
            }
        }
        // Nothing is left there of what was removed since.
        if self.write_database() {
            self.journal.cut_if_possible(0);
        }
    }

    /// One transaction for all the batches. A batch whose conditions fail leaves the others untouched.
    fn write_group(&mut self, batches: &[Batch]) -> Result<(Revision, Outcomes), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // In memory: durable by the journal.
        transaction.set_durability(Durability::None)?;
        let mut last = self.last;
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut entries = Vec::with_capacity(batches.len());
        {
            let mut records = transaction.open_table(RECORDS)?;
            for batch in batches {
                if let Some(key) = broken_condition(&records, batch)? {
                    outcomes.push(Err(Error::Conflict(key)));
                    continue;
                }
                last = Revision(last.0 + 1);
                let changes = batch.changes.iter().map(|(key, change)| (key.as_str(), change.as_deref()));
                let entry = Entry { revision: last, changes: changes.collect() };
                apply(&mut records, &entry)?;
                entries.push(entry);
                outcomes.push(Ok(last));
            }
            transaction.open_table(COUNTERS)?.insert(REVISION, last.0)?;
        }
        if !entries.is_empty() {
            let length = self.journal.length();
            self.journal.append(&entries)?;
            if let Err(error) = transaction.commit() {
                self.journal.cut_if_possible(length);
                return Err(error.into());
            }
        }
        Ok((last, outcomes))
    }

    /// Makes the database itself durable as it is now, after which the journal is not needed. On an error it is, and
    /// this is tried again after the next group.
    fn write_database(&mut self) -> bool {
        let written = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_quick_repair(true);
            transaction.open_table(COUNTERS)?.insert(REVISION, self.last.0)?;
            Ok(transaction.commit()?)
        };
        let outcome = written();
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the store's file could not be written; its journal grows");
        }
        outcome.is_ok()
    }
}

fn apply(records: &mut redb::Table<'_, &'static str, Stored>, entry: &Entry<'_>) -> Result<(), redb::Error> {
    for (key, change) in &entry.changes {
        match change {
            Some(bytes) => {
                records.insert(*key, (entry.revision.0, *bytes))?;
            }
            None => {
                records.remove(*key)?;
            }
        }
    }
    Ok(())
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
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Failed(error.into().to_string())
}

/// Revision and bytes.
pub(super) type Stored = (u64, &'static [u8]);

pub(super) const RECORDS: TableDefinition<&str, Stored> = TableDefinition::new("records");
pub(super) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const FORMAT: &str = "format";
pub(super) const REVISION: &str = "revision";
/// The layout of the tables above, and since 2 a journal beside them. What the records hold is versioned record
/// by record.
const CURRENT_FORMAT: u64 = 2;
/// Of the journal's file, in the place of the database's ending.
pub(super) const JOURNAL: &str = "journal";
/// Bytes: what a start repeats in a few milliseconds.
const MOST_JOURNAL: u64 = 1 << 20;
/// Whatever is read fills it, at the latest a start, and it is never given back; redb's default is 1 GiB. Nothing
/// that has to be quick reads the store, and its pages are in the kernel's cache, too.
pub(super) const CACHE_BYTES: usize = 4 << 20;
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
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let visitor = |last: &'static str| -> Visitor {
            let seen = Arc::clone(&seen);
            Box::new(move |key, _| {
                seen.lock().unwrap().push(key.to_owned());
                if key == last { Err(Error::Failed("enough".into())) } else { Ok(()) }
            })
        };
        store.visit_back("b/", "b0", visitor("nobody")).await.unwrap();
        store.visit_back("b/", "b0", visitor("b/2")).await.unwrap_err();
        assert_eq!(*seen.lock().unwrap(), ["b/3", "b/2", "b/1", "b/3", "b/2"]);
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
    async fn what_was_acknowledged_outlives_a_crash_at_any_length_of_the_journal() {
        let (directory, store) = store();
        let file = |name: &str| directory.path().join(name);
        let mut made = 0_usize;
        // The last rounds go beyond what the journal holds, several times.
        for (round, count) in [1, 0, 9, 30, 200, 100].into_iter().enumerate() {
            for _ in 0..count {
                made += 1;
                let batch = Batch::new().put(format!("k/{made}"), vec![7; 9000]);
                store
                    .commit(batch.remove(format!("k/{}", made / 2)).put("count", made.to_string().into()))
                    .await
                    .unwrap();
            }
            // The writer takes this when it has done with all before it.
            let refused = store.commit(Batch::new().require_absent("count")).await;
            assert!(matches!(refused, Err(Error::Conflict(_))));
            // A crash leaves the files as they are at this moment.
            let copy = file(&format!("crash-{round}.redb"));
            std::fs::copy(file("store.journal"), copy.with_extension(JOURNAL)).unwrap();
            std::fs::copy(file("store.redb"), &copy).unwrap();
            for opened in ["the first time", "once more"] {
                let after = reopened(&copy);
                let kept: Vec<_> = after.scan("k/").await.unwrap().into_iter().map(|(key, _)| key).collect();
                let mut expected: Vec<_> = (made / 2 + 1..=made).map(|n| format!("k/{n}")).collect();
                expected.sort();
                assert_eq!(kept, expected, "crash {round}, opened {opened}");
                let count = after.get("count").await.unwrap().unwrap();
                assert_eq!((count.bytes, count.revision.0), (made.to_string().into(), made as u64));
            }
        }
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
