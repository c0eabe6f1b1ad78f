//! The whole model in memory, indexed for those who must not wait: the phone's
//! runtime configuration by key hash, SIP credentials by domain and user name, the
//! standalone app by host name.
//!
//! A tenant is held as an immutable [`TenantState`] behind an `Arc`; a change swaps in
//! a new one. Its runtime configuration is made at its first use and again after plans or defaults have changed.
//! Readers hold the lock for one look-up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::claim::Claim;
use super::effective::{Defaults, Effective, effective, rights, sip_domain};
use super::extension::Extension;
use super::id::{TenantId, Username};
use super::key::{ApiKeyMeta, KeyHash, KeyHasherBuilder, KeyId};
use super::name_index::NameIndex;
use super::plan::{self, Entitlements, Plan};
use super::settings::Settings;
use super::tenant::{PlanStatus, Tenant};
use super::tenant_state::{KeyState, RuntimeBody, TenantState};
use super::transport::TransportDefaults;
use crate::hostname::Hostname;
use crate::store::Revision;
use crate::timestamp::Timestamp;

/// What follows from a tenant's record, its plan and the platform's defaults.
#[derive(Debug)]
pub struct TenantValues {
    pub plan: Arc<Plan>,
    /// What the tenant is entitled to: its plan's, or the default one's.
    pub rights: Entitlements,
    pub effective: Effective,
}

