//! `bitcall store`: the file that holds everything.

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::control::Printer;
use super::{CliError, Exit, GlobalOptions};
use crate::config::Config;
use crate::store::{self, Compacted};
use crate::tenancy::store_file;

#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rewrite the store's file with nothing but what is in it now; the server must be stopped.
    ///
    /// Deleted records, those of a deleted tenant for example, are in no read, export or backup. But the pages of the
    /// file that they were in keep their bytes until they are used again. What is secret in them is sealed by the store
    /// key. Whoever wants these pages empty, or the file small, runs this: stop the server, compact, start it.
    Compact,
}

impl Store {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let Command::Compact = self.command;
        let config =
            Config::read(&globals.config).map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))?;
        let path = store_file(&config.server.data_dir);
        let bar = bar();
        let compacted = store::compact(&path, |copied, total| {
            bar.set_length(total);
            bar.set_position(copied);
        });
        bar.finish_and_clear();
        let Compacted { before, after } = compacted.map_err(|error| match error {
            store::Error::InUse(file) => CliError::new(
                Exit::Conflict,
                format!("{file} is in use\nhint: stop the server first, `systemctl stop bitcall`"),
            ),
            error => error.into(),
        })?;
        let compacted = json!({ "file": path.display().to_string(), "bytesBefore": before, "bytesAfter": after });
        Printer::of(globals).print(&compacted, |_| {
            format!("{}: {} KiB before, {} KiB now", path.display(), before.div_ceil(1024), after.div_ceil(1024))
        })?;
        Ok(())
    }
}

/// Hidden where standard error is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0).with_message("copying records");
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
