//! The hot path: what the loader asks for on every page view. One hash, one
//! look-up, one comparison per allowed origin; the body is put together from what is prepared.

use std::sync::Arc;

use bytes::Bytes;

use super::live::LiveKey;
use super::platform::Platform;
use super::snapshot::Snapshot;
use crate::timestamp::Timestamp;

/// The runtime configuration of one tenant, for one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeAnswer<'a> {
    /// JSON in its envelope.
    pub body: Bytes,
    /// For `Access-Control-Allow-Origin`; none for callers without an origin.
    pub allow_origin: Option<&'a str>,
    pub key: Arc<LiveKey>,
}

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
    ) -> Result<Arc<LiveKey>, RuntimeRefusal> {
        self.admit_in(&self.snapshot(), key, origin, own_origin, Timestamp::now()).cloned()
    }

    /// The runtime configuration for the holder of `key`; see [`Self::admit`].
    pub fn runtime_config<'a>(
        &self,
        key: Option<&str>,
        origin: Option<&'a str>,
        own_origin: Option<&str>,
    ) -> Result<RuntimeAnswer<'a>, RuntimeRefusal> {
        let (snapshot, now) = (self.snapshot(), Timestamp::now());
        let found = self.admit_in(&snapshot, key, origin, own_origin, now)?;
        let body = snapshot.runtime(found, now);
        Ok(RuntimeAnswer { body, allow_origin: origin, key: Arc::clone(found) })
    }

    /// The runtime configuration for a key that was admitted.
    pub fn runtime_of(&self, key: &LiveKey) -> Bytes {
        self.snapshot().runtime(key, Timestamp::now())
    }

    fn admit_in<'s>(
        &self,
        snapshot: &'s Snapshot,
        key: Option<&str>,
        origin: Option<&str>,
        own_origin: Option<&str>,
        now: Timestamp,
    ) -> Result<&'s Arc<LiveKey>, RuntimeRefusal> {
        let key = key.filter(|key| !key.is_empty()).ok_or(RuntimeRefusal::MissingKey)?;
        let found = self.key_in(snapshot, key, now).ok_or(RuntimeRefusal::InvalidKey)?;
        if !origin.is_none_or(|origin| own_origin == Some(origin) || found.live.tenant.allows(origin)) {
            return Err(RuntimeRefusal::OriginForbidden);
        }
        if !found.enabled {
            return Err(RuntimeRefusal::TenantDisabled);
        }
        found.uses.note(now);
        Ok(found)
    }

    /// Whether the key's tenant allows pages of `origin`; without a key, whether any tenant does.
    pub fn some_tenant_allows(&self, key: Option<&str>, origin: &str) -> bool {
        match key {
            Some(key) => self.key(key).is_some_and(|found| found.live.tenant.allows(origin)),
            None => self.tenants().iter().any(|live| live.tenant.allows(origin)),
        }
    }
}
