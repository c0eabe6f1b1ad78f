//! Settings of `[acme]` with a form of their own, and the external accounts.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toml::de::DeValue;
use url::Url;

use super::parse::{Setting, must_be};
use super::public_url::has_valid_host;
use super::secrets::credentials;

/// URL of an ACME directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUrl(pub String);

/// A type of ACME challenge (RFC 8555 section 8, RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeType {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// An account that the administrator has with an authority (RFC 8555 section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    pub key_id: String,
    pub key: Vec<u8>,
}

/// Why the external accounts could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ExternalAccountsError {
    #[error("external accounts: {path} cannot be read: {error}", path = .path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("external accounts: others may read {path} (mode {mode:03o}); run `chmod 600 {path}`", path = .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path}:{line}: {problem}", path = .path.display())]
    Line { path: PathBuf, line: usize, problem: String },
}

impl Setting for DirectoryUrl {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "the https:// URL of an ACME directory in quotes";
        value.as_str().and_then(|text| Self::from_text(text).ok()).ok_or_else(|| must_be(SHAPE, value))
    }
}

impl DirectoryUrl {
    pub fn from_text(text: &str) -> Result<Self, String> {
        match Url::parse(text) {
            Ok(url) if url.scheme() == "https" && url.has_host() && has_valid_host(&url) => Ok(Self(url.to_string())),
            _ => Err("must be the https:// URL of an ACME directory".to_owned()),
        }
    }
}

impl Setting for ChallengeType {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        match value.as_str() {
            Some("http-01") => Ok(Self::Http01),
            Some("tls-alpn-01") => Ok(Self::TlsAlpn01),
            Some("dns-01") => Ok(Self::Dns01),
            _ => Err(must_be("\"http-01\", \"tls-alpn-01\" or \"dns-01\"", value)),
        }
    }
}

/// Reads the external accounts, by the URL of their directory: from the systemd credential `acme_eab`, else
/// from `file`.
pub fn external_accounts(file: Option<&Path>) -> Result<HashMap<String, ExternalAccount>, ExternalAccountsError> {
    let credential = credentials().map(|directory| directory.join("acme_eab")).find(|path| path.exists());
    // systemd owns these files and their modes.
    let owned = credential.is_some();
    let Some(path) = credential.or_else(|| file.map(Path::to_owned)) else { return Ok(HashMap::new()) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ExternalAccountsError::Unreadable { path: path.clone(), error })?;
    let mode = std::fs::metadata(&path).map_or(0, |metadata| metadata.mode() & 0o777);
    if !owned && mode & 0o077 != 0 {
        return Err(ExternalAccountsError::Exposed { path, mode });
    }
    let mut accounts = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (directory, account) = external_account(line).map_err(|problem| ExternalAccountsError::Line {
            path: path.clone(),
            line: index + 1,
            problem: problem.to_owned(),
        })?;
        accounts.insert(directory, account);
    }
    Ok(accounts)
}

/// What is wrong is said without the line: it holds a secret.
fn external_account(line: &str) -> Result<(String, ExternalAccount), &'static str> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [directory, key_id, key] = words.as_slice() else {
        return Err("must be a directory's URL, a key identifier and a key, with spaces between");
    };
    let url =
        Url::parse(directory).ok().filter(|url| url.scheme() == "https").ok_or("must begin with a directory's URL")?;
    let key = URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).map_err(|_| "the key must be in base64url")?;
    Ok((url.to_string(), ExternalAccount { key_id: (*key_id).to_owned(), key }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn external_accounts_are_read_one_per_line_and_errors_do_not_show_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eab");
        fs::write(&path, "# mine\n\nhttps://ca.example/dir  kid-1  c2VjcmV0\n").unwrap();
        assert!(matches!(external_accounts(Some(&path)), Err(ExternalAccountsError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let accounts = external_accounts(Some(&path)).unwrap();
        let ours = &accounts["https://ca.example/dir"];
        assert_eq!((ours.key_id.as_str(), ours.key.as_slice()), ("kid-1", &b"secret"[..]));
        for bad in ["kid-1 c2VjcmV0", "ftp://ca.example kid-1 c2VjcmV0", "https://ca.example/dir kid-1 c2VjcmV0!"] {
            fs::write(&path, format!("\n{bad}\n")).unwrap();
            let error = external_accounts(Some(&path)).err().unwrap().to_string();
            assert!(error.contains("eab:2:") && !error.contains("c2VjcmV0"), "{error}");
        }
        assert!(external_accounts(None).unwrap().is_empty());
    }
}
