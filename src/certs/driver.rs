//! [`Certs`] orders and renews certificates for other modules. One worker drives the orders of all wanted names, several
//! at a time.
//!
//! A record is written on the condition that it is as it was read: a task whose name was released, or taken over by
//! another appliance, notices with its next write, and stops. The certificate is stored in the same batch as the end
//! of its order.
//!
//! While another appliance has the lease of a name, its record is read every few seconds, and the certificate that
//! the other one stores is served here, too.

mod order_task;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use super::account::Accounts;
use super::certificate_store::{CertificateOrigin, CertificateStore};
use super::challenges::ChallengeStore;
use super::http_client::AcmeHttpClient;
use super::leases::{Leases, lease_key};
use super::order::{OrderCommand, OrderRecord, Rules};
use super::preflight::Preflight;
use super::progress::{Progress, Wanted};
use super::schedule::Moment;
use super::settings::AcmeSettings;
use crate::hostname::Hostname;
use crate::store::keys::{CERTIFICATES, ORDERS, certificate_key, order_key};
use crate::store::{self, Batch, Layout, Store, decode};
use crate::timestamp::Timestamp;

/// Names that are driven at the same time.
const MAX_CONCURRENT_ORDERS: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// Keys read at a time.
const PAGE: usize = 256;
/// Changes that a receiver may lag behind.
const CHANGES_CAPACITY: usize = 1024;

/// The certificates that are ordered by ACME. Cloning is cheap.
#[derive(Clone)]
pub struct Certs(Arc<CertsShared>);

struct CertsShared {
    store: Arc<dyn Store>,
    certificate_store: Arc<CertificateStore>,
    accounts: Accounts,
    leases: Leases,
    rules: Rules,
    profile: Option<String>,
    challenges: ChallengeStore,
    preflight: Box<dyn Preflight>,
    schedule: Mutex<Schedule>,
    wake: Notify,
    changes: broadcast::Sender<Hostname>,
}

/// All known names, and when each is due.
#[derive(Default)]
struct Schedule {
    names: HashMap<Hostname, Entry>,
    due: BTreeSet<(Timestamp, Hostname)>,
    /// The number of the last entry.
    number: u64,
}

struct Entry {
    /// Distinguishes it from an earlier entry of the same name.
    number: u64,
    /// As in the record that was stored last, like `progress` and `due_at`.
    wanted: Wanted,
    progress: Progress,
    due_at: Timestamp,
    /// [`Certs::want`] was called for it since the start.
    requested: bool,
    /// A task drives it now.
    running: bool,
    /// Commands whose consequences are not stored yet.
    inbox: Vec<OrderCommand>,
    /// Its time in [`Schedule::due`].
    due: Option<Timestamp>,
}

/// Why the automatic certificates cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(
        "`[acme]` needs a store key, to seal the private keys with\nhint: set BITCALL_STORE_KEY, or the systemd credential `store_key`, or `secrets.store_key_file`; `bitcall init` makes one"
    )]
    NoStoreKey,
}

impl Layout for OrderRecord {}

impl Certs {
    /// Reads the records of all names. A name is ordered once [`Self::want`] was called for it and [`Self::run`] runs.
    pub async fn open(
        store: Arc<dyn Store>,
        certificate_store: Arc<CertificateStore>,
        http_client: AcmeHttpClient,
        settings: AcmeSettings,
    ) -> Result<Self, StartError> {
        let seal = certificate_store.seal().ok_or(StartError::NoStoreKey)?.clone();
        let AcmeSettings { rules, profile, contact, bindings, holder, limits, preflight } = settings;
        let mut schedule = Schedule::default();
        for (key, record) in store.scan(ORDERS).await? {
            let record: OrderRecord = decode(&key, &record.bytes)?;
            schedule.insert(&record, false);
        }
        Ok(Self(Arc::new(CertsShared {
            accounts: Accounts::new(Arc::clone(&store), seal, http_client, contact, bindings, limits),
            leases: Leases::new(Arc::clone(&store), holder),
            store,
            certificate_store,
            rules,
            profile,
            challenges: ChallengeStore::default(),
            preflight,
            schedule: Mutex::new(schedule),
            wake: Notify::new(),
            changes: broadcast::channel(CHANGES_CAPACITY).0,
        })))
    }

