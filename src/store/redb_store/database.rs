//! The redb file: its tables, its format, how it is opened and how it is copied.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable as _, StorageError, TableDefinition,
};

use super::header::take_later_commit;
use super::verify::{DIGEST, damaged, guarded, sum, verify};
use crate::store::Error;
use crate::store::private_file::replace;

/// Revision and bytes.
pub type Stored = (u64, &'static [u8]);

pub const RECORDS: TableDefinition<&str, Stored> = TableDefinition::new("records");
pub const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// The counter of the revision that was given out last.
pub const REVISION: &str = "revision";
/// The counter of the file's format.
pub const FORMAT: &str = "format";
/// The layout of the tables above. What the records hold is versioned record by record.
///
/// 1: the tables. 2: the tables, and a journal beside the file. 3: the tables alone again. 4: with the counter
/// [`DIGEST`](super::verify::DIGEST).
const CURRENT_FORMAT: u64 = 4;
const FORMAT_WITH_JOURNAL: u64 = 2;
pub const FORMAT_WITH_DIGEST: u64 = 4;
/// Bytes. redb's default is 1 GiB, and the cache is filled by a start at the latest and never given back. Nothing that
/// has to be quick reads the store, and its pages are in the kernel's cache as well.
pub const CACHE_BYTES: usize = 4 << 20;

/// Keeps other processes of this version away from the store at `path` until it is dropped: redb's own lock is let go
/// while a file is opened again.
pub fn lock_directory(path: &Path) -> Result<Option<File>, Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or_else(|| Path::new("."))).map_err(|error| io_failed(path, &error))?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.display().to_string())),
        // Not every network file system locks directories. redb's lock remains.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Makes an empty store at `path`. Whoever is killed on the way leaves none.
pub fn create(path: &Path) -> Result<(), Error> {
    let made = replace(path, |file| -> Result<(), redb::Error> {
        let database = database_in(file)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(RECORDS)?;
        transaction.open_table(COUNTERS)?.insert(FORMAT, CURRENT_FORMAT)?;
        Ok(transaction.commit()?)
    });
    let ((), kept) = made.map_err(|error| Error::Failed(format!("{}: {error}", path.display())))?;
    kept.map_err(|error| io_failed(path, &error))
}

/// Opens the file at `path`, which is there and has a format that this version knows, for reading. It is changed only where it was not closed in a way that can be
/// read: then it is repaired, once it was found to be whole.
///
/// # Errors
/// [`Error::InUse`], [`Error::Unreadable`]; [`Error::Failed`] where the medium fails.
pub fn open_for_reading(path: &Path) -> Result<ReadOnlyDatabase, Error> {
    // Before redb may repair the file: what is refused stays as it is.
    refuse_filled_journal(path)?;
    if fs::metadata(path).map_err(|error| io_failed(path, &error))?.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    let open = || Database::builder().set_cache_size(CACHE_BYTES).open_read_only(path);
    take_later_commit(path)?;
    guarded(path, || {
        let database = match open() {
            Err(DatabaseError::RepairAborted) => {
                verify(path)?;
                drop(open_for_writing(path, database_in)?);
                open()
            }
            opened => opened,
        };
        let database = database.map_err(|error| refusal(path, error))?;
        check_format(&database, path)?;
        Ok(database)
    })
}

/// Opens the file at `path`, which is there and was verified.
pub fn open_for_writing(
    path: &Path,
    open: impl Fn(File) -> Result<Database, DatabaseError>,
) -> Result<Database, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| io_failed(path, &error))?;
    guarded(path, || open(file).map_err(|error| refusal(path, error)))
}

pub fn database_in(file: File) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)
}

/// Why redb does not open the file.
pub fn refusal(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.display().to_string()),
        // Only what opens it for writing may repair it.
        DatabaseError::RepairAborted => Error::Failed(format!(
            "{} was not closed when its server ended; the next start of bitcall repairs it",
            path.display()
        )),
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            io_failed(path, &error)
        }
        error => damaged(path, error),
    }
}

