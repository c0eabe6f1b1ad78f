//! SIGHUP: configuration, certificate and secrets are read again. Connections stay, and what cannot be read stays as it
//! was.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::faults;
use super::logging::{LogFilter, log_filter};
use crate::api::{Access, RequestLimits};
use crate::config::{Config, ConfigChange, LimitSettings, Secrets};
use crate::dns::Verifier;
use crate::server::{self, AccessLog, FileCertificate};

pub struct Reload {
    /// Of the configuration.
    pub file: PathBuf,
    /// What is in effect.
    pub config: Config,
    pub file_certificate: FileCertificate,
    pub live: LiveSettings,
    /// For people, as long as all is well.
    pub status: String,
}

/// Where the settings take effect that a running server can change.
pub struct LiveSettings {
    pub limits: watch::Sender<LimitSettings>,
    pub request_limits: Arc<RequestLimits>,
    pub audit_keep: watch::Sender<Option<Duration>>,
    pub verifier: Verifier,
    pub log: LogFilter,
    pub access_log: Option<Arc<AccessLog>>,
}

impl Reload {
    /// Says in the log and to systemd what was taken, what needs a restart, and what is wrong.
    pub fn now(&mut self, access: &Access) {
        server::notify_reloading();
        let before = self.config.clone();
        let mut remarks = self.take_configuration();
        if let Some(access_log) = &self.live.access_log {
            access_log.reopen();
        }
        match self.file_certificate.reload(&self.config.tls) {
            Ok(()) => tracing::info!("certificate read again"),
            Err(error) => {
                tracing::error!(%error, "the certificate was not replaced");
                remarks.push("the certificate was not replaced".to_owned());
                self.config.tls = before.tls;
            }
        }
        match Secrets::load(&self.config.secrets) {
            Ok(Secrets { panel_key, master_secret }) => {
                access.replace(panel_key.all(), master_secret.all());
                let (panel_keys, master_secrets) = (panel_key.all().count(), master_secret.all().count());
                tracing::info!(panel_keys, master_secrets, "secrets read again");
            }
            Err(missing) => {
                for error in missing {
                    tracing::error!(%error, "the secrets were not replaced");
                }
                remarks.push("the secrets were not replaced".to_owned());
                self.config.secrets = before.secrets;
            }
        }
        server::notify_ready(&std::iter::once(self.status.clone()).chain(remarks).collect::<Vec<_>>().join("; "));
    }

    /// What is to be said of it: that it is broken, or needs a restart.
    fn take_configuration(&mut self) -> Vec<String> {
        let file = self.file.display();
        let faults = match Config::read(&self.file) {
            Ok(new) => match faults(&new) {
                faults if faults.is_empty() => return self.take(&new),
                faults => faults.iter().map(|fault| format!("{file}: {fault}")).collect(),
            },
            Err(errors) => errors.faults.iter().map(|fault| errors.in_words(fault)).collect::<Vec<_>>(),
        };
        for fault in &faults {
            tracing::error!(fault, "the configuration was not taken, the old one stays in effect");
        }
        let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
        vec![format!("{file} was not taken, it has {count}, see the log")]
    }

    fn take(&mut self, new: &Config) -> Vec<String> {
        let old = self.config.clone();
        let (taken, left): (Vec<_>, Vec<_>) = self.config.take_live(new).into_iter().partition(|change| change.is_live);
        let names = |changes: &[ConfigChange]| {
            changes.iter().map(|change| change.setting.as_str()).collect::<Vec<_>>().join(", ")
        };
        tracing::info!(taken = names(&taken), "configuration read again");
        for change in &left {
            tracing::warn!(setting = change.setting, "changed, which needs a restart to take effect");
        }
        let LiveSettings { limits, request_limits, audit_keep, verifier, log, access_log: _ } = &self.live;
        limits.send_replace(self.config.limits.clone());
        request_limits.replace(&old.limits, &self.config.limits);
        let keep = self.config.audit.keep();
        audit_keep.send_if_modified(|current| std::mem::replace(current, keep) != keep);
        verifier.set_resolvers(self.config.dns.resolvers.clone());
        if let Ok(filter) = log_filter(&self.config.log.filter) {
            log(filter);
        }
        if left.is_empty() { Vec::new() } else { vec![format!("needs a restart: {}", names(&left))] }
    }
}
