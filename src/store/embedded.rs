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

mod database;
mod writer;

use std::ops::{Bound, Deref};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::{Database, Durability, ReadableDatabase as _};

pub(super) use database::{CACHE_BYTES, COUNTERS, RECORDS, REVISION, Stored, failed};
use database::{Tables, open_database, prepare};
use writer::Hand;

use super::file::drop_unfinished;
use super::journal::Entry;
use super::{Batch, Error, Record, Revision, Store, Visitor};

/// Of the journal's file, in the place of the database's ending.
pub(super) const JOURNAL: &str = "journal";

/// The embedded store. Cloning is cheap. The end of the last clone waits for the writer's last work, so that
/// the file is closed, and whole without the journal.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Arc<Hand>,
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
        let writer = Arc::new(Hand::start(Arc::clone(&shared), journal, last)?);
        Ok(Self { shared, writer })
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
        self.writer.commit(batch).boxed()
    }
}

fn record((revision, bytes): (u64, &[u8])) -> Record {
    Record { bytes: bytes.to_vec(), revision: Revision(revision) }
}

#[cfg(test)]
mod tests;
