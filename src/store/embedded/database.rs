//! The redb file: its tables, and how it is opened, made and copied.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::store::file::create_private;
use crate::store::journal::{Entry, Journal};
use crate::store::{Error, Revision, TRACES};

pub const RECORDS: TableDefinition<&str, Stored> = TableDefinition::new("records");
pub const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const FORMAT: &str = "format";
pub const REVISION: &str = "revision";
/// The layout of the tables above, and since 2 a journal beside them. What the records hold is versioned record
/// by record.
const CURRENT_FORMAT: u64 = 2;
/// Whatever is read fills it, at the latest a start, and it is never given back; redb's default is 1 GiB. Nothing
/// that has to be quick reads the store, and its pages are in the kernel's cache, too.
pub const CACHE_BYTES: usize = 4 << 20;

/// Opens the file at `path`, or makes it.
pub fn open_database(path: &Path) -> Result<Database, Error> {
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
pub fn prepare(database: &Database, path: &Path) -> Result<(Journal, Revision), Error> {
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
pub struct Tables<'t> {
    pub records: redb::Table<'t, &'static str, Stored>,
    pub counters: redb::Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { records: transaction.open_table(RECORDS)?, counters: transaction.open_table(COUNTERS)? })
    }

    /// Takes up what `repeat` hands it, as far as that is news. Then, the last revision.
    pub fn follow<T>(
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

/// A database in the empty `file` with the records of another, whose last revision is this.
pub fn copied(from: &Database, file: File, last: Revision) -> Result<Database, redb::Error> {
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

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
pub fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Failed(error.into().to_string())
}

/// Revision and bytes.
pub type Stored = (u64, &'static [u8]);
