//! The whole model in memory, indexed for those who must not wait: the phone's
//! runtime configuration by key hash, SIP credentials by domain and user name, the
//! standalone app by host name.
//!
//! A tenant is held as an immutable [`Live`] behind an `Arc`; a change swaps in
//! a new one. What is in effect for it, [`Prepared`], is made at its first
//! use and again after plans or defaults have changed. Readers hold the lock for one look-up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::claim::Claim;
use super::effective::{Defaults, Effective, effective, rights};
use super::extension::Extension;
use super::id::{TenantId, Username};
use super::key::{ApiKeyMeta, KeyHash, KeyId};
use super::name_index::NameIndex;
use super::plan::{self, Entitlements, Plan};
use super::tenant::Tenant;
use super::timestamp::Timestamp;
use super::transport::TransportDefaults;
use crate::hostname::Hostname;
use crate::store::Revision;

/// A tenant in memory.
#[derive(Debug)]
pub struct Live {
    pub tenant: Tenant,
    pub revision: Revision,
    /// The tenant's domain on the built-in edge.
    pub edge_domain: String,
    /// The name for people in lower case, where it is not that already: searches read all of them.
    lower_name: Option<Box<str>>,
    /// What the limit of requests for one tenant remembers of it.
    pub metered: AtomicU64,
    /// Worked out when it is first asked for: most of many tenants are asleep, and a
    /// start or a change of a plan need not wake them.
    prepared: ArcSwapOption<Prepared>,
}

impl Live {
    pub fn new(tenant: Tenant, revision: Revision, defaults: &Defaults) -> Self {
        let edge_domain = defaults.edge_domain_of(&tenant.id);
        let name = tenant.settings.display_name.as_deref().unwrap_or_default();
        let lower_name = Some(name.to_lowercase()).filter(|lower| lower != name).map(String::into_boxed_str);
        let (metered, prepared) = (AtomicU64::default(), ArcSwapOption::empty());
        Self { tenant, revision, edge_domain, lower_name, metered, prepared }
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

/// What follows from a tenant's record, its plan and the platform's defaults.
#[derive(Debug)]
pub struct Prepared {
    /// Of plans and defaults that it was made from.
    generation: u64,
    pub plan: Arc<Plan>,
    /// What the tenant is entitled to: its plan's, or the default one's.
    pub rights: Entitlements,
    pub effective: Effective,
    runtime: Runtime,
}

/// The runtime configuration in its envelope, as it goes over the wire.
#[derive(Debug)]
enum Runtime {
    Same(Bytes),
    /// It holds credentials that are made for each request, and never given to two.
    PerRequest(Arc<Defaults>),
}

impl Prepared {
    fn new(tenant: &Tenant, plan: Arc<Plan>, default_plan: &Plan, defaults: &Arc<Defaults>, generation: u64) -> Self {
        let rights = rights(tenant.plan_status, &plan, default_plan).clone();
        let effective = effective(&tenant.id, &tenant.settings, &rights, defaults);
        let runtime = if effective.has_fresh_credentials() {
            Runtime::PerRequest(Arc::clone(defaults))
        } else {
            Runtime::Same(runtime_bytes(&effective, &tenant.id, defaults, tenant.updated_at))
        };
        Self { generation, plan, rights, effective, runtime }
    }

    /// For the tenant that this was prepared for.
    pub fn runtime(&self, tenant: &TenantId, now: Timestamp) -> Bytes {
        match &self.runtime {
            Runtime::Same(bytes) => bytes.clone(),
            Runtime::PerRequest(defaults) => runtime_bytes(&self.effective, tenant, defaults, now),
        }
    }
}

fn runtime_bytes(effective: &Effective, tenant: &TenantId, defaults: &Defaults, now: Timestamp) -> Bytes {
    let config = effective.runtime_config(tenant, defaults, now);
    Bytes::from(serde_json::json!({ "ok": true, "data": config }).to_string())
}

/// One API key, found by its hash.
#[derive(Debug)]
pub struct LiveKey {
    pub id: KeyId,
    pub live: Arc<Live>,
    pub uses: Arc<KeyUses>,
    /// From then on it opens nothing, also while it is still in the store.
    pub retires_at: Option<Timestamp>,
}

impl PartialEq for LiveKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for LiveKey {}

/// What is noted with every use of a key; the same for all that a key becomes as its tenant changes.
#[derive(Debug, Default)]
pub struct KeyUses {
    /// To the hour; 0 for never.
    last: AtomicI64,
    /// What the limit of requests with one key remembers of it.
    pub metered: AtomicU64,
}

impl KeyUses {
    pub fn last_at(moment: Timestamp) -> Self {
        Self { last: AtomicI64::new(moment.0), metered: AtomicU64::default() }
    }

    /// True when this is the first use in its hour, and so news to the store.
    pub fn note(&self, now: Timestamp) -> bool {
        let hour = now.0 - now.0.rem_euclid(HOUR);
        // Read first: a shared cache line that nobody writes costs its readers nothing.
        self.last.load(Ordering::Relaxed) < hour && self.last.fetch_max(hour, Ordering::Relaxed) < hour
    }

    pub fn last(&self) -> Option<Timestamp> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            moment => Some(Timestamp(moment)),
        }
    }
}

