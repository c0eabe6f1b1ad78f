#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use super::*;

fn store() -> (tempfile::TempDir, Embedded) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_batch_is_read_back_after_reopening() {
    let (directory, store) = store();
    let batch = Batch::new().put("a/1", b"one".to_vec()).put("a/2", b"two".to_vec());
    let revision = store.commit(batch).await.unwrap();
    store.commit(Batch::new().remove("a/2").put("b/1", vec![])).await.unwrap();
    drop(store);
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    let found = store.scan("a/").await.unwrap();
    let one = Record { bytes: b"one".to_vec(), revision };
    assert_eq!(found, [("a/1".to_owned(), one.clone())]);
    assert_eq!(store.get("a/1").await.unwrap(), Some(one));
    assert_eq!(store.get("a/2").await.unwrap(), None);
}

#[tokio::test]
async fn keys_are_paged_in_their_order_within_their_prefix() {
    let (_directory, store) = store();
    let batch = ["a/1", "a/2", "a/3", "b/1"].into_iter().fold(Batch::new(), |batch, key| batch.put(key, vec![]));
    store.commit(batch).await.unwrap();
    assert_eq!(store.keys("a/", None, 2).await.unwrap(), ["a/1", "a/2"]);
    assert_eq!(store.keys("a/", Some("a/2"), 2).await.unwrap(), ["a/3"]);
    assert_eq!(store.keys("a/", Some("a/3"), 2).await.unwrap(), [""; 0]);
    assert_eq!(store.keys("b/", Some("a/3"), 2).await.unwrap(), ["b/1"]);
}

#[tokio::test]
async fn a_range_is_read_from_its_end_page_by_page() {
    let (_directory, store) = store();
    let batch = ["a", "b/1", "b/2", "b/3", "c"].into_iter().fold(Batch::new(), |batch, key| batch.put(key, vec![]));
    store.commit(batch).await.unwrap();
    let keys = async |from, to, limit| {
        let found = store.scan_back(from, to, limit).await.unwrap();
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys("b/", "b0", 2).await, ["b/3", "b/2"]);
    assert_eq!(keys("b/", "b/2", 2).await, ["b/1"], "the end itself is not part of it");
    assert_eq!(keys("b/2", "b0", 9).await, ["b/3", "b/2"], "the start is");
    assert_eq!(keys("b/", "b/1", 9).await, [""; 0]);
    assert_eq!(keys("c", "a", 9).await, [""; 0], "the wrong way round");
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let visitor = |last: &'static str| -> Visitor {
        let seen = Arc::clone(&seen);
        Box::new(move |key, _| {
            seen.lock().unwrap().push(key.to_owned());
            if key == last { Err(Error::Failed("enough".into())) } else { Ok(()) }
        })
    };
    store.visit_back("b/", "b0", visitor("nobody")).await.unwrap();
    store.visit_back("b/", "b0", visitor("b/2")).await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), ["b/3", "b/2", "b/1", "b/3", "b/2"]);
}

