//! Answers that are kept for repeated requests: begun, kept, forgotten.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Platform, no_randomness};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::caller_shares::{Amount, Caller, CallerShares};
use crate::tenancy::id::TenantId;
use crate::tenancy::idempotency::{AnswerRecord, Idempotency, IdempotentRequest, ReusedKey, StoredAnswer};
use crate::tenancy::records::{self, decode, encode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::{Actor, RequestContext};
use crate::timestamp::Timestamp;

/// Milliseconds.
const ANSWER_TTL_MS: i64 = 24 * 3_600_000;
/// Of the requests with one API key, or of the operator's about one tenant.
pub(super) const MAX_KEPT_ANSWERS: Amount = Amount { items: 1000, bytes: 1 << 20 };
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

impl Platform {
    /// Begins a request that must not be done twice. `scope` is whose idempotency keys these
    /// are; `request` all that the request says.
    pub async fn begin(&self, scope: &str, key: &str, request: &[u8], now: Timestamp) -> Result<Idempotency, Refusal> {
        let started = IdempotentRequest::start(&self.0.pepper, &self.0.running_requests, scope, key, request)
            .map_err(no_randomness)?;
        // From here on nobody else is at work on it; so the store says what became of it before.
        let attempt = started.ok_or(Refusal::StillAtWork)?;
        let record = records::replay_key(&attempt.name);
        let Some(found) = self.0.store.get(&record).await.map_err(Refusal::Unavailable)? else {
            return Ok(Idempotency::Now(Arc::new(attempt)));
        };
        let kept: StoredAnswer = decode(&record, &found.bytes).map_err(Refusal::Unavailable)?;
        if is_over(kept.at, now) {
            return Ok(Idempotency::Now(Arc::new(attempt)));
        }
        match attempt.open(&kept).map_err(no_randomness)? {
            Ok(answer) => Ok(Idempotency::Before(answer)),
            Err(ReusedKey) => Err(Refusal::KeyReused),
        }
    }

    /// Forgets kept answers when their day is over, for ever. For a task of its own.
    pub async fn expire_answers(self) {
        let mut tick = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(error) = self.expire_answers_now(Timestamp::now()).await {
                tracing::warn!(%error, "kept answers could not be forgotten");
            }
        }
    }

    /// Forgets the answers whose day is over.
    pub async fn expire_answers_now(&self, now: Timestamp) -> Result<(), store::Error> {
        let mut old = Vec::new();
        for (key, record) in self.0.store.scan(records::REPLAYS_OF).await? {
            if is_over(decode::<AnswerRecord>(&key, &record.bytes)?.at, now) {
                old.push(key);
            }
        }
        for some in old.chunks(MAX_BATCH_OPERATIONS / 2) {
            let keys = some.iter().cloned().flat_map(records::replay_keys);
            self.0.store.commit(keys.fold(Batch::new(), Batch::remove)).await?;
            let mut kept = self.kept_answers();
            for (_, name) in some.iter().filter_map(|key| records::answer_owner(key)) {
                kept.remove(&name.to_owned());
            }
        }
        Ok(())
    }

    /// What the store holds, at the start.
    pub(super) async fn load_answers(&self) -> Result<(), store::Error> {
        store::for_each(&*self.0.store, records::REPLAYS_OF, |key, record| {
            if let Some((tenant, name)) = records::answer_owner(key) {
                let AnswerRecord { at, bytes, made_by } = decode(key, &record.bytes)?;
                self.kept_answers().put(tenant, made_by, name.to_owned(), at, bytes);
            }
            Ok(())
        })
        .await
    }

    /// `batch` with the answer of the act, where one is to be kept, and without those that it displaces.
    pub(super) fn with_answer(
        &self,
        context: &RequestContext,
        mut batch: Batch,
    ) -> Result<(Batch, Option<NewAnswer>), store::Error> {
        let (Some(attempt), Some((tenant, answer))) = (&context.idempotent_request, &context.answer) else {
            return Ok((batch, None));
        };
        let failed = |error: &dyn std::fmt::Display| store::Error::Failed(error.to_string());
        let stored = encode(&attempt.seal(context.at, answer).map_err(|error| failed(&error))?)?;
        let made_by = self.caller(context).map_err(|error| failed(&error))?;
        let surplus = self.kept_answers().surplus(tenant, &made_by, stored.len());
        for gone in &surplus {
            batch = batch.remove(records::replay_key(gone)).remove(records::replay_of_key(tenant, gone));
        }
        let record = AnswerRecord { at: context.at, bytes: stored.len(), made_by };
        batch = batch
            .put(records::replay_key(&attempt.name), stored)
            .put(records::replay_of_key(tenant, &attempt.name), encode(&record)?);
        Ok((batch, Some(NewAnswer { tenant: tenant.clone(), name: attempt.name.clone(), record, surplus })))
    }

    /// Memory follows the store.
    pub(super) fn answer_kept(&self, new: NewAnswer) {
        let mut kept = self.kept_answers();
        new.surplus.iter().for_each(|gone| kept.remove(gone));
        let AnswerRecord { at, bytes, made_by } = new.record;
        kept.put(new.tenant, made_by, new.name, at, bytes);
    }

    pub(super) fn kept_answers(&self) -> MutexGuard<'_, CallerShares<String>> {
        self.0.kept_answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is asking, as it is counted by.
    pub(super) fn caller(&self, context: &RequestContext) -> Result<Caller, Refusal> {
        let Actor::ApiKey { id } = &context.actor else { return Ok(Caller::default()) };
        let network = context.source.map(|source| self.0.pepper.text("caller's network", &source.to_string()));
        Ok(Caller { key: Some(id.clone()), network: network.transpose().map_err(no_randomness)? })
    }
}

/// An answer that is about to be kept.
pub(super) struct NewAnswer {
    tenant: TenantId,
    name: String,
    record: AnswerRecord,
    /// The names of those that it displaces.
    surplus: Vec<String>,
}

fn is_over(kept: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(kept.0) >= ANSWER_TTL_MS
}
