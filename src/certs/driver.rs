//! [`Certs`]: everything outside of the room asks it for certificates. Behind it one worker drives the courses
//! of all wanted names, several at a time, each of them one effect after the other.
//!
//! A course is stored on the condition that its record is as it was read: whoever was taken the name away,
//! by its owner or by another appliance, notices with the next thing worth storing, and stops. The
//! certificate is stored in the same batch as the end of its order.
//!
//! While another appliance is at work on a name, what it stores is looked at every few seconds; the
//! certificate that it gets is served here, too.

mod order_task;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use super::account::Accounts;
use super::certificate_store::{CertificateStore, Origin};
use super::challenges::ChallengeStore;
use super::http_client::AcmeHttpClient;
use super::leases::{Leases, lease_key};
use super::order::{Command, OrderRecord, Rules};
use super::preflight::Preflight;
use super::progress::{Progress, Wanted};
use super::schedule::Moment;
use super::settings::Settings;
use crate::hostname::Hostname;
use crate::store::keys::{CERTIFICATES, ORDERS, certificate_key, order_key};
use crate::store::{self, Batch, Layout, Store, decode};
use crate::timestamp::Timestamp;

/// Names that are driven at the same time.
const MAX_CONCURRENT_ORDERS: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// Records looked at in one go.
const PAGE: usize = 256;
/// Changes that a listener may be behind.
const CHANGES: usize = 1024;

/// The certificates that are obtained by themselves. Cloning is cheap.
#[derive(Clone)]
pub struct Certs(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    certificate_store: Arc<CertificateStore>,
    accounts: Accounts,
    leases: Leases,
    rules: Rules,
    profile: Option<String>,
    board: ChallengeStore,
    scout: Box<dyn Preflight>,
    schedule: Mutex<Schedule>,
    wake: Notify,
    changes: broadcast::Sender<Hostname>,
}

/// All names, and when each is due.
#[derive(Default)]
struct Schedule {
    names: HashMap<Hostname, Entry>,
    due: BTreeSet<(Timestamp, Hostname)>,
    /// Of the last entry.
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
    inbox: Vec<Command>,
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
    /// Reads what is known of all names. Nothing is ordered before it is [`Self::want`]ed and [`Self::run`] runs.
    pub async fn open(
        store: Arc<dyn Store>,
        certificate_store: Arc<CertificateStore>,
        exchange: AcmeHttpClient,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let seal = certificate_store.seal().ok_or(StartError::NoStoreKey)?.clone();
        let Settings { rules, profile, contact, bindings, holder, limits, scout } = settings;
        let mut schedule = Schedule::default();
        for (key, record) in store.scan(ORDERS).await? {
            let record: OrderRecord = decode(&key, &record.bytes)?;
            schedule.insert(&record, false);
        }
        Ok(Self(Arc::new(Inner {
            accounts: Accounts::new(Arc::clone(&store), seal, exchange, contact, bindings, limits),
            leases: Leases::new(Arc::clone(&store), holder),
            store,
            certificate_store,
            rules,
            profile,
            board: ChallengeStore::default(),
            scout,
            schedule: Mutex::new(schedule),
            wake: Notify::new(),
            changes: broadcast::channel(CHANGES).0,
        })))
    }

    /// Sees to it that a name has a certificate, from now on. Saying it again changes nothing.
    pub fn want(&self, wanted: Wanted) {
        let name = wanted.name.clone();
        let mut schedule = self.schedule();
        match schedule.names.get_mut(&name) {
            None => {
                schedule.insert(&OrderRecord::new(wanted.clone(), Timestamp::now()), true);
                // Another appliance may know the name already, and want something else of it.
                if let Some(entry) = schedule.names.get_mut(&name) {
                    entry.inbox.push(Command::Want(wanted));
                }
            }
            Some(entry) => {
                let news = entry.wanted != wanted;
                if entry.requested && !news {
                    return;
                }
                entry.requested = true;
                if news {
                    entry.inbox.push(Command::Want(wanted));
                }
            }
        }
        schedule.plan(&name);
        drop(schedule);
        self.0.wake.notify_one();
    }

    /// Ends all interest in a name: its certificate is served no more, and nothing of it is kept.
    pub async fn release(&self, name: &Hostname) -> Result<(), store::Error> {
        self.schedule().strike(name);
        let batch = Batch::new().remove(order_key(name)).remove(certificate_key(name.as_str())).remove(lease_key(name));
        self.0.store.commit(batch).await?;
        self.0.certificate_store.hide(name.as_str());
        self.notify(name);
        Ok(())
    }

