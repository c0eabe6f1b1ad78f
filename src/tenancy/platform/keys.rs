//! API keys: made, replaced, revoked, and when they were last used.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Platform, no_randomness};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::id::TenantId;
use crate::tenancy::key::{ApiKey, ApiKeyMeta, KeyId, KeyPurpose, StoredKey, is_well_formed};
use crate::tenancy::records::{self, decode, encode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::snapshot::Snapshot;
use crate::tenancy::tenant::Tenant;
use crate::tenancy::tenant_state::{KeyState, TenantState};
use crate::timestamp::Timestamp;

const DEFAULT_LABEL: &str = "Default";
const KEY_USE_INTERVAL: Duration = Duration::from_mins(5);
/// The clock may be set meanwhile.
const RETIREMENT_CHECK_INTERVAL: Duration = Duration::from_mins(1);

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    pub label: Option<String>,
    pub purpose: KeyPurpose,
}

impl Platform {
    pub fn api_keys(&self, state: &TenantState) -> Vec<ApiKeyMeta> {
        self.snapshot().key_metas(&state.tenant, Timestamp::now())
    }

    /// An API key that opens something now, with its live tenant.
    pub fn key(&self, key: &str) -> Option<Arc<KeyState>> {
        self.key_in(&self.snapshot(), key, Timestamp::now()).cloned()
    }

    /// [`Self::key`] for who has the model in hand.
    pub(in crate::tenancy) fn key_in<'s>(
        &self,
        snapshot: &'s Snapshot,
        key: &str,
        now: Timestamp,
    ) -> Option<&'s Arc<KeyState>> {
        if !is_well_formed(key) {
            return None;
        }
        let found = snapshot.key(&self.0.pepper.hash(key))?;
        found.retires_at.is_none_or(|moment| now < moment).then_some(found)
    }

    /// Makes a further API key, shown to `answer` and never again.
    pub async fn create_key<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        new: NewKey,
        answer: impl FnOnce(&ApiKey, ApiKeyMeta) -> A,
    ) -> Result<A, Refusal> {
        let (api_key, stored) = self.new_key(context, new)?;
        let answer = answer(&api_key, stored.meta(None));
        let context = context.with_answer(&answer, id)?;
        self.change(&context, id, "key.create", |tenant, rights| tenant.add_key(stored.clone(), rights)).await?;
        Ok(answer)
    }

    /// Makes a key, shown to `answer` and never again, that takes the place, the label and the purpose of `key`. The old
    /// one works until `overlap` is over, and is refused everywhere from that moment on.
    pub async fn rotate_key<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        key: &KeyId,
        overlap: Duration,
        answer: impl FnOnce(&ApiKey, ApiKeyMeta, ApiKeyMeta) -> A,
    ) -> Result<A, Refusal> {
        let (api_key, stored) = self.new_key(context, NewKey::default())?;
        let retires_at = context.at.after(overlap);
        let rule = |tenant: &mut Tenant| tenant.rotate_key(key, stored.clone(), retires_at, context.at);
        // What the keys are called never changes, so the answer is known before the change.
        let (successor, replaced) = rule(&mut self.tenant(id)?.tenant.clone())?;
        let last_used = self.snapshot().last_used(&replaced.hash);
        let answer = answer(&api_key, successor.meta(None), replaced.meta(last_used));
        let context = &context.with_answer(&answer, id)?;
        self.change(context, id, "key.rotate", |tenant, _| rule(tenant)).await?;
        Ok(answer)
    }

    /// Drops keys from the store once they have retired, for ever. For a task of its own.
    pub async fn drop_retiring_keys(self) {
        let mut changes = self.changes();
        loop {
            let now = Timestamp::now();
            let next = self.snapshot().next_retirement().cloned();
            let pause = match next {
                None => RETIREMENT_CHECK_INTERVAL,
                Some((moment, _)) if moment > now => now.until(moment).min(RETIREMENT_CHECK_INTERVAL),
                Some((_, id)) => match self.drop_retired_keys(&id).await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::warn!(%error, tenant = %id, "retired API keys could not be dropped");
                        tokio::time::sleep(RETIREMENT_CHECK_INTERVAL).await;
                        continue;
                    }
                },
            };
            // A change may bring an earlier retirement.
            let _ = tokio::time::timeout_at(Instant::now() + pause, changes.changed()).await;
        }
    }

    async fn drop_retired_keys(&self, id: &TenantId) -> Result<(), Refusal> {
        let context = RequestContext::of_bitcall();
        let rule = |tenant: &mut Tenant, _: &_| {
            tenant.drop_retired_keys(context.at);
            Ok(())
        };
        self.change(&context, id, "key.retire", rule).await?;
        Ok(())
    }

    /// From the moment this answers, the key is refused everywhere. Revoking
    /// again is no error; true when it was live.
    pub async fn revoke_key(&self, context: &RequestContext, id: &TenantId, key: &KeyId) -> Result<bool, Refusal> {
        let (_, was_live) = self.change(context, id, "key.revoke", |tenant, _| tenant.revoke_key(key)).await?;
        Ok(was_live)
    }

    /// Writes down when keys were last used, every few minutes, for ever. For a task of its own.
    pub async fn persist_key_uses(self) {
        let mut tick = tokio::time::interval(KEY_USE_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(error) = self.store_key_uses().await {
                tracing::warn!(%error, "the last uses of API keys could not be stored");
            }
        }
    }

    /// Writes down when keys were last used; for the end of the process.
    pub async fn store_key_uses(&self) -> Result<(), store::Error> {
        let uses = self.snapshot().key_uses();
        for some in uses.chunks(MAX_BATCH_OPERATIONS) {
            let _gate = self.enter_write_gate().await;
            let mut batch = Batch::new();
            let mut news = false;
            for (tenant, id, moment) in some {
                if self.tenant(tenant).is_err() {
                    continue; // Removed meanwhile: nothing of it may come back.
                }
                let key = records::key_use_key(tenant, id);
                let stored = self.0.store.get(&key).await?;
                let stored = stored.map(|record| decode::<Timestamp>(&key, &record.bytes));
                if stored.transpose()? != Some(*moment) {
                    batch = batch.put(key, encode(moment)?);
                    news = true;
                }
            }
            if news {
                self.0.store.commit(batch).await?;
            }
        }
        Ok(())
    }

    pub(super) fn new_key(&self, context: &RequestContext, new: NewKey) -> Result<(ApiKey, StoredKey), Refusal> {
        let api_key = ApiKey::generate().map_err(no_randomness)?;
        let stored = StoredKey {
            id: KeyId::generate().map_err(no_randomness)?,
            label: new.label.unwrap_or_else(|| DEFAULT_LABEL.into()),
            purpose: new.purpose,
            hash: self.0.pepper.hash(api_key.as_str()),
            created_at: context.at,
            retires_at: None,
        };
        Ok((api_key, stored))
    }
}
