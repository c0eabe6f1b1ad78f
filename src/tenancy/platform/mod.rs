//! [`Platform`]: the one handle through which the model is read and changed.
//!
//! Reads come from the snapshot. A change reads the record's revision there,
//! applies a rule, and commits on the condition that the revision still
//! stands; when somebody was faster it looks again and decides again. The
//! snapshot follows before the caller gets the answer, and also when the caller
//! does not wait for it: what the store holds, memory knows.

mod audit;
mod claims;
mod extensions;
mod idempotency;
mod installation;
mod keys;
mod live_calls;
mod names;
mod plans;
mod removal;
mod search;
mod tenants;
mod tokens;
mod transport;

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock as AsyncRwLock, watch};

pub use extensions::AddedExtension;
pub use installation::{OpenError, accept_loss, store_file};
use installation::{check_installation, open_files};
pub use keys::NewKey;
pub use live_calls::CallUsage;
pub use search::Search;
pub use tenants::{NewTenant, OperatorChange, PlanChange, Provisioned};
pub use tokens::{IssuedToken, RedeemedToken, TokenContent};

use super::audit::{AuditAction, AuditEntry};
use super::caller_shares::CallerShares;
use super::effective::Defaults;
use super::id::TenantId;
use super::idempotency::RunningRequests;
use super::key::Pepper;
use super::live_calls::LiveCalls;
use super::plan;
use super::records::{self, decode, encode};
use super::refusal::{FieldError, Refusal};
use super::request_context::RequestContext;
use super::snapshot::{Snapshot, TenantValues};
use super::tenant::Tenant;
use super::tenant_state::TenantState;
use super::token::PendingTokens;
use crate::store::{self, Batch, Revision, Store, StoreState};

/// A handle on the whole model. Cloning is cheap.
#[derive(Clone)]
pub struct Platform(pub(super) Arc<PlatformShared>);

pub(super) struct PlatformShared {
    pub(super) store: Arc<dyn Store>,
    store_state: watch::Receiver<StoreState>,
    pepper: Pepper,
    snapshot: RwLock<Snapshot>,
    pending_tokens: Mutex<PendingTokens>,
    /// By the hashed names of their requests.
    kept_answers: Mutex<CallerShares<String>>,
    live_calls: Mutex<LiveCalls>,
    /// Of this process: a clock that nobody sets.
    started: Instant,
    /// Held while an extension is changed: the snapshot must see the changes in the store's order.
    extension_change: Arc<tokio::sync::Mutex<()>>,
    /// Every change holds it for reading until memory has followed; who must see all of the store
    /// standing still, as to remove a tenant, holds it for writing.
    write_gate: Arc<AsyncRwLock<()>>,
    changed: watch::Sender<()>,
    audit_number: AtomicU32,
    /// Requests with an idempotency key that are being done.
    running_requests: Arc<RunningRequests>,
}

impl Platform {
    /// Opens the data directory, making it and what is missing in it: the
    /// store, the pepper of the key hashes, the plan catalogue.
    pub async fn open(data: &Path, defaults: Defaults) -> Result<Self, OpenError> {
        let (store, pepper) = tokio::task::spawn_blocking({
            let data = data.to_owned();
            move || open_files(&data)
        })
        .await
        .map_err(|error| store::Error::Failed(error.to_string()))??;
        let state = store.state();
        let load = async {
            check_installation(&store, &pepper, data).await?;
            Self::load(Arc::new(store), state.clone(), pepper, defaults).await
        };
        let loaded = load.await;
        if loaded.is_err() {
            // A damaged store can fail in many ways; this is the one that says what to do.
            StoreState::verified(state).await?;
        }
        loaded
    }

