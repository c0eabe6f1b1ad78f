//! [`Platform`]: the one handle through which the model is read and changed.
//!
//! Reads come from the snapshot. A change reads the record's revision there,
//! applies a rule, and commits on the condition that the revision still
//! stands; when somebody was faster it looks again and decides again. The
//! snapshot follows before the caller gets the answer, and also when the caller
//! does not wait for it: what the store holds, memory knows.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::effective::Defaults;
use super::extension::{Credentials, Extension, GENERATED_PASSWORD, NewExtension, checked_password};
use super::fault::{Fault, Refusal};
use super::id::{TenantId, Username};
use super::key::{ApiKey, ApiKeyMeta, KeyId, Pepper, StoredKey, random_text};
use super::origin::OriginPattern;
use super::plan;
use super::records::{self, decode, encode};
use super::settings::{Settings, SettingsChange};
use super::snapshot::{Live, LiveKey, Snapshot};
use super::tenant::{PlanStatus, Tenant};
use super::timestamp::Timestamp;
use crate::store::{self, Batch, Embedded, Revision, Store};

/// A handle on the whole model. Cloning is cheap.
#[derive(Clone)]
pub struct Platform(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    pepper: Pepper,
    defaults: Defaults,
    snapshot: RwLock<Snapshot>,
    /// Held while an extension is changed: the snapshot must see the changes in the store's order.
    extension_change: Arc<tokio::sync::Mutex<()>>,
    changed: watch::Sender<()>,
}

/// Why the data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    pub tenant_id: TenantId,
    pub display_name: Option<String>,
    /// The catalogue's default plan when none is named.
    pub plan_id: Option<String>,
    pub api_key_label: Option<String>,
    pub allowed_origins: Vec<OriginPattern>,
}

