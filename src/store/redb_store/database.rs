//! The redb file: its tables, its format, how it is opened and how it is copied.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::store::Error;
use crate::store::private_file::create_private;

/// Revision and bytes.
pub type Stored = (u64, &'static [u8]);

pub const RECORDS: TableDefinition<&str, Stored> = TableDefinition::new("records");
pub const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// The counter of the revision that was given out last.
pub const REVISION: &str = "revision";
/// The counter of the file's format.
const FORMAT: &str = "format";
/// The layout of the tables above. What the records hold is versioned record by record.
///
/// 1: the tables. 2: the tables, and a journal beside the file. 3: the tables alone again.
const CURRENT_FORMAT: u64 = 3;
const FORMAT_WITH_JOURNAL: u64 = 2;
/// Bytes. redb's default is 1 GiB, and the cache is filled by a start at the latest and never given back. Nothing that
/// has to be quick reads the store, and its pages are in the kernel's cache as well.
pub const CACHE_BYTES: usize = 4 << 20;

/// Opens the file at `path`, or makes it.
pub fn open_database(path: &Path) -> Result<Database, Error> {
    // Before redb may repair the file: what is refused stays as it is.
    refuse_filled_journal(path)?;
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
        let database = database_in(file).map_err(|error| refusal(path, error))?;
        // `compact` may have replaced the file between its opening here and its lock.
        if fs::metadata(path).map_err(failed)?.ino() == opened {
            return Ok(database);
        }
    }
}

fn database_in(file: File) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)
}

/// Why redb does not open the file.
pub fn refusal(path: &Path, error: DatabaseError) -> Error {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.to_string()),
        // Only what opens it for writing may repair it.
        DatabaseError::RepairAborted => {
            Error::Failed(format!("{path} was not closed when its server ended; the next start of bitcall repairs it"))
        }
        error => Error::Unreadable(format!("{path}: {error}")),
    }
}

/// Makes the tables and checks the format, which is brought up to date where nothing can be lost by it.
///
/// # Errors
/// [`Error::Unreadable`] for a newer format, and for an older one whose journal is not empty or missing. Nothing is
/// changed then.
pub fn prepare(database: &Database, path: &Path) -> Result<(), Error> {
    let found = format(database).map_err(failed)?;
    if let Some(found) = found
        && found > CURRENT_FORMAT
    {
        return Err(Error::Unreadable(format!(
            "it has format {found}, this version knows up to {CURRENT_FORMAT}; use the newer bitcall that wrote it"
        )));
    }
    if found == Some(CURRENT_FORMAT) {
        return Ok(());
    }
    if found == Some(FORMAT_WITH_JOURNAL) && !journal_of(path).exists() {
        return Err(journal_refusal(
            path,
            "is missing; put it back beside the store. If it is lost for good, an empty file in its place accepts the loss of the last writes",
        ));
    }
    let upgrade = || -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        // Format 2 marked by it that the file was to be rewritten.
        transaction.open_table(RECORDS)?.remove("traces")?;
        transaction.open_table(COUNTERS)?.insert(FORMAT, CURRENT_FORMAT)?;
        Ok(transaction.commit()?)
    };
    upgrade().map_err(failed)
}

/// None in a file that was just made.
fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(COUNTERS) {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        counters => Ok(counters?.get(FORMAT)?.map(|format| format.value())),
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
pub fn remove_empty_journal(path: &Path) {
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
