//! One-time tokens: made, redeemed, swept away.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Platform, no_randomness, stored_form};
use crate::store::{self, Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::id::TenantId;
use crate::tenancy::records::{self, decode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant_state::TenantState;
use crate::tenancy::token::{PendingTokens, SealedCredentials, SipCredentials, StoredContent, StoredToken, Token};
use crate::timestamp::Timestamp;

/// From the click in one window to the start of the app in the next.
const HANDOFF_TTL: Duration = Duration::from_mins(2);
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A token just made, shown here and never again.
#[derive(Debug)]
pub struct IssuedToken {
    pub token: Token,
    pub expires_at: Timestamp,
}

/// What a token was good for.
#[derive(Debug)]
pub struct RedeemedToken {
    pub state: Arc<TenantState>,
    pub carried: TokenContent,
}

#[derive(Debug, PartialEq, Eq)]
pub enum TokenContent {
    Credentials(SipCredentials),
    /// What a page encrypted for itself.
    Ciphertext(String),
}

impl Platform {
    /// A link that signs the person who opens it in with these credentials; shown to `answer` and never again.
    pub async fn create_link<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        credentials: &SipCredentials,
        life: Duration,
        answer: impl FnOnce(&IssuedToken) -> A,
    ) -> Result<A, Refusal> {
        let tenant = self.tenant(id)?;
        if !self.values_of(&tenant).effective.features.auth_link {
            return Err(Refusal::FeatureDisabled("authLink"));
        }
        let token = Token::generate().map_err(no_randomness)?;
        let sealed = SealedCredentials::seal(&token, id, credentials).map_err(not_sealed)?;
        let issued = IssuedToken { token, expires_at: after(context.at, life) };
        let audited =
            json!({ "username": credentials.username, "domain": credentials.domain, "expiresAt": issued.expires_at });
        let action = AuditAction::on(id, "link.create", Value::Null, audited);
        let answer = answer(&issued);
        let link = StoredContent::Link { sealed };
        self.keep_token(&context.with_answer(&answer, id)?, id, Some(action), &issued, link).await?;
        Ok(answer)
    }

    /// Carries what a page encrypted to the standalone app. Agents do that all day, and it changes
    /// nothing of the tenant: the audit is not told.
    pub async fn create_handoff<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        payload: String,
        answer: impl FnOnce(&IssuedToken) -> A,
    ) -> Result<A, Refusal> {
        let token = Token::generate().map_err(no_randomness)?;
        let issued = IssuedToken { token, expires_at: after(context.at, HANDOFF_TTL) };
        let answer = answer(&issued);
        self.keep_token(&context.with_answer(&answer, id)?, id, None, &issued, StoredContent::Handoff { payload })
            .await?;
        Ok(answer)
    }

    /// Of any number of attempts with one token, exactly one succeeds, at once or over restarts.
    /// `authority` is the address of the app that has it: another tenant's app gets nothing.
    pub async fn redeem(
        &self,
        context: &RequestContext,
        token: &Token,
        authority: &str,
    ) -> Result<RedeemedToken, Refusal> {
        let hash = self.0.pepper.hash(token.as_str());
        let id = self.pending_tokens().tenant_of(&hash, context.at).ok_or(Refusal::TokenInvalid)?;
        let state = self.app_tenant(authority, &id).map_err(|refusal| match refusal {
            Refusal::TenantDisabled => refusal,
            _ => Refusal::TokenInvalid,
        })?;
        let key = records::token_key(&id, &hash);
        let record = self.0.store.get(&key).await.map_err(Refusal::Unavailable)?.ok_or(Refusal::TokenInvalid)?;
        let stored: StoredToken = decode(&key, &record.bytes).map_err(Refusal::Unavailable)?;
        let (carried, action) = match stored.content {
            StoredContent::Link { sealed } => {
                let credentials = sealed.open(token, &id).map_err(not_sealed)?;
                let action =
                    AuditAction::on(&id, "link.redeem", Value::Null, json!({ "username": credentials.username }));
                (TokenContent::Credentials(credentials), Some(action))
            }
            StoredContent::Handoff { payload } => (TokenContent::Ciphertext(payload), None),
        };
        let batch = Batch::new().require_revision(&key, record.revision).remove(&key);
        let forget = move |platform: &Self, _| platform.pending_tokens().remove(&hash);
        match self.commit_with_audit(context, action, batch, forget).await {
            Ok(()) => Ok(RedeemedToken { state, carried }),
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
        let expired = self.pending_tokens().expired(now);
        for some in expired.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new();
            for (hash, tenant) in some {
                batch = batch.remove(records::token_key(tenant, hash));
            }
            self.0.store.commit(batch).await?;
            let mut waiting = self.pending_tokens();
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
                self.pending_tokens().put(hash, tenant, &stored);
            }
        }
        Ok(())
    }

    async fn keep_token(
        &self,
        context: &RequestContext,
        id: &TenantId,
        action: Option<AuditAction>,
        issued: &IssuedToken,
        stored_content: StoredContent,
    ) -> Result<(), Refusal> {
        let hash = self.0.pepper.hash(issued.token.as_str());
        let (expires_at, made_at, made_by) = (issued.expires_at, context.at, self.caller(context)?);
        let stored = StoredToken { content: stored_content, expires_at, made_at, made_by };
        let surplus = self.pending_tokens().surplus(id, &stored);
        let mut batch = Batch::new()
            .require_present(records::tenant_key(id.as_str()))
            .put(records::token_key(id, &hash), stored_form(&stored)?);
        for gone in &surplus {
            batch = batch.remove(records::token_key(id, gone));
        }
        let tenant = id.clone();
        let remember = move |platform: &Self, _| {
            let mut waiting = platform.pending_tokens();
            for gone in &surplus {
                waiting.remove(gone);
            }
            waiting.put(hash, tenant, &stored);
        };
        match self.commit_with_audit(context, action, batch, remember).await {
            Ok(()) => Ok(()),
            Err(store::Error::Conflict(_)) => Err(Refusal::TenantNotFound(id.to_string())),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub(super) fn pending_tokens(&self) -> MutexGuard<'_, PendingTokens> {
        self.0.pending_tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(moment: Timestamp, life: Duration) -> Timestamp {
    Timestamp(moment.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX)))
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
fn not_sealed(error: io::Error) -> Refusal {
    Refusal::Unavailable(store::Error::Failed(error.to_string()))
}