    async fn load(
        store: Arc<dyn Store>,
        store_state: watch::Receiver<StoreState>,
        pepper: Pepper,
        defaults: Defaults,
    ) -> Result<Self, OpenError> {
        let mut snapshot = Snapshot::new(defaults);
        if store.scan(records::PLANS).await?.is_empty() {
            let mut batch = Batch::new();
            for plan in plan::seeds() {
                batch = batch.put(records::plan_key(&plan.id), encode(&plan)?);
            }
            store.commit(batch).await?;
        }
        for (key, record) in store.scan(records::PLANS).await? {
            snapshot.put_plan(decode(&key, &record.bytes)?);
        }
        if let Some(record) = store.get(records::TRANSPORT_DEFAULTS).await? {
            snapshot.put_transport_defaults(decode(records::TRANSPORT_DEFAULTS, &record.bytes)?);
        }
        store::for_each(&*store, records::EXTENSIONS, |key, record| {
            if let Some((tenant, _)) = records::extension_owner(key) {
                snapshot.put_extension(&tenant, Arc::new(decode(key, &record.bytes)?));
            }
            Ok(())
        })
        .await?;
        let platform = Self(Arc::new(PlatformShared {
            store,
            store_state,
            pepper,
            snapshot: RwLock::new(snapshot),
            pending_tokens: Mutex::default(),
            kept_answers: Mutex::new(CallerShares::new(idempotency::MAX_KEPT_ANSWERS)),
            live_calls: Mutex::default(),
            started: Instant::now(),
            extension_change: Arc::default(),
            write_gate: Arc::default(),
            changed: watch::Sender::new(()),
            audit_number: AtomicU32::new(getrandom::u32().map_err(|error| store::Error::Failed(error.to_string()))?),
            running_requests: Arc::default(),
        }));
        platform.finish_open_removals().await?;
        let records = platform.store();
        store::for_each(&*records, records::TENANTS, |key, record| {
            platform.publish(decode(key, &record.bytes)?, record.revision);
            Ok(())
        })
        .await?;
        store::for_each(&*records, records::KEY_USES, |key, record| {
            if let Some((tenant, id)) = records::key_used(key) {
                platform.snapshot().put_last_used(tenant, &id, decode(key, &record.bytes)?);
            }
            Ok(())
        })
        .await?;
        platform.load_tokens().await?;
        platform.load_answers().await?;
        for (key, record) in platform.0.store.scan(records::CLAIMS).await? {
            platform.snapshot_mut().put_claim(Arc::new(decode(&key, &record.bytes)?), record.revision);
        }
        Ok(platform)
    }

