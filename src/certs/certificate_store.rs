//! Certificates in the store: one record for each, under the name that it is for, with its chain in clear and its key
//! sealed. At the start all of them are loaded into the [`CertResolver`].

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use serde::{Deserialize, Serialize};

use super::cert_resolver::{CertResolver, Key, signing_key};
use super::leaf::{self, Leaf};
use super::resealing;
use super::sealed::{Seal, Sealed};
use crate::store::keys::{CERTIFICATES, certificate_key};
use crate::store::{self, Batch, Layout, Store, decode, encode};
use crate::timestamp::Timestamp;

/// The DER bytes of a chain. TLS clients refuse longer Certificate messages (rustls from 64 KiB, OpenSSL and `BoringSSL`
/// by default from 100 KiB), and the record of a longer chain could exceed [`store::MAX_RECORD_BYTES`].
const MAX_CHAIN_BYTES: usize = 64 << 10;

/// Stores certificates and serves them through the resolver.
pub struct CertificateStore {
    store: Arc<dyn Store>,
    seal: Option<Seal>,
    cert_resolver: Arc<CertResolver>,
}

/// The record of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredCertificate {
    /// A wildcard as `*.<name>`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Hexadecimal, lower case.
    pub serial: String,
    pub issuer: String,
    pub origin: CertificateOrigin,
    pub since: Timestamp,
    /// In base64, the leaf first.
    chain: Vec<String>,
    key: Sealed,
}

impl Layout for StoredCertificate {}

/// Where a certificate is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum CertificateOrigin {
    /// Ordered from this ACME directory (its URL).
    Acme { directory: String },
    /// Imported by an administrator. Neither renewed nor removed automatically.
    Import,
}

/// A checked certificate, ready to be stored and then served.
pub struct PreparedCertificate {
    name: String,
    pub kept: StoredCertificate,
    record: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    key: Key,
}

/// Why a certificate is not accepted. The message completes "the certificate …".
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("is none: no PEM section CERTIFICATE, or not in the form of X.509")]
    NoCertificate,
    #[error("has a chain of {0} bytes: more than {MAX_CHAIN_BYTES} are not accepted by TLS clients")]
    TooLong(usize),
    #[error("is followed by one that did not issue it: the order is leaf, then each one's issuer")]
    Disorder,
    #[error("is not for {name}, but for {}", .names.join(", "))]
    OtherName { name: String, names: Vec<String> },
    #[error("expired on {0}")]
    Expired(Timestamp),
    #[error("has a key that cannot be read")]
    BadKey,
    #[error("belongs to another key")]
    OtherKey,
    #[error("cannot be kept: there is no store key to seal its private key with")]
    NoStoreKey,
    #[error("cannot be kept: {0}")]
    Failed(String),
}

/// Why the stored certificates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(
        "{count} certificates in the store were sealed by the store key {by}, and there is no store key\nhint: set BITCALL_STORE_KEY, or the systemd credential `store_key`, or `secrets.store_key_file`, as it was before"
    )]
    NoKey { count: usize, by: String },
    #[error(
        "{count} certificates in the store were sealed by the store key {by}; the one given is {given}\nhint: give the old one back, or put it on a second line below the new one"
    )]
    OtherKey { count: usize, by: String, given: String },
}

impl CertificateStore {
    /// Loads all certificates into the resolver. Whatever the previous store key sealed is sealed again by the current
    /// one.
    pub async fn open(
        store: Arc<dyn Store>,
        seal: Option<Seal>,
        cert_resolver: Arc<CertResolver>,
    ) -> Result<Arc<Self>, OpenError> {
        let certificate_store = Self { store, seal, cert_resolver };
        if let Some(seal) = certificate_store.seal.as_ref().filter(|seal| seal.is_being_replaced()) {
            resealing::seal_again(&*certificate_store.store, seal).await?;
        }
        let mut loading = Loading::default();
        store::for_each(&*certificate_store.store, CERTIFICATES, |key, record| {
            loading.take(key, &record.bytes, certificate_store.seal.as_ref(), Some(&certificate_store.cert_resolver))
        })
        .await?;
        check_none(loading.foreign, certificate_store.seal.as_ref())?;
        Ok(Arc::new(certificate_store))
    }