    /// Orders a certificate for a name and renews it from now on. Idempotent.
    pub fn want(&self, wanted: Wanted) {
        let name = wanted.name.clone();
        let mut schedule = self.schedule();
        match schedule.names.get_mut(&name) {
            None => {
                schedule.insert(&OrderRecord::new(wanted.clone(), Timestamp::now()), true);
                // The record that another appliance may have written can be for other names.
                if let Some(entry) = schedule.names.get_mut(&name) {
                    entry.inbox.push(OrderCommand::Want(wanted));
                }
            }
            Some(entry) => {
                let changed = entry.wanted != wanted;
                if entry.requested && !changed {
                    return;
                }
                entry.requested = true;
                if changed {
                    entry.inbox.push(OrderCommand::Want(wanted));
                }
            }
        }
        schedule.plan(&name);
        drop(schedule);
        self.0.wake.notify_one();
    }

    /// Removes a name: its certificate is no longer served, and its records are removed.
    pub async fn release(&self, name: &Hostname) -> Result<(), store::Error> {
        self.schedule().remove(name);
        let batch = Batch::new().remove(order_key(name)).remove(certificate_key(name.as_str())).remove(lease_key(name));
        self.0.store.commit(batch).await?;
        self.0.certificate_store.hide(name.as_str());
        self.notify(name);
        Ok(())
    }

    /// The progress of a name; none where it is not wanted.
    pub fn progress(&self, name: &Hostname) -> Option<Progress> {
        let progress = self.schedule().names.get(name).filter(|entry| entry.requested)?.progress.clone();
        Some(self.with_mismatch(progress))
    }

    /// All wanted names, sorted.
    pub fn list(&self) -> Vec<(Hostname, Progress)> {
        let schedule = self.schedule();
        let wanted = schedule.names.iter().filter(|(_, entry)| entry.requested);
        let all: BTreeMap<_, _> =
            wanted.map(|(name, entry)| (name.clone(), self.with_mismatch(entry.progress.clone()))).collect();
        all.into_iter().collect()
    }

    /// With the problem that [`watch`](super::watch) has found, unless there is another one.
    fn with_mismatch(&self, mut progress: Progress) -> Progress {
        if progress.problem.is_none()
            && let Some(facts) = &progress.certificate
        {
            progress.problem = self.0.certificate_store.cert_resolver().mismatches().of(&facts.serial, &facts.names);
        }
        progress
    }

    /// Sends a name, or that of a wildcard, to [`Self::changes`]: something other than its order has changed.
    pub fn announce(&self, name: &str) {
        if let Ok(name) = name.strip_prefix("*.").unwrap_or(name).parse() {
            self.notify(&name);
        }
    }

    /// Starts the next attempt, or the renewal, now, as far as limits allow. False where the name is not wanted.
    pub fn renew(&self, name: &Hostname) -> bool {
        self.deliver(name, OrderCommand::Renew)
    }

    /// Repeats the preflight check now if the name waits for that.
    pub fn retry_preflight(&self, name: &Hostname) {
        self.deliver(name, OrderCommand::RetryPreflight);
    }

    fn deliver(&self, name: &Hostname, command: OrderCommand) -> bool {
        let mut schedule = self.schedule();
        let Some(entry) = schedule.names.get_mut(name).filter(|entry| entry.requested) else { return false };
        entry.inbox.push(command);
        schedule.plan(name);
        drop(schedule);
        self.0.wake.notify_one();
        true
    }

    /// The names whose progress has changed.
    pub fn changes(&self) -> broadcast::Receiver<Hostname> {
        self.0.changes.subscribe()
    }

    /// The published responses to challenges.
    pub fn challenges(&self) -> ChallengeStore {
        self.0.challenges.clone()
    }

