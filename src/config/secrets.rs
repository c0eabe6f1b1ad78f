//! The two secrets of the operator. They never stand in `bitcall.toml` and
//! never appear in logs: [`Secrets`] prints as dots.

use std::fmt::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::SecretFiles;

/// Shorter secrets can be guessed.
pub const MIN_LENGTH: usize = 24;

#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// Expected in `X-Bitcall-Panel-Key`.
    pub panel_key: String,
    /// Expected in `Authorization: Bearer`.
    pub master_secret: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MissingSecret {
    #[error("no {what}: set {variable}, or the systemd credential `{credential}`, or `secrets.{credential}_file`")]
    Nowhere { what: &'static str, variable: &'static str, credential: &'static str },
    #[error("{what}: {path} cannot be read: {error}", path = .path.display())]
    Unreadable { what: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{what}: others may read {path} (mode {mode:03o}); run `chmod 600 {path}`", path = .path.display())]
    Exposed { what: &'static str, path: PathBuf, mode: u32 },
    #[error("{what} from {origin} has {length} characters; at least {MIN_LENGTH} are needed")]
    TooShort { what: &'static str, origin: String, length: usize },
}

impl Secrets {
    /// Environment first, then systemd credentials, then the configured files.
    /// Every missing secret is reported, not only the first.
    pub fn load(files: &SecretFiles) -> Result<Self, Vec<MissingSecret>> {
        let panel_key = PANEL_KEY.find(files.panel_key_file.as_deref());
        let master_secret = MASTER_SECRET.find(files.master_secret_file.as_deref());
        match (panel_key, master_secret) {
            (Ok(panel_key), Ok(master_secret)) => Ok(Self { panel_key, master_secret }),
            (panel_key, master_secret) => Err(panel_key.err().into_iter().chain(master_secret.err()).collect()),
        }
    }

    /// Fresh ones, for `bitcall init` and `bitcall demo`.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self { panel_key: random_hex()?, master_secret: random_hex()? })
    }
}

struct Secret {
    what: &'static str,
    variable: &'static str,
    credential: &'static str,
}

const PANEL_KEY: Secret = Secret { what: "panel key", variable: "BITCALL_PANEL_KEY", credential: "panel_key" };
const MASTER_SECRET: Secret =
    Secret { what: "master secret", variable: "APP_MASTER_SECRET", credential: "master_secret" };

impl Secret {
    fn find(&self, file: Option<&Path>) -> Result<String, MissingSecret> {
        if let Ok(value) = std::env::var(self.variable)
            && !value.is_empty()
        {
            return self.accept(&value, self.variable);
        }
        if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
            let path = Path::new(&directory).join(self.credential);
            if path.exists() {
                // systemd owns these files and their modes.
                let value = self.read(&path)?;
                return self.accept(&value, &path.to_string_lossy());
            }
        }
        let path = file.ok_or(MissingSecret::Nowhere {
            what: self.what,
            variable: self.variable,
            credential: self.credential,
        })?;
        let value = self.read(path)?;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o777);
        if mode & 0o077 != 0 {
            return Err(MissingSecret::Exposed { what: self.what, path: path.to_owned(), mode });
        }
        self.accept(&value, &path.to_string_lossy())
    }

    fn read(&self, path: &Path) -> Result<String, MissingSecret> {
        std::fs::read_to_string(path).map_err(|error| MissingSecret::Unreadable {
            what: self.what,
            path: path.to_owned(),
            error,
        })
    }

    fn accept(&self, value: &str, origin: &str) -> Result<String, MissingSecret> {
        let value = value.trim().to_owned();
        if value.len() < MIN_LENGTH {
            return Err(MissingSecret::TooShort { what: self.what, origin: origin.to_owned(), length: value.len() });
        }
        Ok(value)
    }
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
