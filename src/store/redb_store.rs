//! The store in one redb file.
//!
//! One thread owns writing and commits waiting batches in groups ([`writer`]). Reads run on the blocking pool in read
//! transactions of their own; they see everything that was acknowledged before they began, and wait for a write only
//! while the file is opened anew.

mod compact;
mod database;
mod file;
mod header;
mod overlay;
mod read_only;
mod verify;
mod writer;

use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::Database;
use tokio::sync::watch;

pub use compact::{Compacted, compact};
pub use read_only::read_only;

use super::private_file::drop_unfinished;
use super::{Batch, Error, Record, Revision, Store, StoreState};
use database::{Stored, create, database_in, lock_directory, open_for_reading, open_for_writing, upgrade};
use file::{Open, StoreFile};
use verify::{verify, verify_pages};
use writer::WriterHandle;

type Records = redb::ReadOnlyTable<&'static str, Stored>;

/// The embedded store. Cloning is cheap. Dropping the last clone waits for the writer's last commit.
#[derive(Clone)]
pub struct RedbStore {
    file: Arc<StoreFile>,
    writer: Arc<WriterHandle>,
}

impl RedbStore {
    /// Opens the file at `path`, or makes it, readable by its owner only. Blocks for the time of a few disk reads. From
    /// then on it can be read; the whole file is verified meanwhile, and nothing is written before.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Unreadable`] when it is no store of ours, a newer
    /// one, damaged, or one of an earlier version that cannot be taken over without loss. See also [`StoreState::verified`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, Box::new(database_in))
    }

    /// `open` opens the file for writing.
    fn open_with(path: &Path, open: Open) -> Result<Self, Error> {
        let lock = lock_directory(path)?;
        if let Err(error) = drop_unfinished(path) {
            tracing::warn!(%error, "the unfinished copy of an interrupted compaction is in the way of the next one");
        }
        if !path.try_exists().map_err(|error| database::io_failed(path, &error))? {
            create(path)?;
        }
        let file = Arc::new(StoreFile::new(path, lock, open_for_reading(path)?));
        let writer = Arc::new(WriterHandle::start(Arc::clone(&file), open)?);
        Ok(Self { file, writer })
    }

    /// Whether nothing was ever written to it.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.file.revision()? == 0)
    }

    /// Whether it can be written.
    pub fn state(&self) -> watch::Receiver<StoreState> {
        self.file.state()
    }

    fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Records) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let file = Arc::clone(&self.file);
        async move {
            tokio::task::spawn_blocking(move || file.read(reading))
                .await
                .map_err(|error| Error::Failed(error.to_string()))?
        }
        .boxed()
    }
}

/// Opens the store at `path`, which is there, for a command that has it to itself, after it was verified; if `accept`
/// says so, with the records that are left.
fn open_verified(path: &Path, accept: bool) -> Result<(Option<File>, Database), Error> {
    let lock = lock_directory(path)?;
    drop(open_for_reading(path)?);
    if accept { verify_pages(path) } else { verify(path) }?;
    let database = open_for_writing(path, database_in)?;
    upgrade(&database, path, accept)?;
    Ok((lock, database))
}

/// Makes the records that are left in the store at `path` those that it should hold.
///
/// # Errors
/// As those of [`RedbStore::open`]; also when pages are damaged, of which it is not known what is left in them.
pub fn accept_loss(path: &Path) -> Result<(), Error> {
    open_verified(path, true).map(drop)
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
mod fault_tests;
#[cfg(test)]
mod tests;
