//! Reading a store without opening it for writing: for commands that must change nothing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use redb::{Database, DatabaseError, ReadableDatabase as _, StorageError, TableError};

use super::database::{CACHE_BYTES, RECORDS, failed, refusal};
use crate::store::Error;

/// Keys that start with `prefix`, with the bytes of their records; nothing where there is no store yet.
/// Blocks for the time of the reading.
///
/// # Errors
/// [`Error::InUse`] while a process has it open for writing, [`Error::Failed`] when this user cannot read it or it was
/// not closed and has to be repaired first, [`Error::Unreadable`] when it is no store of ours.
pub fn read_only(path: &Path, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let database = match Database::builder().set_cache_size(CACHE_BYTES).open_read_only(path) {
        Ok(database) => database,
        Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == ErrorKind::NotFound => {
            return Ok(BTreeMap::new());
        }
        Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::Failed(format!("{}: {error}", path.display())));
        }
        Err(error) => return Err(refusal(path, error)),
    };
    let read = || -> Result<_, redb::Error> {
        let mut found = BTreeMap::new();
        let records = match database.begin_read()?.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(found),
            other => other?,
        };
        for entry in records.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.insert(key.value().to_owned(), value.value().1.to_owned());
        }
        Ok(found)
    };
    read().map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::{Batch, RedbStore, Store as _};

    #[tokio::test]
    async fn a_closed_store_is_read_and_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        assert!(read_only(&path, "a/").unwrap().is_empty());
        assert!(!path.exists(), "nothing was made");
        let store = RedbStore::open(&path).unwrap();
        store.commit(Batch::new().put("a/1", b"one".to_vec()).put("a/2", b"two".to_vec())).await.unwrap();
        store.commit(Batch::new().put("b/1", b"other".to_vec()).remove("a/2")).await.unwrap();
        assert!(matches!(read_only(&path, "a/"), Err(Error::InUse(_))));
        // A crash leaves the file as it is at this moment.
        let crashed = directory.path().join("crashed.redb");
        std::fs::copy(&path, &crashed).unwrap();
        drop(store);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(read_only(&path, "a/").unwrap(), BTreeMap::from([("a/1".to_owned(), b"one".to_vec())]));
        assert!(std::fs::read(&path).unwrap() == before, "nothing was changed");

        let before = std::fs::read(&crashed).unwrap();
        match read_only(&crashed, "a/") {
            Err(Error::Failed(words)) => assert!(words.contains("the next start of bitcall repairs it"), "{words}"),
            read => assert_eq!(read.unwrap(), BTreeMap::from([("a/1".to_owned(), b"one".to_vec())])),
        }
        assert!(std::fs::read(&crashed).unwrap() == before, "nothing was changed");

        let letter = directory.path().join("letter.redb");
        std::fs::write(&letter, "this is a letter, not a store".repeat(400)).unwrap();
        assert!(matches!(read_only(&letter, "a/"), Err(Error::Unreadable(_))));
    }
}
