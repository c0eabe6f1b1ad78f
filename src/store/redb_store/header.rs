//! Which of the two commits in the head of a redb file counts.
//!
//! redb keeps the last two commits there, and one bit says which is the last one. No checksum covers the bit: were it
//! wrong, the last acknowledged write would be gone without a word. The numbers of the commits tell as well.
//! The head is described in redb's `docs/design.md`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::database::io_failed;
use super::verify::verify_as;
use crate::store::Error;

const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const FLAGS: usize = MAGIC.len();
/// Set: the second commit is the last one.
const SECOND: u8 = 1;
/// Set while the file is open, and after a crash.
const RECOVERY_REQUIRED: u8 = 2;
const TRANSACTION_NUMBERS: [usize; 2] = [64 + 104, 192 + 104];
const LENGTH: usize = 320;

/// Where a crash has left the file at `path` with a later commit than the one that counts, and that commit is whole, lets
/// it count. It was acknowledged, or would have been in the next moment.
pub fn take_later_commit(path: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| io_failed(path, &error);
    let mut head = [0; LENGTH];
    if File::open(path).map_err(failed)?.read_exact_at(&mut head, 0).is_err() || !head.starts_with(MAGIC) {
        // What is wrong with it is found when it is opened.
        return Ok(());
    }
    let number = |at: usize| head[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let [first, second] = TRANSACTION_NUMBERS.map(number);
    let is_second_later = second > first;
    let flags = head[FLAGS];
    if flags & RECOVERY_REQUIRED == 0 || (flags & SECOND != 0) == is_second_later {
        return Ok(());
    }
    let flags = flags ^ SECOND;
    if verify_as(path, Some((FLAGS as u64, flags))).is_ok() {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.write_all_at(&[flags], FLAGS as u64).and_then(|()| file.sync_all()).map_err(failed)?;
        tracing::warn!(path = %path.display(), "the store's last commit was complete but not marked so; it is kept");
    }
    Ok(())
}