pub struct Snapshot {
    defaults: Arc<Defaults>,
    /// Grows with every change of plans or defaults.
    generation: u64,
    plans: HashMap<String, Arc<Plan>>,
    tenants: BTreeMap<TenantId, Arc<TenantState>>,
    keys: HashMap<KeyHash, Arc<KeyState>, KeyHasherBuilder>,
    /// The tenants that have keys to be dropped, and when; the soonest first.
    retirements: BTreeSet<(Timestamp, TenantId)>,
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
            keys: HashMap::default(),
            retirements: BTreeSet::new(),
            domains: HashMap::new(),
            names: NameIndex::default(),
            extensions: HashMap::new(),
        }
    }

    pub fn defaults(&self) -> &Arc<Defaults> {
        &self.defaults
    }

    /// What is in effect for a tenant now.
    pub fn values_of(&self, state: &TenantState) -> TenantValues {
        self.values_with(&self.defaults, state)
    }

    fn values_with(&self, defaults: &Defaults, state: &TenantState) -> TenantValues {
        let tenant = &state.tenant;
        let (plan, rights) = self.plan_and_rights(Some(&tenant.plan_id), tenant.plan_status);
        let effective = effective(&tenant.id, &tenant.settings, &rights, defaults);
        TenantValues { plan, rights, effective }
    }

    /// What would be in effect for a tenant of the default plan that has set nothing.
    pub fn effective_without_settings(&self, tenant: &TenantId) -> Effective {
        let (_, rights) = self.plan_and_rights(None, PlanStatus::Active);
        effective(tenant, &Settings::default(), &rights, &self.defaults)
    }

    /// The plan called so, or the default one where the catalogue has lost that, and what it entitles to.
    fn plan_and_rights(&self, id: Option<&str>, status: PlanStatus) -> (Arc<Plan>, Entitlements) {
        let default_plan = self.default_plan().cloned().unwrap_or_else(|| Arc::new(plan::free()));
        let plan = id.and_then(|id| self.plans.get(id)).unwrap_or(&default_plan);
        (Arc::clone(plan), rights(status, plan, &default_plan).clone())
    }

    pub fn tenant(&self, id: &str) -> Option<&Arc<TenantState>> {
        self.tenants.get(id)
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantState>> {
        self.tenants.values()
    }

    /// Those whose id comes after `id`, in the order of their ids.
    pub fn tenants_after(&self, id: Option<&str>) -> impl Iterator<Item = &Arc<TenantState>> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.tenants.range::<str, _>((from, Bound::Unbounded)).map(|(_, state)| state)
    }

    /// The runtime configuration of a key's tenant in its envelope, for whoever asks `authority` for it.
    pub fn runtime(&self, key: &KeyState, authority: Option<&str>, now: Timestamp) -> Bytes {
        if let Some(reached) = self.defaults.reached_at(authority) {
            let effective = self.values_with(&reached, &key.state).effective;
            return runtime_text(&effective, &key.state.tenant.id, &reached, now).into();
        }
        let mut kept = key.runtime();
        if let Some(runtime) = kept.as_ref().filter(|runtime| runtime.generation == self.generation)
            && let Some(body) = &runtime.body
        {
            return body.clone();
        }
        let (id, effective) = (&key.state.tenant.id, self.values_of(&key.state).effective);
        let text = Bytes::from(runtime_text(&effective, id, &self.defaults, now));
        let body = (!effective.has_fresh_credentials()).then(|| text.clone());
        *kept = Some(RuntimeBody { generation: self.generation, body });
        text
    }

    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<KeyState>> {
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
    pub fn on_edge(&self, domain: &str) -> Option<&Arc<TenantState>> {
        let state = self.tenants.get(self.domains.get(domain)?)?;
        self.is_on_edge(state).then_some(state)
    }

    /// Whether the built-in edge is this tenant's registrar.
    fn is_on_edge(&self, state: &TenantState) -> bool {
        let tenant = &state.tenant;
        let rights = || self.plan_and_rights(Some(&tenant.plan_id), tenant.plan_status).1;
        tenant.enabled
            && sip_domain(&tenant.settings, &rights(), &self.defaults).is_none_or(|domain| domain == state.edge_domain)
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
        keys.map(|key| key.meta(self.last_used(&key.hash))).collect()
    }

    pub fn last_used(&self, key: &KeyHash) -> Option<Timestamp> {
        self.keys.get(key).and_then(|key| key.uses.last())
    }

    pub fn put_plan(&mut self, plan: Plan) {
        self.begin_generation();
        self.plans.insert(plan.id.clone(), Arc::new(plan));
    }

    pub fn remove_plan(&mut self, id: &str) {
        self.begin_generation();
        self.plans.remove(id);
    }

    pub fn put_transport_defaults(&mut self, transport: TransportDefaults) {
        self.begin_generation();
        self.defaults = Arc::new(Defaults { transport, ..Defaults::clone(&self.defaults) });
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
    }

    /// A tenant's key was used then; nothing where the tenant no more has it.
    pub fn put_last_used(&self, tenant: &str, id: &KeyId, moment: Timestamp) {
        let keys = self.tenants.get(tenant).map(|state| &state.tenant.api_keys);
        let key = keys.and_then(|keys| keys.iter().find(|key| key.id == *id));
        if let Some(key) = key.and_then(|key| self.keys.get(&key.hash)) {
            key.uses.restore(moment);
        }
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
    pub fn put_tenant(&mut self, state: TenantState) -> Arc<TenantState> {
        let state = Arc::new(state);
        let mut former_keys = Vec::new();
        if let Some(current) = self.tenants.get(&state.tenant.id) {
            if current.revision > state.revision {
                return state;
            }
            let current = Arc::clone(current);
            former_keys = self.forget_keys(&current.tenant);
            self.names.forget(&current.tenant);
        }
        // A name that changed hands comes here in either order: the later revision has it.
        let is_later = |holder: &TenantId| self.tenants.get(holder).is_some_and(|held| held.revision > state.revision);
        self.names.keep(&state.tenant, is_later);
        for key in &state.tenant.api_keys {
            let former = former_keys.iter().find(|former| former.id == key.id);
            if let Some(moment) = key.retires_at {
                self.retirements.insert((moment, state.tenant.id.clone()));
            }
            let key_now = KeyState::new(key, Arc::clone(&state), former.map(Arc::as_ref));
            self.keys.insert(key.hash, Arc::new(key_now));
        }
        let id = state.tenant.id.clone();
        self.domains.insert(state.edge_domain.clone(), id.clone());
        self.tenants.insert(id, Arc::clone(&state));
        state
    }

    /// Takes out a tenant and everything that memory has of it.
    pub fn remove_tenant(&mut self, id: &TenantId) {
        let Some(state) = self.tenants.remove(id) else { return };
        self.forget_keys(&state.tenant);
        self.domains.remove(&state.edge_domain);
        self.names.remove(&state.tenant);
        self.extensions.remove(id);
    }

    /// Takes a tenant's keys out of the indexes.
    fn forget_keys(&mut self, tenant: &Tenant) -> Vec<Arc<KeyState>> {
        let mut forgotten = Vec::with_capacity(tenant.api_keys.len());
        for key in &tenant.api_keys {
            forgotten.extend(self.keys.remove(&key.hash));
            if let Some(moment) = key.retires_at {
                self.retirements.remove(&(moment, tenant.id.clone()));
            }
        }
        forgotten
    }

    /// When the next keys retire, and of which tenant.
    pub fn next_retirement(&self) -> Option<&(Timestamp, TenantId)> {
        self.retirements.first()
    }

    /// Swaps in a claim, after its tenant; one that the tenant has given up meanwhile is dropped.
    pub fn put_claim(&mut self, claim: Arc<Claim>, revision: Revision) {
        let state = self.tenants.get(&claim.tenant);
        if state.is_some_and(|state| state.tenant.custom_domain.as_ref() == Some(&claim.domain)) {
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
    pub fn hosts(&self, state: &TenantState) -> Vec<String> {
        let claim = self.claim(&state.tenant.id);
        let rights = self.plan_and_rights(Some(&state.tenant.plan_id), state.tenant.plan_status).1;
        self.defaults.names.leading_to(&state.tenant, claim.map(Arc::as_ref), &rights)
    }

    /// Whether pages of `origin` may act for a tenant: those that it allows, and those that this server itself serves.
    pub fn admits_page(&self, state: &TenantState, origin: &str) -> bool {
        state.tenant.allows(origin) || self.own_origins(state).iter().any(|own| own == origin)
    }

    /// The origins at which this server itself serves a tenant's pages. They follow from the configuration and never
    /// from a request, whose `Host` anybody can choose.
    pub fn own_origins(&self, state: &TenantState) -> Vec<String> {
        let hosts = self.hosts(state);
        let at_host = |host: &String| self.defaults.origin_at(Some(host));
        std::iter::once(self.defaults.origin_at(None)).chain(hosts.iter().map(at_host)).collect()
    }

    /// The tenant that has a host name, whether it leads to it yet or not.
    pub fn holder(&self, host: &str) -> Option<&TenantId> {
        self.names.holder(&self.defaults.names, host)
    }

    /// The tenant that a host name leads to now.
    pub fn on_host(&self, host: &str) -> Option<&Arc<TenantState>> {
        let state = self.tenants.get(self.holder(host)?)?;
        self.hosts(state).iter().any(|name| name == host).then_some(state)
    }

    /// All uses of keys that are still there.
    pub fn key_uses(&self) -> Vec<(TenantId, KeyId, Timestamp)> {
        let keys =
            self.tenants.values().flat_map(|state| state.tenant.api_keys.iter().map(|key| (&state.tenant.id, key)));
        keys.filter_map(|(tenant, key)| Some((tenant.clone(), key.id.clone(), self.last_used(&key.hash)?))).collect()
    }
}

fn runtime_text(effective: &Effective, tenant: &TenantId, defaults: &Defaults, now: Timestamp) -> String {
    let config = effective.runtime_config(tenant, defaults, now);
    serde_json::json!({ "ok": true, "data": config }).to_string()
}
