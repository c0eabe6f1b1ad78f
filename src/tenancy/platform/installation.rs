//! The files of the data directory, which belong together: the store, and the pepper of the key hashes. Each bears
//! witness to the other, so that one that is missing, changed or of another installation is noticed before anything is
//! made in its place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Platform;
use crate::store::{self, Batch, Layout, RedbStore, Store, StoreState, decode, encode};
use crate::tenancy::key::Pepper;

const STORE_FILE: &str = "bitcall.redb";
const PEPPER_FILE: &str = "key-pepper";
const STORE_OPEN_TIMEOUT: Duration = Duration::from_secs(3);
const STORE_OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// How often the store is looked after, and how often while it cannot be written.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The key of the [`Installation`].
const INSTALLATION: &str = "installation";

/// Why the data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error(
        "{store} is missing, but {pepper} of its installation is there; restore the data directory from a backup, or mount it; to begin anew without any tenant, move {pepper} away, too",
        store = .0.join(STORE_FILE).display(), pepper = .0.join(PEPPER_FILE).display()
    )]
    NoStore(PathBuf),
    #[error(
        "{pepper} is missing, but {store} of its installation is there; restore it from a backup. If it is lost for good, `bitcall store accept-loss` makes a new one, and no API key is valid any more",
        store = .0.join(STORE_FILE).display(), pepper = .0.join(PEPPER_FILE).display()
    )]
    NoPepper(PathBuf),
    #[error(
        "{pepper} is not the one that {store} was written with: it was changed, or is of another installation; restore both from one backup. If the right one is lost for good, `bitcall store accept-loss` takes this one, and no API key is valid any more",
        store = .0.join(STORE_FILE).display(), pepper = .0.join(PEPPER_FILE).display()
    )]
    OtherPepper(PathBuf),
}

/// What the store knows of the files beside it.
#[derive(Serialize, Deserialize)]
struct Installation {
    /// Follows from the pepper, which does not follow from it.
    pepper: String,
}

impl Layout for Installation {}

/// Opens the files, making them in an empty data directory.
pub(super) fn open_files(data: &Path) -> Result<(RedbStore, Pepper), OpenError> {
    store::create_private_directory(data).map_err(|error| file_error(data, error))?;
    let (store, pepper) = (store_file(data), data.join(PEPPER_FILE));
    let exists = |path: &Path| path.try_exists().map_err(|error| file_error(path, error));
    let is_new = !exists(&store)?;
    // The store was made first.
    if is_new && exists(&pepper)? {
        return Err(OpenError::NoStore(data.to_owned()));
    }
    let store = open_store(&store)?;
    if is_new {
        let data = data.display();
        tracing::info!(%data, "a new installation was made; if there were tenants before, this is not their data directory");
    }
    // Its lock makes sure that two processes do not both make a pepper, which is done before anything is written.
    if !exists(&pepper)? && !store.is_empty()? {
        return Err(OpenError::NoPepper(data.to_owned()));
    }
    let pepper = Pepper::load_or_create(&pepper).map_err(|error| file_error(&pepper, error))?;
    Ok((store, pepper))
}

fn file_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: path.display().to_string(), source }
}

/// Where a data directory has its store.
pub fn store_file(data: &Path) -> PathBuf {
    data.join(STORE_FILE)
}

/// Waits a little for a command that is just at work: two commands at the same
/// time, or one beside a server that starts, are no reason to fail.
fn open_store(path: &Path) -> Result<RedbStore, store::Error> {
    let deadline = Instant::now() + STORE_OPEN_TIMEOUT;
    loop {
        match RedbStore::open(path) {
            Err(store::Error::InUse(_)) if Instant::now() < deadline => std::thread::sleep(STORE_OPEN_RETRY_INTERVAL),
            outcome => return outcome,
        }
    }
}

/// Checks that store and pepper are of one installation; notes it in a store that does not know yet.
pub(super) async fn check_installation(store: &dyn Store, pepper: &Pepper, data: &Path) -> Result<(), OpenError> {
    let expected = installation(pepper, data)?;
    match store.get(INSTALLATION).await? {
        Some(record) if decode::<Installation>(INSTALLATION, &record.bytes)?.pepper == expected.pepper => Ok(()),
        Some(_) => Err(OpenError::OtherPepper(data.to_owned())),
        None => match store.commit(Batch::new().put(INSTALLATION, encode(&expected)?)).await {
            // On a full disk: the next start does it.
            Ok(_) | Err(store::Error::Failed(_)) => Ok(()),
            Err(error) => Err(error.into()),
        },
    }
}

fn installation(pepper: &Pepper, data: &Path) -> Result<Installation, OpenError> {
    let pepper = pepper.text(INSTALLATION, PEPPER_FILE).map_err(|error| file_error(&data.join(PEPPER_FILE), error))?;
    Ok(Installation { pepper })
}

/// Makes an installation of what is left in the data directory of one: the records that its store still holds, and the
/// pepper that is there, or a new one.
///
/// # Errors
/// [`store::Error::Unreadable`] when the pages of the store are damaged.
pub async fn accept_loss(data: &Path) -> Result<(), OpenError> {
    let path = store_file(data);
    tokio::task::block_in_place(|| store::accept_loss(&path))?;
    let store = open_store(&path)?;
    let pepper_file = data.join(PEPPER_FILE);
    let pepper = Pepper::load_or_create(&pepper_file).map_err(|error| file_error(&pepper_file, error))?;
    store.commit(Batch::new().put(INSTALLATION, encode(&installation(&pepper, data)?)?)).await?;
    Ok(())
}

impl Platform {
    /// Whether the store can be written.
    pub fn store_state(&self) -> watch::Receiver<StoreState> {
        self.0.store_state.clone()
    }

    /// Waits until the whole store was verified.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verified(&self) -> Result<(), store::Error> {
        StoreState::verified(self.store_state()).await
    }

    /// Tries again and again whether the store can be written, and looks whether its file is still there. For a task of
    /// its own.
    pub async fn check_store(self) {
        let mut state = self.store_state();
        loop {
            let is_failing = matches!(*state.borrow_and_update(), StoreState::ReadOnly(_));
            let pause = if is_failing { RETRY_INTERVAL } else { CHECK_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {
                    // The state tells of a failure.
                    let _ = self.0.store.commit(Batch::new()).await;
                }
                changed = state.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}
