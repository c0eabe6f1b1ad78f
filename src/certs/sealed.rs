//! Private keys are stored sealed under a key that is not in the store: a copy of the store's file gives away no
//! private key.
//!
//! While the store key is replaced, two are known. Each sealed secret names the key that sealed it, so that a store
//! opened with the wrong key is distinguished from a damaged one.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::seal;

/// Seals by the current store key, and opens by any that is known. Cloning is cheap.
#[derive(Clone)]
pub struct Seal(Arc<Keys>);

struct Keys {
    current: Key,
    previous: Option<Key>,
}

struct Key {
    name: String,
    bytes: [u8; 32],
}

/// A sealed secret in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The name of the store key.
    by: String,
    /// Base64.
    text: String,
}

impl Seal {
    /// `secrets`: the store key's text, then that of the one before it.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut keys = secrets.into_iter().map(Key::derive);
        Some(Self(Arc::new(Keys { current: keys.next()?, previous: keys.next() })))
    }

    /// The name of the current key, derived from it; the key cannot be derived from its name.
    pub fn name(&self) -> &str {
        &self.0.current.name
    }

    /// Whether two keys are known: the previous one is being replaced.
    pub fn is_being_replaced(&self) -> bool {
        self.0.previous.is_some()
    }

    /// `about` is bound into the sealed text, such as the record's key: it opens with the same value only.
    pub fn seal(&self, about: &str, secret: Vec<u8>) -> io::Result<Sealed> {
        let sealed = seal::seal(&self.0.current.bytes, about, secret)?;
        Ok(Sealed { by: self.0.current.name.clone(), text: BASE64.encode(sealed) })
    }

    /// None if an unknown key sealed it, if `about` differs, or if it was changed.
    pub fn open(&self, about: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        self.open_bytes(about, &sealed.bytes()?)
    }

    /// [`Self::open`] for the bytes of [`Sealed::bytes`].
    pub fn open_bytes(&self, about: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys().find_map(|key| seal::open(&key.bytes, about, sealed))
    }

    /// Whether it was sealed by a key that is known here.
    pub fn knows(&self, sealed: &Sealed) -> bool {
        self.keys().any(|key| key.name == sealed.by)
    }

    /// Whether it was sealed by the current key.
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        self.0.current.name == sealed.by
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.0.current).chain(&self.0.previous)
    }
}

impl Key {
    fn derive(secret: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hmac::sign(&secret, b"bitcall store key").as_ref());
        let name = hmac::sign(&secret, b"bitcall store key: name");
        let name = name.as_ref().iter().take(4).fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}"); // writing to a String cannot fail
            name
        });
        Self { name, bytes }
    }
}

impl Sealed {
    /// Without the name of the key.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.text).ok()
    }

    /// The name of the key that sealed it.
    pub fn by(&self) -> &str {
        &self.by
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seal({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_secret_of_the_previous_key_opens_and_is_recognised_as_such() {
        let old = Seal::new(["the old one"]).unwrap();
        let both = Seal::new(["the new one", "the old one"]).unwrap();
        let sealed = old.seal("record", b"secret".to_vec()).unwrap();
        assert_eq!(both.open("record", &sealed).as_deref(), Some(&b"secret"[..]));
        assert!(both.knows(&sealed) && !both.is_current(&sealed));
        let again = both.seal("record", b"secret".to_vec()).unwrap();
        assert!(both.is_current(&again) && !old.knows(&again));
        assert_eq!(old.open("record", &again), None);
        assert_eq!(both.open("another record", &again), None);
    }

    #[test]
    fn debug_output_contains_no_key() {
        let seal = Seal::new(["a very secret text"]).unwrap();
        let shown = format!("{seal:?}");
        assert!(shown.len() == "Seal(01234567)".len() && !shown.contains("secret"), "{shown}");
    }
}
