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
use super::order::{Event, OrderState, Rules, State};
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
    agenda: Mutex<Schedule>,
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
    /// Tells it from an earlier one of the same name.
    number: u64,
    course: OrderState,
    /// Somebody has asked for it since the start.
    wanted: bool,
    /// Being driven now.
    running: bool,
    /// What the course has to hear of first.
    inbox: Vec<Event>,
    /// As it stands in [`Schedule::due`].
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

impl Layout for OrderState {}

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
        let mut agenda = Schedule::default();
        for (key, record) in store.scan(ORDERS).await? {
            let course: OrderState = decode(&key, &record.bytes)?;
            agenda.insert(course, false);
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
            agenda: Mutex::new(agenda),
            wake: Notify::new(),
            changes: broadcast::channel(CHANGES).0,
        })))
    }

    /// Sees to it that a name has a certificate, from now on. Saying it again changes nothing.
    pub fn want(&self, wanted: Wanted) {
        let name = wanted.name.clone();
        let mut agenda = self.agenda();
        match agenda.names.get_mut(&name) {
            None => {
                agenda.insert(OrderState::new(wanted.clone(), Timestamp::now()), true);
                // Another appliance may know the name already, and want something else of it.
                if let Some(entry) = agenda.names.get_mut(&name) {
                    entry.inbox.push(Event::Wanted(wanted));
                }
            }
            Some(entry) => {
                let news = entry.course.wanted != wanted;
                if entry.wanted && !news {
                    return;
                }
                entry.wanted = true;
                if news {
                    entry.inbox.push(Event::Wanted(wanted));
                }
            }
        }
        agenda.plan(&name);
        drop(agenda);
        self.0.wake.notify_one();
    }

    /// Ends all interest in a name: its certificate is served no more, and nothing of it is kept.
    pub async fn release(&self, name: &Hostname) -> Result<(), store::Error> {
        self.agenda().strike(name);
        let batch = Batch::new().remove(order_key(name)).remove(certificate_key(name.as_str())).remove(lease_key(name));
        self.0.store.commit(batch).await?;
        self.0.certificate_store.hide(name.as_str());
        self.tell(name);
        Ok(())
    }

    /// Where a name stands; nothing where nobody wants it.
    pub fn progress(&self, name: &Hostname) -> Option<Progress> {
        let progress = self.agenda().names.get(name).filter(|entry| entry.wanted)?.course.progress();
        Some(self.as_seen(progress))
    }

    /// All wanted names, in their order.
    pub fn list(&self) -> Vec<(Hostname, Progress)> {
        let agenda = self.agenda();
        let wanted = agenda.names.iter().filter(|(_, entry)| entry.wanted);
        let all: BTreeMap<_, _> =
            wanted.map(|(name, entry)| (name.clone(), self.as_seen(entry.course.progress()))).collect();
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
            self.tell(&name);
        }
    }

    /// Starts the next attempt, or the renewal, now; as far as limits allow. Whether the name is wanted at all.
    pub fn renew(&self, name: &Hostname) -> bool {
        self.deliver(name, Event::Renew)
    }

    /// Looks now whether the name leads here, where it was held back for that.
    pub fn retry_preflight(&self, name: &Hostname) {
        self.deliver(name, Event::RetryPreflight);
    }

    fn deliver(&self, name: &Hostname, event: Event) -> bool {
        let mut agenda = self.agenda();
        let Some(entry) = agenda.names.get_mut(name).filter(|entry| entry.wanted) else { return false };
        entry.inbox.push(event);
        agenda.plan(name);
        drop(agenda);
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
            let agenda = self.agenda();
            agenda.names.iter().filter(|(_, entry)| !entry.wanted).map(|(name, _)| name.clone()).collect()
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
        let mut agenda = self.agenda();
        let now = Timestamp::now();
        while pursuits.len() < MAX_CONCURRENT_ORDERS {
            let Some((at, name)) = agenda.due.first().cloned() else { return IDLE_TIMEOUT };
            if at > now {
                return now.until(at).min(IDLE_TIMEOUT);
            }
            agenda.due.remove(&(at, name.clone()));
            let Some(entry) = agenda.names.get_mut(&name) else { continue };
            (entry.due, entry.running) = (None, true);
            let number = entry.number;
            pursuits.spawn(self.clone().pursue(name, number));
        }
        // One of those that run will end.
        IDLE_TIMEOUT
    }

    fn moment() -> Moment {
        // Without randomness everybody comes back at the same time: no reason not to come back.
        Moment { now: Timestamp::now(), dice: getrandom::u64().unwrap_or_default() }
    }

    fn tell(&self, name: &Hostname) {
        // Nobody need listen.
        let _ = self.0.changes.send(name.clone());
    }

    fn agenda(&self) -> MutexGuard<'_, Schedule> {
        self.0.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn due_at(&self) -> Timestamp {
        match &self.course.state {
            State::Resting { until, .. } if self.inbox.is_empty() => *until,
            _ => Timestamp(0),
        }
    }
}

impl Schedule {
    fn insert(&mut self, course: OrderState, wanted: bool) {
        self.number += 1;
        let name = course.wanted.name.clone();
        let entry = Entry { number: self.number, course, wanted, running: false, inbox: Vec::new(), due: None };
        self.names.insert(name, entry);
    }

    /// The entry of a name, unless it was released since, and perhaps wanted again.
    fn of(&mut self, name: &Hostname, number: u64) -> Option<&mut Entry> {
        self.names.get_mut(name).filter(|entry| entry.number == number)
    }

    /// Puts a name where it belongs in time.
    fn plan(&mut self, name: &Hostname) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let due = (entry.wanted && !entry.running).then(|| entry.due_at());
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
