//! The certificates at hand: which one a TLS handshake gets, by the name that the client asks for
//! (SNI, RFC 6066 section 3).
//!
//! Everything is answered from memory; nothing is read or ordered in a handshake. A key is unsealed and parsed at the
//! first handshake that needs it, and kept: parsing ten thousand keys at the start would delay it by a second. Chains of
//! one authority share their intermediates.

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

/// All certificates of this server. Changing it disturbs no connection.
pub struct CertResolver {
    /// Opens the keys; without one no sealed key can be put here.
    seal: Option<Seal>,
    /// Certificates are obtained by themselves: whoever asks for a name that has none is refused.
    refuses_strangers: bool,
    /// The name of this server, for clients that ask for none.
    own_name: String,
    served: RwLock<ServedCertificates>,
    /// What follows the leaf in a chain, by its digest.
    issuers: Mutex<HashMap<[u8; 32], Weak<Issuers>>>,
    swaps: Mutex<Option<mpsc::UnboundedSender<String>>>,
    mismatches: Mismatches,
}

type Issuers = [CertificateDer<'static>];

#[derive(Default)]
struct ServedCertificates {
    exact: HashMap<Box<str>, Arc<Certificate>>,
    /// By the name behind the `*.`.
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    challenges: HashMap<Box<str>, Arc<CertifiedKey>>,
    own: Option<OwnCertificate>,
}

/// The certificate that this server has from its files.
struct OwnCertificate {
    certified: Arc<CertifiedKey>,
    names: HashSet<String>,
    /// Made by us: anything else is better.
    development: bool,
}

/// A private key in PKCS #8, PKCS #1 or SEC 1, sealed by [`Seal`] for the place `about`.
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
    pub fn new(seal: Option<Seal>, own_name: &str, refuses_strangers: bool) -> Arc<Self> {
        Arc::new(Self {
            seal,
            refuses_strangers,
            own_name: own_name.to_owned(),
            served: RwLock::default(),
            issuers: Mutex::default(),
            swaps: Mutex::default(),
            mismatches: Mismatches::default(),
        })
    }

    /// Serves a chain, its leaf first, for these names (`*.<name>` for a wildcard) from now on.
    /// What was served for them before is no longer, nor for its other names.
    pub fn put(&self, names: &[String], chain: Vec<CertificateDer<'static>>, key: Key) {
        self.place(names, chain, key);
        self.tell(names);
    }

    /// [`Self::put`] without telling [`Self::swaps`]: for a start, with nobody to compare with.
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

    /// Ends the service of whatever is served for `name`, under all its names.
    pub fn remove(&self, name: &str) {
        let mut served = self.served_mut();
        if let Some(certificate) = served.named(name).cloned() {
            served.forget(&certificate);
        }
    }

    /// The bytes of the certificate that was put here for a name or wildcard. Files may come before it.
    pub fn put_for(&self, name: &str) -> Option<Box<[u8]>> {
        self.served().named(name).map(|certificate| certificate.leaf.clone())
    }

    /// Whether the administrator's files are for a name or wildcard: then they come first.
    pub fn is_behind_files(&self, name: &str) -> bool {
        self.served().is_behind_files(name)
    }

    /// Whether this is the certificate of this server's files.
    pub fn comes_from_files(&self, leaf: &[u8]) -> bool {
        let served = self.served();
        let own = served.own.as_ref().and_then(|own| own.certified.cert.first());
        own.is_some_and(|own| **own == *leaf)
    }

    /// Names for which another certificate is shown than was put here.
    pub fn mismatches(&self) -> &Mismatches {
        &self.mismatches
    }

    /// Names that have a certificate here.
    pub fn count(&self) -> usize {
        let served = self.served();
        served.exact.len() + served.wildcard.len()
    }

    /// Answers the TLS-ALPN-01 challenge for a name by this certificate, until it is withdrawn.
    pub fn challenge(&self, name: &str, certified: CertifiedKey) {
        self.served_mut().challenges.insert(name.into(), Arc::new(certified));
    }

    pub fn withdraw_challenge(&self, name: &str) {
        self.served_mut().challenges.remove(name);
    }

    /// The certificate of this server's files, in the place of the one before.
    pub fn put_own(&self, certified: CertifiedKey, development: bool) {
        let leaf = certified.cert.first().and_then(|leaf| Leaf::read(leaf));
        let names = leaf.map(|leaf| leaf.names.into_iter().collect()).unwrap_or_default();
        let own = OwnCertificate { certified: Arc::new(certified), names, development };
        let mut served = self.served_mut();
        let mut concerned = served.behind_files();
        served.own = Some(own);
        concerned.extend(served.behind_files());
        drop(served);
        self.tell(&concerned);
    }

    /// The names for which another certificate may be served than before, from now on; and at first those
    /// that this server's files have. For one listener.
    pub fn swaps(&self) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *lock(&self.swaps) = Some(sender);
        let concerned = self.served().behind_files();
        self.tell(&concerned);
        receiver
    }

    fn tell(&self, names: &[String]) {
        if let Some(swaps) = &*lock(&self.swaps) {
            for name in names {
                // Nobody may be interested any more.
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
        if let Some(found) = served.found(name.unwrap_or(&self.own_name)).cloned() {
            // Nobody need wait until the key is opened.
            drop(served);
            return found.certified(self.seal.as_ref());
        }
        let may_stand_in = |own: &&OwnCertificate| !self.refuses_strangers || name.is_none_or(|name| own.is_for(name));
        own.filter(may_stand_in).map(|own| Arc::clone(&own.certified))
    }
}

/// An authority that validates offers this protocol and no other (RFC 8737 section 3).
fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offers| offers.next() == Some(ACME_TLS) && offers.next().is_none())
}

impl ServedCertificates {
    /// For a client that asks for `name`.
    fn found(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.exact.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }

    /// By the name that it was put under.
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

    /// Whether the administrator's files are for a name or wildcard, and so come before whatever was put here for it.
    fn is_behind_files(&self, name: &str) -> bool {
        self.own.as_ref().is_some_and(|own| !own.development && own.is_for(name))
    }

    /// Names that were put here, and are the files' as well.
    fn behind_files(&self) -> Vec<String> {
        let exact = self.exact.keys().map(ToString::to_string);
        let wildcard = self.wildcard.keys().map(|parent| format!("*.{parent}"));
        exact.chain(wildcard).filter(|name| self.is_behind_files(name)).collect()
    }

    /// Under the names that it bears and still has.
    fn forget(&mut self, certificate: &Arc<Certificate>) {
        for name in Leaf::read(&certificate.leaf).map(|leaf| leaf.names).unwrap_or_default() {
            if self.named(&name).is_some_and(|found| Arc::ptr_eq(found, certificate)) {
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
    /// What rustls wants; nothing where the key is not to be had.
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

/// A key from any of the usual forms.
pub fn signing_key(der: &[u8]) -> Option<Arc<dyn SigningKey>> {
    let der = PrivateKeyDer::try_from(der).ok()?;
    // Nearly all are ECDSA; the general way would try RSA first.
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
