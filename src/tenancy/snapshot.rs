//! The whole model in memory, indexed for those who must not wait: the phone's
//! runtime configuration by key hash, SIP credentials by domain and user name.
//!
//! A tenant is held as prepared, immutable [`Live`] behind an `Arc`; a change
//! prepares a new one and swaps it in. Readers hold the lock for one look-up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use super::effective::{Defaults, Effective, effective};
use super::extension::Extension;
use super::id::{TenantId, Username};
use super::key::{ApiKeyMeta, KeyHash, KeyId};
use super::plan::Plan;
use super::tenant::Tenant;
use super::timestamp::Timestamp;
use crate::store::Revision;

/// A tenant with everything that follows from its record.
#[derive(Debug)]
pub struct Live {
    pub tenant: Tenant,
    pub revision: Revision,
    pub plan: Arc<Plan>,
    pub effective: Effective,
    /// The runtime configuration in its envelope, as it goes over the wire.
    pub runtime: Bytes,
    /// The tenant's domain on the built-in edge.
    pub edge_domain: String,
}

impl Live {
    pub fn prepare(tenant: Tenant, revision: Revision, plan: Arc<Plan>, defaults: &Defaults) -> Self {
        let id = &tenant.id;
        let effective = effective(id, &tenant.settings, &plan.entitlements, defaults);
        let config = effective.runtime_config(id, defaults);
        let runtime = serde_json::json!({ "ok": true, "data": config });
        Self {
            edge_domain: defaults.edge_domain_of(id),
            runtime: Bytes::from(runtime.to_string()),
            effective,
            plan,
            revision,
            tenant,
        }
    }

    /// Whether the built-in edge is this tenant's registrar.
    pub fn is_on_edge(&self) -> bool {
        let domain = self.effective.transport.sip.domain.as_deref();
        self.tenant.enabled && domain == Some(self.edge_domain.as_str())
    }
}

/// One API key, found by its hash.
#[derive(Clone)]
pub struct LiveKey {
    pub live: Arc<Live>,
    pub last_used: LastUsed,
}

/// When a key was last used, to the hour; shared between all who note and read it.
#[derive(Clone, Default)]
pub struct LastUsed(Arc<AtomicI64>);

impl LastUsed {
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(moment.0)))
    }

    /// True when this is the first use in its hour, and so news to the store.
    pub fn note(&self, now: Timestamp) -> bool {
        let hour = now.0 - now.0.rem_euclid(HOUR);
        // Read first: a shared cache line that nobody writes costs its readers nothing.
        self.0.load(Ordering::Relaxed) < hour && self.0.fetch_max(hour, Ordering::Relaxed) < hour
    }

    pub fn get(&self) -> Option<Timestamp> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            moment => Some(Timestamp(moment)),
        }
    }
}

#[derive(Default)]
pub struct Snapshot {
    plans: HashMap<String, Arc<Plan>>,
    tenants: BTreeMap<TenantId, Arc<Live>>,
    keys: HashMap<KeyHash, LiveKey>,
    last_used: HashMap<KeyId, LastUsed>,
    domains: HashMap<String, TenantId>,
    extensions: HashMap<TenantId, BTreeMap<Username, Arc<Extension>>>,
}

impl Snapshot {
    pub fn tenant(&self, id: &str) -> Option<&Arc<Live>> {
        self.tenants.get(id)
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.tenants.values()
    }

    pub fn key(&self, hash: &KeyHash) -> Option<&LiveKey> {
        self.keys.get(hash)
    }

    pub fn plan(&self, id: &str) -> Option<&Arc<Plan>> {
        self.plans.get(id)
    }

    pub fn default_plan(&self) -> Option<&Arc<Plan>> {
        self.plans.values().find(|plan| plan.is_default)
    }

    /// The tenant whose built-in edge domain this is, if the edge serves it now.
    pub fn on_edge(&self, domain: &str) -> Option<&Arc<Live>> {
        let live = self.tenants.get(self.domains.get(domain)?)?;
        live.is_on_edge().then_some(live)
    }

    pub fn extension(&self, tenant: &str, username: &str) -> Option<&Arc<Extension>> {
        self.extensions.get(tenant)?.get(username)
    }

    /// In the order of their user names.
    pub fn extensions(&self, tenant: &str) -> impl Iterator<Item = &Arc<Extension>> {
        self.extensions.get(tenant).into_iter().flat_map(BTreeMap::values)
    }

    pub fn key_metas(&self, tenant: &Tenant) -> Vec<ApiKeyMeta> {
        let last_used = |id| self.last_used.get(id).and_then(LastUsed::get);
        let keys = tenant.api_keys.iter();
        keys.map(|key| key.meta(last_used(&key.id))).collect()
    }

    pub fn put_plan(&mut self, plan: Plan) {
        self.plans.insert(plan.id.clone(), Arc::new(plan));
    }

    pub fn put_last_used(&mut self, id: KeyId, moment: Timestamp) {
        self.last_used.insert(id, LastUsed::at(moment));
    }

    pub fn put_extension(&mut self, tenant: &TenantId, extension: Extension) {
        self.extensions.entry(tenant.clone()).or_default().insert(extension.username.clone(), Arc::new(extension));
    }

    pub fn remove_extension(&mut self, tenant: &TenantId, username: &Username) {
        if let Some(extensions) = self.extensions.get_mut(tenant) {
            extensions.remove(username);
        }
    }

    /// Swaps in a tenant, unless a later revision of it is here already: two
    /// writers may come back from the store in either order.
    pub fn put_tenant(&mut self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        if let Some(current) = self.tenants.get(&live.tenant.id) {
            if current.revision > live.revision {
                return live;
            }
            for key in &current.tenant.api_keys {
                self.keys.remove(&key.hash);
            }
        }
        for key in &live.tenant.api_keys {
            let last_used = self.last_used.entry(key.id.clone()).or_default().clone();
            let live = Arc::clone(&live);
            self.keys.insert(key.hash, LiveKey { live, last_used });
        }
        let id = live.tenant.id.clone();
        self.domains.insert(live.edge_domain.clone(), id.clone());
        self.tenants.insert(id, Arc::clone(&live));
        live
    }

    /// All uses of keys that are still there.
    pub fn key_uses(&self) -> Vec<(KeyId, Timestamp)> {
        let keys = self.tenants.values().flat_map(|live| &live.tenant.api_keys);
        keys.filter_map(|key| Some((key.id.clone(), self.last_used.get(&key.id)?.get()?))).collect()
    }
}

const HOUR: i64 = 3_600_000;
