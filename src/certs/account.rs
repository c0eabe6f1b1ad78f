//! One account per directory, in the store: its key sealed, and how many orders it has placed lately.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::acme_error::{AcmeError, Kind};
use super::client::{AccountSession, Binding};
use super::http_client::AcmeHttpClient;
use super::order::DirectoryBackoff;
use super::quotas::{NewNameQuota, OrderRateLimit};
use super::schedule::{Moment, back_off};
use super::sealed::{Seal, Sealed};
use crate::hostname::Hostname;
use crate::store::{self, Batch, Layout, Store, decode, encode};
use crate::timestamp::Timestamp;

/// How long a directory's own addresses are taken for granted.
const DIRECTORY_TTL: Duration = Duration::from_hours(1);
const MAX_DIRECTORY_BACKOFF: Duration = Duration::from_mins(30);
/// Requests to one directory at the same time.
const AT_ONCE: usize = 8;

/// The accounts of this installation.
pub struct Accounts {
    store: Arc<dyn Store>,
    seal: Seal,
    exchange: AcmeHttpClient,
    contact: Option<String>,
    bindings: HashMap<String, Binding>,
    /// By directory: one that hangs keeps nobody from another.
    doors: Mutex<HashMap<String, Arc<DirectoryAccess>>>,
    holds: Mutex<HashMap<String, DirectoryFailures>>,
    limits: Limits,
}

/// The way to one directory.
struct DirectoryAccess {
    /// Requests that it gets at the same time.
    places: Arc<Semaphore>,
    /// Locked while the account is opened: two are never registered at once.
    opened: tokio::sync::Mutex<OpenedAccount>,
}

/// What came of opening the account.
#[derive(Default)]
struct OpenedAccount {
    session: Option<(Arc<AccountSession>, Instant)>,
    failure: Option<(AcmeError, Instant)>,
}

/// How many names may get their first certificate.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The domain whose subdomains are counted; none where there is none.
    pub base: Option<Hostname>,
    /// In a week. 0: any number.
    pub debuts: usize,
}

/// On a directory that failed so often in a row.
struct DirectoryFailures {
    failures: u32,
    closed: DirectoryBackoff,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    directory: String,
    made_at: Timestamp,
    credentials: Sealed,
}

impl Layout for Account {}
impl Layout for OrderRateLimit {}
impl Layout for NewNameQuota {}

impl Accounts {
    /// `bindings`: by directory.
    pub fn new(
        store: Arc<dyn Store>,
        seal: Seal,
        exchange: AcmeHttpClient,
        contact: Option<String>,
        bindings: HashMap<String, Binding>,
        limits: Limits,
    ) -> Self {
        let (doors, holds) = (Mutex::default(), Mutex::default());
        Self { store, seal, exchange, contact, bindings, doors, holds, limits }
    }

    /// The account with a directory, registered now if there is none.
    pub async fn session(&self, directory: &str) -> Result<Arc<AccountSession>, AcmeError> {
        let asked = Instant::now();
        let door = self.door(directory);
        let mut opened = door.opened.lock().await;
        if let Some((session, since)) = &opened.session
            && since.elapsed() < DIRECTORY_TTL
        {
            return Ok(Arc::clone(session));
        }
        // Whoever waited for somebody else's attempt need not make the same one again.
        if let Some((trouble, at)) = &opened.failure
            && *at >= asked
        {
            return Err(trouble.clone());
        }
        let outcome = match self.kept(directory).await {
            Ok(Some(credentials)) => AccountSession::open(&self.exchange, &credentials).await,
            Ok(None) => self.register(directory).await,
            Err(trouble) => Err(trouble),
        };
        match outcome {
            Ok(session) => {
                let session = Arc::new(session);
                *opened = OpenedAccount { session: Some((Arc::clone(&session), Instant::now())), failure: None };
                Ok(session)
            }
            Err(trouble) => {
                opened.failure = Some((trouble.clone(), Instant::now()));
                Err(trouble)
            }
        }
    }

