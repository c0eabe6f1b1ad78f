//! A database file that is read, and whose changes stay in memory: redb's full check of a file repairs as it goes, and
//! a file that is only looked at must stay as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;

/// Takes no lock: it may be read beside another handle of this process, as long as nobody writes.
#[derive(Debug)]
pub struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    length: u64,
    /// Bytes at the start that still are those of the file.
    from_file: u64,
    /// Pages that were written, by number.
    written: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(State { length, from_file: length, written: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_below(&self, state: &State, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = usize::try_from(state.from_file.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (from_file, rest) = out.split_at_mut(in_file);
        rest.fill(0);
        self.file.read_exact_at(from_file, offset)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset.saturating_add(out.len() as u64) > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(&state, offset, out)?;
        for (page, at, range) in pages(offset, out.len()) {
            if let Some(bytes) = state.written.get(&page) {
                let length = range.len();
                out[range].copy_from_slice(&bytes[at..at + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.length = length;
        state.from_file = state.from_file.min(length);
        state.written.retain(|page, _| page * PAGE < length);
        if let Some(bytes) = state.written.get_mut(&(length / PAGE)) {
            bytes[usize::try_from(length % PAGE).unwrap_or_default()..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (page, at, range) in pages(offset, data.len()) {
            if !state.written.contains_key(&page) {
                let mut bytes = vec![0; PAGE_BYTES];
                self.read_below(&state, page * PAGE, &mut bytes)?;
                state.written.insert(page, bytes);
            }
            if let Some(bytes) = state.written.get_mut(&page) {
                bytes[at..at + range.len()].copy_from_slice(&data[range]);
            }
        }
        Ok(())
    }
}

/// The pages that `length` bytes at `offset` touch: the page's number, where in it they begin, and which of the bytes
/// they are.
fn pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let position = offset + done as u64;
        let at = usize::try_from(position % PAGE).unwrap_or_default();
        let end = length.min(done + PAGE_BYTES - at);
        let range = done..end;
        done = end;
        Some((position / PAGE, at, range))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays_as_it_is() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let before: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&path, &before).unwrap();
        let overlay = Overlay::new(File::open(&path).unwrap()).unwrap();
        let mut expected = before.clone();
        overlay.write(4000, &[7; 5000]).unwrap();
        expected[4000..9000].fill(7);
        overlay.set_len(9500).unwrap();
        overlay.set_len(12_000).unwrap();
        expected.truncate(9500);
        expected.resize(12_000, 0);
        overlay.write(11_990, &[9; 10]).unwrap();
        expected[11_990..].fill(9);
        let mut found = vec![1; 12_000];
        overlay.read(0, &mut found).unwrap();
        assert!(found == expected);
        assert!(overlay.read(11_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
