//! The two secrets of the operator, and the key of the store. They never stand in
//! `bitcall.toml` and never appear in logs: [`RotatedSecret`] prints as dots.
//!
//! Of each there may be two, one a line, while the first takes the place of the second.

use std::fmt::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::SecretFiles;

/// Bytes; shorter secrets could be guessed.
pub const MIN_SECRET_BYTES: usize = 24;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Expected in `X-Bitcall-Panel-Key`.
    pub panel_key: RotatedSecret,
    /// Expected in `Authorization: Bearer`.
    pub master_secret: RotatedSecret,
}

/// A secret, and the one that it replaces as long as both are good.
#[derive(Clone, PartialEq, Eq)]
pub struct RotatedSecret {
    pub current: String,
    pub previous: Option<String>,
}

impl RotatedSecret {
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self { current: random_hex()?, previous: None })
    }

    /// One secret, or two on two lines. The error completes the sentence "the panel key from … ".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (current, previous) = (lines.next().unwrap_or_default(), lines.next());
        if lines.next().is_some() {
            return Err("has more than two lines: the current secret, and the one before it".into());
        }
        for secret in std::iter::once(current).chain(previous) {
            if secret.len() < MIN_SECRET_BYTES {
                return Err(format!("has {} characters; at least {MIN_SECRET_BYTES} are needed", secret.len()));
            }
        }
        if previous == Some(current) {
            return Err("has the same secret twice".into());
        }
        Ok(Self { current: current.to_owned(), previous: previous.map(str::to_owned) })
    }

    /// The current one first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.current.as_str()).chain(self.previous.as_deref())
    }

    /// As [`Self::parse`] reads it.
    pub fn to_text(&self) -> String {
        self.all().fold(String::new(), |text, secret| text + secret + "\n")
    }
}

impl From<String> for RotatedSecret {
    fn from(current: String) -> Self {
        Self { current, previous: None }
    }
}

impl fmt::Debug for RotatedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RotatedSecret(…)")
    }
}

/// Why a secret could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("no {what}: set {variable}, or the systemd credential `{credential}`, or `secrets.{credential}_file`")]
    NotConfigured { what: &'static str, variable: &'static str, credential: &'static str },
    #[error("{what}: {path} cannot be read: {error}", path = .path.display())]
    Unreadable { what: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{what}: others may read {path} (mode {mode:03o}); run `chmod 600 {path}`", path = .path.display())]
    Exposed { what: &'static str, path: PathBuf, mode: u32 },
    #[error("{what} from {origin} {problem}")]
    Invalid { what: &'static str, origin: String, problem: String },
}

impl Secrets {
    /// Environment first, then systemd credentials, then the configured files.
    /// Every missing secret is reported, not only the first.
    pub fn load(files: &SecretFiles) -> Result<Self, Vec<SecretError>> {
        let panel_key = PANEL_KEY.find(files.panel_key_file.as_deref());
        let master_secret = MASTER_SECRET.find(files.master_secret_file.as_deref());
        match (panel_key, master_secret) {
            (Ok(panel_key), Ok(master_secret)) => Ok(Self { panel_key, master_secret }),
            (panel_key, master_secret) => Err(panel_key.err().into_iter().chain(master_secret.err()).collect()),
        }
    }

    /// New random ones, for `bitcall init` and `bitcall demo`.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self { panel_key: RotatedSecret::random()?, master_secret: RotatedSecret::random()? })
    }
}

/// The key that seals private keys in the store; `None` where no place has one.
pub fn store_key(files: &SecretFiles) -> Result<Option<RotatedSecret>, SecretError> {
    match STORE_KEY.find(files.store_key_file.as_deref()) {
        Ok(secret) => Ok(Some(secret)),
        Err(SecretError::NotConfigured { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The places from which a secret is loaded.
struct SecretSource {
    what: &'static str,
    variable: &'static str,
    credential: &'static str,
}

const PANEL_KEY: SecretSource =
    SecretSource { what: "panel key", variable: "BITCALL_PANEL_KEY", credential: "panel_key" };
const MASTER_SECRET: SecretSource =
    SecretSource { what: "master secret", variable: "APP_MASTER_SECRET", credential: "master_secret" };
const STORE_KEY: SecretSource =
    SecretSource { what: "store key", variable: "BITCALL_STORE_KEY", credential: "store_key" };

impl SecretSource {
    fn find(&self, file: Option<&Path>) -> Result<RotatedSecret, SecretError> {
        if let Ok(value) = std::env::var(self.variable)
            && !value.is_empty()
        {
            return self.parse(&value, self.variable);
        }
        // systemd owns these files and their modes.
        if let Some(path) = credentials().map(|directory| directory.join(self.credential)).find(|path| path.exists()) {
            let value = self.read(&path)?;
            return self.parse(&value, &path.to_string_lossy());
        }
        let path = file.ok_or(SecretError::NotConfigured {
            what: self.what,
            variable: self.variable,
            credential: self.credential,
        })?;
        let value = self.read(path)?;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o777);
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed { what: self.what, path: path.to_owned(), mode });
        }
        self.parse(&value, &path.to_string_lossy())
    }

    fn read(&self, path: &Path) -> Result<String, SecretError> {
        std::fs::read_to_string(path).map_err(|error| SecretError::Unreadable {
            what: self.what,
            path: path.to_owned(),
            error,
        })
    }

    fn parse(&self, value: &str, origin: &str) -> Result<RotatedSecret, SecretError> {
        RotatedSecret::parse(value).map_err(|problem| SecretError::Invalid {
            what: self.what,
            origin: origin.to_owned(),
            problem,
        })
    }
}

/// systemd hands credentials over at the start only; what the unit's reload brings lies in the
/// runtime directory and is newer.
pub(super) fn credentials() -> impl Iterator<Item = PathBuf> {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").map(|directory| Path::new(&directory).join("credentials"));
    runtime.into_iter().chain(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from))
}

/// 256 bits.
fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    }))
}
