//! `bitcall store`: the file that holds everything.

use std::path::Path;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::control::Printer;
use super::{CliError, Exit, GlobalOptions};
use crate::app;
use crate::config::Config;
use crate::store::{self, Compacted};
use crate::tenancy::{OpenError, accept_loss, store_file};

#[derive(Debug, Args)]
pub struct StoreCommands {
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
    /// Accept that something of the data directory is lost for good; the server must be stopped.
    ///
    /// The server does not start when records are missing from the store, or the file key-pepper is missing or is
    /// another one than before. The way back is a backup of the data directory. Where there is none, this takes what is
    /// left: the records that can still be read, and the key-pepper that is there or else a new one, after which no API
    /// key is valid any more: make new ones by `bitcall key create`.
    AcceptLoss,
}

impl StoreCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let config =
            Config::read(&globals.config).map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))?;
        let data = &config.server.data_dir;
        match self.command {
            Command::Compact => compact(data, globals),
            Command::AcceptLoss => accept(data, globals),
        }
    }
}

fn accept(data: &Path, globals: &GlobalOptions) -> Result<(), CliError> {
    app::runtime()?.block_on(accept_loss(data)).map_err(|error| match error {
        OpenError::Store(error) => failure(error),
        error => CliError::new(Exit::Failed, error.to_string()),
    })?;
    let data = json!({ "dataDir": data.display().to_string() });
    Printer::of(globals).print(&data, |_| "what is left was accepted; `bitcall serve` starts with it".to_owned())?;
    Ok(())
}

fn failure(error: store::Error) -> CliError {
    match error {
        store::Error::InUse(file) => CliError::new(
            Exit::Conflict,
            format!("{file} is in use\nhint: stop the server first, `systemctl stop bitcall`"),
        ),
        error => error.into(),
    }
}

fn compact(data: &Path, globals: &GlobalOptions) -> Result<(), CliError> {
    let path = store_file(data);
    let bar = bar();
    let compacted = store::compact(&path, |copied, total| {
        bar.set_length(total);
        bar.set_position(copied);
    });
    bar.finish_and_clear();
    let Compacted { before, after } = compacted.map_err(failure)?;
    let compacted = json!({ "file": path.display().to_string(), "bytesBefore": before, "bytesAfter": after });
    Printer::of(globals).print(&compacted, |_| {
        format!("{}: {} KiB before, {} KiB now", path.display(), before.div_ceil(1024), after.div_ceil(1024))
    })?;
    Ok(())
}

/// Hidden where standard error is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0).with_message("copying records");
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
