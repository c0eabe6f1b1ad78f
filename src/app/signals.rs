//! The signals that concern a server, and what SIGHUP reads again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::Access;
use crate::config::{SecretFiles, Secrets};
use crate::server::FileCertificate;

/// Registered before the server says that it is ready, because whoever hears that may order the stop at once.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub async fn wait_for_stop(&mut self, reload: Option<&Reload>, access: &Access) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => match reload {
                    Some(reload) => reload.now(access),
                    None => return,
                },
            }
        }
    }
}

/// What is read again on SIGHUP. Connections stay, and what cannot be read stays as it was.
pub struct Reload {
    pub file_certificate: FileCertificate,
    pub secrets: SecretFiles,
}

impl Reload {
    fn now(&self, access: &Access) {
        match self.file_certificate.reload() {
            Ok(()) => tracing::info!("certificate read again"),
            Err(error) => tracing::error!(%error, "the certificate was not replaced"),
        }
        match Secrets::load(&self.secrets) {
            Ok(Secrets { panel_key, master_secret }) => {
                access.replace(panel_key.all(), master_secret.all());
                let (panel_keys, master_secrets) = (panel_key.all().count(), master_secret.all().count());
                tracing::info!(panel_keys, master_secrets, "secrets read again");
            }
            Err(missing) => {
                for error in missing {
                    tracing::error!(%error, "the secrets were not replaced");
                }
            }
        }
    }
}
