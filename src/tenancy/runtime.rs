//! The runtime configuration, which the loader asks for on every page view: one hash, one look-up, one comparison per
//! allowed origin, and a body that is kept in memory.

use std::sync::Arc;

use bytes::Bytes;

use super::id::TenantId;
use super::key::KeyPurpose;
use super::platform::Platform;
use super::tenant_state::{KeyState, TenantState};
use crate::timestamp::Timestamp;

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeRefusal {
    MissingKey,
    InvalidKey,
    /// The key is good, but not for pages of this origin.
    OriginForbidden,
    /// Key and origin are good, but the tenant is switched off.
    TenantDisabled,
    /// The key is limited to something else.
    OtherPurpose {
        tenant: TenantId,
        purpose: KeyPurpose,
        needed: KeyPurpose,
    },
}

impl Platform {
    /// The tenant of `key`, if a page of `origin` may act for it by a key for `needed`.
    ///
    /// `origin` is the request's `Origin` header; callers without one are not foreign pages.
    pub fn admit(
        &self,
        key: Option<&str>,
        origin: Option<&str>,
        needed: KeyPurpose,
    ) -> Result<Arc<KeyState>, RuntimeRefusal> {
        let (snapshot, now) = (self.snapshot(), Timestamp::now());
        let key = key.filter(|key| !key.is_empty()).ok_or(RuntimeRefusal::MissingKey)?;
        let found = self.key_in(&snapshot, key, now).ok_or(RuntimeRefusal::InvalidKey)?;
        if !origin.is_none_or(|origin| snapshot.admits_page(&found.state, origin)) {
            return Err(RuntimeRefusal::OriginForbidden);
        }
        if !found.enabled {
            return Err(RuntimeRefusal::TenantDisabled);
        }
        if !found.purpose.suits(needed) {
            let (tenant, purpose) = (found.state.tenant.id.clone(), found.purpose);
            return Err(RuntimeRefusal::OtherPurpose { tenant, purpose, needed });
        }
        found.uses.record(now);
        Ok(Arc::clone(found))
    }

    /// Whether pages of `origin` may embed the phone of a tenant.
    pub fn admits_page(&self, state: &TenantState, origin: &str) -> bool {
        self.snapshot().admits_page(state, origin)
    }

    /// The origins, and patterns of origins, whose pages may embed the phone of the key's tenant. None for no key, for
    /// an unknown one and for one that is not for pages.
    pub fn embedding_origins(&self, key: Option<&str>) -> Vec<String> {
        let snapshot = self.snapshot();
        let found = key.and_then(|key| self.key_in(&snapshot, key, Timestamp::now()));
        let Some(found) = found.filter(|found| found.purpose.suits(KeyPurpose::Pages)) else { return Vec::new() };
        let allowed = found.state.tenant.settings.allowed_origins.iter().map(|pattern| pattern.as_str().to_owned());
        snapshot.own_origins(&found.state).into_iter().chain(allowed).collect()
    }

    /// The runtime configuration for a key that was admitted, for whoever asks `authority` (`host[:port]`) for it.
    pub fn runtime_body(&self, key: &KeyState, authority: Option<&str>) -> Bytes {
        self.snapshot().runtime(key, authority, Timestamp::now())
    }

    /// Whether the key's tenant allows pages of `origin`.
    pub fn key_allows(&self, key: &str, origin: &str) -> bool {
        self.key(key).is_some_and(|found| found.state.tenant.allows(origin))
    }
}
