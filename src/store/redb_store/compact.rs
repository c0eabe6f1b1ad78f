//! Rewriting the file with nothing but the records that are in it now.
//!
//! redb uses freed pages again, but does not wipe them: until then they hold the bytes of deleted records. A copy has
//! none, and is as small as its records.

use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

use super::database::{RECORDS, copy_into, failed};
use super::open_verified;
use crate::store::Error;
use crate::store::private_file::replace;

/// Sizes of the file in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub before: u64,
    pub after: u64,
}

/// Rewrites the store at `path`, which no other process may have open. `progress` is told how many records of how many
/// were copied. Whoever is killed on the way leaves the old file or the new one.
///
/// # Errors
/// As those of [`RedbStore::open`](super::RedbStore::open); [`Error::Failed`] when the copy cannot be written, and then
/// the old file stays.
pub fn compact(path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Compacted, Error> {
    let io_failed = |error: std::io::Error| Error::Failed(format!("{}: {error}", path.display()));
    let before = std::fs::metadata(path).map_err(io_failed)?.len();
    let (_lock, database) = open_verified(path, false)?;
    let total = || -> Result<u64, redb::Error> { Ok(database.begin_read()?.open_table(RECORDS)?.len()?) };
    let total = total().map_err(failed)?;
    let copy = |file| copy_into(&database, file, &mut |copied| progress(copied, total));
    let ((), kept) = replace(path, copy).map_err(failed)?;
    kept.map_err(io_failed)?;
    let after = std::fs::metadata(path).map_err(io_failed)?.len();
    Ok(Compacted { before, after })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::{Batch, RedbStore, Store as _};

    #[tokio::test]
    async fn a_compacted_store_has_all_records_and_no_bytes_of_removed_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let traces = || std::fs::read(&path).unwrap().windows(8).filter(|part| *part == b"a secret").count();
        let store = RedbStore::open(&path).unwrap();
        let kept = store.commit(Batch::new().put("kept", b"kept".to_vec())).await.unwrap();
        for n in 0..100 {
            let secret = format!("a secret, number {n}").into_bytes();
            let batch = Batch::new().put(format!("k/{n}"), secret).put(format!("kept/{n}"), vec![7; 2000]);
            store.commit(batch).await.unwrap();
        }
        let all = store.keys("k/", None, 1000).await.unwrap();
        let last = store.commit(all.into_iter().fold(Batch::new(), Batch::remove)).await.unwrap();
        assert!(matches!(compact(&path, |_, _| ()), Err(Error::InUse(_))));
        drop(store);
        assert!(traces() > 0);
        // Left by a compaction that was killed.
        std::fs::write(directory.path().join("store.redb.new"), "a secret").unwrap();

        let mut told = Vec::new();
        let sizes = compact(&path, |copied, total| told.push((copied, total))).unwrap();
        assert_eq!(told.last(), Some(&(101, 101)));
        assert!(sizes.after <= sizes.before, "{sizes:?}");
        assert_eq!(traces(), 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.get("kept").await.unwrap().unwrap().revision, kept);
        assert!(store.commit(Batch::new().put("k", vec![])).await.unwrap() > last);
        assert!(matches!(compact(&directory.path().join("none.redb"), |_, _| ()), Err(Error::Failed(_))));
        assert!(!directory.path().join("none.redb").exists());
    }
}
