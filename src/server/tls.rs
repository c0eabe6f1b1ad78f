//! TLS: certificate files of the administrator, or a self-signed development
//! certificate, put on the [`CertResolver`] and replaced there on SIGHUP without dropping
//! a connection; and the configuration of the HTTPS listeners.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;

use crate::certs::{ACME_TLS, CertResolver};
use crate::config;
use crate::store::{create_private_directory, replace_private};

/// Apple refuses certificates that are valid for longer than 398 days.
const DEVELOPMENT_DAYS: i64 = 397;
/// A development certificate older than this is replaced at the next start.
const REPLACE_AFTER: Duration = Duration::from_hours(340 * 24);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what} {path} does not exist\nhint: `[tls]` in the configuration names it; leave `tls.certificate` and `tls.key` empty for a self-signed certificate", path = .path.display())]
    Missing { what: &'static str, path: PathBuf },
    #[error("{what} {path} cannot be read: {error}", path = .path.display())]
    Unreadable { what: &'static str, path: PathBuf, error: io::Error },
    #[error("{what} {path} holds no PEM section of that kind: {reason}", path = .path.display())]
    NotPem { what: &'static str, path: PathBuf, reason: String },
    #[error("key {path} cannot be used: {error}", path = .path.display())]
    BadKey { path: PathBuf, error: rustls::Error },
    #[error("key {key} does not belong to certificate {certificate}", key = .key.display(), certificate = .certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("cannot make a development certificate for {host}: {error}")]
    Development { host: String, error: rcgen::Error },
    #[error("cannot keep the development certificate in {path}: {error}", path = .path.display())]
    Keep { path: PathBuf, error: io::Error },
    #[error("TLS cannot start: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    /// Made by us, so browsers must not be told to insist on it.
    pub development: bool,
}

impl CertificateFiles {
    /// The configured files; where none are set, a self-signed certificate for
    /// `host` (and this machine's loopback names), made now unless there is one.
    pub fn prepare(settings: &config::TlsSettings, host: &str, data_dir: &Path) -> Result<Self, TlsError> {
        if let Some(files) = Self::configured(settings) {
            return Ok(files);
        }
        let directory = data_dir.join("tls");
        let stem: String =
            host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect();
        let source = Self {
            certificate: directory.join(format!("development-{stem}.crt")),
            key: directory.join(format!("development-{stem}.key")),
            development: true,
        };
        if !source.is_fresh() {
            source.make(host, &directory)?;
        }
        Ok(source)
    }

    fn configured(settings: &config::TlsSettings) -> Option<Self> {
        let (certificate, key) = settings.certificate.clone().zip(settings.key.clone())?;
        Some(Self { certificate, key, development: false })
    }

    fn is_fresh(&self) -> bool {
        let age = fs::metadata(&self.certificate)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|made| made.elapsed().ok());
        age.is_some_and(|age| age < REPLACE_AFTER) && self.key.exists()
    }

    fn make(&self, host: &str, directory: &Path) -> Result<(), TlsError> {
        let failed = |error| TlsError::Development { host: host.to_owned(), error };
        let mut names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
        let host = host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |ip| ip.to_string());
        if !names.contains(&host) {
            names.push(host.clone());
        }
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Bitcall development certificate");
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::days(DEVELOPMENT_DAYS);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;

        let keep = |path: &Path, text: &str| {
            replace_private(path, text.as_bytes()).map_err(|error| TlsError::Keep { path: path.to_owned(), error })
        };
        create_private_directory(directory).map_err(|error| TlsError::Keep { path: directory.to_owned(), error })?;
        keep(&self.key, &key.serialize_pem())?;
        keep(&self.certificate, &certificate.pem())
    }

    /// What the files hold now.
    pub fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| from_pem("certificate", &self.certificate, error))?;
        if chain.is_empty() {
            return Err(from_pem("certificate", &self.certificate, pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| from_pem("key", &self.key, error))?;
        let key = aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| TlsError::BadKey { path: self.key.clone(), error })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(_) => Err(TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }),
        }
    }
}

fn from_pem(what: &'static str, path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => TlsError::Missing { what, path },
        pem::Error::Io(error) => TlsError::Unreadable { what, path, error },
        other => TlsError::NotPem { what, path, reason: other.to_string() },
    }
}

/// The certificate of this server's files, put into the resolver.
#[derive(Debug)]
pub struct FileCertificate {
    source: CertificateFiles,
    cert_resolver: Arc<CertResolver>,
}

impl FileCertificate {
    pub fn load(source: CertificateFiles, cert_resolver: Arc<CertResolver>) -> Result<Self, TlsError> {
        cert_resolver.put_own(source.load()?, source.development);
        Ok(Self { source, cert_resolver })
    }

    /// Reads the files again, or those that the settings name now. On failure the old certificate stays in use.
    pub fn reload(&mut self, settings: &config::TlsSettings) -> Result<(), TlsError> {
        let source = CertificateFiles::configured(settings).unwrap_or_else(|| self.source.clone());
        self.cert_resolver.put_own(source.load()?, source.development);
        self.source = source;
        Ok(())
    }

    /// The rustls configuration of the HTTPS listeners.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.cert_resolver.clone());
        // The last one only meets whoever offers nothing else, and such a handshake gets the certificate
        // of a challenge or none.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        // Tickets resume sessions without keeping anything per client in memory.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}
