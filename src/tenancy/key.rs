//! Tenant API keys: `bk_live_`, 160 random bits and a checksum. Only a keyed
//! hash of them is ever stored; the key itself is shown once, when it is made.
//!
//! The checksum is the CRC-32 (ISO 3309) of everything before it, as six digits
//! to base 62 (`0-9A-Za-z`), as in the tokens of GitHub and npm. By it a mistyped key is
//! refused unseen, and a scanner that looks for leaked secrets knows a real one
//! from an example. Keys made before there was one, 40 characters long, stay valid.

use std::fmt::{self, Write as _};
use std::fs;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::store::replace_private;
use crate::timestamp::Timestamp;

pub const PREFIX: &str = "bk_live_";
/// Characters of 5 random bits each.
const RANDOM_CHARS: usize = 32;
/// Enough digits to base 62 for any CRC-32.
const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const MIN_PEPPER_BYTES: usize = 16;

/// An API key in clear. Not `Clone`, not stored, and not shown by `Debug`.
pub struct ApiKey(String);

impl ApiKey {
    pub fn generate() -> io::Result<Self> {
        let key = format!("{PREFIX}{}", random_text(RANDOM_CHARS)?);
        let tail = checksum(&key);
        Ok(Self(key + tail.as_str()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}…")
    }
}

/// Whether `text` can be an API key, as far as that shows without looking it up.
pub fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    match rest.len().checked_sub(RANDOM_CHARS) {
        Some(0) => rest.bytes().all(|byte| ALPHABET.contains(&byte)),
        Some(CHECKSUM_CHARS) => {
            text.split_at_checked(PREFIX.len() + RANDOM_CHARS).is_some_and(|(key, tail)| checksum(key) == tail)
        }
        _ => false,
    }
}

fn checksum(key: &str) -> String {
    let mut rest = crc32fast::hash(key.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62.get((rest % 62) as usize).copied().unwrap_or_default();
        rest /= 62;
    }
    digits.map(char::from).iter().collect()
}

/// The public name of a key, `key_…`, by which it is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl KeyId {
    pub fn generate() -> io::Result<Self> {
        Ok(Self(format!("key_{}", random_text(12)?)))
    }
}

/// What a key may be used for, or what a route may be asked for with one. A key for pages is public: it stands in their
/// source. A key for back ends is a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPurpose {
    /// The runtime configuration, the phone's page and its reports of calls.
    Pages,
    /// Links that sign a person in.
    Backend,
    /// Both, and hand-offs.
    #[default]
    Both,
}

impl KeyPurpose {
    /// Whether a key for this may be used where one for `needed` is asked for.
    pub fn suits(self, needed: Self) -> bool {
        self == needed || self == Self::Both || needed == Self::Both
    }
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredKey {
    pub id: KeyId,
    pub label: String,
    /// Keys from before there were purposes serve both.
    #[serde(default)]
    pub purpose: KeyPurpose,
    pub hash: KeyHash,
    pub created_at: Timestamp,
    /// From then on it is refused: another key has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<Timestamp>,
}

/// What everybody may see of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyMeta {
    pub id: KeyId,
    pub label: String,
    pub purpose: KeyPurpose,
    pub prefix: &'static str,
    pub created_at: Timestamp,
    pub retires_at: Option<Timestamp>,
    /// To the hour.
    pub last_used_at: Option<Timestamp>,
}

impl StoredKey {
    /// Whether it stays until somebody revokes it.
    pub fn stays(&self) -> bool {
        self.retires_at.is_none()
    }

    pub fn is_retired(&self, now: Timestamp) -> bool {
        self.retires_at.is_some_and(|moment| moment <= now)
    }

    pub fn meta(&self, last_used_at: Option<Timestamp>) -> ApiKeyMeta {
        ApiKeyMeta {
            id: self.id.clone(),
            label: self.label.clone(),
            purpose: self.purpose,
            prefix: PREFIX,
            created_at: self.created_at,
            retires_at: self.retires_at,
            last_used_at,
        }
    }
}

/// HMAC-SHA-256 of a key under the pepper. Keys have full entropy, so no slow hash is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// For maps by [`KeyHash`]: whoever does not know the pepper cannot choose two that collide, so its first
/// bytes are as good as their hash.
pub type KeyHasherBuilder = BuildHasherDefault<PrefixHasher>;

#[derive(Default)]
pub struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
            text
        })
    }
}

impl TryFrom<String> for KeyHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut hash = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        if pairs.len() != hash.len() {
            return Err("a key hash has 64 hexadecimal digits");
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            *byte = std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or("a key hash has 64 hexadecimal digits")?;
        }
        Ok(Self(hash))
    }
}

