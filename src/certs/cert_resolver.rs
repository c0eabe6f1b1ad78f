//! Chooses the certificate for a TLS handshake by the name in its SNI (RFC 6066 section 3).
//!
//! Everything is in memory; a handshake reads and orders nothing. A key is unsealed and parsed at the first handshake
//! that needs it, and kept: parsing ten thousand keys at the start would delay it by a second. Chains of one authority
//! share their intermediates.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use rustls::crypto::aws_lc_rs::sign;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::leaf::Leaf;
use super::mismatches::Mismatches;
use super::sealed::Seal;

/// The protocol of the TLS-ALPN-01 challenge (RFC 8737 section 4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// All certificates of this server. A change does not affect established connections.
pub struct CertResolver {
    /// Opens the keys; without one no sealed key can be used.
    seal: Option<Seal>,
    /// A handshake for a name without a certificate is refused: with ACME, every name of this server gets one.
    refuses_unknown_names: bool,
    /// The name of this server, for clients without SNI.
    own_name: String,
    served: RwLock<ServedCertificates>,
    /// The chains behind the leaves, by digest.
    issuers: Mutex<HashMap<[u8; 32], Weak<Issuers>>>,
    swaps: Mutex<Option<mpsc::UnboundedSender<String>>>,
    mismatches: Mismatches,
}

