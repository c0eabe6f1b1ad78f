//! The files of the data directory belong together.

use std::path::Path;

use super::{TestPlatform, acme, context, defaults, key_of};
use crate::tenancy::platform::{NewTenant, Platform, accept_loss};

/// Why the data directory is refused, after it was left as it is.
async fn refusal(data: &Path) -> String {
    let contents = || {
        let files = std::fs::read_dir(data).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = contents();
    let words = match Platform::open(data, defaults()).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    };
    let names = |contents: &[(Vec<u8>, std::path::PathBuf)]| -> Vec<_> {
        contents.iter().map(|(_, path)| path.clone()).collect()
    };
    assert_eq!(names(&contents()), names(&before), "{words}");
    words
}

async fn stopped() -> (tempfile::TempDir, String) {
    let TestPlatform { directory, platform } = TestPlatform::new().await;
    let key = platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    (directory, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_or_pepper_that_is_missing_is_named_and_nothing_is_made_in_its_place() {
    for (file, way_back) in [("bitcall.redb", "restore"), ("key-pepper", "accept-loss")] {
        let (directory, _) = stopped().await;
        std::fs::remove_file(directory.path().join(file)).unwrap();
        for _ in 0..2 {
            let words = refusal(directory.path()).await;
            assert!(words.contains(&format!("{file} is missing")) && words.contains(way_back), "{words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pepper_with_one_wrong_bit_cut_off_or_of_another_installation_is_refused_and_can_be_accepted() {
    let (directory, key) = stopped().await;
    let file = directory.path().join("key-pepper");
    let right = std::fs::read(&file).unwrap();
    let flipped = (0..right.len()).map(|at| {
        let mut wrong = right.clone();
        wrong[at] ^= 1 << (at % 8);
        wrong
    });
    let cut = [0, 1, right.len() - 1].map(|length| right[..length].to_vec());
    let (other, _) = stopped().await;
    let other = std::fs::read(other.path().join("key-pepper")).unwrap();
    for wrong in flipped.chain(cut).chain([other]) {
        std::fs::write(&file, &wrong).unwrap();
        let words = refusal(directory.path()).await;
        assert!(words.contains("key-pepper") && words.contains("restore"), "{words}");
    }

    accept_loss(directory.path()).await.unwrap();
    let platform = Platform::open(directory.path(), defaults()).await.unwrap();
    assert!(platform.tenant(&acme()).is_ok());
    assert!(platform.key(&key).is_none(), "its hash was made with another pepper");
    drop(platform);
    std::fs::remove_file(&file).unwrap();
    accept_loss(directory.path()).await.unwrap();
    Platform::open(directory.path(), defaults()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_before_the_two_knew_of_each_other_takes_the_pepper_that_is_there() {
    let (directory, key) = stopped().await;
    let path = directory.path().join("bitcall.redb");
    // As the version before left it.
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let records: redb::TableDefinition<&str, (u64, &[u8])> = redb::TableDefinition::new("records");
        transaction.open_table(records).unwrap().remove("installation").unwrap().unwrap();
        let counters: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("counters");
        let mut counters = transaction.open_table(counters).unwrap();
        counters.remove("digest").unwrap();
        counters.insert("format", 3).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let platform = Platform::open(directory.path(), defaults()).await.unwrap();
        assert!(platform.key(&key).is_some());
        platform.verified().await.unwrap();
    }
    std::fs::write(directory.path().join("key-pepper"), [1; 32]).unwrap();
    refusal(directory.path()).await;
}
