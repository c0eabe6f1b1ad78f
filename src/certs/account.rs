//! The ACME accounts, one per directory: stored with a sealed key, and with the orders counted towards limits.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::acme_error::{AcmeError, Kind};
use super::client::{AccountSession, ExternalAccountBinding};
use super::http_client::AcmeHttpClient;
use super::order::DirectoryBackoff;
use super::quotas::{NewNameQuota, OrderRateLimit};
use super::schedule::{Moment, back_off};
use super::sealed::{Seal, Sealed};
use crate::hostname::Hostname;
use crate::store::{self, Batch, Layout, Store, decode, encode};
use crate::timestamp::Timestamp;

/// The keys of the accounts' records start with this.
pub const ACCOUNTS: &str = "acme-account/";
/// How long the resource URLs of a directory are used before it is read again (RFC 8555 section 7.1.1).
const DIRECTORY_TTL: Duration = Duration::from_hours(1);
/// The longest Retry-After that is honoured for a directory.
const MAX_DIRECTORY_RETRY_AFTER: Duration = Duration::from_hours(24);
const MAX_DIRECTORY_BACKOFF: Duration = Duration::from_mins(30);
/// Names of which requests to one directory run at the same time.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// The accounts of this installation.
pub struct Accounts {
    store: Arc<dyn Store>,
    seal: Seal,
    http_client: AcmeHttpClient,
    contact: Option<String>,
    bindings: HashMap<String, ExternalAccountBinding>,
    /// By directory, so that one that hangs does not delay requests to another.
    directories: Mutex<HashMap<String, Arc<DirectoryAccess>>>,
    failures: Mutex<HashMap<String, DirectoryFailures>>,
    limits: Limits,
}

/// What is shared between the names that use one directory.
struct DirectoryAccess {
    permits: Arc<Semaphore>,
    /// Locked while the account is opened, so that no two are registered at the same time.
    opened: tokio::sync::Mutex<OpenedAccount>,
}

/// The result of the last attempt to open the account.
#[derive(Default)]
struct OpenedAccount {
    session: Option<(Arc<AccountSession>, Instant)>,
    failure: Option<(AcmeError, Instant)>,
}

/// The limit of first certificates.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The domain that is counted, with all names below it; none for no limit.
    pub base: Option<Hostname>,
    /// First certificates in a week; 0 for any number.
    pub new_names_per_week: usize,
}