    /// For the other rooms that keep records.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.store)
    }

    pub fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(self.snapshot().defaults())
    }

    /// What is in effect for a tenant now.
    pub fn values_of(&self, state: &TenantState) -> TenantValues {
        self.snapshot().values_of(state)
    }

    /// Wakes whoever must look again after a change, many changes at once included.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Applies a rule to a tenant, as often as it takes to not overwrite
    /// anybody, and only in a revision that the act expects. A rule that changes nothing writes nothing.
    pub(super) async fn change<T>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        action: &'static str,
        rule: impl Fn(&mut Tenant, &plan::Entitlements) -> Result<T, Refusal>,
    ) -> Result<(Arc<TenantState>, T), Refusal> {
        let key = records::tenant_key(id.as_str());
        let mut state = self.tenant(id)?;
        loop {
            context.expects(state.revision)?;
            let mut tenant = state.tenant.clone();
            let outcome = rule(&mut tenant, &self.values_of(&state).rights)?;
            if tenant == state.tenant {
                return Ok((state, outcome));
            }
            tenant.updated_at = context.at;
            let action = AuditAction::on(id, action, state.tenant.audit_value(), tenant.audit_value());
            let mut batch = Batch::new().require_revision(&key, state.revision).put(&key, stored_form(&tenant)?);
            let plan_key = records::plan_key(&tenant.plan_id);
            if tenant.plan_id != state.tenant.plan_id {
                batch = batch.require_present(&plan_key);
            }
            match self.commit(context, action, batch, |platform, revision| platform.publish(tenant, revision)).await {
                Ok(state) => return Ok((state, outcome)),
                Err(store::Error::Conflict(missing)) if missing == plan_key => return Err(no_such_plan()),
                Err(store::Error::Conflict(_)) => state = self.reload(id).await?,
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Commits, with the audit's entry and the answer to be kept, and lets memory follow.
    async fn commit<T: Send + 'static>(
        &self,
        context: &RequestContext,
        action: AuditAction,
        batch: Batch,
        follow: impl FnOnce(&Self, Revision) -> T + Send + 'static,
    ) -> Result<T, store::Error> {
        let gate = self.enter_write_gate().await;
        self.commit_in(gate, context, action, batch, follow).await
    }

    /// [`Self::commit`] in a turn that was taken before, and ends with it.
    async fn commit_in<T: Send + 'static>(
        &self,
        gate: impl Send + 'static,
        context: &RequestContext,
        action: AuditAction,
        batch: Batch,
        follow: impl FnOnce(&Self, Revision) -> T + Send + 'static,
    ) -> Result<T, store::Error> {
        let follow = |platform: &Self, revision| {
            let outcome = follow(platform, revision);
            drop(gate);
            platform.0.changed.send_replace(());
            outcome
        };
        self.commit_in_task(context, Some(action), batch, follow).await
    }

    /// As [`Self::commit`], for what changes nothing that anybody watches, nor always needs telling.
    async fn commit_with_audit<T: Send + 'static>(
        &self,
        context: &RequestContext,
        action: Option<AuditAction>,
        batch: Batch,
        follow: impl FnOnce(&Self, Revision) -> T + Send + 'static,
    ) -> Result<T, store::Error> {
        let gate = self.enter_write_gate().await;
        let follow = |platform: &Self, revision| {
            let outcome = follow(platform, revision);
            drop(gate);
            outcome
        };
        self.commit_in_task(context, action, batch, follow).await
    }

    /// In a task of its own, because a caller whose time is up or whose client has gone is dropped
    /// at any await: the write would stand, and memory not know of it.
    async fn commit_in_task<T: Send + 'static>(
        &self,
        context: &RequestContext,
        action: Option<AuditAction>,
        batch: Batch,
        follow: impl FnOnce(&Self, Revision) -> T + Send + 'static,
    ) -> Result<T, store::Error> {
        let tenant = action.as_ref().and_then(|action| action.tenant.clone());
        let (mut batch, answer) = self.with_answer(context, batch)?;
        // Of a tenant that is gone nothing is written down again, nor that somebody tried.
        let tenant_key = tenant.map(|id| records::tenant_key(id.as_str()));
        if let Some(key) = tenant_key.filter(|key| !batch.requires(key)) {
            batch = batch.require_present(key);
        }
        if let Some(action) = action {
            let entry = AuditEntry::of(context, action);
            batch = batch.put(self.audit_key(&entry), encode(&entry)?);
        }
        let platform = self.clone();
        let attempt = context.idempotent_request.clone();
        let work = tokio::spawn(async move {
            // The attempt is over when it is in the store, not when its caller is gone.
            let _attempt = attempt;
            let revision = platform.0.store.commit(batch).await?;
            if let Some(answer) = answer {
                platform.answer_kept(answer);
            }
            Ok(follow(&platform, revision))
        });
        work.await.unwrap_or_else(|error| Err(store::Error::Failed(format!("the change broke off: {error}"))))
    }

    /// A change's turn, to be held until memory has followed the store. Many have one at a time.
    async fn enter_write_gate(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0.write_gate).read_owned().await
    }

    /// The only turn: no change is on its way.
    async fn close_write_gate(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.0.write_gate).write_owned().await
    }

    async fn reload(&self, id: &TenantId) -> Result<Arc<TenantState>, Refusal> {
        let _gate = self.enter_write_gate().await;
        let key = records::tenant_key(id.as_str());
        let record = self.0.store.get(&key).await.map_err(Refusal::Unavailable)?;
        let record = record.ok_or_else(|| Refusal::TenantNotFound(id.to_string()))?;
        let tenant = decode(&key, &record.bytes).map_err(Refusal::Unavailable)?;
        Ok(self.publish(tenant, record.revision))
    }

    fn publish(&self, tenant: Tenant, revision: Revision) -> Arc<TenantState> {
        let mut snapshot = self.snapshot_mut();
        let state = TenantState::new(tenant, revision, snapshot.defaults());
        let state = snapshot.put_tenant(state);
        // Before the next lock: who hears of calls takes the two in the other order.
        drop(snapshot);
        if !state.tenant.enabled {
            self.live_calls().forget(&state.tenant.id);
        }
        state
    }

    pub(super) fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.0.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_plan() -> Refusal {
    FieldError::new("planId", "names no plan of the catalogue").into()
}

fn stored_form<T: records::Layout>(value: &T) -> Result<Vec<u8>, Refusal> {
    encode(value).map_err(Refusal::Unavailable)
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
fn no_randomness(error: io::Error) -> Refusal {
    Refusal::Unavailable(store::Error::Failed(format!("no randomness: {error}")))
}
