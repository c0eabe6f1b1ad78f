//! Files that are damaged, and media that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;

const RECORDS: usize = 40;

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { path: directory.path().join("store.redb"), _directory: directory }
    }

    fn with(bytes: &[u8]) -> Self {
        let place = Self::new();
        std::fs::write(&place.path, bytes).unwrap();
        place
    }
}

async fn fill(store: &RedbStore) {
    for n in 0..RECORDS {
        let batch = Batch::new().put(format!("k/{n:02}"), format!("the value of record {n:02}").repeat(9).into());
        store.commit(batch).await.unwrap();
    }
}

type Everything = Vec<(String, Record)>;

/// What a start finds, once the store was verified.
async fn read_all(path: &Path) -> Result<Everything, Error> {
    let store = RedbStore::open(path)?;
    StoreState::verified(store.state()).await?;
    store.scan("").await
}

/// The bytes of a store after an orderly stop, and after a crash; and its records.
async fn two_stores() -> ([Vec<u8>; 2], Everything) {
    let place = Place::new();
    let store = RedbStore::open(&place.path).unwrap();
    fill(&store).await;
    let expected = store.scan("").await.unwrap();
    let crashed = std::fs::read(&place.path).unwrap();
    drop(store);
    ([std::fs::read(&place.path).unwrap(), crashed], expected)
}