/// The installation's own secret in every key hash, so that a stolen store
/// cannot be used to test guesses. Losing it makes all API keys invalid.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    pub fn new(secret: &[u8]) -> io::Result<Self> {
        Hmac::new_from_slice(secret).map(Self).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads the pepper from `path`; makes one, readable by its owner only, where there is none.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(secret) if secret.len() >= MIN_PEPPER_BYTES => Self::new(&secret),
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is shorter than {MIN_PEPPER_BYTES} bytes; restore it from a backup"),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; 32];
                random(&mut secret)?;
                // A crash must not leave half a pepper behind.
                replace_private(path, &secret)?;
                Self::new(&secret)
            }
            Err(error) => Err(error),
        }
    }

    /// A key for one purpose, from the pepper and `input`: HKDF with SHA-256 (RFC 5869), the pepper as its salt.
    pub fn derive(&self, purpose: &str, input: &[u8]) -> io::Result<[u8; 32]> {
        let mut extract = self.0.clone();
        extract.update(input);
        let mut expand: Hmac<Sha256> = Hmac::new_from_slice(&extract.finalize().into_bytes())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // One block is as long as the key.
        expand.update(purpose.as_bytes());
        expand.update(&[1]);
        Ok(expand.finalize().into_bytes().into())
    }

    /// A text for one purpose and `input`, always the same, that nobody else can work out: 32 letters of 5 bits each.
    pub fn text(&self, purpose: &str, input: &str) -> io::Result<String> {
        self.derive(purpose, input.as_bytes()).map(|bytes| letters(&bytes))
    }

    pub fn hash(&self, key: &str) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(key.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }
}

/// `length` characters of 5 random bits each, without look-alikes.
pub fn random_text(length: usize) -> io::Result<String> {
    let mut bytes = vec![0; length];
    random(&mut bytes)?;
    Ok(letters(&bytes))
}

/// A letter for the lowest 5 bits of each byte.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).map(|&letter| char::from(letter)).collect()
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn keys_have_the_prefix_160_bits_and_a_tail_and_differ() {
        let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert!(one.as_str().starts_with("bk_live_"));
        assert_eq!(one.as_str().len(), "bk_live_".len() + 160 / 5 + 6);
        assert_ne!(one.as_str(), two.as_str());
        assert!(!format!("{one:?}").contains(&one.as_str()[8..]));
        assert!(is_well_formed(one.as_str()));
    }

    #[test]
    fn the_tail_is_the_crc_32_to_base_62_as_documented() {
        // Computed with Python: zlib.crc32, divmod by 62.
        assert!(is_well_formed("bk_live_abcdefghijkmnpqrstuvwxyz234567890IdOwK"));
        assert!(is_well_formed("bk_live_jasmcy8mqwmpm9ripcxr37smhcfcu9dh00c7RM"), "with a zero in front");
    }

    #[test]
    fn a_key_with_one_wrong_character_is_known_as_wrong() {
        let key = ApiKey::generate().unwrap();
        for at in 0..key.as_str().len() {
            let mut wrong = key.as_str().as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'2' { b'3' } else { b'2' };
            assert!(!is_well_formed(std::str::from_utf8(&wrong).unwrap()), "character {at}");
        }
        let truncated = &key.as_str()[..45];
        for wrong in [truncated, "", "bk_live_", "bk_live_ä", &format!("{}ä", &key.as_str()[..44])] {
            assert!(!is_well_formed(wrong), "{wrong}");
        }
    }

    #[test]
    fn keys_from_before_the_checksum_are_still_well_formed() {
        assert!(is_well_formed("bk_live_abcdefghijkmnpqrstuvwxyz23456789"));
        assert!(!is_well_formed("bk_live_abcdefghijkmnpqrstuvwxyz2345678l"), "never had an l");
    }

    #[test]
    fn a_hash_depends_on_the_pepper_and_survives_its_text_form() {
        let hash = Pepper::new(b"one pepper of its own").unwrap().hash("bk_live_x");
        assert_ne!(hash, Pepper::new(b"another pepper").unwrap().hash("bk_live_x"));
        assert_eq!(KeyHash::try_from(String::from(hash)), Ok(hash));
        assert!(KeyHash::try_from("zz".repeat(32)).is_err());
    }

    #[test]
    fn derived_keys_are_those_of_rfc_5869() {
        // Its test case 3: neither salt nor info.
        let key = Pepper::new(&[]).unwrap().derive("", &[0x0b; 22]).unwrap();
        let expected = [
            0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a, 0x31, 0xb8, 0xa1,
            0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f, 0x3c, 0x73, 0x8d, 0x2d,
        ];
        assert_eq!(key, expected);
        let pepper = Pepper::new(b"one pepper of its own").unwrap();
        assert_ne!(pepper.derive("a", b"x").unwrap(), pepper.derive("b", b"x").unwrap());
    }

    #[test]
    fn the_pepper_is_made_once_and_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pepper");
        let made = Pepper::load_or_create(&path).unwrap().hash("k");
        assert_eq!(Pepper::load_or_create(&path).unwrap().hash("k"), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(Pepper::load_or_create(&path).is_err());
    }
}
