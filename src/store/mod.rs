//! Where everything that must survive is kept: an ordered map from keys
//! (`tenant/acme`) to opaque records, changed by atomic batches.
//!
//! The interface is what both an embedded file and a replicated store can
//! honour: every record carries the revision of the batch that wrote it, and a
//! batch may demand that records are still at the revision its author read, so
//! that two writers, in one process or in several, never overwrite each
//! other unseen. Rules live above, in [`crate::tenancy`]; the store knows none.

mod aside;
mod embedded;
mod file;
mod journal;
mod layout;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use aside::read_aside;
pub use embedded::Embedded;
pub use file::replace_private;
pub use layout::{Layout, decode, encode};

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

    /// Hands over all records whose key is `from` or later and before `to`, the last one first, as they lie there: one at
    /// a time, with nothing kept of those before. Ends with the visitor's first error.
    fn visit_back<'a>(&'a self, from: &str, to: &str, visitor: Visitor) -> BoxFuture<'a, Result<(), Error>>;

    /// Applies the whole batch or nothing of it. Once it answers `Ok` the
    /// batch survives the loss of power.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, Error>>;
}

/// Takes records, by key. Blocks nobody: it is called on a thread of the store's.
pub type Visitor = Box<dyn FnMut(&str, &[u8]) -> Result<(), Error> + Send>;

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

    /// What the batch removes, and what its records were before, is soon after not in the store's files either: they are
    /// written anew. For what has to be forgotten.
    pub fn leave_no_trace(self) -> Self {
        self.put(TRACES, Vec::new())
    }

    /// Whether something is required of the record.
    pub fn requires(&self, key: &str) -> bool {
        self.conditions.iter().any(|(required, _)| required == key)
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

/// Where this record is, the files hold traces of what was to be forgotten. So not even a crash makes the store forget to.
const TRACES: &str = "traces";

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

/// Why the store did not do it. Cloneable, because one failed group commit answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
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
}
