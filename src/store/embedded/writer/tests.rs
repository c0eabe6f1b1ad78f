#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::RwLock;

use redb::Database;

use super::super::Current;
use super::super::database::prepare;
use super::*;
use crate::store::Embedded;
use crate::store::embedded::JOURNAL;

#[test]
fn batches_of_one_group_come_one_after_the_other() {
    let (_directory, shared, journal, last) = parts();
    let mut writer = Writer { shared: &shared, journal, last, cleaning: Cleaning::default() };
    let batches = [
        (Batch::new().require_absent("k").put("k", vec![1]), true),
        (Batch::new().require_absent("k").put("other", vec![2]), false),
        (Batch::new().require_present("k").remove("k").put("l", vec![3]), true),
        (Batch::new().require_present("k").put("other", vec![4]), false),
        (Batch::new().require_revision("l", Revision(last.0 + 2)).require_absent("k").put("l", vec![5]), true),
    ];
    let (batches, expected): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    let outcomes = written(&mut writer, batches);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), expected);
    let mut revisions = outcomes.into_iter().flatten().map(|revision| revision.0);
    assert!(revisions.by_ref().eq(last.0 + 1..=last.0 + 3));
    let records = shared.records().unwrap();
    let found = |key| records.get(key).unwrap().map(|found| found.value().1.to_vec());
    assert_eq!((found("k"), found("l"), found("other")), (None, Some(vec![5]), None));
}

#[test]
fn what_the_database_could_not_take_up_is_taken_up_before_anything_else() {
    let (directory, shared, mut journal, last) = parts();
    let acknowledged = Revision(last.0 + 1);
    journal.append(&[Entry { revision: acknowledged, changes: vec![("k", Some(&[1]))] }]).unwrap();
    shared.change().whole = Err(Error::Failed("no room".into()));
    assert!(matches!(shared.records(), Err(Error::Failed(_))), "rather no answer than an old one");
    let mut writer = Writer { shared: &shared, journal, last: acknowledged, cleaning: Cleaning::default() };
    let next = Batch::new().require_revision("k", acknowledged).put("l", vec![2]);
    assert_eq!(written(&mut writer, vec![next])[0].as_ref().unwrap().0, acknowledged.0 + 1);
    let records = shared.records().unwrap();
    let found = |key| records.get(key).unwrap().map(|found| found.value().0);
    assert_eq!((found("k"), found("l")), (Some(acknowledged.0), Some(acknowledged.0 + 1)));
    drop(records);
    // Nor does the journal begin anew before that.
    shared.change().whole = Err(Error::Failed("no room".into()));
    assert!(writer.write_database());
    assert!(shared.records().is_ok());
    drop(writer);
    drop(shared);
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    assert_eq!(store.shared.records().unwrap().get("l").unwrap().unwrap().value().1, [2]);
}

/// What a store is made of.
fn parts() -> (tempfile::TempDir, Shared, Journal, Revision) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let database = Database::create(&path).unwrap();
    let (journal, last) = prepare(&database, &path.with_extension(JOURNAL)).unwrap();
    let current = RwLock::new(Current { database: Arc::new(database), whole: Ok(()) });
    (directory, Shared { path, current }, journal, last)
}

/// What is answered to batches that came at the same time.
fn written(writer: &mut Writer<'_>, batches: Vec<Batch>) -> Vec<Result<Revision, Error>> {
    let (group, answers): (Vec<_>, Vec<_>) = batches
        .into_iter()
        .map(|batch| {
            let (answer, answered) = oneshot::channel();
            (Request { batch, answer }, answered)
        })
        .unzip();
    writer.write_group(group);
    answers.into_iter().map(|mut answered| answered.try_recv().unwrap()).collect()
}
