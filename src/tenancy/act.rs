//! Who changes something, and in which request: what the audit log is told of every change.

use serde::{Deserialize, Serialize};

use super::key::KeyId;
use super::timestamp::Timestamp;

/// One request that may change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub actor: Actor,
    /// As in the answer's `X-Request-Id`.
    pub request_id: String,
    pub at: Timestamp,
}

impl Act {
    /// What the server does by itself.
    pub fn of_bitcall() -> Self {
        Self { actor: Actor::Bitcall, request_id: String::new(), at: Timestamp::now() }
    }
}

/// Who is asking. Secrets go by the start of their digest, so that two that are valid at once can be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