#[tokio::test]
async fn revisions_grow_across_restarts() {
    let (directory, store) = store();
    let before = store.commit(Batch::new().put("k", vec![])).await.unwrap();
    drop(store);
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    let after = store.commit(Batch::new().put("k", vec![])).await.unwrap();
    assert!(after > before);
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash_at_any_length_of_the_journal() {
    let (directory, store) = store();
    let file = |name: &str| directory.path().join(name);
    let mut made = 0_usize;
    // The last rounds go beyond what the journal holds, several times.
    for (round, count) in [1, 0, 9, 30, 200, 100].into_iter().enumerate() {
        for _ in 0..count {
            made += 1;
            let batch = Batch::new().put(format!("k/{made}"), vec![7; 9000]);
            store.commit(batch.remove(format!("k/{}", made / 2)).put("count", made.to_string().into())).await.unwrap();
        }
        // The writer takes this when it has done with all before it.
        let refused = store.commit(Batch::new().require_absent("count")).await;
        assert!(matches!(refused, Err(Error::Conflict(_))));
        // A crash leaves the files as they are at this moment.
        let copy = file(&format!("crash-{round}.redb"));
        std::fs::copy(file("store.journal"), copy.with_extension(JOURNAL)).unwrap();
        std::fs::copy(file("store.redb"), &copy).unwrap();
        for opened in ["the first time", "once more"] {
            let after = Embedded::open(&copy).unwrap();
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
async fn a_batch_whose_condition_fails_writes_nothing() {
    let (_directory, store) = store();
    let first = store.commit(Batch::new().put("k", b"1".to_vec())).await.unwrap();
    store.commit(Batch::new().put("k", b"2".to_vec())).await.unwrap();
    for batch in [
        Batch::new().require_revision("k", first),
        Batch::new().require_absent("k"),
        Batch::new().require_present("other"),
    ] {
        let outcome = store.commit(batch.put("k", b"3".to_vec()).put("new", vec![])).await;
        assert!(matches!(outcome, Err(Error::Conflict(_))));
    }
    assert_eq!(store.get("k").await.unwrap().unwrap().bytes, b"2");
    assert_eq!(store.get("new").await.unwrap(), None);
}

#[tokio::test]
async fn of_many_writers_that_read_the_same_revision_one_wins() {
    let (_directory, store) = store();
    let read = store.commit(Batch::new().put("k", vec![])).await.unwrap();
    let outcomes = futures_util::future::join_all(
        (0..100u8).map(|n| store.commit(Batch::new().require_revision("k", read).put("k", vec![n]))),
    )
    .await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let (directory, _store) = store();
    let second = Embedded::open(&directory.path().join("store.redb"));
    assert!(matches!(second, Err(Error::InUse(_))));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "this is a letter, not a store".repeat(400)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Embedded::open(&path), Err(Error::Unreadable(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn the_end_of_the_last_clone_leaves_a_whole_file_and_nothing_in_the_journal() {
    let (directory, store) = store();
    let path = directory.path().join("store.redb");
    let length = || std::fs::metadata(path.with_extension(JOURNAL)).unwrap().len();
    store.commit(Batch::new().put("k", b"secret".to_vec())).await.unwrap();
    store.commit(Batch::new().remove("k").put("l", b"kept".to_vec())).await.unwrap();
    let last = store.clone();
    drop(store);
    assert!(length() > 0);
    drop(last);
    assert_eq!(length(), 0);
    let store = Embedded::open(&path).unwrap();
    assert!(store.get("k").await.unwrap().is_none());
    assert_eq!(store.get("l").await.unwrap().unwrap().bytes, b"kept");
}

#[tokio::test]
async fn what_is_to_leave_no_trace_is_in_no_file_soon_after_nor_after_a_crash() {
    let (directory, store) = store();
    let path = directory.path().join("store.redb");
    let secret = |n: usize| format!("a secret, number {n}").into_bytes();
    let traces = |path: &Path| {
        let files = [path.to_owned(), path.with_extension(JOURNAL)].map(|path| std::fs::read(path).unwrap());
        files.concat().windows(8).filter(|part| *part == b"a secret").count()
    };
    let kept = store.commit(Batch::new().put("kept", b"kept".to_vec())).await.unwrap();
    for n in 0..100 {
        store.commit(Batch::new().put(format!("k/{n}"), secret(n)).put("k/changed", secret(n))).await.unwrap();
    }
    let all = store.keys("k/", None, 1000).await.unwrap();
    let batch = all.into_iter().fold(Batch::new(), Batch::remove);
    store.commit(batch.leave_no_trace()).await.unwrap();
    assert!(traces(&path) > 0);
    let crashed = directory.path().join("crashed.redb");
    std::fs::copy(path.with_extension(JOURNAL), crashed.with_extension(JOURNAL)).unwrap();
    std::fs::copy(&path, &crashed).unwrap();
    // Somebody was killed while he wrote it anew.
    std::fs::write(directory.path().join("crashed.redb.new"), secret(0)).unwrap();

    // Somebody reads there all the time, and others write.
    let reading = store.shared.records().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = kept;
    while traces(&path) > 0 {
        assert!(Instant::now() < deadline);
        last = store.commit(Batch::new().put("last", vec![])).await.unwrap();
        assert_eq!(store.get("last").await.unwrap().unwrap().revision, last);
    }
    assert_eq!(reading.get("kept").unwrap().unwrap().value(), (kept.0, b"kept".as_slice()));
    drop(reading);
    let next = store.commit(Batch::new().put("next", vec![])).await.unwrap();
    assert!(next > last);
    drop(store);
    let store = Embedded::open(&path).unwrap();
    let found: Vec<_> = store.scan("").await.unwrap().into_iter().map(|(key, record)| (key, record.revision)).collect();
    assert_eq!(found, [("kept".to_owned(), kept), ("last".to_owned(), last), ("next".to_owned(), next)]);

    drop(Embedded::open(&crashed).unwrap());
    assert_eq!(traces(&crashed), 0);
    assert!(!directory.path().join("crashed.redb.new").exists());
    let store = Embedded::open(&crashed).unwrap();
    assert_eq!(store.keys("", None, 9).await.unwrap(), ["kept"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_anew_stays_as_it_is() {
    let (directory, store) = store();
    // Nothing can be written to a directory.
    std::fs::create_dir(directory.path().join("store.redb.new")).unwrap();
    store.commit(Batch::new().put("k", vec![1]).leave_no_trace()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    store.commit(Batch::new().put("l", vec![2])).await.unwrap();
    drop(store);
    let path = directory.path().join("store.redb");
    std::fs::remove_dir(directory.path().join("store.redb.new")).unwrap();
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.keys("k", None, 9).await.unwrap(), ["k"]);
    assert_eq!(store.keys("l", None, 9).await.unwrap(), ["l"]);
}

#[tokio::test]
async fn a_read_finds_what_was_acknowledged_before_it() {
    let (_directory, store) = store();
    for n in 0..500_u32 {
        let revision = store.commit(Batch::new().put("k", n.to_string().into())).await.unwrap();
        let found = store.get("k").await.unwrap().unwrap();
        assert_eq!((found.bytes, found.revision), (n.to_string().into(), revision));
    }
}
