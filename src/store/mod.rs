//! Where everything that must survive is kept: an ordered map from keys
//! (`tenant/acme`) to opaque records, changed by atomic batches.
//!
//! The interface is what both an embedded file and a replicated store can
//! honour: every record carries the revision of the batch that wrote it, and a
//! batch may demand that records are still at the revision its author read, so
//! that two writers, in one process or in several, never overwrite each
//! other unseen. Rules live above, in [`crate::tenancy`]; the store knows none.

#[cfg(test)]
mod conformance;
pub mod keys;
mod layout;
mod private_file;
mod redb_store;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use layout::{Layout, decode, encode};
pub use private_file::{create_private_directory, replace_private};
pub use redb_store::{Compacted, RedbStore, accept_loss, compact, read_only};

/// Conditions and changes in one batch, taken together: what etcd allows in a transaction by default (`--max-txn-ops`).
pub const MAX_BATCH_OPERATIONS: usize = 128;
/// Bytes in one record: what fits into etcd's largest request (`--max-request-bytes`, 1.5 MiB) with some room.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// Records that [`for_each`] reads at a time.
const PAGE: usize = 1000;

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub bytes: Vec<u8>,
    pub revision: Revision,
}

/// Grows with every committed batch; a record's is that of the batch that last wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// What a store can do. Nothing here blocks the caller's thread.
pub trait Store: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &str) -> BoxFuture<'a, Result<Option<Record>, Error>>;

    /// All records whose key starts with `prefix`, in key order.
    fn scan<'a>(&'a self, prefix: &str) -> BoxFuture<'a, Result<Vec<(String, Record)>, Error>>;

    /// The keys that start with `prefix` and come after `after`, in their order, at most `limit`.
    fn keys<'a>(&'a self, prefix: &str, after: Option<&str>, limit: usize)
    -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// The last `limit` records whose key is `from` or later and before `to`, the last one first.
    fn scan_back<'a>(
        &'a self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Record)>, Error>>;

    /// Applies the whole batch or nothing of it. Once it answers `Ok` the
    /// batch survives the loss of power. A batch beyond [`MAX_BATCH_OPERATIONS`] or
    /// [`MAX_RECORD_BYTES`] is refused with [`Error::TooLarge`].
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, Error>>;
}

/// Hands over all records whose key starts with `prefix`, the last one first. They are read in pages, so that memory
/// never holds all of them at once.
pub async fn for_each(
    store: &dyn Store,
    prefix: &str,
    mut visit: impl FnMut(&str, &Record) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut before = format!("{prefix}\u{10ffff}");
    loop {
        let page = store.scan_back(prefix, &before, PAGE).await?;
        page.iter().try_for_each(|(key, record)| visit(key, record))?;
        match page.into_iter().next_back() {
            Some((first, _)) => before = first,
            None => return Ok(()),
        }
    }
}

/// Changes that happen together, and what must hold for them to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    conditions: Vec<(String, Condition)>,
    changes: Vec<(String, Option<Vec<u8>>)>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(mut self, key: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.changes.push((key.into(), Some(bytes)));
        self
    }

    /// Removing what is not there is no error.
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.changes.push((key.into(), None));
        self
    }

    /// Whether something is required of the record.
    pub fn requires(&self, key: &str) -> bool {
        self.conditions.iter().any(|(required, _)| required == key)
    }

    /// How many conditions and changes it has; see [`MAX_BATCH_OPERATIONS`].
    pub fn operations(&self) -> usize {
        self.conditions.len() + self.changes.len()
    }

    /// What every engine refuses alike, so that no caller depends on a larger one.
    fn check_limits(&self) -> Result<(), Error> {
        let operations = self.operations();
        if operations > MAX_BATCH_OPERATIONS {
            return Err(Error::TooLarge(format!(
                "a batch of {operations} operations; {MAX_BATCH_OPERATIONS} are possible"
            )));
        }
        for (key, change) in &self.changes {
            let length = change.as_ref().map_or(0, Vec::len);
            if length > MAX_RECORD_BYTES {
                return Err(Error::TooLarge(format!(
                    "record {key} of {length} bytes; {MAX_RECORD_BYTES} are possible"
                )));
            }
        }
        Ok(())
    }

    pub fn require_absent(mut self, key: impl Into<String>) -> Self {
        self.conditions.push((key.into(), Condition::Absent));
        self
    }

    pub fn require_present(mut self, key: impl Into<String>) -> Self {
        self.conditions.push((key.into(), Condition::Present));
        self
    }

    pub fn require_revision(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.conditions.push((key.into(), Condition::Unchanged(revision)));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
    Unchanged(Revision),
}

impl Condition {
    fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Unchanged(revision) => found == Some(revision),
        }
    }
}

/// Whether a store can be written. It can always be read, as far as its medium can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It is not known yet whether it is whole. Writes wait.
    Verifying,
    Writable,
    /// The medium fails, for this reason. It is tried again with each write.
    ReadOnly(String),
    /// It is damaged, or no more the one that was opened. Nothing is written any more.
    Damaged(Error),
}

impl StoreState {
    /// Waits until the store was verified.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verified(mut state: watch::Receiver<Self>) -> Result<(), Error> {
        match state.wait_for(|state| *state != Self::Verifying).await.as_deref() {
            Ok(Self::Damaged(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Failed("the store's writer has stopped".into())),
        }
    }

    /// What stands in the way of writing.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Writable => None,
            Self::Verifying => Some("the store is being verified".into()),
            Self::ReadOnly(reason) => Some(format!("the store cannot be written: {reason}")),
            Self::Damaged(error) => Some(error.to_string()),
        }
    }
}

/// Why the store did not do it. Cloneable, because one failed group commit answers many callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A condition of the batch did not hold; nothing was written. Read again and decide again.
    #[error("the record {0} was changed meanwhile")]
    Conflict(String),
    /// Another process has the file open. Nothing is wrong with the data.
    #[error("the store {0} is in use by another process")]
    InUse(String),
    /// The medium failed (disk full, I/O error). Nothing of the batch was acknowledged; retrying may help.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The file holds something this version cannot read. Retrying does not help.
    #[error("the store cannot be read: {0}")]
    Unreadable(String),
    /// The batch is larger than a store takes: a fault of the caller. Nothing was written.
    #[error("too much for the store at once: {0}")]
    TooLarge(String),
}