impl NewTenant {
    pub fn named(tenant_id: TenantId) -> Self {
        Self { tenant_id, display_name: None, plan_id: None, api_key_label: None, allowed_origins: Vec::new() }
    }
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
        Self::load(Arc::new(store), pepper, defaults).await
    }

    async fn load(store: Arc<dyn Store>, pepper: Pepper, defaults: Defaults) -> Result<Self, OpenError> {
        let mut snapshot = Snapshot::default();
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
        for (key, record) in store.scan(records::KEY_USES).await? {
            let id = KeyId(key.trim_start_matches(records::KEY_USES).to_owned());
            snapshot.put_last_used(id, decode(&key, &record.bytes)?);
        }
        for (key, record) in store.scan(records::EXTENSIONS).await? {
            if let Some((tenant, _)) = records::extension_owner(&key) {
                snapshot.put_extension(&tenant, decode(&key, &record.bytes)?);
            }
        }
        let platform = Self(Arc::new(Inner {
            store,
            pepper,
            defaults,
            snapshot: RwLock::new(snapshot),
            extension_change: Arc::default(),
            changed: watch::Sender::new(()),
        }));
        for (key, record) in platform.0.store.scan(records::TENANTS).await? {
            platform.publish(decode(&key, &record.bytes)?, record.revision);
        }
        Ok(platform)
    }

    pub fn defaults(&self) -> &Defaults {
        &self.0.defaults
    }

    /// Wakes whoever must look again after a change, many changes at once included.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    pub fn tenant(&self, id: &TenantId) -> Result<Arc<Live>, Refusal> {
        let snapshot = self.snapshot();
        snapshot.tenant(id.as_str()).cloned().ok_or_else(|| Refusal::TenantNotFound(id.to_string()))
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> Vec<Arc<Live>> {
        self.snapshot().tenants().cloned().collect()
    }

    pub fn has_plan(&self, id: &str) -> bool {
        self.snapshot().plan(id).is_some()
    }

    pub fn api_keys(&self, live: &Live) -> Vec<ApiKeyMeta> {
        self.snapshot().key_metas(&live.tenant)
    }

    /// The live tenant that an API key belongs to.
    pub fn key(&self, key: &str) -> Option<LiveKey> {
        let hash = self.0.pepper.hash(key);
        self.snapshot().key(&hash).cloned()
    }

    /// Makes a tenant with its first API key, which is shown here and never again.
    pub async fn provision(&self, new: NewTenant) -> Result<Provisioned, Refusal> {
        let id = new.tenant_id;
        if self.tenant(&id).is_ok() {
            return Err(Refusal::TenantExists(id.to_string()));
        }
        let plan_id = {
            let snapshot = self.snapshot();
            let plan = match &new.plan_id {
                Some(named) => snapshot.plan(named),
                None => snapshot.default_plan(),
            };
            plan.map(|plan| plan.id.clone()).ok_or_else(|| Fault::new("planId", "names no plan of the catalogue"))?
        };
        let now = Timestamp::now();
        let label = new.api_key_label.unwrap_or_else(|| DEFAULT_LABEL.into());
        let (api_key, stored) = self.new_key(label)?;
        let tenant = Tenant {
            id: id.clone(),
            enabled: true,
            plan_id,
            plan_status: PlanStatus::Active,
            settings: Settings {
                display_name: new.display_name,
                allowed_origins: new.allowed_origins,
                ..Settings::default()
            },
            api_keys: vec![stored.clone()],
            revoked_keys: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let (tenant_key, label_key) = (records::tenant_key(id.as_str()), records::label_key(&id.dns_label()));
        let batch = Batch::new()
            .require_absent(&tenant_key)
            .require_absent(&label_key)
            .put(&tenant_key, stored_form(&tenant)?)
            .put(&label_key, stored_form(&id)?);
        match self.commit(batch, |platform, revision| platform.publish(tenant, revision)).await {
            Ok(live) => Ok(Provisioned { live, api_key, api_key_meta: stored.meta(None) }),
            Err(store::Error::Conflict(key)) if key == label_key => Err(Refusal::TenantAlike(id.to_string())),
            Err(store::Error::Conflict(_)) => Err(Refusal::TenantExists(id.to_string())),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub async fn change_settings(&self, id: &TenantId, change: SettingsChange) -> Result<Arc<Live>, Refusal> {
        let (live, ()) = self.change(id, |tenant, rights| tenant.change_settings(change.clone(), rights)).await?;
        Ok(live)
    }

    /// Makes a further API key, shown here and never again.
    pub async fn create_key(&self, id: &TenantId, label: Option<String>) -> Result<(ApiKey, ApiKeyMeta), Refusal> {
        let (api_key, stored) = self.new_key(label.unwrap_or_else(|| DEFAULT_LABEL.into()))?;
        self.change(id, |tenant, rights| tenant.add_key(stored.clone(), rights)).await?;
        Ok((api_key, stored.meta(None)))
    }

    /// From the moment this answers, the key is refused everywhere. Revoking
    /// again is no error; true when it was live.
    pub async fn revoke_key(&self, id: &TenantId, key: &KeyId) -> Result<bool, Refusal> {
        let (_, was_live) = self.change(id, |tenant, _| tenant.revoke_key(key)).await?;
        Ok(was_live)
    }

    /// In the order of their user names.
    pub fn extensions(&self, id: &TenantId) -> Result<Vec<Arc<Extension>>, Refusal> {
        self.tenant(id)?;
        Ok(self.snapshot().extensions(id.as_str()).cloned().collect())
    }

    /// Makes an extension on the built-in edge. The same one with the same
    /// password again is no error. With `reset`, an existing one gets the new password.
    pub async fn add_extension(
        &self,
        id: &TenantId,
        new: NewExtension,
        reset: bool,
    ) -> Result<AddedExtension, Refusal> {
        let live = self.tenant(id)?;
        if let Some(password) = &new.password {
            checked_password(password).map_err(|invalid| invalid.at("password"))?;
        }
        let in_order = Arc::clone(&self.0.extension_change).lock_owned().await;
        let generated = new.password.is_none();
        let password = match new.password {
            Some(password) => password,
            None => random_text(GENERATED_PASSWORD).map_err(no_randomness)?,
        };
        let existing = self.snapshot().extension(id.as_str(), new.username.as_str()).cloned();
        let extension = Extension {
            credentials: Credentials::derive(new.username.as_str(), &live.edge_domain, &password),
            realm: live.edge_domain.clone(),
            created_at: existing.as_ref().map_or_else(Timestamp::now, |existing| existing.created_at),
            display_name: new.display_name.or_else(|| existing.as_ref()?.display_name.clone()),
            username: new.username,
        };
        let key = records::extension_key(id, &extension.username);
        let mut batch =
            Batch::new().require_present(records::tenant_key(id.as_str())).put(&key, stored_form(&extension)?);
        match existing {
            Some(existing) if !generated && existing.credentials == extension.credentials && !reset => {
                return Ok(AddedExtension { extension: existing, created: false, password });
            }
            Some(_) if !reset => {
                return Err(Refusal::ExtensionExists(extension.username.to_string()));
            }
            Some(_) => {}
            None => batch = batch.require_absent(&key),
        }
        let (tenant, username) = (id.clone(), extension.username.to_string());
        let follow = move |platform: &Self, _| {
            platform.snapshot_mut().put_extension(&tenant, extension.clone());
            drop(in_order);
            Arc::new(extension)
        };
        match self.commit(batch, follow).await {
            Ok(extension) => Ok(AddedExtension { extension, created: true, password }),
            Err(store::Error::Conflict(missing)) if missing != key => Err(Refusal::TenantNotFound(id.to_string())),
            Err(store::Error::Conflict(_)) => Err(Refusal::ExtensionExists(username)),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub async fn remove_extension(&self, id: &TenantId, username: &Username) -> Result<(), Refusal> {
        self.tenant(id)?;
        let in_order = Arc::clone(&self.0.extension_change).lock_owned().await;
        if self.snapshot().extension(id.as_str(), username.as_str()).is_none() {
            return Err(Refusal::ExtensionNotFound(username.to_string()));
        }
        let batch = Batch::new().remove(records::extension_key(id, username));
        let (tenant, username) = (id.clone(), username.clone());
        let follow = move |platform: &Self, _| {
            platform.snapshot_mut().remove_extension(&tenant, &username);
            drop(in_order);
        };
        self.commit(batch, follow).await.map_err(Refusal::Unavailable)
    }

    /// The digests by which the edge authenticates `username@domain`; none
    /// when there is no such extension or the edge is not its tenant's registrar.
    pub fn credentials(&self, domain: &str, username: &str) -> Option<Credentials> {
        let domain = domain.to_ascii_lowercase();
        let snapshot = self.snapshot();
        let live = snapshot.on_edge(&domain)?;
        let extension = snapshot.extension(live.tenant.id.as_str(), username)?;
        (extension.realm == domain).then(|| extension.credentials.clone())
    }

    /// Whether the edge is the registrar of `domain`.
    pub fn serves(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        self.snapshot().on_edge(&domain).is_some()
    }

    /// Writes down when keys were last used, every few minutes, for ever. For a task of its own.
    pub async fn keep_key_uses(self) {
        let mut tick = tokio::time::interval(KEY_USE_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(error) = self.store_key_uses().await {
                tracing::warn!(%error, "the last uses of API keys could not be stored");
            }
        }
    }

    /// Writes down when keys were last used; for the end of the process.
    pub async fn store_key_uses(&self) -> Result<(), store::Error> {
        let uses = self.snapshot().key_uses();
        for some in uses.chunks(KEY_USE_BATCH) {
            let mut batch = Batch::new();
            let mut news = false;
            for (id, moment) in some {
                let key = records::key_use_key(id);
                let stored = self.0.store.get(&key).await?;
                let stored = stored.map(|record| decode::<Timestamp>(&key, &record.bytes));
                if stored.transpose()? != Some(*moment) {
                    batch = batch.put(key, encode(moment)?);
                    news = true;
                }
            }
            if news {
                self.0.store.commit(batch).await?;
            }
        }
        Ok(())
    }

    /// Applies a rule to a tenant, as often as it takes to not overwrite
    /// anybody. A rule that changes nothing writes nothing.
    pub(super) async fn change<T>(
        &self,
        id: &TenantId,
        rule: impl Fn(&mut Tenant, &plan::Entitlements) -> Result<T, Refusal>,
    ) -> Result<(Arc<Live>, T), Refusal> {
        let key = records::tenant_key(id.as_str());
        let mut live = self.tenant(id)?;
        loop {
            let mut tenant = live.tenant.clone();
            let outcome = rule(&mut tenant, &live.plan.entitlements)?;
            if tenant == live.tenant {
                return Ok((live, outcome));
            }
            tenant.updated_at = Timestamp::now();
            let batch = Batch::new().require_revision(&key, live.revision).put(&key, stored_form(&tenant)?);
            match self.commit(batch, |platform, revision| platform.publish(tenant, revision)).await {
                Ok(live) => return Ok((live, outcome)),
                Err(store::Error::Conflict(_)) => live = self.reload(id).await?,
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Commits, and lets memory follow. In a task of its own, because a caller whose time is up or
    /// whose client has gone is dropped at any await: the write would stand, and memory not know of it.
    async fn commit<T: Send + 'static>(
        &self,
        batch: Batch,
        follow: impl FnOnce(&Self, Revision) -> T + Send + 'static,
    ) -> Result<T, store::Error> {
        let platform = self.clone();
        let work = tokio::spawn(async move {
            let revision = platform.0.store.commit(batch).await?;
            let outcome = follow(&platform, revision);
            platform.0.changed.send_replace(());
            Ok(outcome)
        });
        work.await.unwrap_or_else(|error| Err(store::Error::Failed(format!("the change broke off: {error}"))))
    }

    async fn reload(&self, id: &TenantId) -> Result<Arc<Live>, Refusal> {
        let key = records::tenant_key(id.as_str());
        let record = self.0.store.get(&key).await.map_err(Refusal::Unavailable)?;
        let record = record.ok_or_else(|| Refusal::TenantNotFound(id.to_string()))?;
        let tenant = decode(&key, &record.bytes).map_err(Refusal::Unavailable)?;
        Ok(self.publish(tenant, record.revision))
    }

    fn publish(&self, tenant: Tenant, revision: Revision) -> Arc<Live> {
        let plan = {
            let snapshot = self.snapshot();
            let named = snapshot.plan(&tenant.plan_id).or(snapshot.default_plan());
            named.cloned().unwrap_or_else(|| Arc::new(plan::free()))
        };
        let live = Live::prepare(tenant, revision, plan, &self.0.defaults);
        self.snapshot_mut().put_tenant(live)
    }

    fn new_key(&self, label: String) -> Result<(ApiKey, StoredKey), Refusal> {
        let api_key = ApiKey::generate().map_err(no_randomness)?;
        let stored = StoredKey {
            id: KeyId::generate().map_err(no_randomness)?,
            label,
            hash: self.0.pepper.hash(api_key.as_str()),
            created_at: Timestamp::now(),
        };
        Ok((api_key, stored))
    }

    fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.0.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant just made.
pub struct Provisioned {
    pub live: Arc<Live>,
    pub api_key: ApiKey,
    pub api_key_meta: ApiKeyMeta,
}

/// An extension just made, or found as wanted.
pub struct AddedExtension {
    pub extension: Arc<Extension>,
    pub created: bool,
    /// Shown once.
    pub password: String,
}

fn open_files(data: &Path) -> Result<(Embedded, Pepper), OpenError> {
    let file = |path: &Path, source| OpenError::File { path: path.display().to_string(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| file(data, error))?;
    let store = open_store(&data.join(STORE_FILE))?;
    // After the store: its lock makes sure that two processes do not both make a pepper.
    let pepper = data.join(PEPPER_FILE);
    let pepper = Pepper::load_or_create(&pepper).map_err(|error| file(&pepper, error))?;
    Ok((store, pepper))
}

/// Waits a little for a command that is just at work: two commands at the same
/// time, or one beside a server that starts, are no reason to fail.
fn open_store(path: &Path) -> Result<Embedded, store::Error> {
    let deadline = Instant::now() + STORE_PATIENCE;
    loop {
        match Embedded::open(path) {
            Err(store::Error::InUse(_)) if Instant::now() < deadline => std::thread::sleep(STORE_POLL),
            outcome => return outcome,
        }
    }
}

fn stored_form<T: records::Layout>(value: &T) -> Result<Vec<u8>, Refusal> {
    encode(value).map_err(Refusal::Unavailable)
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
fn no_randomness(error: io::Error) -> Refusal {
    Refusal::Unavailable(store::Error::Failed(format!("no randomness: {error}")))
}

const STORE_FILE: &str = "bitcall.redb";
const STORE_PATIENCE: Duration = Duration::from_secs(3);
const STORE_POLL: Duration = Duration::from_millis(20);
const PEPPER_FILE: &str = "key-pepper";
const DEFAULT_LABEL: &str = "Default";
const KEY_USE_INTERVAL: Duration = Duration::from_mins(5);
const KEY_USE_BATCH: usize = 500;
