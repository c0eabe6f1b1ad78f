//! The store in one redb file, and a [`journal`](super::journal) beside it.
//!
//! One thread owns writing. It takes the batch that waits, and every other
//! batch that came meanwhile, and writes those whose conditions hold into the journal: one fsync then answers
//! many callers. The database learns of them in memory while the callers are on their way back. It is written itself when
//! the journal has grown long. Then it saves the allocator's state, too (quick-repair), so that after a crash the file
//! opens at once instead of being walked. Reads run on the blocking pool; they see all that was acknowledged, and
//! wait for the writer no longer than it takes to learn that, never for the disk.
//!
//! A page of the file that is free keeps its bytes until it is needed again. So after a batch that is to leave
//! no trace the writer copies the records into a new file, and puts that in the old one's place.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::ops::{Bound, Deref};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::file::{create_private, drop_unfinished, replace};
use super::journal::{Entry, Journal};
use super::{Batch, Error, Record, Revision, Store, TRACES, Visitor};

/// The embedded store. Cloning is cheap. The end of the last clone waits for the writer's last work, so that
/// the file is closed, and whole without the journal.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Arc<Hand>,
}

/// The way to the writer's thread, which ends with it.
struct Hand {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Hand {
    async fn pass(&self, request: Request) -> Option<()> {
        self.requests.as_ref()?.send(request).await.ok()
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

struct Shared {
    path: PathBuf,
    /// The writer holds it from before it answers until the database has all that was acknowledged.
    current: RwLock<Current>,
}

struct Current {
    database: Arc<Database>,
    /// Whether it has all that was acknowledged.
    whole: Result<(), Error>,
}

/// The records of one moment.
struct Records {
    table: redb::ReadOnlyTable<&'static str, Stored>,
    /// Is open as long as somebody reads there, though it may not be the current one any more.
    _database: Arc<Database>,
}

impl Deref for Records {
    type Target = redb::ReadOnlyTable<&'static str, Stored>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl Shared {
    fn records(&self) -> Result<Records, Error> {
        // The writer left it half done.
        let broken = |_| Error::Failed("the store's writer has stopped".into());
        let current = self.current.read().map_err(broken)?;
        current.whole.clone()?;
        let opened = || -> Result<_, redb::Error> { Ok(current.database.begin_read()?.open_table(RECORDS)?) };
        let table = opened().map_err(failed)?;
        Ok(Records { table, _database: Arc::clone(&current.database) })
    }

    fn database(&self) -> Arc<Database> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).database)
    }

    /// For the writer only.
    fn change(&self) -> RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// The database learns of what is in the journal; in memory, as that makes it durable.
    fn follow(
        &mut self,
        repeat: impl FnOnce(&mut dyn FnMut(&Entry<'_>) -> Result<(), redb::Error>) -> Result<(), redb::Error>,
    ) {
        let followed = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            Tables::open(&transaction)?.follow(repeat)?;
            Ok(transaction.commit()?)
        };
        self.whole = followed().map_err(failed);
        if let Err(error) = &self.whole {
            tracing::error!(%error, "the store's file does not follow its journal; nothing is read or written until it does");
        }
    }
}

impl Embedded {
    /// Opens the file at `path`, or makes it, readable by its owner only.
    /// Blocks for the time of a few disk reads.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Unreadable`]
    /// when it is no store of ours or a newer one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database = open_database(path)?;
        if let Err(error) = drop_unfinished(path) {
            tracing::warn!(%error, "what is left of a store's file that was being written anew is in the way of the next one");
        }
        let (journal, last) = prepare(&database, &path.with_extension(JOURNAL))?;
        let current = RwLock::new(Current { database: Arc::new(database), whole: Ok(()) });
        let shared = Arc::new(Shared { path: path.to_owned(), current });
        let has_traces = shared.records()?.get(TRACES).map_err(failed)?.is_some();
        let cleaning = Cleaning { due: has_traces.then(Instant::now), ..Cleaning::default() };
        let (writer, requests) = mpsc::channel(QUEUE);
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let clock = clock.map_err(|error| Error::Failed(format!("no clock for the store: {error}")))?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || Writer { shared: &shared, journal, last, cleaning }.write_all(&clock, requests)
            })
            .map_err(|error| Error::Failed(format!("no thread for the store: {error}")))?;
        Ok(Self { shared, writer: Arc::new(Hand { requests: Some(writer), thread: Some(thread) }) })
    }

    fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Records) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let shared = Arc::clone(&self.shared);
        async move {
            tokio::task::spawn_blocking(move || reading(&shared.records()?).map_err(failed))
                .await
                .map_err(|error| Error::Failed(error.to_string()))?
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
            self.writer.pass(Request { batch, answer }).await.ok_or_else(stopped)?;
            answered.await.map_err(|_| stopped())?
        }
        .boxed()
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

