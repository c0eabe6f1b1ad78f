//! Leases by which one appliance at a time orders for a name. A lease expires if its holder ends without releasing
//! it. It names the appliance and not the process, so that a restarted appliance can take its own lease at once.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;
use crate::store::{self, Batch, Layout, Store, decode, encode};
use crate::timestamp::Timestamp;

/// Longer than any one step of an order takes.
pub const LEASE_TTL: Duration = Duration::from_mins(3);

/// The leases, on behalf of one holder.
#[derive(Clone)]
pub struct Leases {
    store: Arc<dyn Store>,
    holder: String,
}

#[derive(Serialize, Deserialize)]
struct Lease {
    holder: String,
    until: Timestamp,
}

impl Layout for Lease {}

/// The result of taking a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// This appliance has it up to then.
    Ours(Timestamp),
    /// Another appliance has it up to then.
    Theirs(Timestamp),
}

impl Leases {
    /// `holder`: a name that this appliance keeps over restarts and shares with no other.
    pub fn new(store: Arc<dyn Store>, holder: String) -> Self {
        Self { store, holder }
    }

    /// Takes or prolongs the lease for a name.
    pub async fn take(&self, name: &Hostname, now: Timestamp) -> Result<LeaseOutcome, store::Error> {
        let key = lease_key(name);
        loop {
            let record = self.store.get(&key).await?;
            let batch = match &record {
                None => Batch::new().require_absent(&key),
                Some(record) => {
                    let lease: Lease = decode(&key, &record.bytes)?;
                    if lease.holder != self.holder && lease.until > now {
                        return Ok(LeaseOutcome::Theirs(lease.until));
                    }
                    Batch::new().require_revision(&key, record.revision)
                }
            };
            let until = now.after(LEASE_TTL);
            let lease = Lease { holder: self.holder.clone(), until };
            match self.store.commit(batch.put(&key, encode(&lease)?)).await {
                Ok(_) => return Ok(LeaseOutcome::Ours(until)),
                // Another writer was faster: read again.
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the lease if this appliance has it.
    pub async fn release(&self, name: &Hostname) -> Result<(), store::Error> {
        let key = lease_key(name);
        let Some(record) = self.store.get(&key).await? else { return Ok(()) };
        let lease: Lease = decode(&key, &record.bytes)?;
        if lease.holder != self.holder {
            return Ok(());
        }
        match self.store.commit(Batch::new().require_revision(&key, record.revision).remove(&key)).await {
            Ok(_) | Err(store::Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub fn lease_key(name: &Hostname) -> String {
    format!("order-lease/{name}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::RedbStore;

    #[tokio::test]
    async fn a_lease_has_one_holder_until_it_expires_or_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&directory.path().join("store")).unwrap());
        let (one, two) = (Leases::new(Arc::clone(&store), "one".into()), Leases::new(Arc::clone(&store), "two".into()));
        let name: Hostname = "a.example".parse().unwrap();
        let now = Timestamp(1_000_000);
        let until = now.after(LEASE_TTL);
        assert_eq!(one.take(&name, now).await.unwrap(), LeaseOutcome::Ours(until));
        assert_eq!(two.take(&name, now).await.unwrap(), LeaseOutcome::Theirs(until));
        let later = now.after(Duration::from_mins(1));
        assert_eq!(
            one.take(&name, later).await.unwrap(),
            LeaseOutcome::Ours(later.after(LEASE_TTL)),
            "its holder prolongs it"
        );
        let over = later.after(LEASE_TTL);
        assert_eq!(two.take(&name, over).await.unwrap(), LeaseOutcome::Ours(over.after(LEASE_TTL)));
        one.release(&name).await.unwrap();
        assert!(matches!(one.take(&name, over).await.unwrap(), LeaseOutcome::Theirs(_)), "only its holder releases it");
        two.release(&name).await.unwrap();
        assert!(matches!(one.take(&name, over).await.unwrap(), LeaseOutcome::Ours(_)));
    }

    #[tokio::test]
    async fn one_of_many_concurrent_takers_gets_the_lease() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&directory.path().join("store")).unwrap());
        let name: Hostname = "a.example".parse().unwrap();
        let all: Vec<_> = (0..20).map(|n| Leases::new(Arc::clone(&store), n.to_string())).collect();
        let asked = futures_util::future::join_all(all.iter().map(|one| one.take(&name, Timestamp(5)))).await;
        let ours = asked.into_iter().filter(|asked| matches!(asked, Ok(LeaseOutcome::Ours(_)))).count();
        assert_eq!(ours, 1);
    }
}
