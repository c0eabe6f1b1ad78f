#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use redb::TableDefinition;

use super::*;
use crate::store::conformance::conforms;

fn store() -> (tempfile::TempDir, RedbStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap();
    (directory, store)
}

#[tokio::test]
async fn redb_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    conforms(|| RedbStore::open(&path).unwrap()).await;
}

#[tokio::test]
async fn every_acknowledged_batch_survives_a_crash() {
    let (directory, store) = store();
    let file = |name: &str| directory.path().join(name);
    let mut made = 0_usize;
    for (round, count) in [1, 0, 9, 30, 100].into_iter().enumerate() {
        for _ in 0..count {
            made += 1;
            let batch = Batch::new().put(format!("k/{made}"), vec![7; 9000]);
            store.commit(batch.remove(format!("k/{}", made / 2)).put("count", made.to_string().into())).await.unwrap();
        }
        // A crash leaves the file as it is at this moment.
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("crash.redb");
        std::fs::copy(file("store.redb"), &copy).unwrap();
        for opened in ["the first time", "once more"] {
            let after = RedbStore::open(&copy).unwrap();
            let kept: Vec<_> = after.scan("k/").await.unwrap().into_iter().map(|(key, _)| key).collect();
            let mut expected: Vec<_> = (made / 2 + 1..=made).map(|n| format!("k/{n}")).collect();
            expected.sort();
            assert_eq!(kept, expected, "crash {round}, opened {opened}");
            let count = after.get("count").await.unwrap().unwrap();
            assert_eq!((count.bytes, count.revision.0), (made.to_string().into(), made as u64));
        }
    }
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let (directory, _store) = store();
    let second = RedbStore::open(&directory.path().join("store.redb"));
    assert!(matches!(second, Err(Error::InUse(_))));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "this is a letter, not a store".repeat(400)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(Error::Unreadable(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// A store as the versions before format 3 left it.
fn earlier_format(path: &Path, format: Option<u64>) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let counters: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
        let mut counters = transaction.open_table(counters).unwrap();
        counters.insert("revision", 7).unwrap();
        if let Some(format) = format {
            counters.insert("format", format).unwrap();
        }
        let records: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("records");
        let mut records = transaction.open_table(records).unwrap();
        records.insert("tenant/acme", (7, b"acme".as_slice())).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_store_of_an_earlier_format_is_upgraded_with_its_records() {
    for format in [None, Some(1), Some(2), Some(3)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        earlier_format(&path, format);
        if format == Some(2) {
            std::fs::write(path.with_extension("journal"), "").unwrap();
        }
        for _ in 0..2 {
            let store = RedbStore::open(&path).unwrap();
            let found = store.get("tenant/acme").await.unwrap().unwrap();
            assert_eq!(found, Record { bytes: b"acme".to_vec(), revision: Revision(7) }, "{format:?}");
        }
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.commit(Batch::new().put("k", vec![])).await.unwrap(), Revision(8));
        assert!(!path.with_extension("journal").exists());
    }
}

#[test]
fn a_journal_that_is_not_empty_or_missing_is_named_with_the_remedy_and_nothing_is_changed() {
    for (journal, remedy) in [(Some("acknowledged writes"), "start the earlier bitcall once"), (None, "put it back")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        earlier_format(&path, Some(2));
        if let Some(journal) = journal {
            std::fs::write(path.with_extension("journal"), journal).unwrap();
        }
        for _ in 0..2 {
            let words = RedbStore::open(&path).err().unwrap().to_string();
            assert!(words.contains("store.journal") && words.contains(remedy), "{words}");
        }
        assert_eq!(std::fs::read_to_string(path.with_extension("journal")).ok().as_deref(), journal);
        // As the remedy says.
        std::fs::write(path.with_extension("journal"), "").unwrap();
        RedbStore::open(&path).unwrap();
    }
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    earlier_format(&path, Some(5));
    let words = RedbStore::open(&path).err().unwrap().to_string();
    assert!(words.contains("use the newer bitcall"), "{words}");
}
