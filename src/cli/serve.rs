//! `bitcall serve`.

use super::{CliError, Exit, GlobalOptions};
use crate::app::{self, App, StartError};
use crate::config::Config;
use crate::server;

pub fn run(globals: &GlobalOptions) -> Result<(), CliError> {
    let config =
        Config::read(&globals.config).map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))?;
    app::start_logging(&config.log)?;
    server::raise_file_limit();
    let inherited = server::InheritedSockets::from_environment();
    app::runtime()?.block_on(async {
        let app = App::build(config, inherited).await?;
        let origin = app.origin();
        let running = app.spawn()?;
        running.verified().await?;
        tracing::info!(url = %origin, "ready");
        server::notify_ready(&format!("serving {origin}"));
        Ok(running.drain_at_signal().await?)
    })
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Misconfigured(message) => Self::new(Exit::Misconfigured, message),
            StartError::Failed(message) => Self::new(Exit::Failed, message),
        }
    }
}
