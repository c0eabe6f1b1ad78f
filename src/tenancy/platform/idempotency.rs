//! Answers that are kept for repeated requests: begun, kept, forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::{Platform, no_randomness};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::idempotency::{Idempotency, IdempotentRequest, ReusedKey, StoredAnswer};
use crate::tenancy::records::{self, decode, encode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::timestamp::Timestamp;

/// Milliseconds.
const ANSWER_TTL_MS: i64 = 24 * 3_600_000;
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
            if is_over(decode(&key, &record.bytes)?, now) {
                old.push(key);
            }
        }
        let keys: Vec<_> = old.into_iter().flat_map(records::replay_keys).collect();
        for some in keys.chunks(MAX_BATCH_OPERATIONS) {
            self.0.store.commit(some.iter().fold(Batch::new(), Batch::remove)).await?;
        }
        Ok(())
    }
}

/// `batch` with the answer of `act`, where one is to be kept.
pub(super) fn with_answer(context: &RequestContext, batch: Batch) -> Result<Batch, store::Error> {
    let (Some(attempt), Some((tenant, answer))) = (&context.idempotent_request, &context.answer) else {
        return Ok(batch);
    };
    let kept = attempt.seal(context.at, answer).map_err(|error| store::Error::Failed(error.to_string()))?;
    let batch = batch.put(records::replay_key(&attempt.name), encode(&kept)?);
    Ok(batch.put(records::replay_of_key(tenant, &attempt.name), encode(&context.at)?))
}

fn is_over(kept: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(kept.0) >= ANSWER_TTL_MS
}
