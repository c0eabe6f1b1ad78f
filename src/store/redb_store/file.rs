//! The store's file as it is open now: for reading, or for writing as well. redb does nothing more with a file after it
//! has failed once, so that it has to be opened again; readers wait meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase as _};
use rustix::fs::Advice;
use tokio::sync::watch;

use super::Records;
use super::database::{RECORDS, REVISION, counter, failed, open_for_reading, open_for_writing};
use super::verify::guarded;
use crate::store::{Error, StoreState};

/// Opens a file for writing.
pub type Open = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send>;

pub struct StoreFile {
    path: PathBuf,
    opened: RwLock<Opened>,
    pub state: watch::Sender<StoreState>,
    /// See [`lock_directory`](super::database::lock_directory).
    _lock: Option<File>,
}

enum Opened {
    Writable(Database),
    Readable(ReadOnlyDatabase),
    Not(Error),
}

/// Which file is meant, and how long it is: what no one else may change.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    length: u64,
}

impl StoreFile {
    /// The file at `path`, opened by `database`.
    pub fn new(path: &Path, lock: Option<File>, database: ReadOnlyDatabase) -> Self {
        Self {
            path: path.to_owned(),
            opened: RwLock::new(Opened::Readable(database)),
            state: watch::Sender::new(StoreState::Verifying),
            _lock: lock,
        }
    }

    pub fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the records.
    pub fn read<T>(&self, reading: impl FnOnce(&Records) -> Result<T, redb::Error>) -> Result<T, Error> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = match &*opened {
            Opened::Writable(database) => database.begin_read(),
            Opened::Readable(database) => database.begin_read(),
            Opened::Not(error) => return Err(error.clone()),
        };
        let read = || reading(&transaction?.open_table(RECORDS)?);
        read().map_err(failed)
    }

    /// Hands out the database if it can be written.
    pub fn write<T>(&self, writing: impl FnOnce(&Database) -> T) -> Option<T> {
        match &*self.opened.read().unwrap_or_else(PoisonError::into_inner) {
            Opened::Writable(database) => Some(writing(database)),
            _ => None,
        }
    }

    /// The revision that was given out last.
    pub fn revision(&self) -> Result<u64, Error> {
        let read = || {
            let revision = match &*self.opened.read().unwrap_or_else(PoisonError::into_inner) {
                Opened::Writable(database) => counter(database, REVISION),
                Opened::Readable(database) => counter(database, REVISION),
                Opened::Not(error) => return Err(error.clone()),
            };
            Ok(revision.map_err(failed)?.unwrap_or_default())
        };
        guarded(&self.path, read)
    }

    pub fn identity(&self) -> Option<Identity> {
        let found = fs::metadata(&self.path).ok()?;
        Some(Identity { device: found.dev(), inode: found.ino(), length: found.len() })
    }

    /// Opens it for writing.
    ///
    /// # Errors
    /// Why it is still open for reading only.
    pub fn open_for_writing(&self, open: &Open) -> Result<(), Error> {
        let mut opened = self.opened();
        *opened = Opened::Not(Error::Failed(format!("{} is being opened", self.path.display())));
        match open_for_writing(&self.path, open) {
            Ok(database) => {
                *opened = Opened::Writable(database);
                Ok(())
            }
            Err(error) => {
                *opened = self.readable();
                Err(error)
            }
        }
    }

    /// From now on it is only read.
    pub fn only_read(&self) {
        let mut opened = self.opened();
        if let Opened::Readable(_) = &*opened {
            return;
        }
        let closing = std::mem::replace(&mut *opened, Opened::Not(Error::Failed("the store is being opened".into())));
        // redb may panic over a database that it panicked over before.
        let closed = guarded(&self.path, || {
            drop(closing);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the store's file could not be closed");
        }
        // After a failed write the kernel may hold pages that are not on the disk: what is read from here on shall be what
        // is there.
        if let Ok(file) = File::open(&self.path)
            && let Err(error) = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
        {
            tracing::warn!(%error, "the store's file may be read from memory instead of the disk");
        }
        *opened = self.readable();
    }

    fn readable(&self) -> Opened {
        open_for_reading(&self.path).map_or_else(Opened::Not, Opened::Readable)
    }

    fn opened(&self) -> RwLockWriteGuard<'_, Opened> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }
}
