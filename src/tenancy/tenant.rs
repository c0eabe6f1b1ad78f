//! The tenant as it is stored, and the rules about its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Refusal;
use super::id::TenantId;
use super::key::{KeyId, StoredKey};
use super::plan::Entitlements;
use super::settings::{Settings, SettingsChange};
use super::timestamp::Timestamp;
use super::transport::told_servers;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    pub id: TenantId,
    pub enabled: bool,
    pub plan_id: String,
    pub plan_status: PlanStatus,
    pub settings: Settings,
    /// Never empty.
    pub api_keys: Vec<StoredKey>,
    /// The last revoked keys, newest last, so that a repeated revocation is told "revoked" and not "unknown".
    pub revoked_keys: Vec<KeyId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How the tenant stands with the operator's billing, in the words of the billing services. What
/// each means for the tenant's rights is decided in [`super::effective::rights`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    #[default]
    Active,
    /// Not paid for yet, and need not be.
    Trialing,
    /// A payment is late; the operator waits for it.
    PastDue,
    /// Suspended until further notice.
    Paused,
    /// Ended.
    Canceled,
}

impl Tenant {
    /// Whether pages of `origin` (a browser's `Origin` header) may use the tenant's phone.
    pub fn allows(&self, origin: &str) -> bool {
        self.settings.allowed_origins.iter().any(|pattern| pattern.allows(origin))
    }

    /// The record as the audit may tell it: without key hashes and credentials.
    pub fn told(&self) -> Value {
        let mut told = serde_json::to_value(self).unwrap_or_default();
        for key in told["apiKeys"].as_array_mut().into_iter().flatten() {
            key["hash"].take();
        }
        told["settings"]["iceServers"] = told_servers(self.settings.ice_servers.as_deref());
        if let Value::Object(told) = &mut told {
            told.remove("updatedAt");
        }
        told
    }

    /// All of the change, or nothing of it.
    pub fn change_settings(&mut self, change: SettingsChange, rights: &Entitlements) -> Result<(), Refusal> {
        for (wanted, granted, what) in [
            (change.sip_domain.is_set(), rights.sip_host_override, "sip.domain"),
            (change.wss.is_set(), rights.wss_override, "wss"),
            (change.ice_servers.is_set(), rights.ice_override, "iceServers"),
        ] {
            if wanted && !granted {
                return Err(Refusal::NotEntitled(what));
            }
        }
        self.settings.apply(change, false);
        Ok(())
    }

    pub fn add_key(&mut self, key: StoredKey, entitlements: &Entitlements) -> Result<(), Refusal> {
        let limit = entitlements.max_api_keys;
        if self.api_keys.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Refusal::ApiKeyLimitReached(limit));
        }
        self.api_keys.push(key);
        Ok(())
    }

    /// True when the key was live, false when it had been revoked before.
    pub fn revoke_key(&mut self, id: &KeyId) -> Result<bool, Refusal> {
        let Some(position) = self.api_keys.iter().position(|key| key.id == *id) else {
            let was_known = self.revoked_keys.contains(id);
            return if was_known { Ok(false) } else { Err(Refusal::ApiKeyNotFound(id.0.clone())) };
        };
        if self.api_keys.len() == 1 {
            return Err(Refusal::LastApiKey);
        }
        self.api_keys.remove(position);
        self.revoked_keys.push(id.clone());
        let surplus = self.revoked_keys.len().saturating_sub(REMEMBERED_REVOCATIONS);
        self.revoked_keys.drain(..surplus);
        Ok(true)
    }
}

const REMEMBERED_REVOCATIONS: usize = 50;
