//! A tenant goes, and nothing of it stays: not in the store, not in memory.
//!
//! All its records, as [`records::belongings`] lists them, go in the batch that
//! removes the tenant itself, while no other change is on its way; so there is
//! no moment at which half of it is there, and no late writer who brings
//! something back. What stays is one audit entry, which names the tenant by a keyed
//! hash: whoever knows the id finds it, and nobody learns the id from it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Platform;
use crate::store::{self, Batch};
use crate::tenancy::act::Act;
use crate::tenancy::audit::Deed;
use crate::tenancy::fault::Refusal;
use crate::tenancy::id::TenantId;
use crate::tenancy::records::{self, Place};

/// Keys read at a time.
const PAGE: usize = 10_000;

/// What was removed with a tenant, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// How many of each kind: `apiKeys`, `extensions`, `auditEntries` …
    pub counts: BTreeMap<&'static str, usize>,
    /// The tenant's name in the audit from now on.
    pub tenant_hash: String,
}

impl Platform {
    /// Removes a tenant with all it has; every surface refuses it from now on.
    pub async fn remove_tenant(&self, act: &Act, id: &TenantId) -> Result<Removal, Refusal> {
        loop {
            let turn = self.only_turn().await;
            let (removal, batch) = self.plan_removal(act, id).await?;
            let told = json!({ "tenantHash": removal.tenant_hash, "removed": removal.counts });
            let deed = Deed::on_platform("tenant.delete", told, Value::Null);
            let gone = id.clone();
            let follow = move |platform: &Self, _| platform.forget(&gone);
            match self.commit_in(turn, act, deed, batch, follow).await {
                Ok(()) => return Ok(removal),
                Err(store::Error::Conflict(_)) => {
                    self.reload(id).await?;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// What [`Self::remove_tenant`] would remove now.
    pub async fn would_remove_tenant(&self, act: &Act, id: &TenantId) -> Result<Removal, Refusal> {
        Ok(self.plan_removal(act, id).await?.0)
    }

    /// By which the audit names a tenant that is gone.
    pub fn tenant_hash(&self, id: &TenantId) -> String {
        // No API key starts like this.
        self.0.pepper.hash(&format!("tenant/{id}")).into()
    }

    async fn plan_removal(&self, act: &Act, id: &TenantId) -> Result<(Removal, Batch), Refusal> {
        let live = self.tenant(id)?;
        act.expects(live.revision)?;
        let mut counts = BTreeMap::from([("apiKeys", live.tenant.api_keys.len())]);
        let mut batch = Batch::new().require_revision(records::tenant_key(id.as_str()), live.revision);
        for (kind, place) in records::belongings(&live.tenant) {
            let keys = self.keys_at(place).await.map_err(Refusal::Unavailable)?;
            *counts.entry(kind).or_default() += keys.len();
            batch = keys.into_iter().fold(batch, Batch::remove);
        }
        let batch = self.without_answers(id, batch).await.map_err(Refusal::Unavailable)?.leave_no_trace();
        Ok((Removal { counts, tenant_hash: self.tenant_hash(id) }, batch))
    }

    async fn keys_at(&self, place: Place) -> Result<Vec<String>, store::Error> {
        let (prefix, ending) = match place {
            Place::Key(key) => {
                return Ok(self.0.store.get(&key).await?.map(|_| key).into_iter().collect());
            }
            Place::Prefix(prefix) => (prefix, String::new()),
            Place::Ending(prefix, ending) => (prefix.to_owned(), ending),
        };
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.0.store.keys(&prefix, after.as_deref(), PAGE).await?;
            let last = page.last().cloned();
            let is_full = page.len() == PAGE;
            found.extend(page.into_iter().filter(|key| key.ends_with(&ending)));
            match last {
                Some(last) if is_full => after = Some(last),
                _ => return Ok(found),
            }
        }
    }

    /// Memory's part. Whatever else keeps something of tenants in memory lets go of it here.
    fn forget(&self, id: &TenantId) {
        self.snapshot_mut().remove_tenant(id);
        self.waiting().remove_tenant(id);
        self.live_calls().forget(id);
    }
}
