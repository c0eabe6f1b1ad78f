//! The journal beside the database file: what is durable already, and not yet in the file.
//!
//! A commit of the database writes a score of pages, wherever they lie, and waits for the disk twice. To
//! append the changes here is one write and one wait. So batches are acknowledged when they are in the
//! journal, the database learns of them in memory, and from time to time it writes all of them
//! at once and the journal begins anew. Whoever opens the database repeats what the journal still holds.
//!
//! An entry is a batch's revision and changes, in postcard's form, with its length and CRC-32 in front. A
//! last entry that is not whole was being written when the power went: nobody was told that it is kept.
//!
//! The file is written over from its start each time, because a file that grows costs the disk half as much again. What is
//! left there of former times has lower revisions than what is in front of it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Revision;
use super::file::create_private;

/// Length and checksum, each in four bytes, the lowest first.
const HEAD: usize = 8;

/// One batch that was committed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<'a> {
    pub revision: Revision,
    /// Keys with their new bytes; none: removed.
    #[serde(borrow)]
    pub changes: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// The open file. One thread writes it, under the database's lock.
pub struct Journal {
    file: File,
    /// Bytes of whole entries.
    length: u64,
    /// Something that was never acknowledged may lie behind them, and could not be cut off.
    ragged: bool,
}

impl Journal {
    /// Opens the journal at `path`, or makes it, readable by its owner only, and hands its entries to
    /// `repeat`, in their order.
    pub fn open<E: From<io::Error>>(path: &Path, repeat: impl FnMut(&Entry<'_>) -> Result<(), E>) -> Result<Self, E> {
        match create_private(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut journal = Self { file, length: u64::MAX, ragged: true };
        journal.length = journal.repeat(repeat)?;
        Ok(journal)
    }

    /// Hands all entries to `repeat`, in their order. How many bytes they are.
    pub fn repeat<E: From<io::Error>>(
        &mut self,
        mut repeat: impl FnMut(&Entry<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        (&self.file).take(self.length).read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        for (entry, behind) in entries(&bytes) {
            repeat(&entry)?;
            rest = behind;
        }
        Ok((bytes.len() - rest.len()) as u64)
    }

    /// Bytes that a start would have to read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Durable once it returns. On an error nothing of it counts.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; HEAD]);
            bytes = postcard::to_extend(entry, bytes).map_err(io::Error::other)?;
            let (head, body) = bytes[start..].split_at_mut(HEAD);
            let length = u32::try_from(body.len()).map_err(io::Error::other)?;
            head[..4].copy_from_slice(&length.to_le_bytes());
            head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        }
        if self.ragged {
            self.cut(self.length)?;
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.length).and_then(|()| self.file.sync_data()) {
            self.cut_if_possible(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew: the database has all entries.
    pub fn begin_anew(&mut self) {
        self.length = 0;
    }

    /// Drops all entries behind the first `length` bytes: now, or before the next one is written.
    pub fn cut_if_possible(&mut self, length: u64) {
        if let Err(error) = self.cut(length) {
            tracing::warn!(%error, "the store's journal could not be cut");
        }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.length = length;
        self.ragged = true;
        self.file.set_len(length)?;
        self.file.sync_data()?;
        self.ragged = false;
        Ok(())
    }
}

/// The entries in a journal's bytes that count, each with what is behind it.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = (Entry<'_>, &[u8])> {
    let (mut rest, mut last) = (bytes, Revision(0));
    std::iter::from_fn(move || {
        let (entry, behind) = split_entry(rest).filter(|(entry, _)| entry.revision > last)?;
        (rest, last) = (behind, entry.revision);
        Some((entry, behind))
    })
}

/// The first entry and what is behind it; none where it is not whole.
fn split_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let whole = crc32fast::hash(body) == u32::from_le_bytes(*checksum);
    Some((postcard::from_bytes(body).ok().filter(|_| whole)?, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs;

    use super::*;

    fn entry(revision: u64) -> Entry<'static> {
        Entry { revision: Revision(revision), changes: vec![("tenant/acme", Some(b"{}")), ("label/acme", None)] }
    }

    fn revisions(path: &Path) -> (Journal, Vec<u64>) {
        let mut found = Vec::new();
        let journal = Journal::open(path, |read| -> io::Result<()> {
            assert_eq!(*read, entry(read.revision.0));
            found.push(read.revision.0);
            Ok(())
        });
        (journal.unwrap(), found)
    }

    #[test]
    fn wherever_a_write_breaks_off_the_whole_entries_before_it_are_read_and_the_next_follows_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, none) = revisions(&path);
        assert!(none.is_empty());
        journal.append(&[entry(1)]).unwrap();
        let first = usize::try_from(journal.length()).unwrap();
        journal.append(&[entry(2), entry(3)]).unwrap();
        let whole = fs::read(&path).unwrap();
        let each = whole.len() / 3;
        assert_eq!((each, each * 3), (first, whole.len()));
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, found) = revisions(&path);
            assert_eq!(found, (1..=3).take(length / each).collect::<Vec<_>>(), "of {length} bytes");
            journal.append(&[entry(9)]).unwrap();
            assert_eq!(revisions(&path).1.last(), Some(&9), "after {length} bytes");
        }
    }

    #[test]
    fn a_changed_bit_ends_what_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        revisions(&path).0.append(&[entry(1), entry(2)]).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            fs::write(&path, &changed).unwrap();
            let found = revisions(&path).1;
            assert_eq!(found, if at < whole.len() / 2 { vec![] } else { vec![1] }, "byte {at}");
        }
    }

    #[test]
    fn what_is_left_of_former_times_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = revisions(&path).0;
        journal.append(&[entry(1), entry(2), entry(3)]).unwrap();
        journal.begin_anew();
        assert_eq!(revisions(&path).1, [1, 2, 3], "whoever reads them knows them already");
        journal.append(&[entry(4)]).unwrap();
        assert_eq!(revisions(&path).1, [4], "the second entry is an old one");
        journal.append(&[Entry { revision: Revision(5), changes: vec![] }]).unwrap();
        let mut read = Vec::new();
        let again = Journal::open(&path, |read_entry| -> io::Result<()> {
            read.push(read_entry.revision.0);
            Ok(())
        });
        again.unwrap();
        assert_eq!(read, [4, 5], "and then the rest of an old one");
    }

    #[test]
    fn what_was_cut_off_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = revisions(&path).0;
        journal.append(&[entry(1), entry(2), entry(3)]).unwrap();
        journal.cut_if_possible(0);
        journal.append(&[entry(4)]).unwrap();
        assert_eq!(revisions(&path).1, [4]);
    }
}
