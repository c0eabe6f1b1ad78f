//! The store in one redb file.
//!
//! One thread owns writing and commits waiting batches in groups ([`writer`]). Reads run on the blocking pool in read
//! transactions of their own; they see everything that was acknowledged before they began, and never wait for a write.

mod compact;
mod database;
mod read_only;
mod writer;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::{Database, ReadableDatabase as _};

pub use compact::{Compacted, compact};
pub use read_only::read_only;

use super::private_file::drop_unfinished;
use super::{Batch, Error, Record, Revision, Store};
use database::{RECORDS, Stored, failed, open_database, prepare, remove_empty_journal};
use writer::WriterHandle;

type Records = redb::ReadOnlyTable<&'static str, Stored>;

/// The embedded store. Cloning is cheap. Dropping the last clone waits for the writer's last commit.
#[derive(Clone)]
pub struct RedbStore {
    database: Arc<Database>,
    writer: Arc<WriterHandle>,
}

impl RedbStore {
    /// Opens the file at `path`, or makes it, readable by its owner only.
    /// Blocks for the time of a few disk reads.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Unreadable`] when it is no store of ours, a newer
    /// one, or one of an earlier version that cannot be taken over without loss.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database = open_database(path)?;
        if let Err(error) = drop_unfinished(path) {
            tracing::warn!(%error, "the unfinished copy of an interrupted compaction is in the way of the next one");
        }
        prepare(&database, path)?;
        remove_empty_journal(path);
        let database = Arc::new(database);
        let writer = Arc::new(WriterHandle::start(Arc::clone(&database))?);
        Ok(Self { database, writer })
    }

    fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Records) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let database = Arc::clone(&self.database);
        let read = move || -> Result<T, redb::Error> { reading(&database.begin_read()?.open_table(RECORDS)?) };
        async move {
            tokio::task::spawn_blocking(move || read().map_err(failed))
                .await
                .map_err(|error| Error::Failed(error.to_string()))?
        }
        .boxed()
    }
}

impl Store for RedbStore {
    fn get<'a>(&'a self, key: &str) -> BoxFuture<'a, Result<Option<Record>, Error>> {
        let key = key.to_owned();
        self.read(move |records| Ok(records.get(key.as_str())?.map(|found| record(found.value()))))
    }

    fn scan<'a>(&'a self, prefix: &str) -> BoxFuture<'a, Result<Vec<(String, Record)>, Error>> {
        let prefix = prefix.to_owned();
        self.read(move |records| {
            let mut found = Vec::new();
            for entry in records.range(prefix.as_str()..)? {
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
        self.read(move |records| {
            let from = match after.as_deref() {
                Some(after) if after >= prefix.as_str() => Bound::Excluded(after),
                _ => Bound::Included(prefix.as_str()),
            };
            let mut found = Vec::new();
            for entry in records.range::<&str>((from, Bound::Unbounded))?.take(limit) {
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
        self.read(move |records| {
            if from >= to {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for entry in records.range(from.as_str()..to.as_str())?.rev().take(limit) {
                let (key, value) = entry?;
                found.push((key.value().to_owned(), record(value.value())));
            }
            Ok(found)
        })
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
