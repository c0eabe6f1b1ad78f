//! Deleting a tenant with every record it has.
//!
//! Two phases, because a batch is limited and nobody should wait for a long one:
//!
//! 1. One batch removes the tenant's own record and all that it is found by (label, subdomain, domain), and puts a
//!    removal marker. Memory follows. From then on no write for the tenant succeeds: each requires the tenant's record,
//!    or is made under the write gate by a caller who looked into memory first.
//! 2. The other records, as [`records::belongings`] lists them, are deleted in batches, and the marker after them. Where
//!    the process ends in between, the next start finishes before it serves anybody; and so does whoever provisions the
//!    same id again.
//!
//! What stays is one audit entry, which names the tenant by a keyed hash: who knows the id finds the entry, and nobody
//! learns the id from it. Freed pages of the store's file are used again; `bitcall store compact` rewrites it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Platform, stored_form};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::id::TenantId;
use crate::tenancy::records::{self, RecordLocation};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant_state::TenantState;

/// Keys read at a time.
const PAGE: usize = 10_000;
/// Between two tries to finish a removal that the store did not let finish.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

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
    pub async fn remove_tenant(&self, context: &RequestContext, id: &TenantId) -> Result<Removal, Refusal> {
        loop {
            let (state, removal) = self.plan_removal(context, id).await?;
            let audited = json!({ "tenantHash": removal.tenant_hash, "removed": removal.counts });
            let action = AuditAction::on_platform("tenant.delete", audited, Value::Null);
            let mut batch = Batch::new()
                .require_revision(records::tenant_key(id.as_str()), state.revision)
                .put(records::removal_key(id), stored_form(id)?);
            for (_, location) in records::belongings(&state.tenant) {
                if let RecordLocation::Key(key) = location {
                    batch = batch.remove(key);
                }
            }
            let gone = id.clone();
            let follow = move |platform: &Self, _| platform.forget(&gone);
            // No other change is on its way: those that began before have ended, and later ones do not find the tenant.
            let gate = self.close_write_gate().await;
            match self.commit_in(gate, context, action, batch, follow).await {
                Ok(()) => {}
                Err(store::Error::Conflict(_)) => {
                    self.reload(id).await?;
                    continue;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
            // In a task of its own, because a caller who goes away is dropped at any await.
            let (platform, id) = (self.clone(), id.clone());
            let finishing = tokio::spawn(async move {
                if let Err(error) = platform.finish_removal(&id).await {
                    tracing::warn!(%error, "records of a deleted tenant could not be removed yet; this is tried again");
                    tokio::spawn(platform.finish_removal_later(id));
                }
            });
            if let Err(error) = finishing.await {
                tracing::error!(%error, "removing the records of a deleted tenant broke off; the next start goes on");
            }
            return Ok(removal);
        }
    }

    /// What [`Self::remove_tenant`] would remove now.
    pub async fn preview_removal(&self, context: &RequestContext, id: &TenantId) -> Result<Removal, Refusal> {
        Ok(self.plan_removal(context, id).await?.1)
    }

    /// By which the audit names a tenant that is gone.
    pub fn tenant_hash(&self, id: &TenantId) -> String {
        // No API key starts like this.
        self.0.pepper.hash(&format!("tenant/{id}")).into()
    }

    async fn plan_removal(
        &self,
        context: &RequestContext,
        id: &TenantId,
    ) -> Result<(Arc<TenantState>, Removal), Refusal> {
        let state = self.tenant(id)?;
        context.expects(state.revision)?;
        let mut counts = BTreeMap::from([("apiKeys", state.tenant.api_keys.len())]);
        for (kind, location) in records::belongings(&state.tenant) {
            *counts.entry(kind).or_default() += self.keys_at(location).await.map_err(Refusal::Unavailable)?.len();
        }
        Ok((state, Removal { counts, tenant_hash: self.tenant_hash(id) }))
    }

    /// Finishes the removals that an earlier process left open. For the start, before anything is served.
    /// Those that cannot be finished yet, as on a full disk, are tried again later.
    pub(super) async fn finish_open_removals(&self) -> Result<(), store::Error> {
        for key in self.0.store.keys(records::REMOVALS, None, usize::MAX).await? {
            let Some(id) = records::removed_tenant(&key) else { continue };
            match self.finish_removal(&id).await {
                Err(store::Error::Failed(_)) => drop(tokio::spawn(self.clone().finish_removal_later(id))),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// The second phase. Again is no error.
    pub(super) async fn finish_removal(&self, id: &TenantId) -> Result<(), store::Error> {
        let mut rest = Vec::new();
        for location in records::collections(id) {
            rest.extend(self.keys_at(location).await?);
        }
        for (key, _) in self.0.store.scan(&records::replays_of(id)).await? {
            rest.extend(records::replay_keys(key));
        }
        for some in rest.chunks(MAX_BATCH_OPERATIONS) {
            self.0.store.commit(some.iter().fold(Batch::new(), Batch::remove)).await?;
        }
        self.0.store.commit(Batch::new().remove(records::removal_key(id))).await?;
        Ok(())
    }

    async fn finish_removal_later(self, id: TenantId) {
        loop {
            tokio::time::sleep(RETRY_INTERVAL).await;
            match self.finish_removal(&id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "records of a deleted tenant could not be removed yet"),
            }
        }
    }

    async fn keys_at(&self, location: RecordLocation) -> Result<Vec<String>, store::Error> {
        let (prefix, ending) = match location {
            RecordLocation::Key(key) => {
                return Ok(self.0.store.get(&key).await?.map(|_| key).into_iter().collect());
            }
            RecordLocation::Prefix(prefix) => (prefix, String::new()),
            RecordLocation::Ending(prefix, ending) => (prefix.to_owned(), ending),
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
        self.pending_tokens().remove_tenant(id);
        self.kept_answers().remove_tenant(id);
        self.live_calls().forget(id);
    }
}
