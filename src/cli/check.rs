//! `bitcall check`: everything that would stop `bitcall serve`, found without starting it.

use super::{CliError, Exit, GlobalOptions, output};
use crate::app::acme;
use crate::certs::{CertificateStore, Seal};
use crate::config::{self, Config, Secret, Secrets};
use crate::dns::ZoneSettings;
use crate::server::CertificateFiles;
use crate::store;
use crate::store::keys::CERTIFICATES;
use crate::tenancy::store_file;

pub fn run(globals: &GlobalOptions) -> Result<(), CliError> {
    let mut problems: Vec<String> = Vec::new();
    match Config::read(&globals.config) {
        Err(faults) => problems.push(faults.to_string()),
        Ok(config) => {
            if let Err(missing) = Secrets::load(&config.secrets) {
                problems.extend(missing.iter().map(ToString::to_string));
            }
            match config::store_key(&config.secrets) {
                Err(problem) => problems.push(problem.to_string()),
                Ok(store_key) => problems.extend(sealed_otherwise(&config, store_key.as_ref())),
            }
            if config.tls.certificate.is_some()
                && let Err(error) =
                    CertificateFiles::prepare(&config.tls, "", &config.server.data_dir).and_then(|files| files.load())
            {
                problems.push(error.to_string());
            }
            if let Err(problem) = ZoneSettings::of(&config) {
                problems.push(problem);
            }
            problems.extend(acme::check(&config));
            if let Err(problem) = config.public_url() {
                problems.push(format!("`public_url` {problem}"));
            }
        }
    }
    if problems.is_empty() {
        output::message(format_args!("{} is in order", globals.config.display()));
        return Ok(());
    }
    Err(CliError::new(Exit::Misconfigured, problems.join("\n")))
}

/// That the store's certificates cannot be served with this store key.
fn sealed_otherwise(config: &Config, store_key: Option<&Secret>) -> Option<String> {
    let seal = Seal::new(store_key.into_iter().flat_map(Secret::all));
    match store::read_only(&store_file(&config.server.data_dir), CERTIFICATES) {
        Ok(records) => CertificateStore::check(&records, seal.as_ref()).err().map(|error| error.to_string()),
        Err(error @ store::Error::Unreadable(_)) => Some(error.to_string()),
        // A server that runs has opened them; one that was killed left its store to the next one.
        Err(error) => {
            output::message(format_args!("the certificates in the store were not looked at: {error}"));
            None
        }
    }
}