    /// Whether [`Self::open`] would succeed with these records, by key.
    pub fn check(records: &BTreeMap<String, Vec<u8>>, seal: Option<&Seal>) -> Result<(), OpenError> {
        let mut loading = Loading::default();
        for (key, bytes) in records {
            loading.take(key, bytes, seal, None)?;
        }
        check_none(loading.foreign, seal)
    }

    /// For a process that serves no clients: nothing is loaded.
    pub fn beside(store: Arc<dyn Store>, seal: Option<Seal>) -> Arc<Self> {
        let cert_resolver = CertResolver::new(seal.clone(), "", true);
        Arc::new(Self { store, seal, cert_resolver })
    }

    /// Checks a certificate for the record of `name`, and makes the record. The key is in PKCS #8, PKCS #1 or SEC 1,
    /// DER.
    pub fn prepare(
        &self,
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: Vec<u8>,
        origin: CertificateOrigin,
    ) -> Result<PreparedCertificate, CertificateError> {
        let now = Timestamp::now();
        let length = chain.iter().map(|certificate| certificate.len()).sum();
        if length > MAX_CHAIN_BYTES {
            return Err(CertificateError::TooLong(length));
        }
        let leaf = chain.first().and_then(|leaf| Leaf::read(leaf)).ok_or(CertificateError::NoCertificate)?;
        if !leaf::is_in_order(&chain) {
            return Err(CertificateError::Disorder);
        }
        if !leaf.covers(name) {
            return Err(CertificateError::OtherName { name: name.to_owned(), names: leaf.names });
        }
        if leaf.not_after <= now {
            return Err(CertificateError::Expired(leaf.not_after));
        }
        let signing = signing_key(&key).ok_or(CertificateError::BadKey)?;
        match CertifiedKey::new(chain.clone(), signing).keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(CertificateError::OtherKey),
        }
        let seal = self.seal.as_ref().ok_or(CertificateError::NoStoreKey)?;
        let failed = |error: &dyn std::fmt::Display| CertificateError::Failed(error.to_string());
        let kept = StoredCertificate {
            names: leaf.names,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            serial: leaf.serial,
            issuer: leaf.issuer,
            origin,
            since: now,
            chain: chain.iter().map(|certificate| BASE64.encode(certificate)).collect(),
            key: seal.seal(&certificate_key(name), key).map_err(|error| failed(&error))?,
        };
        let record = encode(&kept).map_err(|error| failed(&error))?;
        let key = kept.sealed_key(&certificate_key(name)).map_err(|error| failed(&error))?;
        Ok(PreparedCertificate { name: name.to_owned(), kept, record, chain, key })
    }

    /// Serves a certificate that was just stored.
    pub fn show(&self, prepared: PreparedCertificate) -> StoredCertificate {
        self.cert_resolver.put(&prepared.kept.names, prepared.chain, prepared.key);
        prepared.kept
    }

    /// Serves the certificate in the record of `name`, which another appliance has written.
    pub async fn load(&self, name: &str) -> Result<(), store::Error> {
        let Some(kept) = self.find(name).await? else { return Ok(()) };
        if !self.seal.as_ref().is_some_and(|seal| seal.knows(&kept.key)) {
            tracing::error!(%name, by = kept.key.by(), "a new certificate was sealed by a store key that is not here");
            return Ok(());
        }
        let key = certificate_key(name);
        self.cert_resolver.put(&kept.names, kept.chain(&key)?, kept.sealed_key(&key)?);
        Ok(())
    }

    /// The certificate in the record of `name`.
    pub async fn find(&self, name: &str) -> Result<Option<StoredCertificate>, store::Error> {
        let key = certificate_key(name);
        let record = self.store.get(&key).await?;
        record.map(|record| decode(&key, &record.bytes)).transpose()
    }

    /// The names of at most `limit` records after `after`, in key order.
    pub async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, store::Error> {
        let after = after.map(certificate_key);
        let keys = self.store.keys(CERTIFICATES, after.as_deref(), limit).await?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(CERTIFICATES)).map(str::to_owned).collect())
    }

    /// Ends serving `name`, whose record was removed from the store.
    pub fn hide(&self, name: &str) {
        self.cert_resolver.remove(name);
    }

    pub fn cert_resolver(&self) -> &Arc<CertResolver> {
        &self.cert_resolver
    }

    /// For other secrets in the store.
    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// How many secrets in the store each store key has sealed, by the key's name.
    pub async fn sealed_by(&self) -> Result<BTreeMap<String, usize>, store::Error> {
        resealing::sealed_by(&*self.store).await
    }
}

