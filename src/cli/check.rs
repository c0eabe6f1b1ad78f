//! `bitcall check`: everything that would stop `bitcall serve`, found without starting it.

use super::{Exit, Failure, Globals, automatic};
use crate::config::{self, Config, Secrets};
use crate::dns::ZoneSettings;
use crate::server::CertificateSource;

pub fn run(globals: &Globals) -> Result<(), Failure> {
    let mut problems: Vec<String> = Vec::new();
    match Config::read(&globals.config) {
        Err(faults) => problems.push(faults.to_string()),
        Ok(config) => {
            if let Err(missing) = Secrets::load(&config.secrets) {
                problems.extend(missing.iter().map(ToString::to_string));
            }
            if let Err(problem) = config::store_key(&config.secrets) {
                problems.push(problem.to_string());
            }
            if config.tls.certificate.is_some()
                && let Err(error) =
                    CertificateSource::prepare(&config.tls, "", &config.server.data_dir).and_then(|files| files.load())
            {
                problems.push(error.to_string());
            }
            if let Err(problem) = ZoneSettings::of(&config) {
                problems.push(problem);
            }
            problems.extend(automatic::check(&config));
            if let Err(problem) = config.public_url() {
                problems.push(format!("`public_url` {problem}"));
            }
        }
    }
    if problems.is_empty() {
        eprintln!("{} is in order", globals.config.display());
        return Ok(());
    }
    Err(Failure::new(Exit::Misconfigured, problems.join("\n")))
}
