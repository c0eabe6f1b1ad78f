//! The audit log: read, and forgotten when it is old. It is written with each change, by [`Platform::commit`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::Platform;
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::audit::{AuditAction, AuditEntry, AuditId, AuditPage, AuditSearch};
use crate::tenancy::records::{self, decode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::timestamp::Timestamp;

/// Entries read at a time.
const PAGE: usize = 500;
/// So many times one call reads.
const MAX_PAGES_PER_CALL: usize = 40;
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

impl Platform {
    /// Commits what another room keeps in the store, with its entry in the audit (`told`: before and
    /// after), and lets that room follow, whatever becomes of the caller.
    pub async fn commit_for<T: Send + 'static>(
        &self,
        context: &RequestContext,
        action: &'static str,
        audited: (Value, Value),
        batch: Batch,
        follow: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let action = AuditAction::on_platform(action, audited.0, audited.1);
        let committed = self.commit_with_audit(context, Some(action), batch, |_, _| follow());
        committed.await.map_err(Refusal::Unavailable)
    }

    /// The entries that are wanted, the newest first. A page may have fewer than its limit, none even,
    /// and another one behind it: one call looks at so many entries and no more.
    pub async fn audit(&self, search: &AuditSearch) -> Result<AuditPage, store::Error> {
        let gone = search.tenant.as_ref().map(|id| self.tenant_hash(id));
        let from = records::audit_from(search.since.unwrap_or(Timestamp(0)));
        let until = records::audit_from(search.until.unwrap_or(Timestamp(i64::MAX)));
        let mut to = search.before.as_ref().map_or(until.clone(), |id| records::audit_before(id).min(until.clone()));
        let mut entries: Vec<(AuditId, AuditEntry)> = Vec::new();
        for _ in 0..MAX_PAGES_PER_CALL {
            let page = self.0.store.scan_back(&from, &to, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (key, record) in page {
                let Some((id, owner)) = records::audit_owner(&key) else { continue };
                to = records::audit_before(&id);
                if search.tenant.as_ref().is_some_and(|tenant| !owner.is_empty() && owner != tenant.as_str()) {
                    continue;
                }
                let entry: AuditEntry = decode(&key, &record.bytes)?;
                let of_tenant = !owner.is_empty() || gone.as_deref() == entry.before["tenantHash"].as_str();
                let of_action = search.action.as_ref().is_none_or(|action| *action == entry.action);
                if of_action && (search.tenant.is_none() || of_tenant) {
                    if entries.len() == search.limit {
                        let next = entries.last().map(|(id, _)| id.clone());
                        return Ok(AuditPage { entries, next });
                    }
                    entries.push((id, entry));
                }
            }
            if is_last {
                return Ok(AuditPage { entries, next: None });
            }
        }
        let next = to.strip_prefix(records::AUDIT).and_then(|id| id.parse().ok());
        Ok(AuditPage { entries, next })
    }

    /// Removes entries that are older than `keep`, at once when it changes and else every hour. For a task of its own.
    pub async fn expire_audit(self, mut keep: watch::Receiver<Option<Duration>>) {
        loop {
            let age = *keep.borrow_and_update();
            if let Some(age) = age
                && let Err(error) = self.remove_audit_before(Timestamp::now().before(age)).await
            {
                tracing::warn!(%error, "old entries of the audit could not be removed");
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                // Nobody can change it where nothing is reloaded: the entries were looked at at the start.
                changed = keep.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    pub(in crate::tenancy) async fn remove_audit_before(&self, moment: Timestamp) -> Result<(), store::Error> {
        let end = records::audit_from(moment);
        loop {
            let mut keys = self.0.store.keys(records::AUDIT, None, MAX_BATCH_OPERATIONS).await?;
            keys.retain(|key| *key < end);
            if keys.is_empty() {
                return Ok(());
            }
            self.0.store.commit(keys.into_iter().fold(Batch::new(), Batch::remove)).await?;
        }
    }

    /// A name for a new entry. The numbers' random start keeps those of two appliances apart.
    pub(super) fn audit_key(&self, entry: &AuditEntry) -> String {
        let number = self.0.audit_number.fetch_add(1, Ordering::Relaxed);
        records::audit_key(&AuditId::new(entry.at, number), entry.tenant_id.as_ref())
    }
}