type Issuers = [CertificateDer<'static>];

#[derive(Default)]
struct ServedCertificates {
    exact: HashMap<Box<str>, Arc<Certificate>>,
    /// By the name after the `*.`.
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    challenges: HashMap<Box<str>, Arc<CertifiedKey>>,
    own: Option<OwnCertificate>,
}

/// The certificate of the files in `[tls]`.
struct OwnCertificate {
    certified: Arc<CertifiedKey>,
    names: HashSet<String>,
    /// Self-signed by this server: any other certificate comes first.
    development: bool,
}

/// A private key in PKCS #8, PKCS #1 or SEC 1, sealed by [`Seal`] with `about` bound in.
pub struct Key {
    pub about: Box<str>,
    pub sealed: Box<[u8]>,
}

struct Certificate {
    leaf: Box<[u8]>,
    issuers: Arc<Issuers>,
    key: Key,
    /// None where the key could not be opened, which was logged.
    signing_key: OnceLock<Option<Arc<dyn SigningKey>>>,
}

impl CertResolver {
    pub fn new(seal: Option<Seal>, own_name: &str, refuses_unknown_names: bool) -> Arc<Self> {
        Arc::new(Self {
            seal,
            refuses_unknown_names,
            own_name: own_name.to_owned(),
            served: RwLock::default(),
            issuers: Mutex::default(),
            swaps: Mutex::default(),
            mismatches: Mismatches::default(),
        })
    }

    /// Serves a chain, its leaf first, for these names (`*.<name>` for a wildcard) from now on.
    /// A certificate that was served for one of them before is removed, also for its other names.
    pub fn put(&self, names: &[String], chain: Vec<CertificateDer<'static>>, key: Key) {
        self.place(names, chain, key);
        self.notify(names);
    }

    /// [`Self::put`] without notifying [`Self::swaps`], for the start.
    pub fn place(&self, names: &[String], chain: Vec<CertificateDer<'static>>, key: Key) {
        let mut chain = chain.into_iter();
        let Some(leaf) = chain.next() else { return };
        let issuers = self.shared(chain.collect());
        let certificate = Certificate { leaf: leaf.as_ref().into(), issuers, key, signing_key: OnceLock::new() };
        let certificate = Arc::new(certificate);
        let mut served = self.served_mut();
        for name in names {
            if let Some(before) = served.insert(name, Arc::clone(&certificate)) {
                served.forget(&before);
            }
        }
    }

    /// Removes the certificate that is served for `name`, also for its other names.
    pub fn remove(&self, name: &str) {
        let mut served = self.served_mut();
        if let Some(certificate) = served.named(name).cloned() {
            served.forget(&certificate);
        }
    }

    /// The certificate that was put for a name or wildcard, in DER. The files' certificate may come before it.
    pub fn certificate_for(&self, name: &str) -> Option<Box<[u8]>> {
        self.served().named(name).map(|certificate| certificate.leaf.clone())
    }

    /// Whether the files in `[tls]` cover a name or wildcard, in which case they come first.
    pub fn is_behind_files(&self, name: &str) -> bool {
        self.served().is_behind_files(name)
    }

    /// Whether this is the certificate of the files in `[tls]`.
    pub fn comes_from_files(&self, leaf: &[u8]) -> bool {
        let served = self.served();
        let own = served.own.as_ref().and_then(|own| own.certified.cert.first());
        own.is_some_and(|own| **own == *leaf)
    }

    /// Names for which clients get another certificate than was put.
    pub fn mismatches(&self) -> &Mismatches {
        &self.mismatches
    }

    /// The number of names that have a certificate.
    pub fn count(&self) -> usize {
        let served = self.served();
        served.exact.len() + served.wildcard.len()
    }

    /// Answers the TLS-ALPN-01 challenge for a name with this certificate until it is withdrawn.
    pub fn challenge(&self, name: &str, certified: CertifiedKey) {
        self.served_mut().challenges.insert(name.into(), Arc::new(certified));
    }

    pub fn withdraw_challenge(&self, name: &str) {
        self.served_mut().challenges.remove(name);
    }

    /// Replaces the certificate of the files in `[tls]`.
    pub fn put_own(&self, certified: CertifiedKey, development: bool) {
        let leaf = certified.cert.first().and_then(|leaf| Leaf::read(leaf));
        let names = leaf.map(|leaf| leaf.names.into_iter().collect()).unwrap_or_default();
        let own = OwnCertificate { certified: Arc::new(certified), names, development };
        let mut served = self.served_mut();
        let mut changed = served.behind_files();
        served.own = Some(own);
        changed.extend(served.behind_files());
        drop(served);
        self.notify(&changed);
    }

    /// Receives the names for which another certificate may be served than before; first those with a certificate
    /// that the files in `[tls]` cover as well. Replaces an earlier receiver.
    pub fn swaps(&self) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *lock(&self.swaps) = Some(sender);
        let behind_files = self.served().behind_files();
        self.notify(&behind_files);
        receiver
    }

    fn notify(&self, names: &[String]) {
        if let Some(swaps) = &*lock(&self.swaps) {
            for name in names {
                // Fails if the receiver is dropped.
                let _ = swaps.send(name.clone());
            }
        }
    }

    fn shared(&self, issuers: Vec<CertificateDer<'static>>) -> Arc<Issuers> {
        let mut digest = Sha256::new();
        for issuer in &issuers {
            digest.update(issuer);
        }
        let digest = digest.finalize().into();
        let mut known = lock(&self.issuers);
        if let Some(shared) = known.get(&digest).and_then(Weak::upgrade) {
            return shared;
        }
        known.retain(|_, issuers| issuers.strong_count() > 0);
        let shared = Arc::from(issuers);
        known.insert(digest, Arc::downgrade(&shared));
        shared
    }

    fn served(&self) -> RwLockReadGuard<'_, ServedCertificates> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn served_mut(&self) -> RwLockWriteGuard<'_, ServedCertificates> {
        self.served.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.served();
        let name = hello.server_name();
        if is_validation(&hello) {
            return served.challenges.get(name?).cloned();
        }
        let own = served.own.as_ref();
        if let Some(own) = own.filter(|own| !own.development && name.is_none_or(|name| own.is_for(name))) {
            return Some(Arc::clone(&own.certified));
        }
        if let Some(certificate) = served.matching(name.unwrap_or(&self.own_name)).cloned() {
            // Other handshakes need not wait while the key is opened.
            drop(served);
            return certificate.certified(self.seal.as_ref());
        }
        let allowed = |own: &&OwnCertificate| !self.refuses_unknown_names || name.is_none_or(|name| own.is_for(name));
        own.filter(allowed).map(|own| Arc::clone(&own.certified))
    }
}