pub struct Snapshot {
    defaults: Arc<Defaults>,
    /// Grows with every change of plans or defaults.
    generation: u64,
    plans: HashMap<String, Arc<Plan>>,
    tenants: BTreeMap<TenantId, Arc<Live>>,
    keys: HashMap<KeyHash, Arc<LiveKey>>,
    /// The tenants that have keys to be dropped, and when; the soonest first.
    retirements: BTreeSet<(Timestamp, TenantId)>,
    key_uses: HashMap<KeyId, Arc<KeyUses>>,
    domains: HashMap<String, TenantId>,
    names: NameIndex,
    extensions: HashMap<TenantId, BTreeMap<Username, Arc<Extension>>>,
}

impl Snapshot {
    pub fn new(defaults: Defaults) -> Self {
        Self {
            defaults: Arc::new(defaults),
            generation: 0,
            plans: HashMap::new(),
            tenants: BTreeMap::new(),
            keys: HashMap::new(),
            retirements: BTreeSet::new(),
            key_uses: HashMap::new(),
            domains: HashMap::new(),
            names: NameIndex::default(),
            extensions: HashMap::new(),
        }
    }

    pub fn defaults(&self) -> &Arc<Defaults> {
        &self.defaults
    }

    /// What is in effect for a tenant now.
    pub fn prepared(&self, live: &Live) -> Arc<Prepared> {
        if let Some(prepared) = live.prepared.load_full()
            && prepared.generation == self.generation
        {
            return prepared;
        }
        let default_plan = self.default_plan().cloned().unwrap_or_else(|| Arc::new(plan::free()));
        // The default one where the catalogue has lost the tenant's.
        let plan = self.plans.get(&live.tenant.plan_id).unwrap_or(&default_plan);
        let prepared = Prepared::new(&live.tenant, Arc::clone(plan), &default_plan, &self.defaults, self.generation);
        let prepared = Arc::new(prepared);
        live.prepared.store(Some(Arc::clone(&prepared)));
        prepared
    }

    pub fn tenant(&self, id: &str) -> Option<&Arc<Live>> {
        self.tenants.get(id)
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.tenants.values()
    }

