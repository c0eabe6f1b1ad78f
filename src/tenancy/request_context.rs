//! Who changes something, and in which request: what the audit log is told of every change.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::TenantId;
use super::idempotency::IdempotentRequest;
use super::key::KeyId;
use super::refusal::Refusal;
use crate::rate_limiter::ClientNetwork;
use crate::store::{self, Revision};
use crate::timestamp::Timestamp;

/// One request that may change something.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub actor: Actor,
    /// The network that the request came from, where it came from the network.
    pub source: Option<ClientNetwork>,
    /// As in the answer's `X-Request-Id`.
    pub request_id: String,
    pub at: Timestamp,
    /// The revisions of the record, one of which its author has read: it is changed in none but these.
    pub expected: Option<Vec<Revision>>,
    /// Set when the request may come again and must not be done again.
    pub idempotent_request: Option<Arc<IdempotentRequest>>,
    /// What is kept for its repetition; see [`Self::answered_by`].
    pub(super) answer: Option<(TenantId, Vec<u8>)>,
}

impl RequestContext {
    pub fn of(actor: Actor, request_id: String) -> Self {
        Self {
            actor,
            source: None,
            request_id,
            at: Timestamp::now(),
            expected: None,
            idempotent_request: None,
            answer: None,
        }
    }

    /// What the server does by itself.
    pub fn of_bitcall() -> Self {
        Self::of(Actor::Bitcall, String::new())
    }

    /// To be asked of every record before it is changed, with the revision that the commit will require.
    pub fn expects(&self, found: Revision) -> Result<(), Refusal> {
        match &self.expected {
            Some(expected) if !expected.contains(&found) => Err(Refusal::Outdated),
            _ => Ok(()),
        }
    }

    /// The act with the answer, about a tenant, that its success will get. It is committed in one batch with the
    /// change, so that a repetition after a crash finds both or neither; and it goes with its tenant.
    pub fn with_answer(&self, answer: &impl Serialize, tenant: &TenantId) -> Result<Self, Refusal> {
        let failed = |error: serde_json::Error| Refusal::Unavailable(store::Error::Failed(error.to_string()));
        let answer =
            self.idempotent_request.as_ref().map(|_| serde_json::to_vec(answer)).transpose().map_err(failed)?;
        Ok(Self { answer: answer.map(|answer| (tenant.clone(), answer)), ..self.clone() })
    }
}

/// Who is asking. Secrets go by the start of their digest, so that two that are valid at once can be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Actor {
    /// The operator's panel.
    PanelKey { digest: String },
    /// The operator's automation.
    MasterSecret { digest: String },
    /// A tenant's own back end, or a page of the tenant's.
    ApiKey { id: KeyId },
    /// Somebody on this machine.
    User { uid: u32 },
    /// The server by itself.
    Bitcall,
    /// Nobody who had to say who they are.
    Anyone,
}