    /// Where a name stands; nothing where nobody wants it.
    pub fn progress(&self, name: &Hostname) -> Option<Progress> {
        let progress = self.schedule().names.get(name).filter(|entry| entry.requested)?.progress.clone();
        Some(self.as_seen(progress))
    }

    /// All wanted names, in their order.
    pub fn list(&self) -> Vec<(Hostname, Progress)> {
        let schedule = self.schedule();
        let wanted = schedule.names.iter().filter(|(_, entry)| entry.requested);
        let all: BTreeMap<_, _> =
            wanted.map(|(name, entry)| (name.clone(), self.as_seen(entry.progress.clone()))).collect();
        all.into_iter().collect()
    }

    /// With what a look from outside has found wrong, unless something else is.
    fn as_seen(&self, mut progress: Progress) -> Progress {
        if progress.problem.is_none()
            && let Some(facts) = &progress.certificate
        {
            progress.problem = self.0.certificate_store.cert_resolver().mismatches().of(&facts.serial, &facts.names);
        }
        progress
    }

    /// Whoever listens to [`Self::changes`] hears of a name, or a wildcard's, of which somebody else knows something new.
    pub fn announce(&self, name: &str) {
        if let Ok(name) = name.strip_prefix("*.").unwrap_or(name).parse() {
            self.notify(&name);
        }
    }

    /// Starts the next attempt, or the renewal, now; as far as limits allow. Whether the name is wanted at all.
    pub fn renew(&self, name: &Hostname) -> bool {
        self.deliver(name, Command::Renew)
    }

    /// Looks now whether the name leads here, where it was held back for that.
    pub fn retry_preflight(&self, name: &Hostname) {
        self.deliver(name, Command::RetryPreflight);
    }

    fn deliver(&self, name: &Hostname, command: Command) -> bool {
        let mut schedule = self.schedule();
        let Some(entry) = schedule.names.get_mut(name).filter(|entry| entry.requested) else { return false };
        entry.inbox.push(command);
        schedule.plan(name);
        drop(schedule);
        self.0.wake.notify_one();
        true
    }

    /// The names of which something has changed.
    pub fn changes(&self) -> broadcast::Receiver<Hostname> {
        self.0.changes.subscribe()
    }

    /// The answers to challenges.
    pub fn board(&self) -> ChallengeStore {
        self.0.board.clone()
    }

    /// Removes what belongs to names that nobody wants: to be called once everybody has said what they
    /// want. Certificates that an administrator brought stay. Returns the names.
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
                    && matches!(kept.origin, Origin::Acme { .. })
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
            // Perhaps just now.
            if self.progress(&name).is_none() {
                self.release(&name).await?;
                removed.push(name);
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// Drives all courses, for ever.
    pub async fn run(self) {
        let mut pursuits = JoinSet::new();
        loop {
            let wait = self.start_due(&mut pursuits);
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = pursuits.join_next() => {}
            }
        }
    }

    /// Starts what is due as far as there is room, and says how long nothing else is.
    fn start_due(&self, pursuits: &mut JoinSet<()>) -> Duration {
        let mut schedule = self.schedule();
        let now = Timestamp::now();
        while pursuits.len() < MAX_CONCURRENT_ORDERS {
            let Some((at, name)) = schedule.due.first().cloned() else { return IDLE_TIMEOUT };
            if at > now {
                return now.until(at).min(IDLE_TIMEOUT);
            }
            schedule.due.remove(&(at, name.clone()));
            let Some(entry) = schedule.names.get_mut(&name) else { continue };
            (entry.due, entry.running) = (None, true);
            let number = entry.number;
            pursuits.spawn(self.clone().drive_due(name, number));
        }
        // One of those that run will end.
        IDLE_TIMEOUT
    }

    fn moment() -> Moment {
        // Without randomness everybody comes back at the same time: no reason not to come back.
        Moment { now: Timestamp::now(), dice: getrandom::u64().unwrap_or_default() }
    }

    fn notify(&self, name: &Hostname) {
        // Nobody need listen.
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

    /// The entry of a name, unless it was released since, and perhaps wanted again.
    fn entry(&mut self, name: &Hostname, number: u64) -> Option<&mut Entry> {
        self.names.get_mut(name).filter(|entry| entry.number == number)
    }

    /// Puts a name where it belongs in time.
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

    fn strike(&mut self, name: &Hostname) {
        self.set_due(name, None);
        self.names.remove(name);
    }
}

#[cfg(test)]
mod tests;
