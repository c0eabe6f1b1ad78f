//! One-time tokens: made, redeemed, swept away.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Platform, no_randomness, stored_form};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::act::Act;
use crate::tenancy::audit::Deed;
use crate::tenancy::fault::Refusal;
use crate::tenancy::id::TenantId;
use crate::tenancy::live::Live;
use crate::tenancy::records::{self, decode};
use crate::tenancy::token::{Content, Sealed, SipCredentials, StoredToken, Token, Waiting};
use crate::timestamp::Timestamp;

/// From the click in one window to the start of the app in the next.
const HANDOFF_LIFE: Duration = Duration::from_mins(2);
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A token just made, shown here and never again.
#[derive(Debug)]
pub struct Issued {
    pub token: Token,
    pub expires_at: Timestamp,
}

/// What a token was good for.
#[derive(Debug)]
pub struct Redeemed {
    pub live: Arc<Live>,
    pub carried: Carried,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Carried {
    Credentials(SipCredentials),
    /// What a page encrypted for itself.
    Ciphertext(String),
}

impl Platform {
    /// A link that signs the person who opens it in with these credentials; shown to `answer` and never again.
    pub async fn create_link<A: Serialize>(
        &self,
        act: &Act,
        id: &TenantId,
        credentials: &SipCredentials,
        life: Duration,
        answer: impl FnOnce(&Issued) -> A,
    ) -> Result<A, Refusal> {
        let tenant = self.tenant(id)?;
        if !self.in_effect(&tenant).effective.features.auth_link {
            return Err(Refusal::FeatureDisabled("authLink"));
        }
        let token = Token::generate().map_err(no_randomness)?;
        let sealed = Sealed::seal(&token, id, credentials).map_err(not_sealed)?;
        let issued = Issued { token, expires_at: after(act.at, life) };
        let told =
            json!({ "username": credentials.username, "domain": credentials.domain, "expiresAt": issued.expires_at });
        let deed = Deed::on(id, "link.create", Value::Null, told);
        let answer = answer(&issued);
        self.keep_token(&act.answered_by(&answer, id)?, id, Some(deed), &issued, Content::Link { sealed }).await?;
        Ok(answer)
    }

    /// Carries what a page encrypted to the standalone app. Agents do that all day, and it changes
    /// nothing of the tenant: the audit is not told.
    pub async fn create_handoff<A: Serialize>(
        &self,
        act: &Act,
        id: &TenantId,
        payload: String,
        answer: impl FnOnce(&Issued) -> A,
    ) -> Result<A, Refusal> {
        let token = Token::generate().map_err(no_randomness)?;
        let issued = Issued { token, expires_at: after(act.at, HANDOFF_LIFE) };
        let answer = answer(&issued);
        self.keep_token(&act.answered_by(&answer, id)?, id, None, &issued, Content::Handoff { payload }).await?;
        Ok(answer)
    }

    /// Of any number of attempts with one token, exactly one succeeds, at once or over restarts.
    /// `authority` is the address of the app that has it: another tenant's app gets nothing.
    pub async fn redeem(&self, act: &Act, token: &Token, authority: &str) -> Result<Redeemed, Refusal> {
        let hash = self.0.pepper.hash(token.as_str());
        let id = self.waiting().tenant_of(&hash, act.at).ok_or(Refusal::TokenInvalid)?;
        let app = self.app(authority, Some(id.as_str())).map_err(|refusal| match refusal {
            Refusal::TenantDisabled => refusal,
            _ => Refusal::TokenInvalid,
        })?;
        let key = records::token_key(&id, &hash);
        let record = self.0.store.get(&key).await.map_err(Refusal::Unavailable)?.ok_or(Refusal::TokenInvalid)?;
        let stored: StoredToken = decode(&key, &record.bytes).map_err(Refusal::Unavailable)?;
        let (carried, deed) = match stored.content {
            Content::Link { sealed } => {
                let credentials = sealed.open(token, &id).map_err(not_sealed)?;
                let deed = Deed::on(&id, "link.redeem", Value::Null, json!({ "username": credentials.username }));
                (Carried::Credentials(credentials), Some(deed))
            }
            Content::Handoff { payload } => (Carried::Ciphertext(payload), None),
        };
        let batch = Batch::new().require_revision(&key, record.revision).remove(&key);
        let forget = move |platform: &Self, _| platform.waiting().remove(&hash);
        match self.commit_maybe_told(act, deed, batch, forget).await {
            Ok(()) => Ok(Redeemed { live: app.live, carried }),
            // Somebody was faster.
            Err(store::Error::Conflict(_)) => Err(Refusal::TokenInvalid),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    /// Removes what nobody redeemed in time, for ever. For a task of its own.
    pub async fn sweep_tokens(self) {
        let mut tick = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(error) = self.remove_expired_tokens(Timestamp::now()).await {
                tracing::warn!(%error, "expired tokens could not be removed from the store");
            }
        }
    }

    pub(in crate::tenancy) async fn remove_expired_tokens(&self, now: Timestamp) -> Result<(), store::Error> {
        let expired = self.waiting().expired(now);
        for some in expired.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new();
            for (hash, tenant) in some {
                batch = batch.remove(records::token_key(tenant, hash));
            }
            self.0.store.commit(batch).await?;
            let mut waiting = self.waiting();
            for (hash, _) in some {
                waiting.remove(hash);
            }
        }
        Ok(())
    }

    /// What the store holds, at the start.
    pub(super) async fn load_tokens(&self) -> Result<(), store::Error> {
        for (key, record) in self.0.store.scan(records::TOKENS).await? {
            if let Some((tenant, hash)) = records::token_owner(&key) {
                let stored: StoredToken = decode(&key, &record.bytes)?;
                self.waiting().put(hash, tenant, stored.expires_at);
            }
        }
        Ok(())
    }

    async fn keep_token(
        &self,
        act: &Act,
        id: &TenantId,
        deed: Option<Deed>,
        issued: &Issued,
        content: Content,
    ) -> Result<(), Refusal> {
        if self.waiting().is_full(id) {
            return Err(Refusal::TooManyTokens);
        }
        let hash = self.0.pepper.hash(issued.token.as_str());
        let expires_at = issued.expires_at;
        let stored = StoredToken { content, expires_at };
        let batch = Batch::new()
            .require_present(records::tenant_key(id.as_str()))
            .put(records::token_key(id, &hash), stored_form(&stored)?);
        let id = id.clone();
        let tenant = id.clone();
        let remember = move |platform: &Self, _| platform.waiting().put(hash, tenant, expires_at);
        match self.commit_maybe_told(act, deed, batch, remember).await {
            Ok(()) => Ok(()),
            Err(store::Error::Conflict(_)) => Err(Refusal::TenantNotFound(id.to_string())),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(moment: Timestamp, life: Duration) -> Timestamp {
    Timestamp(moment.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX)))
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
fn not_sealed(error: io::Error) -> Refusal {
    Refusal::Unavailable(store::Error::Failed(error.to_string()))
}
