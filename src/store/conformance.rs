//! What every engine behind [`Store`] must do. An engine's tests call [`conforms`] with a way to open the same store
//! again and again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Batch, Error, MAX_BATCH_OPERATIONS, MAX_RECORD_BYTES, Record, Store};

/// `open` opens the one store of the test, which is empty at first; the one opened before is closed then.
pub async fn conforms<S: Store>(open: impl Fn() -> S) {
    keeps_a_batch_over_reopening(&open).await;
    revisions_grow_across_restarts(&open).await;
    let store = open();
    pages_keys_in_order_within_their_prefix(&store).await;
    reads_a_range_from_its_end(&store).await;
    writes_nothing_of_a_batch_whose_condition_fails(&store).await;
    lets_one_of_many_writers_of_a_revision_win(&store).await;
    reads_what_was_acknowledged_before(&store).await;
    refuses_batches_and_records_beyond_the_limits(&store).await;
}

fn filled(keys: &[&str]) -> Batch {
    keys.iter().fold(Batch::new(), |batch, key| batch.put(*key, vec![]))
}

async fn keeps_a_batch_over_reopening<S: Store>(open: impl Fn() -> S) {
    let store = open();
    let batch = Batch::new().put("a/1", b"one".to_vec()).put("a/2", b"two".to_vec());
    let revision = store.commit(batch).await.unwrap();
    store.commit(Batch::new().remove("a/2").put("b/1", vec![])).await.unwrap();
    drop(store);
    let store = open();
    let one = Record { bytes: b"one".to_vec(), revision };
    assert_eq!(store.scan("a/").await.unwrap(), [("a/1".to_owned(), one.clone())]);
    assert_eq!(store.get("a/1").await.unwrap(), Some(one));
    assert_eq!(store.get("a/2").await.unwrap(), None);
}

async fn revisions_grow_across_restarts<S: Store>(open: impl Fn() -> S) {
    let store = open();
    let before = store.commit(Batch::new().put("revisions", vec![])).await.unwrap();
    drop(store);
    let after = open().commit(Batch::new().put("revisions", vec![])).await.unwrap();
    assert!(after > before);
}

async fn pages_keys_in_order_within_their_prefix(store: &impl Store) {
    store.commit(filled(&["page/1", "page/2", "page/3", "pages/1"])).await.unwrap();
    assert_eq!(store.keys("page/", None, 2).await.unwrap(), ["page/1", "page/2"]);
    assert_eq!(store.keys("page/", Some("page/2"), 2).await.unwrap(), ["page/3"]);
    assert_eq!(store.keys("page/", Some("page/3"), 2).await.unwrap(), [""; 0]);
    assert_eq!(store.keys("pages/", Some("page/3"), 2).await.unwrap(), ["pages/1"]);
}

async fn reads_a_range_from_its_end(store: &impl Store) {
    store.commit(filled(&["r", "r/1", "r/2", "r/3", "s"])).await.unwrap();
    let keys = async |from, to, limit| {
        let found = store.scan_back(from, to, limit).await.unwrap();
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys("r/", "r0", 2).await, ["r/3", "r/2"]);
    assert_eq!(keys("r/", "r/2", 2).await, ["r/1"], "the end of the range is excluded");
    assert_eq!(keys("r/2", "r0", 9).await, ["r/3", "r/2"], "its start is included");
    assert_eq!(keys("r/", "r/1", 9).await, [""; 0]);
    assert_eq!(keys("s", "r", 9).await, [""; 0], "an inverted range is empty");
}

async fn writes_nothing_of_a_batch_whose_condition_fails(store: &impl Store) {
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

async fn lets_one_of_many_writers_of_a_revision_win(store: &impl Store) {
    let read = store.commit(Batch::new().put("contended", vec![])).await.unwrap();
    let outcomes = futures_util::future::join_all(
        (0..100u8).map(|n| store.commit(Batch::new().require_revision("contended", read).put("contended", vec![n]))),
    )
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

async fn reads_what_was_acknowledged_before(store: &impl Store) {
    for n in 0..300_u32 {
        let revision = store.commit(Batch::new().put("read", n.to_string().into())).await.unwrap();
        let found = store.get("read").await.unwrap().unwrap();
        assert_eq!((found.bytes, found.revision), (n.to_string().into(), revision));
    }
}

async fn refuses_batches_and_records_beyond_the_limits(store: &impl Store) {
    let puts = |count: usize| (0..count).fold(Batch::new(), |batch, n| batch.put(format!("limit/{n}"), vec![1]));
    store.commit(puts(MAX_BATCH_OPERATIONS)).await.unwrap();
    let conditions = puts(MAX_BATCH_OPERATIONS).require_present("limit/0");
    for batch in [puts(MAX_BATCH_OPERATIONS + 1), conditions] {
        assert!(matches!(store.commit(batch).await, Err(Error::TooLarge(_))));
    }
    let record = |length| Batch::new().put("large", vec![7; length]);
    store.commit(record(MAX_RECORD_BYTES)).await.unwrap();
    assert!(matches!(store.commit(record(MAX_RECORD_BYTES + 1)).await, Err(Error::TooLarge(_))));
    assert_eq!(store.get("large").await.unwrap().unwrap().bytes.len(), MAX_RECORD_BYTES);
}