/// The state of reading all records.
#[derive(Default)]
struct Loading {
    /// The number of records sealed by each unknown key, by its name.
    foreign: BTreeMap<String, usize>,
}

impl Loading {
    fn take(
        &mut self,
        key: &str,
        bytes: &[u8],
        seal: Option<&Seal>,
        cert_resolver: Option<&CertResolver>,
    ) -> Result<(), store::Error> {
        let kept: StoredCertificate = decode(key, bytes)?;
        if !seal.is_some_and(|seal| seal.knows(&kept.key)) {
            *self.foreign.entry(kept.key.by().to_owned()).or_default() += 1;
            return Ok(());
        }
        if let Some(cert_resolver) = cert_resolver {
            cert_resolver.place(&kept.names, kept.chain(key)?, kept.sealed_key(key)?);
        }
        Ok(())
    }
}

fn check_none(foreign: BTreeMap<String, usize>, seal: Option<&Seal>) -> Result<(), OpenError> {
    let Some((by, count)) = foreign.into_iter().max_by_key(|(_, count)| *count) else { return Ok(()) };
    Err(match seal {
        None => OpenError::NoKey { count, by },
        Some(seal) => OpenError::OtherKey { count, by, given: seal.name().to_owned() },
    })
}

impl StoredCertificate {
    /// `key` is the record's.
    fn chain(&self, key: &str) -> Result<Vec<CertificateDer<'static>>, store::Error> {
        let chain = self.chain.iter().map(|der| BASE64.decode(der).ok().map(Into::into));
        chain.collect::<Option<_>>().ok_or_else(|| damaged(key))
    }

    /// `key` is the record's.
    fn sealed_key(&self, key: &str) -> Result<Key, store::Error> {
        let sealed = self.key.bytes().ok_or_else(|| damaged(key))?;
        Ok(Key { about: key.into(), sealed: sealed.into() })
    }
}

fn damaged(key: &str) -> store::Error {
    store::Error::Unreadable(format!("record {key}: not in base64"))
}

impl PreparedCertificate {
    /// Adds the certificate's record; [`CertificateStore::show`] follows once it is committed.
    pub fn put_into(&self, batch: Batch) -> Batch {
        batch.put(certificate_key(&self.name), self.record.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::store::{MAX_RECORD_BYTES, RedbStore};

    /// A self-signed certificate whose size is about that of its names, with its key.
    fn certificate(names: usize) -> (Vec<CertificateDer<'static>>, Vec<u8>) {
        let filler = "a".repeat(60);
        let more = (1..names).map(|n| format!("{filler}.{filler}.{filler}.n{n}.example"));
        let names = std::iter::once("phone.example".to_owned()).chain(more).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (vec![made.cert.der().clone()], made.signing_key.serialize_der())
    }

    #[test]
    fn a_chain_longer_than_tls_clients_accept_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(&directory.path().join("store")).unwrap());
        let store = CertificateStore::beside(store, Seal::new(["a store key"]));
        let prepare = |names| {
            let (chain, key) = certificate(names);
            let length = chain[0].len();
            let origin = CertificateOrigin::Acme { directory: "https://one.example/directory".into() };
            (store.prepare("phone.example", chain, key, origin), length)
        };
        let (accepted, length) = prepare(300);
        let record = accepted.unwrap().record;
        assert!(length > MAX_CHAIN_BYTES / 2 && record.len() < MAX_RECORD_BYTES / 2, "{length}, {}", record.len());
        let (refused, length) = prepare(400);
        let Err(error) = refused else { panic!("accepted with {length} bytes") };
        assert_eq!(
            error.to_string(),
            format!("has a chain of {length} bytes: more than 65536 are not accepted by TLS clients")
        );
    }
}
