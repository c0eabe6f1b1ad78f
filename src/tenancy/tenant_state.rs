//! What memory has of one tenant, and of each of its keys. A key is one piece of memory with all that a request of the
//! runtime configuration looks at: with many tenants, what costs is the number of places where something lies.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::effective::Defaults;
use super::key::{KeyId, KeyPurpose, StoredKey};
use super::tenant::Tenant;
use crate::store::Revision;
use crate::timestamp::Timestamp;

const HOUR_MS: i64 = 3_600_000;

/// A tenant in memory.
#[derive(Debug)]
pub struct TenantState {
    pub tenant: Tenant,
    pub revision: Revision,
    /// The tenant's domain on the built-in edge.
    pub edge_domain: String,
    /// The name for people in lower case, where it is not that already: searches read all of them.
    lower_name: Option<Box<str>>,
}

impl TenantState {
    pub fn new(tenant: Tenant, revision: Revision, defaults: &Defaults) -> Self {
        let edge_domain = defaults.edge_domain_of(&tenant.id);
        let name = tenant.settings.display_name.as_deref().unwrap_or_default();
        let lower_name = Some(name.to_lowercase()).filter(|lower| lower != name).map(String::into_boxed_str);
        Self { tenant, revision, edge_domain, lower_name }
    }

    /// The name for people; the id where there is none.
    pub fn name(&self) -> &str {
        self.tenant.settings.display_name.as_deref().unwrap_or(self.tenant.id.as_str())
    }

    /// [`Self::name`] in lower case.
    pub fn lower_name(&self) -> &str {
        self.lower_name.as_deref().unwrap_or_else(|| self.name())
    }
}

/// One API key, found by its hash.
#[derive(Debug)]
pub struct KeyState {
    pub state: Arc<TenantState>,
    /// From then on it opens nothing, also while it is still in the store.
    pub retires_at: Option<Timestamp>,
    pub uses: KeyUses,
    /// The tenant's runtime configuration, worked out when it is first asked for: most of many tenants are asleep, and
    /// a start or a change of a plan need not wake them.
    runtime: Mutex<Option<RuntimeBody>>,
    /// Whether the tenant is.
    pub enabled: bool,
    pub purpose: KeyPurpose,
    pub id: KeyId,
}

/// The runtime configuration in its envelope.
#[derive(Debug)]
pub struct RuntimeBody {
    /// Of plans and defaults that it was made from.
    pub generation: u64,
    /// None where it holds credentials, which are made for each request and never given to two.
    pub body: Option<Bytes>,
}

impl KeyState {
    /// A key of `live`, which goes on where `former`, the same key before a change, stops.
    pub fn new(key: &StoredKey, state: Arc<TenantState>, former: Option<&Self>) -> Self {
        let uses = former.map_or_else(KeyUses::default, |former| former.uses.carried_over());
        let (enabled, runtime) = (state.tenant.enabled, Mutex::default());
        let (retires_at, purpose, id) = (key.retires_at, key.purpose, key.id.clone());
        Self { state, retires_at, uses, runtime, enabled, purpose, id }
    }

    pub fn runtime(&self) -> MutexGuard<'_, Option<RuntimeBody>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for KeyState {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for KeyState {}

/// What is noted with every use of a key.
#[derive(Debug, Default)]
pub struct KeyUses {
    /// To the hour; 0 for never.
    last: AtomicI64,
}

impl KeyUses {
    /// True when this is the first use in its hour, and so news to the store.
    pub fn record(&self, now: Timestamp) -> bool {
        let hour = now.0 - now.0.rem_euclid(HOUR_MS);
        // Read first: a shared cache line that nobody writes costs its readers nothing.
        self.last.load(Ordering::Relaxed) < hour && self.last.fetch_max(hour, Ordering::Relaxed) < hour
    }

    /// It was used then, if not later.
    pub fn restore(&self, moment: Timestamp) {
        self.last.fetch_max(moment.0, Ordering::Relaxed);
    }

    pub fn last(&self) -> Option<Timestamp> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            moment => Some(Timestamp(moment)),
        }
    }

    /// For what the key becomes as its tenant changes.
    pub fn carried_over(&self) -> Self {
        Self { last: AtomicI64::new(self.last.load(Ordering::Relaxed)) }
    }
}
