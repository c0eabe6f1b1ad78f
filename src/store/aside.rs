//! A look into a store's files that changes nothing in them, for whoever only wants to know.
//!
//! A database that was not closed is put in order as it is opened, and a process may end without closing it. So it
//! is opened as always, but what it writes goes no further than memory.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase as _, StorageBackend, TableError};

use super::embedded::{CACHE_BYTES, COUNTERS, JOURNAL, RECORDS, REVISION, failed};
use super::journal::entries;
use super::{Error, Revision};

const BLOCK: usize = 4096;

/// Keys that start with `prefix`, with the bytes of their records; nothing where there is no store yet.
/// Blocks for the time of the reading.
///
/// # Errors
/// [`Error::InUse`] while somebody has it open, [`Error::Failed`] when it cannot be read by this user,
/// [`Error::Unreadable`] when it is no store of ours.
pub fn read_aside(path: &Path, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let place = path.display();
    let aside = match Aside::open(path) {
        Ok(aside) => aside,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Error::InUse(place.to_string())),
        Err(error) => return Err(Error::Failed(format!("{place}: {error}"))),
    };
    let unreadable = |error| Error::Unreadable(format!("{place}: {error}"));
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(aside).map_err(unreadable)?;
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let mut found = BTreeMap::new();
        let records = match transaction.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok((found, Revision(0))),
            other => other?,
        };
        for entry in records.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.insert(key.value().to_owned(), value.value().1.to_owned());
        }
        let last = transaction.open_table(COUNTERS)?.get(REVISION)?.map_or(0, |last| last.value());
        Ok((found, Revision(last)))
    };
    let (mut found, last) = read().map_err(failed)?;
    let journal = match std::fs::read(path.with_extension(JOURNAL)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| Error::Failed(format!("{place}: {error}")))?,
    };
    for (entry, _) in entries(&journal).filter(|(entry, _)| entry.revision > last) {
        for (key, change) in entry.changes.iter().filter(|(key, _)| key.starts_with(prefix)) {
            match change {
                Some(bytes) => found.insert((*key).to_owned(), bytes.to_vec()),
                None => found.remove(*key),
            };
        }
    }
    Ok(found)
}

/// The file as it is, with what was written since laid over it.
#[derive(Debug)]
struct Aside {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    length: u64,
    /// Up to here the file counts.
    of_file: u64,
    /// By their number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Aside {
    /// With the lock that whoever writes has for himself, shared; [`ErrorKind::WouldBlock`] where somebody does.
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.try_lock_shared().map_err(|error| match error {
            TryLockError::WouldBlock => ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let length = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { length, of_file: length, blocks: BTreeMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is now; zeros behind the end.
    fn block(&self, over: &Over, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = over.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK];
        let start = number * BLOCK as u64;
        let there = usize::try_from(over.of_file.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
        self.file.read_exact_at(&mut block[..there], start)?;
        Ok(block)
    }
}

impl StorageBackend for Aside {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in parts(offset, out.len()) {
            out[part].copy_from_slice(&self.block(&over, number)?[within]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.over();
        // What is cut off comes back as zeros.
        (over.length, over.of_file) = (length, over.of_file.min(length));
        over.blocks.retain(|number, _| number * (BLOCK as u64) < length);
        if let Some(last) = over.blocks.get_mut(&(length / BLOCK as u64)) {
            last[usize::try_from(length % BLOCK as u64).unwrap_or(BLOCK)..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        for (number, within, part) in parts(offset, data.len()) {
            let mut block = self.block(&over, number)?;
            block[within].copy_from_slice(&data[part]);
            over.blocks.insert(number, block);
        }
        over.length = over.length.max(offset + data.len() as u64);
        Ok(())
    }
}

/// The blocks that so many bytes from `offset` on lie in: each one's number, which of its bytes, and which of those.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = usize::try_from(at % BLOCK as u64).ok()?;
        let count = (BLOCK - start).min(length - done);
        let part = (at / BLOCK as u64, start..start + count, done..done + count);
        done += count;
        (count > 0).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::{Batch, Embedded, Store as _};

    #[tokio::test]
    async fn what_is_kept_is_seen_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        assert!(read_aside(&path, "a/").unwrap().is_empty());
        assert!(!path.exists(), "nothing was made");
        let store = Embedded::open(&path).unwrap();
        store.commit(Batch::new().put("a/1", b"one".to_vec()).put("a/2", b"two".to_vec())).await.unwrap();
        store.commit(Batch::new().put("b/1", b"other".to_vec()).remove("a/2")).await.unwrap();
        assert!(matches!(read_aside(&path, "a/"), Err(Error::InUse(_))));
        // A crash leaves the files as they are at this moment: what was acknowledged is in the journal only.
        let crashed = directory.path().join("crashed.redb");
        std::fs::copy(&path, &crashed).unwrap();
        std::fs::copy(path.with_extension(JOURNAL), crashed.with_extension(JOURNAL)).unwrap();
        drop(store);
        let files =
            |path: &Path| [path.to_owned(), path.with_extension(JOURNAL)].map(|path| std::fs::read(path).unwrap());
        for path in [path, crashed] {
            let before = files(&path);
            assert_eq!(read_aside(&path, "a/").unwrap(), BTreeMap::from([("a/1".to_owned(), b"one".to_vec())]));
            assert!(files(&path) == before, "nothing was changed");
        }
        let letter = directory.path().join("letter.redb");
        std::fs::write(&letter, "this is a letter, not a store".repeat(400)).unwrap();
        assert!(matches!(read_aside(&letter, "a/"), Err(Error::Unreadable(_))));
    }

    #[test]
    fn what_is_written_lies_over_the_file_and_what_is_cut_off_comes_back_as_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![1; 3 * BLOCK + 10]).unwrap();
        let aside = Aside::open(&path).unwrap();
        let read = |offset: usize, length: usize| {
            let mut bytes = vec![9; length];
            aside.read(offset as u64, &mut bytes).map(|()| bytes)
        };
        aside.write(BLOCK as u64 - 2, &[2; 4]).unwrap();
        assert_eq!(read(BLOCK - 3, 6).unwrap(), [1, 2, 2, 2, 2, 1]);
        assert!(read(3 * BLOCK + 9, 2).is_err(), "beyond the end");
        aside.set_len(BLOCK as u64).unwrap();
        aside.set_len(4 * BLOCK as u64).unwrap();
        assert_eq!(read(BLOCK - 3, 6).unwrap(), [1, 2, 2, 0, 0, 0]);
        assert_eq!(read(3 * BLOCK, 4).unwrap(), [0; 4]);
        aside.set_len(BLOCK as u64 - 1).unwrap();
        aside.write(BLOCK as u64, &[3]).unwrap();
        assert_eq!(read(BLOCK - 2, 3).unwrap(), [2, 0, 3]);
        assert!(std::fs::read(&path).unwrap() == vec![1; 3 * BLOCK + 10]);
    }
}