/// Opens the file at `path`, or makes it.
fn open_database(path: &Path) -> Result<Database, Error> {
    let failed = |error| Error::Failed(format!("{}: {error}", path.display()));
    loop {
        // redb would make the file with the mode of the umask.
        let file = match create_private(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).open(path)
            }
            made => made,
        };
        let file = file.map_err(failed)?;
        let opened = file.metadata().map_err(failed)?.ino();
        let database = database_in(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.display().to_string()),
            DatabaseError::Storage(error) => Error::Unreadable(format!("{}: {error}", path.display())),
            other => Error::Unreadable(format!("{}: {other}", path.display())),
        })?;
        // Whoever had it open may have put another in its place before it was closed.
        if fs::metadata(path).map_err(failed)?.ino() == opened {
            return Ok(database);
        }
    }
}

fn database_in(file: File) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)
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
        let (journal, last) = Tables::open(&transaction)?.follow(|follow| Journal::open(path, follow))?;
        transaction.open_table(COUNTERS)?.insert(FORMAT, CURRENT_FORMAT)?;
        transaction.commit()?;
        Ok((journal, last))
    };
    let (mut journal, last) = catch_up().map_err(failed)?;
    journal.cut_if_possible(0);
    Ok((journal, last))
}

/// The database while it is changed.
struct Tables<'t> {
    records: redb::Table<'t, &'static str, Stored>,
    counters: redb::Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { records: transaction.open_table(RECORDS)?, counters: transaction.open_table(COUNTERS)? })
    }

    /// Takes up what `repeat` hands it, as far as that is news. Then, the last revision.
    fn follow<T>(
        mut self,
        repeat: impl FnOnce(&mut dyn FnMut(&Entry<'_>) -> Result<(), redb::Error>) -> Result<T, redb::Error>,
    ) -> Result<(T, Revision), redb::Error> {
        let mut last = Revision(self.counters.get(REVISION)?.map_or(0, |last| last.value()));
        let outcome = repeat(&mut |entry| {
            if entry.revision > last {
                last = entry.revision;
                apply(&mut self.records, entry)?;
            }
            Ok(())
        })?;
        self.counters.insert(REVISION, last.0)?;
        Ok((outcome, last))
    }
}

/// The thread that writes.
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
    fn expect(&mut self) {
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
            self.cleaning.expect();
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

/// A database in the empty `file` with the records of another, whose last revision is this.
fn copied(from: &Database, file: File, last: Revision) -> Result<Database, redb::Error> {
    let database = database_in(file)?;
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let mut tables = Tables::open(&transaction)?;
    for entry in from.begin_read()?.open_table(RECORDS)?.iter()? {
        let (key, value) = entry?;
        if key.value() != TRACES {
            tables.records.insert(key.value(), value.value())?;
        }
    }
    tables.counters.insert(REVISION, last.0)?;
    tables.counters.insert(FORMAT, CURRENT_FORMAT)?;
    drop(tables);
    transaction.commit()?;
    Ok(database)
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
/// So long the file may keep what was to leave no trace, where writing it anew is quick.
const MOST_TRACES_LAST: Duration = Duration::from_secs(1);
/// After it failed.
const CLEANED_AGAIN: Duration = Duration::from_mins(1);
/// Batches in one transaction. Larger groups were measured to be slower again.
const GROUP: usize = 64;
/// Batches waiting; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

#[cfg(test)]
mod tests;