/// Opens a store with these bytes: it has the records expected, or is refused by name and left as it is.
async fn refused_or_whole(bytes: &[u8], expected: &Everything, what: &str) -> bool {
    let place = Place::with(bytes);
    match read_all(&place.path).await {
        Ok(found) => {
            assert!(found == *expected, "{what}: other records were found and nothing was said");
            false
        }
        Err(error) => {
            let words = error.to_string();
            assert!(matches!(error, Error::Unreadable(_)), "{what}: {words}");
            assert!(words.contains("store.redb") && words.contains("backup"), "{what}: {words}");
            assert!(std::fs::read(&place.path).unwrap() == bytes, "{what}: the refused file was changed");
            true
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_file_is_refused_by_name_or_changes_nothing() {
    let (stores, expected) = two_stores().await;
    for (bytes, state) in stores.into_iter().zip(["stopped", "crashed"]) {
        let content: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let (head, pages) = content.split_at(content.partition_point(|at| *at < 320));
        let mut refused = 0;
        for at in head.iter().step_by(2).chain(&[9]).chain(pages.iter().step_by(pages.len() / 60)).copied() {
            // In the byte of flags every bit.
            for bit in if at == 9 { 0..8 } else { at % 8..at % 8 + 1 } {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let what = format!("bit {bit} of byte {at} of a store that was {state}");
                refused += u32::from(refused_or_whole(&damaged, &expected, &what).await);
            }
        }
        assert!(refused > 20, "{refused}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_anywhere_is_refused_by_name() {
    let (stores, expected) = two_stores().await;
    for bytes in stores {
        let length = bytes.len();
        for cut in [0, 1, 9, 320, 4095, 4096, 4097, length / 2, length - 4096, length - 1] {
            let what = format!("cut off after {cut} of {length} bytes");
            assert!(refused_or_whole(&bytes[..cut], &expected, &what).await, "{what}");
        }
    }
}

#[tokio::test]
async fn a_record_that_was_damaged_under_a_running_server_is_noticed_by_the_next_start() {
    let place = Place::new();
    let store = RedbStore::open(&place.path).unwrap();
    fill(&store).await;
    drop(store);
    // Without a cache the damaged page is read, and written again with its neighbours.
    let open = |file| Database::builder().set_cache_size(0).create_with_backend(FileBackend::new(file)?);
    let store = RedbStore::open_with(&place.path, Box::new(open)).unwrap();
    StoreState::verified(store.state()).await.unwrap();
    let bytes = std::fs::read(&place.path).unwrap();
    let file = File::options().write(true).open(&place.path).unwrap();
    let text = b"the value of record 20";
    for (at, _) in bytes.windows(text.len()).enumerate().filter(|(_, found)| found == text) {
        file.write_all_at(b"T", at as u64).unwrap();
    }
    for n in [19, 21] {
        store.commit(Batch::new().put(format!("k/{n:02}"), b"changed".to_vec())).await.unwrap();
    }
    drop(store);
    let refused = read_all(&place.path).await.map(|found| String::from_utf8_lossy(&found[20].1.bytes).into_owned());
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("store.redb") && words.contains("accept-loss"), "{words}");
    assert!(matches!(compact(&place.path, |_, _| ()), Err(Error::Unreadable(_))));

    accept_loss(&place.path).unwrap();
    let found = read_all(&place.path).await.unwrap();
    assert_eq!(found.len(), RECORDS);
    assert!(found[20].1.bytes.starts_with(b"The value"));
}

#[tokio::test]
async fn a_file_that_is_taken_away_under_a_running_server_is_said_and_written_again_when_it_is_back() {
    let place = Place::new();
    let store = RedbStore::open(&place.path).unwrap();
    fill(&store).await;
    let put = |n: u8| store.commit(Batch::new().put("last", vec![n]));
    put(1).await.unwrap();
    let aside = place.path.with_extension("aside");
    std::fs::rename(&place.path, &aside).unwrap();
    assert!(matches!(put(2).await, Err(Error::Failed(_))));
    assert!(store.state().borrow().problem().unwrap().contains("store.redb"));
    assert!(!place.path.exists(), "nothing was made in its place");
    std::fs::rename(&aside, &place.path).unwrap();
    put(3).await.unwrap();
    assert_eq!(store.get("last").await.unwrap().unwrap().bytes, [3]);
    assert_eq!(*store.state().borrow(), StoreState::Writable);
}

#[tokio::test]
async fn a_file_that_was_cut_off_or_replaced_under_a_running_server_is_not_written() {
    let ([other, _], _) = two_stores().await;
    let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(8192).unwrap();
    let replace = |path: &Path| {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, &other).unwrap();
    };
    for damage in [&cut as &dyn Fn(&Path), &replace] {
        let place = Place::new();
        let store = RedbStore::open(&place.path).unwrap();
        store.commit(Batch::new().put("k", vec![1])).await.unwrap();
        damage(&place.path);
        for _ in 0..2 {
            let error = store.commit(Batch::new().put("k", vec![2])).await.unwrap_err();
            assert!(matches!(&error, Error::Unreadable(words) if words.contains("store.redb")), "{error}");
        }
        assert!(matches!(*store.state().borrow(), StoreState::Damaged(_)));
    }
}

/// A file on a medium that fails.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    faults: Arc<Faults>,
}

/// Changes that succeed before the next one fails, and how many fail then.
#[derive(Debug, Default)]
struct Faults {
    before: AtomicUsize,
    failing: AtomicUsize,
}

impl Faults {
    fn plan(&self, before: usize, failing: usize) {
        self.before.store(before, Ordering::SeqCst);
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn remain(&self) -> bool {
        self.failing.load(Ordering::SeqCst) > 0
    }

    fn change(&self) -> io::Result<()> {
        let less = |count: &AtomicUsize| count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if self.remain() && less(&self.before).is_err() && less(&self.failing).is_ok() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.faults.change()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.change()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.change()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn open_faulty(path: &Path, faults: &Arc<Faults>) -> RedbStore {
    let faults = Arc::clone(faults);
    let open = move |file| {
        let backend = Faulty { file: FileBackend::new(file)?, faults: Arc::clone(&faults) };
        Database::builder().create_with_backend(backend)
    };
    RedbStore::open_with(path, Box::new(open)).unwrap()
}

#[tokio::test]
async fn a_write_during_which_the_medium_fails_at_any_step_is_acknowledged_if_it_stands_and_the_next_one_succeeds() {
    for failing in [1, 3, 1000] {
        let mut steps = 0;
        loop {
            let place = Place::new();
            let faults = Arc::new(Faults::default());
            let store = open_faulty(&place.path, &faults);
            fill(&store).await;
            faults.plan(steps, failing);
            let outcome = store.commit(Batch::new().put("last", vec![7; 30_000])).await;
            let was_met = !faults.remain() || outcome.is_err();
            let kept = store.get("last").await.unwrap().is_some();
            assert_eq!(outcome.is_ok(), kept, "{failing} failures after {steps} steps: {outcome:?}");
            assert_eq!(store.scan("k/").await.unwrap().len(), RECORDS, "it is still read");
            if let Err(error) = &outcome {
                assert!(matches!(error, Error::Failed(_)), "{error}");
                assert!(store.state().borrow().problem().is_some());
            }
            faults.plan(0, 0);
            store.commit(Batch::new()).await.unwrap();
            assert_eq!(*store.state().borrow(), StoreState::Writable);
            store.commit(Batch::new().put("later", vec![8])).await.unwrap();
            drop(store);
            let found = read_all(&place.path).await.unwrap();
            assert_eq!(found.len(), RECORDS + 1 + usize::from(kept));
            if !was_met {
                break;
            }
            steps += 1;
        }
        assert!(steps > 3, "{steps}");
    }
}

#[tokio::test]
async fn a_store_on_a_medium_that_takes_nothing_is_read_and_written_once_it_takes_something() {
    let place = Place::new();
    let store = RedbStore::open(&place.path).unwrap();
    fill(&store).await;
    drop(store);
    let faults = Arc::new(Faults::default());
    faults.plan(0, usize::MAX);
    let store = open_faulty(&place.path, &faults);
    StoreState::verified(store.state()).await.unwrap();
    assert!(matches!(*store.state().borrow(), StoreState::ReadOnly(_)));
    assert_eq!(store.scan("k/").await.unwrap().len(), RECORDS);
    assert!(matches!(store.commit(Batch::new().put("k", vec![])).await, Err(Error::Failed(_))));
    faults.plan(0, 0);
    store.commit(Batch::new().put("k", vec![])).await.unwrap();
    assert_eq!(*store.state().borrow(), StoreState::Writable);
}