/// A validation by TLS-ALPN-01 offers this protocol and no other (RFC 8737 section 3).
fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offers| offers.next() == Some(ACME_TLS) && offers.next().is_none())
}

impl ServedCertificates {
    /// The certificate for `name`, also by a wildcard.
    fn matching(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.exact.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }

    /// The certificate that was put for exactly this name or wildcard.
    fn named(&self, name: &str) -> Option<&Arc<Certificate>> {
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.get(parent),
            None => self.exact.get(name),
        }
    }

    fn insert(&mut self, name: &str, certificate: Arc<Certificate>) -> Option<Arc<Certificate>> {
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.insert(parent.into(), certificate),
            None => self.exact.insert(name.into(), certificate),
        }
    }

    /// See [`CertResolver::is_behind_files`].
    fn is_behind_files(&self, name: &str) -> bool {
        self.own.as_ref().is_some_and(|own| !own.development && own.is_for(name))
    }

    /// Names with a certificate that the files in `[tls]` cover as well.
    fn behind_files(&self) -> Vec<String> {
        let exact = self.exact.keys().map(ToString::to_string);
        let wildcard = self.wildcard.keys().map(|parent| format!("*.{parent}"));
        exact.chain(wildcard).filter(|name| self.is_behind_files(name)).collect()
    }

    /// Removes a certificate from those of its names for which it is still the current one.
    fn forget(&mut self, certificate: &Arc<Certificate>) {
        for name in Leaf::read(&certificate.leaf).map(|leaf| leaf.names).unwrap_or_default() {
            if self.named(&name).is_some_and(|current| Arc::ptr_eq(current, certificate)) {
                match name.strip_prefix("*.") {
                    Some(parent) => self.wildcard.remove(parent),
                    None => self.exact.remove(name.as_str()),
                };
            }
        }
    }
}

impl OwnCertificate {
    fn is_for(&self, name: &str) -> bool {
        let by_wildcard = |parent: &str| self.names.contains(&format!("*.{parent}"));
        self.names.contains(name) || name.split_once('.').is_some_and(|(_, parent)| by_wildcard(parent))
    }
}

impl Certificate {
    /// In the form of rustls; none if the key cannot be opened.
    fn certified(&self, seal: Option<&Seal>) -> Option<Arc<CertifiedKey>> {
        let key = self.signing_key(seal)?;
        let mut chain = Vec::with_capacity(1 + self.issuers.len());
        chain.push(CertificateDer::from(self.leaf.to_vec()));
        chain.extend(self.issuers.iter().cloned());
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }

    /// Unsealed and parsed at the first handshake, and kept from then on.
    fn signing_key(&self, seal: Option<&Seal>) -> Option<Arc<dyn SigningKey>> {
        let parsed = self.signing_key.get_or_init(|| {
            let Key { about, sealed } = &self.key;
            let opened = seal.and_then(|seal| seal.open_bytes(about, sealed)).map(Zeroizing::new);
            let key = opened.and_then(|der| signing_key(&der));
            if key.is_none() {
                tracing::error!(record = &**about, "the private key cannot be opened: its name is not served");
            }
            key
        });
        parsed.clone()
    }
}

/// A key in PKCS #8, PKCS #1 or SEC 1.
pub fn signing_key(der: &[u8]) -> Option<Arc<dyn SigningKey>> {
    let der = PrivateKeyDer::try_from(der).ok()?;
    // Nearly all are ECDSA; `any_supported_type` would try RSA first.
    sign::any_ecdsa_type(&der).or_else(|_| sign::any_supported_type(&der)).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for CertResolver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CertResolver({} names)", self.count())
    }
}

#[cfg(test)]
mod tests;
