//! Whether a store's file is whole: every page is the one that was written, and the records are all those that were.
//!
//! redb keeps a checksum of each page in the page above it, but looks at them in a full check only; and a page that was
//! damaged under a running server gets a new checksum with the next change beside it. So the store keeps a sum over all
//! its records as well, which each commit carries on with the records that it replaces and adds.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend as _};

use super::database::{CACHE_BYTES, FORMAT, FORMAT_WITH_DIGEST, RECORDS, Stored, counter, failed, io_failed, refusal};
use super::overlay::Overlay;
use crate::store::Error;

/// The counter of the sum over all records.
pub const DIGEST: &str = "digest";

/// What to do about a store that is damaged.
const RESTORE: &str = "stop bitcall, restore the whole data directory from a backup, and start it again";

/// A record's share of the sum: sums do not depend on the order in which records came.
pub fn digest(key: &str, revision: u64, bytes: &[u8]) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(&(key.len() as u64).to_le_bytes());
    context.update(key.as_bytes());
    context.update(&revision.to_le_bytes());
    context.update(bytes);
    let mut share = [0; 8];
    share.copy_from_slice(&context.finish().as_ref()[..8]);
    u64::from_le_bytes(share)
}

/// Checks the file at `path`, which nobody writes meanwhile and which stays as it is.
/// Blocks for the time of about four readings of the file.
///
/// # Errors
/// [`Error::Unreadable`], with the way back, when it is damaged.
pub fn verify(path: &Path) -> Result<(), Error> {
    verify_as(path, None)
}

/// [`verify`], as if the file had this byte at this place.
pub fn verify_as(path: &Path, byte: Option<(u64, u8)>) -> Result<(), Error> {
    let database = open_pages(path, byte)?;
    let read = || sums(&database).map_err(failed);
    match guarded(path, read)? {
        (Some(kept), found) if kept != found => Err(Error::Unreadable(format!(
            "{} does not hold the records that were written: some are changed, missing or there twice; {RESTORE}, or accept what is left by `bitcall store accept-loss`",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The half of [`verify`] that looks at the pages alone.
pub fn verify_pages(path: &Path) -> Result<(), Error> {
    open_pages(path, None).map(drop)
}

/// A database whose pages were verified, and which changes no file.
fn open_pages(path: &Path, byte: Option<(u64, u8)>) -> Result<Database, Error> {
    let open = || {
        let overlay = Overlay::new(File::open(path)?)?;
        if let Some((at, byte)) = byte {
            overlay.write(at, &[byte])?;
        }
        Ok(overlay)
    };
    let overlay = open().map_err(|error| io_failed(path, &error))?;
    let open = || {
        let mut builder = Database::builder();
        let builder = builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        builder.create_with_backend(overlay).map_err(|error| refusal(path, error))
    };
    guarded(path, open)
}

/// Reads a file that may be damaged, over which redb may panic.
pub fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged(path, "its pages contradict each other")))
}

pub fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Unreadable(format!("{} is damaged ({what}); {RESTORE}", path.display()))
}

/// The sum that the store keeps, in a format that keeps one, and that over the records that are there.
fn sums(database: &impl ReadableDatabase) -> Result<(Option<u64>, u64), redb::Error> {
    if counter(database, FORMAT)?.is_none_or(|format| format < FORMAT_WITH_DIGEST) {
        return Ok((None, 0));
    }
    let kept = counter(database, DIGEST)?.unwrap_or_default();
    Ok((Some(kept), sum(&database.begin_read()?.open_table(RECORDS)?)?))
}

/// The sum over the records that are there, whatever the store keeps.
pub fn sum(records: &impl ReadableTable<&'static str, Stored>) -> Result<u64, redb::Error> {
    let (mut sum, mut last) = (0_u64, String::new());
    for entry in records.iter()? {
        let (key, value) = entry?;
        let (key, (revision, bytes)) = (key.value(), value.value());
        // Where the order is broken, records are there that no look-up finds.
        if !last.is_empty() && last.as_str() >= key {
            return Err(redb::Error::Corrupted(format!("record {key} is out of order")));
        }
        key.clone_into(&mut last);
        sum = sum.wrapping_add(digest(key, revision, bytes));
    }
    Ok(sum)
}
