//! The runtime configuration, which the loader asks for on every page view: one hash, one look-up, one comparison per
//! allowed origin, and a body that is kept in memory.

use std::sync::Arc;

use bytes::Bytes;

use super::platform::Platform;
use super::tenant_state::KeyState;
use crate::timestamp::Timestamp;

/// Why a phone gets no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeRefusal {
    MissingKey,
    InvalidKey,
    /// The key is good, but not for pages of this origin.
    OriginForbidden,
    /// Key and origin are good, but the tenant is switched off.
    TenantDisabled,
}

impl RuntimeRefusal {
    /// For `Access-Control-Allow-Origin`. Without a tenant there is nobody to
    /// protect, and the page may read which mistake it made.
    pub fn allow_origin(self, origin: Option<&str>) -> Option<&str> {
        match self {
            Self::MissingKey | Self::InvalidKey => origin.map(|_| "*"),
            Self::OriginForbidden => None,
            Self::TenantDisabled => origin,
        }
    }
}

impl Platform {
    /// The tenant of `key`, if a page of `origin` may act for it.
    ///
    /// `origin` is the request's `Origin` header; callers without one are not
    /// foreign pages. `own_origin` is the origin under which this request
    /// reached the server: pages of ours (the phone, the playground) are always allowed.
    pub fn admit(
        &self,
        key: Option<&str>,
        origin: Option<&str>,
        own_origin: Option<&str>,
    ) -> Result<Arc<KeyState>, RuntimeRefusal> {
        let (snapshot, now) = (self.snapshot(), Timestamp::now());
        let key = key.filter(|key| !key.is_empty()).ok_or(RuntimeRefusal::MissingKey)?;
        let found = self.key_in(&snapshot, key, now).ok_or(RuntimeRefusal::InvalidKey)?;
        if !origin.is_none_or(|origin| own_origin == Some(origin) || found.state.tenant.allows(origin)) {
            return Err(RuntimeRefusal::OriginForbidden);
        }
        if !found.enabled {
            return Err(RuntimeRefusal::TenantDisabled);
        }
        found.uses.record(now);
        Ok(Arc::clone(found))
    }

    /// The runtime configuration for a key that was admitted.
    pub fn runtime_body(&self, key: &KeyState) -> Bytes {
        self.snapshot().runtime(key, Timestamp::now())
    }

    /// Whether the key's tenant allows pages of `origin`.
    pub fn key_allows(&self, key: &str, origin: &str) -> bool {
        self.key(key).is_some_and(|found| found.state.tenant.allows(origin))
    }
}