    /// A place among those who make requests to a directory; its end is the place's.
    pub async fn permit(&self, directory: &str) -> Option<OwnedSemaphorePermit> {
        // Fails only where it is closed, and nobody closes it.
        Arc::clone(&self.door(directory).places).acquire_owned().await.ok()
    }

    fn door(&self, directory: &str) -> Arc<DirectoryAccess> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = doors.entry(directory.to_owned()).or_insert_with(|| {
            Arc::new(DirectoryAccess {
                places: Arc::new(Semaphore::new(AT_ONCE)),
                opened: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(door)
    }

    /// The directory knows it no more.
    pub async fn forget(&self, directory: &str) -> Result<(), store::Error> {
        let door = self.door(directory);
        let mut opened = door.opened.lock().await;
        opened.session = None;
        self.store.commit(Batch::new().remove(account_key(directory))).await?;
        tracing::warn!(directory, "the certificate authority knows the account no more; a new one will be made");
        Ok(())
    }

    /// Counts an order of the account, or says how long there is no room for one.
    pub async fn count_order(&self, directory: &str, now: Timestamp) -> Result<(), AcmeError> {
        let key = pace_key(directory);
        loop {
            let found = self.store.get(&key).await.map_err(|error| stored(&error))?;
            let (mut pace, batch) = match found {
                None => (OrderRateLimit::default(), Batch::new().require_absent(&key)),
                Some(record) => {
                    let pace: OrderRateLimit = decode(&key, &record.bytes).map_err(|error| stored(&error))?;
                    (pace, Batch::new().require_revision(&key, record.revision))
                }
            };
            if let Err(free) = pace.order(now) {
                let mut trouble = AcmeError::new(
                    Kind::RateLimited,
                    "As many orders were placed as the certificate authority's limits allow.",
                );
                trouble.retry_after = Some(now.until(free));
                return Err(trouble);
            }
            let record = encode(&pace).map_err(|error| stored(&error))?;
            match self.store.commit(batch.put(&key, record)).await {
                Ok(_) => return Ok(()),
                // Another order at the same time.
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(stored(&error)),
            }
        }
    }

    /// Counts a name's first certificate before it is ordered, or says how long there is no room for one.
    /// A name that is counted already is not counted again, so that attempts which fail cost nothing more.
    pub async fn count_debut(&self, directory: &str, name: &Hostname, now: Timestamp) -> Result<(), AcmeError> {
        let Some(base) = self.counted(name) else { return Ok(()) };
        let most = self.limits.debuts;
        let free = self.debuts(directory, base, |debuts| debuts.enter(name, most, now)).await?;
        free.map_err(|free| {
            let message = format!(
                "Within a week {most} names below {base} got their first certificate, as many as the certificate authority's limits allow; it goes on at {free}."
            );
            AcmeError { retry_after: Some(now.until(free)), ..AcmeError::new(Kind::RateLimited, message) }
        })
    }

    /// Notes when the first certificate of a name was there: its week begins now.
    pub async fn debut(&self, directory: &str, name: &Hostname, now: Timestamp) -> Result<(), AcmeError> {
        match self.counted(name) {
            Some(base) => self.debuts(directory, base, |debuts| debuts.issued(name, now)).await,
            None => Ok(()),
        }
    }

    fn counted(&self, name: &Hostname) -> Option<&Hostname> {
        let base = self.limits.base.as_ref().filter(|_| self.limits.debuts > 0)?;
        (name == base || name.is_below(base.as_str())).then_some(base)
    }

    async fn debuts<T>(
        &self,
        directory: &str,
        base: &Hostname,
        change: impl Fn(&mut NewNameQuota) -> T,
    ) -> Result<T, AcmeError> {
        let key = format!("acme-debuts/{}/{base}", short(directory));
        loop {
            let found = self.store.get(&key).await.map_err(|error| stored(&error))?;
            let (mut debuts, batch): (NewNameQuota, _) = match &found {
                None => (NewNameQuota::default(), Batch::new().require_absent(&key)),
                Some(record) => (
                    decode(&key, &record.bytes).map_err(|error| stored(&error))?,
                    Batch::new().require_revision(&key, record.revision),
                ),
            };
            let before = debuts.clone();
            let outcome = change(&mut debuts);
            if debuts == before {
                return Ok(outcome);
            }
            let record = encode(&debuts).map_err(|error| stored(&error))?;
            match self.store.commit(batch.put(&key, record)).await {
                Ok(_) => return Ok(outcome),
                // Another name at the same time.
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(stored(&error)),
            }
        }
    }

    /// Whether nobody is to ask a directory for now.
    pub fn backoff(&self, directory: &str) -> Option<DirectoryBackoff> {
        self.holds().get(directory).map(|hold| hold.closed.clone())
    }

    /// Nobody asks a directory that does not answer, until it is likely to.
    pub fn note(&self, directory: &str, outcome: Result<(), &AcmeError>, moment: Moment) {
        let mut holds = self.holds();
        match outcome {
            Err(trouble) if matches!(trouble.kind, Kind::Unreachable | Kind::Unwell) => {
                let failures = holds.get(directory).map_or(0, |hold| hold.failures).saturating_add(1);
                let until = match trouble.retry_after {
                    Some(said) => moment.no_earlier(said.min(Duration::from_hours(24))),
                    None => moment.about(back_off(failures).min(MAX_DIRECTORY_BACKOFF)),
                };
                holds.insert(
                    directory.to_owned(),
                    DirectoryFailures { failures, closed: DirectoryBackoff { until, why: trouble.clone() } },
                );
            }
            _ => {
                holds.remove(directory);
            }
        }
    }

    async fn kept(&self, directory: &str) -> Result<Option<Vec<u8>>, AcmeError> {
        let key = account_key(directory);
        let Some(record) = self.store.get(&key).await.map_err(|error| stored(&error))? else { return Ok(None) };
        let mut account: Account = decode(&key, &record.bytes).map_err(|error| stored(&error))?;
        let Some(credentials) = self.seal.open(&key, &account.credentials) else {
            tracing::warn!(directory, "the account's key was sealed by another store key; a new account will be made");
            return Ok(None);
        };
        if !self.seal.is_current(&account.credentials)
            && let Ok(sealed) = self.seal.seal(&key, credentials.clone())
        {
            account.credentials = sealed;
            let record = Batch::new()
                .require_revision(&key, record.revision)
                .put(&key, encode(&account).map_err(|error| stored(&error))?);
            if let Err(error) = self.store.commit(record).await {
                tracing::debug!(%error, "the account stays sealed as it was");
            }
        }
        Ok(Some(credentials))
    }

    async fn register(&self, directory: &str) -> Result<AccountSession, AcmeError> {
        let binding = self.bindings.get(directory);
        let (session, credentials) =
            AccountSession::register(&self.exchange, directory, self.contact.as_deref(), binding).await?;
        let key = account_key(directory);
        let sealed = self.seal.seal(&key, credentials);
        let credentials = sealed
            .map_err(|error| AcmeError::new(Kind::Internal, format!("The account cannot be sealed: {error}.")))?;
        let account = Account { directory: directory.to_owned(), made_at: Timestamp::now(), credentials };
        let record = encode(&account).map_err(|error| stored(&error))?;
        self.store.commit(Batch::new().put(&key, record)).await.map_err(|error| stored(&error))?;
        tracing::info!(directory, "registered with the certificate authority");
        Ok(session)
    }

    fn holds(&self) -> std::sync::MutexGuard<'_, HashMap<String, DirectoryFailures>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn stored(error: &store::Error) -> AcmeError {
    AcmeError::new(Kind::Internal, format!("The store failed: {error}."))
}

fn account_key(directory: &str) -> String {
    format!("acme-account/{}", short(directory))
}

fn pace_key(directory: &str) -> String {
    format!("acme-pace/{}", short(directory))
}

/// A directory's URL as part of a record's key.
fn short(directory: &str) -> String {
    Sha256::digest(directory.as_bytes()).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