    /// Removes the records of names that are not wanted; to be called once all wanted names are known. Certificates
    /// that an administrator imported stay. Returns the names.
    pub async fn sweep(&self) -> Result<Vec<Hostname>, store::Error> {
        let mut orphans: HashSet<Hostname> = {
            let schedule = self.schedule();
            schedule.names.iter().filter(|(_, entry)| !entry.requested).map(|(name, _)| name.clone()).collect()
        };
        let mut after: Option<String> = None;
        loop {
            let page = self.0.store.keys(CERTIFICATES, after.as_deref(), PAGE).await?;
            for name in page.iter().filter_map(|key| key.strip_prefix(CERTIFICATES)?.parse::<Hostname>().ok()) {
                if self.progress(&name).is_none()
                    && let Some(kept) = self.0.certificate_store.find(name.as_str()).await?
                    && matches!(kept.origin, CertificateOrigin::Acme { .. })
                {
                    orphans.insert(name);
                }
            }
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let mut removed = Vec::new();
        for name in orphans {
            // It may be wanted since.
            if self.progress(&name).is_none() {
                self.release(&name).await?;
                removed.push(name);
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// Drives the orders of all names. Never ends.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        loop {
            let wait = self.start_due(&mut tasks);
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// Starts due names up to the limit. Returns how long until another one is due.
    fn start_due(&self, tasks: &mut JoinSet<()>) -> Duration {
        let mut schedule = self.schedule();
        let now = Timestamp::now();
        while tasks.len() < MAX_CONCURRENT_ORDERS {
            let Some((at, name)) = schedule.due.first().cloned() else { return IDLE_TIMEOUT };
            if at > now {
                return now.until(at).min(IDLE_TIMEOUT);
            }
            schedule.due.remove(&(at, name.clone()));
            let Some(entry) = schedule.names.get_mut(&name) else { continue };
            (entry.due, entry.running) = (None, true);
            let number = entry.number;
            tasks.spawn(self.clone().drive_due(name, number));
        }
        // The end of a task makes room for the next name.
        IDLE_TIMEOUT
    }

    fn moment() -> Moment {
        // Without randomness there is no jitter, which is no reason to stop.
        Moment { now: Timestamp::now(), random: getrandom::u64().unwrap_or_default() }
    }

    fn notify(&self, name: &Hostname) {
        // Fails if there is no receiver.
        let _ = self.0.changes.send(name.clone());
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.0.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Gives the progress that was known before.
    fn set_record(&mut self, record: &OrderRecord) -> Progress {
        self.wanted.clone_from(&record.name.wanted);
        self.due_at = record.due_at();
        std::mem::replace(&mut self.progress, record.progress())
    }
}

impl Schedule {
    fn insert(&mut self, record: &OrderRecord, requested: bool) {
        self.number += 1;
        let wanted = record.name.wanted.clone();
        let name = wanted.name.clone();
        let entry = Entry {
            number: self.number,
            wanted,
            progress: record.progress(),
            due_at: record.due_at(),
            requested,
            running: false,
            inbox: Vec::new(),
            due: None,
        };
        self.names.insert(name, entry);
    }

    /// The entry of a name, unless it was released since, even if it is wanted again.
    fn entry(&mut self, name: &Hostname, number: u64) -> Option<&mut Entry> {
        self.names.get_mut(name).filter(|entry| entry.number == number)
    }

    /// Updates when a name is due.
    fn plan(&mut self, name: &Hostname) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let due_at = if entry.inbox.is_empty() { entry.due_at } else { Timestamp(0) };
        let due = (entry.requested && !entry.running).then_some(due_at);
        self.set_due(name, due);
    }

    fn set_due(&mut self, name: &Hostname, due: Option<Timestamp>) {
        let Some(entry) = self.names.get_mut(name) else { return };
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(before, name.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, name.clone()));
        }
    }

    fn remove(&mut self, name: &Hostname) {
        self.set_due(name, None);
        self.names.remove(name);
    }
}

#[cfg(test)]
mod tests;