/// A directory that failed this many times in a row.
struct DirectoryFailures {
    failures: u32,
    backoff: DirectoryBackoff,
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
        http_client: AcmeHttpClient,
        contact: Option<String>,
        bindings: HashMap<String, ExternalAccountBinding>,
        limits: Limits,
    ) -> Self {
        let (directories, failures) = (Mutex::default(), Mutex::default());
        Self { store, seal, http_client, contact, bindings, directories, failures, limits }
    }

    /// The account with a directory, registered now if there is none.
    pub async fn session(&self, directory: &str) -> Result<Arc<AccountSession>, AcmeError> {
        let called_at = Instant::now();
        let access = self.access(directory);
        let mut opened = access.opened.lock().await;
        if let Some((session, since)) = &opened.session
            && since.elapsed() < DIRECTORY_TTL
        {
            return Ok(Arc::clone(session));
        }
        // The attempt that this call has waited for failed: it is not repeated at once.
        if let Some((error, at)) = &opened.failure
            && *at >= called_at
        {
            return Err(error.clone());
        }
        let outcome = match self.stored_credentials(directory).await {
            Ok(Some(credentials)) => AccountSession::open(&self.http_client, &credentials).await,
            Ok(None) => self.register(directory).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(session) => {
                let session = Arc::new(session);
                *opened = OpenedAccount { session: Some((Arc::clone(&session), Instant::now())), failure: None };
                Ok(session)
            }
            Err(error) => {
                opened.failure = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    /// Waits until another request to the directory is allowed; it is while the permit lives.
    pub async fn permit(&self, directory: &str) -> Option<OwnedSemaphorePermit> {
        // Fails only after `Semaphore::close`, which is never called.
        Arc::clone(&self.access(directory).permits).acquire_owned().await.ok()
    }

    fn access(&self, directory: &str) -> Arc<DirectoryAccess> {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let access = directories.entry(directory.to_owned()).or_insert_with(|| {
            Arc::new(DirectoryAccess {
                permits: Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS)),
                opened: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(access)
    }

    /// Removes an account that the authority no longer has.
    pub async fn forget(&self, directory: &str) -> Result<(), store::Error> {
        let access = self.access(directory);
        let mut opened = access.opened.lock().await;
        opened.session = None;
        self.store.commit(Batch::new().remove(account_key(directory))).await?;
        tracing::warn!(directory, "the certificate authority knows the account no more; a new one will be made");
        Ok(())
    }

    /// Counts an order of the account; an error where the limit does not allow one now.
    pub async fn count_order(&self, directory: &str, now: Timestamp) -> Result<(), AcmeError> {
        let counted = self.update(&orders_key(directory), |orders: &mut OrderRateLimit| orders.order(now)).await?;
        counted.map_err(|free_at| {
            let message = "As many orders were placed as the certificate authority's limits allow.";
            AcmeError { retry_after: Some(now.until(free_at)), ..AcmeError::new(Kind::RateLimited, message) }
        })
    }

    /// Counts a name's first certificate before it is ordered; an error where the limit does not allow one now.
    /// A name that is counted already is not counted again: a repeated attempt costs nothing more.
    pub async fn count_new_name(&self, directory: &str, name: &Hostname, now: Timestamp) -> Result<(), AcmeError> {
        let Some(base) = self.counted(name) else { return Ok(()) };
        let limit = self.limits.new_names_per_week;
        let key = new_names_key(directory, base);
        let counted = self.update(&key, |names: &mut NewNameQuota| names.enter(name, limit, now)).await?;
        counted.map_err(|free_at| {
            let message = format!(
                "Within a week {limit} names below {base} got their first certificate, as many as the certificate authority's limits allow; it goes on at {free_at}."
            );
            AcmeError { retry_after: Some(now.until(free_at)), ..AcmeError::new(Kind::RateLimited, message) }
        })
    }

    /// The first certificate of a name was issued: its week begins now.
    pub async fn new_name_issued(&self, directory: &str, name: &Hostname, now: Timestamp) -> Result<(), AcmeError> {
        let Some(base) = self.counted(name) else { return Ok(()) };
        self.update(&new_names_key(directory, base), |names: &mut NewNameQuota| names.issued(name, now)).await
    }

    /// The domain towards whose limit the name counts.
    fn counted(&self, name: &Hostname) -> Option<&Hostname> {
        let base = self.limits.base.as_ref().filter(|_| self.limits.new_names_per_week > 0)?;
        (name == base || name.is_below(base.as_str())).then_some(base)
    }

    /// Changes a record, which is a default one where there is none. Repeated while others write it as well.
    async fn update<T, R>(&self, key: &str, change: impl Fn(&mut T) -> R) -> Result<R, AcmeError>
    where
        T: Layout + Default + Clone + PartialEq,
    {
        loop {
            let record = self.store.get(key).await.map_err(|error| stored(&error))?;
            let (mut value, batch) = match &record {
                None => (T::default(), Batch::new().require_absent(key)),
                Some(record) => (
                    decode(key, &record.bytes).map_err(|error| stored(&error))?,
                    Batch::new().require_revision(key, record.revision),
                ),
            };
            let before = value.clone();
            let outcome = change(&mut value);
            if value == before {
                return Ok(outcome);
            }
            let bytes = encode(&value).map_err(|error| stored(&error))?;
            match self.store.commit(batch.put(key, bytes)).await {
                Ok(_) => return Ok(outcome),
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(stored(&error)),
            }
        }
    }

    /// Until when no name uses a directory, if it failed.
    pub fn backoff(&self, directory: &str) -> Option<DirectoryBackoff> {
        self.failures().get(directory).map(|failures| failures.backoff.clone())
    }

    /// Records the outcome of a request: a directory that does not answer is not used for a while, by any name.
    pub fn note(&self, directory: &str, outcome: Result<(), &AcmeError>, moment: Moment) {
        let mut all = self.failures();
        match outcome {
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Unwell) => {
                let failures = all.get(directory).map_or(0, |known| known.failures).saturating_add(1);
                let until = match error.retry_after {
                    Some(retry_after) => moment.no_earlier(retry_after.min(MAX_DIRECTORY_RETRY_AFTER)),
                    None => moment.about(back_off(failures).min(MAX_DIRECTORY_BACKOFF)),
                };
                all.insert(
                    directory.to_owned(),
                    DirectoryFailures { failures, backoff: DirectoryBackoff { until, why: error.clone() } },
                );
            }
            _ => {
                all.remove(directory);
            }
        }
    }

    async fn stored_credentials(&self, directory: &str) -> Result<Option<Vec<u8>>, AcmeError> {
        let key = account_key(directory);
        let Some(record) = self.store.get(&key).await.map_err(|error| stored(&error))? else { return Ok(None) };
        let account: Account = decode(&key, &record.bytes).map_err(|error| stored(&error))?;
        let credentials = self.seal.open(&key, &account.credentials);
        if credentials.is_none() {
            tracing::warn!(directory, "the account's key was sealed by another store key; a new account will be made");
        }
        Ok(credentials)
    }

    async fn register(&self, directory: &str) -> Result<AccountSession, AcmeError> {
        let binding = self.bindings.get(directory);
        let (session, credentials) =
            AccountSession::register(&self.http_client, directory, self.contact.as_deref(), binding).await?;
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

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<String, DirectoryFailures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn stored(error: &store::Error) -> AcmeError {
    AcmeError::new(Kind::Internal, format!("The store failed: {error}."))
}

fn account_key(directory: &str) -> String {
    format!("{ACCOUNTS}{}", short(directory))
}

fn orders_key(directory: &str) -> String {
    format!("acme-pace/{}", short(directory))
}

fn new_names_key(directory: &str, base: &Hostname) -> String {
    format!("acme-debuts/{}/{base}", short(directory))
}

/// A directory's URL as part of a record's key.
fn short(directory: &str) -> String {
    Sha256::digest(directory.as_bytes()).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