pub fn io_failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Failed(format!("{}: {error}", path.display()))
}

/// Checks that this version knows the format, or can bring it up to date without losing anything.
///
/// # Errors
/// [`Error::Unreadable`] for a newer format, and for an older one whose journal is missing.
fn check_format(database: &impl ReadableDatabase, path: &Path) -> Result<(), Error> {
    let found = counter(database, FORMAT).map_err(failed)?;
    if let Some(found) = found
        && found > CURRENT_FORMAT
    {
        return Err(Error::Unreadable(format!(
            "{} has format {found}, this version knows up to {CURRENT_FORMAT}; use the newer bitcall that wrote it",
            path.display()
        )));
    }
    if found == Some(FORMAT_WITH_JOURNAL) && !journal_of(path).exists() {
        return Err(journal_refusal(
            path,
            "is missing; put it back beside the store. If it is lost for good, an empty file in its place accepts the loss of the last writes",
        ));
    }
    Ok(())
}

/// Brings the format that [`check_format`] knows up to date, or, if `accept` says so, the sum over the records.
pub fn upgrade(database: &Database, path: &Path, accept: bool) -> Result<(), Error> {
    let upgrade = || -> Result<(), redb::Error> {
        if counter(database, FORMAT)? == Some(CURRENT_FORMAT) && !accept {
            return Ok(());
        }
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        {
            let mut records = transaction.open_table(RECORDS)?;
            // Format 2 marked by it that the file was to be rewritten.
            records.remove("traces")?;
            let mut counters = transaction.open_table(COUNTERS)?;
            counters.insert(DIGEST, sum(&records)?)?;
            counters.insert(FORMAT, CURRENT_FORMAT)?;
        }
        Ok(transaction.commit()?)
    };
    upgrade().map_err(failed)?;
    remove_empty_journal(path);
    Ok(())
}

/// None in a file that was just made.
pub fn counter(database: &impl ReadableDatabase, name: &str) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(COUNTERS) {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        counters => Ok(counters?.get(name)?.map(|counter| counter.value())),
    }
}

fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

/// A clean stop of the version that wrote a journal leaves it empty. Else it may hold acknowledged writes that the file
/// does not have yet.
fn refuse_filled_journal(path: &Path) -> Result<(), Error> {
    match fs::metadata(journal_of(path)) {
        Ok(journal) if journal.len() > 0 => Err(journal_refusal(
            path,
            "may hold writes that are not in it yet; start the earlier bitcall once and stop it (`systemctl stop bitcall`), which brings them in, then start this one",
        )),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::Failed(format!("{}: {error}", journal_of(path).display())))
        }
        _ => Ok(()),
    }
}

fn journal_refusal(path: &Path, what: &str) -> Error {
    let (store, journal) = (path.display(), journal_of(path));
    Error::Unreadable(format!(
        "{store} was written by an earlier version, and its journal {} {what}",
        journal.display()
    ))
}

/// Removes the empty journal that an earlier version left, once the store is of the current format.
fn remove_empty_journal(path: &Path) {
    match fs::remove_file(journal_of(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "the empty journal of an earlier version can be deleted by hand");
        }
        _ => {}
    }
}

/// A database in the empty `file` with all records of another. `progress` is told how many were copied.
pub fn copy_into(from: &Database, file: File, progress: &mut dyn FnMut(u64)) -> Result<(), redb::Error> {
    let mut database = database_in(file)?;
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let reading = from.begin_read()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        let mut copied = 0;
        for entry in reading.open_table(RECORDS)?.iter()? {
            let (key, value) = entry?;
            records.insert(key.value(), value.value())?;
            copied += 1;
            progress(copied);
        }
        let mut counters = transaction.open_table(COUNTERS)?;
        for entry in reading.open_table(COUNTERS)?.iter()? {
            let (name, value) = entry?;
            counters.insert(name.value(), value.value())?;
        }
    }
    transaction.commit()?;
    // Gives the room back that the file was grown by for the transaction.
    database.compact()?;
    Ok(())
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
pub fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Failed(error.into().to_string())
}
