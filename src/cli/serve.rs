//! `bitcall serve`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{CliError, Exit, GlobalOptions};
use crate::app::{self, App, StartError};
use crate::config::Config;
use crate::server;

pub fn run(globals: &GlobalOptions) -> Result<(), CliError> {
    let config =
        Config::read(&globals.config).map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))?;
    refuse_root_for_others(&config.server.data_dir, &globals.config)?;
    let log = app::start_logging(&config.log)?;
    server::raise_file_limit();
    let inherited = server::InheritedSockets::from_environment();
    app::runtime()?.block_on(async {
        let app = App::build(config, &globals.config, log, inherited).await?;
        let origin = app.origin();
        let running = app.spawn()?;
        running.verified().await?;
        tracing::info!(url = %origin, "ready");
        server::notify_ready(&app::serving(&origin));
        Ok(running.drain_at_signal().await?)
    })
}

/// Root does not serve from another user's data directory: that user, whom the service runs as, could use neither the
/// control socket nor whatever else root leaves. Commands that write there give their files to the directory's owner.
fn refuse_root_for_others(data_dir: &Path, config: &Path) -> Result<(), CliError> {
    let owner = fs::metadata(data_dir).map_or(0, |found| found.uid());
    if owner == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let name = user_name(owner).unwrap_or_else(|| format!("#{owner}"));
    let (data_dir, config) = (data_dir.display(), config.display());
    Err(CliError::new(
        Exit::Refused,
        format!(
            "{data_dir} belongs to the user {name}; a server that root starts would leave files there that {name} cannot use\n\
             hint: `systemctl start bitcall`, or `sudo -u '{name}' bitcall --config {config} serve`"
        ),
    ))
}

/// As `/etc/passwd` has it.
fn user_name(id: u32) -> Option<String> {
    let id = id.to_string();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let of_id = |line: &&str| line.split(':').nth(2) == Some(&id);
    users.lines().find(of_id)?.split(':').next().map(str::to_owned)
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Misconfigured(message) => Self::new(Exit::Misconfigured, message),
            StartError::Failed(message) => Self::new(Exit::Failed, message),
        }
    }
}
