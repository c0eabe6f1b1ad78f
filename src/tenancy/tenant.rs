//! The tenant as it is stored, and the rules about its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claim::LostDomain;
use super::entitlement::Entitlement;
use super::id::TenantId;
use super::key::{KeyId, StoredKey};
use super::plan::Entitlements;
use super::refusal::Refusal;
use super::settings::{Settings, SettingsChange};
use super::transport::servers_audit_value;
use crate::hostname::{Hostname, Label};
use crate::timestamp::Timestamp;

/// Of one tenant at a time: whoever rotates in a loop must not fill the server's memory.
const MAX_RETIRING_KEYS: usize = 16;
const MAX_REMEMBERED_REVOCATIONS: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    pub id: TenantId,
    pub enabled: bool,
    pub plan_id: String,
    pub plan_status: PlanStatus,
    pub settings: Settings,
    /// Below the operator's base domain. The record [`super::records::subdomain_key`] holds it.
    #[serde(default)]
    pub subdomain: Option<Label>,
    /// The domain of its own that it claims; its [`super::claim::Claim`] is a record beside this one.
    #[serde(default)]
    pub custom_domain: Option<Hostname>,
    /// The last one that it lost without giving it up; until it claims another.
    #[serde(default)]
    pub lost_domain: Option<LostDomain>,
    /// At least one of them stays.
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
    pub fn audit_value(&self) -> Value {
        let mut audited = serde_json::to_value(self).unwrap_or_default();
        for key in audited["apiKeys"].as_array_mut().into_iter().flatten() {
            key["hash"].take();
        }
        audited["settings"]["iceServers"] = servers_audit_value(self.settings.ice_servers.as_deref());
        if let Value::Object(audited) = &mut audited {
            audited.remove("updatedAt");
        }
        audited
    }

    /// All of the change, or nothing of it.
    pub fn change_settings(&mut self, change: SettingsChange, rights: &Entitlements) -> Result<(), Refusal> {
        for (wanted, right, field) in [
            (change.sip_domain.is_set(), Entitlement::SipHostOverride, "sip.domain"),
            (change.wss.is_set(), Entitlement::WssOverride, "wss"),
            (change.ice_servers.is_set(), Entitlement::IceOverride, "iceServers"),
        ] {
            if wanted && !right.is_granted_by(rights) {
                return Err(Refusal::NotEntitled { field, right });
            }
        }
        self.settings.apply(change, false);
        Ok(())
    }

    /// The keys that count: those that stay. A key that retires has its successor among them.
    pub fn staying_keys(&self) -> usize {
        self.api_keys.iter().filter(|key| key.stays()).count()
    }

    pub fn add_key(&mut self, key: StoredKey, entitlements: &Entitlements) -> Result<(), Refusal> {
        let limit = entitlements.max_api_keys;
        if self.staying_keys() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Refusal::ApiKeyLimitReached(limit));
        }
        self.api_keys.push(key);
        Ok(())
    }

    /// Puts `successor`, with the same label and purpose, in the place of the key `id`, which is good until
    /// `retires_at`. The number of keys that stay does not change, so neither the plan's limit nor the
    /// guard of the last key has a say. Both keys as they are now.
    pub fn rotate_key(
        &mut self,
        id: &KeyId,
        successor: StoredKey,
        retires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(StoredKey, StoredKey), Refusal> {
        let retiring = self.api_keys.iter().filter(|key| !key.stays()).count();
        let key = self.api_keys.iter_mut().find(|key| key.id == *id && !key.is_retired(now));
        let key = key.ok_or_else(|| Refusal::ApiKeyNotFound(id.0.clone()))?;
        if !key.stays() {
            return Err(Refusal::ApiKeyRetiring(id.0.clone()));
        }
        let at_once = retires_at <= now;
        if !at_once && retiring >= MAX_RETIRING_KEYS {
            return Err(Refusal::TooManyRetiringKeys(MAX_RETIRING_KEYS));
        }
        key.retires_at = Some(retires_at);
        let replaced = key.clone();
        let successor = StoredKey { label: key.label.clone(), purpose: key.purpose, ..successor };
        if at_once {
            self.forget_key(id);
        }
        self.api_keys.push(successor.clone());
        Ok((successor, replaced))
    }

    /// True when the key was live, false when it had been revoked or had retired before.
    pub fn revoke_key(&mut self, id: &KeyId) -> Result<bool, Refusal> {
        let Some(key) = self.api_keys.iter().find(|key| key.id == *id) else {
            let was_known = self.revoked_keys.contains(id);
            return if was_known { Ok(false) } else { Err(Refusal::ApiKeyNotFound(id.0.clone())) };
        };
        if key.stays() && self.staying_keys() == 1 {
            return Err(Refusal::LastApiKey);
        }
        self.forget_key(id);
        Ok(true)
    }

    /// Drops the keys whose time is over.
    pub fn drop_retired_keys(&mut self, now: Timestamp) {
        let retired: Vec<_> =
            self.api_keys.iter().filter(|key| key.is_retired(now)).map(|key| key.id.clone()).collect();
        for id in retired {
            self.forget_key(&id);
        }
    }

    fn forget_key(&mut self, id: &KeyId) {
        self.api_keys.retain(|key| key.id != *id);
        self.revoked_keys.push(id.clone());
        let surplus = self.revoked_keys.len().saturating_sub(MAX_REMEMBERED_REVOCATIONS);
        self.revoked_keys.drain(..surplus);
    }
}