    /// Those whose id comes after `id`, in the order of their ids.
    pub fn tenants_after(&self, id: Option<&str>) -> impl Iterator<Item = &Arc<Live>> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.tenants.range::<str, _>((from, Bound::Unbounded)).map(|(_, live)| live)
    }

    /// A tenant's runtime configuration in its envelope.
    pub fn runtime(&self, live: &Live, now: Timestamp) -> Bytes {
        let id = &live.tenant.id;
        match &*live.prepared.load() {
            Some(prepared) if prepared.generation == self.generation => prepared.runtime(id, now),
            _ => self.prepared(live).runtime(id, now),
        }
    }

    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<LiveKey>> {
        self.keys.get(hash)
    }

    pub fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.values()
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
        self.is_on_edge(live).then_some(live)
    }

    /// Whether the built-in edge is this tenant's registrar.
    fn is_on_edge(&self, live: &Live) -> bool {
        live.tenant.enabled
            && self.prepared(live).effective.transport.sip.domain.as_deref() == Some(live.edge_domain.as_str())
    }

    pub fn extension(&self, tenant: &str, username: &str) -> Option<&Arc<Extension>> {
        self.extensions.get(tenant)?.get(username)
    }

    /// In the order of their user names.
    pub fn extensions(&self, tenant: &str) -> impl Iterator<Item = &Arc<Extension>> {
        self.extensions.get(tenant).into_iter().flat_map(BTreeMap::values)
    }

    pub fn key_metas(&self, tenant: &Tenant, now: Timestamp) -> Vec<ApiKeyMeta> {
        let keys = tenant.api_keys.iter().filter(|key| !key.is_retired(now));
        keys.map(|key| key.meta(self.last_used(&key.id))).collect()
    }

    pub fn last_used(&self, id: &KeyId) -> Option<Timestamp> {
        self.key_uses.get(id).and_then(|uses| uses.last())
    }

    pub fn put_plan(&mut self, plan: Plan) {
        self.generation += 1;
        self.plans.insert(plan.id.clone(), Arc::new(plan));
    }

    pub fn remove_plan(&mut self, id: &str) {
        self.generation += 1;
        self.plans.remove(id);
    }

    pub fn put_transport_defaults(&mut self, transport: TransportDefaults) {
        self.generation += 1;
        self.defaults = Arc::new(Defaults { transport, ..Defaults::clone(&self.defaults) });
    }

    pub fn put_last_used(&mut self, id: KeyId, moment: Timestamp) {
        self.key_uses.insert(id, Arc::new(KeyUses::last_at(moment)));
    }

    pub fn put_extension(&mut self, tenant: &TenantId, extension: Arc<Extension>) {
        self.extensions.entry(tenant.clone()).or_default().insert(extension.username.clone(), extension);
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
            let current = Arc::clone(current);
            live.metered.store(current.metered.load(Ordering::Relaxed), Ordering::Relaxed);
            self.forget_keys(&current.tenant);
            self.names.forget(&current.tenant);
        }
        // A name that changed hands comes here in either order: the later revision has it.
        let is_later = |holder: &TenantId| self.tenants.get(holder).is_some_and(|held| held.revision > live.revision);
        self.names.keep(&live.tenant, is_later);
        for key in &live.tenant.api_keys {
            let uses = Arc::clone(self.key_uses.entry(key.id.clone()).or_default());
            let (id, live) = (key.id.clone(), Arc::clone(&live));
            if let Some(moment) = key.retires_at {
                self.retirements.insert((moment, live.tenant.id.clone()));
            }
            self.keys.insert(key.hash, Arc::new(LiveKey { id, live, uses, retires_at: key.retires_at }));
        }
        let id = live.tenant.id.clone();
        self.domains.insert(live.edge_domain.clone(), id.clone());
        self.tenants.insert(id, Arc::clone(&live));
        live
    }

    /// Takes out a tenant and everything that memory has of it.
    pub fn remove_tenant(&mut self, id: &TenantId) {
        let Some(live) = self.tenants.remove(id) else { return };
        self.forget_keys(&live.tenant);
        for key in live.tenant.api_keys.iter().map(|key| &key.id).chain(&live.tenant.revoked_keys) {
            self.key_uses.remove(key);
        }
        self.domains.remove(&live.edge_domain);
        self.names.remove(&live.tenant);
        self.extensions.remove(id);
    }

    /// Takes a tenant's keys out of the indexes.
    fn forget_keys(&mut self, tenant: &Tenant) {
        for key in &tenant.api_keys {
            self.keys.remove(&key.hash);
            if let Some(moment) = key.retires_at {
                self.retirements.remove(&(moment, tenant.id.clone()));
            }
        }
    }

    /// When the next keys retire, and of which tenant.
    pub fn next_retirement(&self) -> Option<&(Timestamp, TenantId)> {
        self.retirements.first()
    }

    /// Swaps in a claim, after its tenant; one that the tenant has given up meanwhile is dropped.
    pub fn put_claim(&mut self, claim: Arc<Claim>, revision: Revision) {
        let live = self.tenants.get(&claim.tenant);
        if live.is_some_and(|live| live.tenant.custom_domain.as_ref() == Some(&claim.domain)) {
            self.names.put_claim(claim, revision);
        }
    }

    pub fn claim(&self, tenant: &TenantId) -> Option<&Arc<Claim>> {
        self.names.claim(tenant)
    }

    /// The claim on a domain, and the revision of its record.
    pub fn claim_on(&self, domain: &Hostname) -> Option<&(Revision, Arc<Claim>)> {
        self.names.claim_on(domain)
    }

    /// Takes out a tenant's claim that is gone, unless a later one is here.
    pub fn forget_claim(&mut self, tenant: &TenantId, seen: Revision) {
        self.names.forget_claim(tenant, seen);
    }

    /// In the order of their domains.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<Claim>> {
        self.names.claims()
    }

    /// The names that lead to a tenant now.
    pub fn hosts(&self, live: &Live) -> Vec<String> {
        let claim = self.claim(&live.tenant.id);
        self.defaults.names.leading_to(&live.tenant, claim.map(Arc::as_ref), &self.prepared(live).rights)
    }

    /// The tenant that has a host name, whether it leads to it yet or not.
    pub fn holder(&self, host: &str) -> Option<&TenantId> {
        self.names.holder(&self.defaults.names, host)
    }

    /// The tenant that a host name leads to now.
    pub fn on_host(&self, host: &str) -> Option<&Arc<Live>> {
        let live = self.tenants.get(self.holder(host)?)?;
        self.hosts(live).iter().any(|name| name == host).then_some(live)
    }

    /// All uses of keys that are still there.
    pub fn key_uses(&self) -> Vec<(TenantId, KeyId, Timestamp)> {
        let keys = self.tenants.values().flat_map(|live| live.tenant.api_keys.iter().map(|key| (&live.tenant.id, key)));
        keys.filter_map(|(tenant, key)| Some((tenant.clone(), key.id.clone(), self.last_used(&key.id)?))).collect()
    }
}

const HOUR: i64 = 3_600_000;
