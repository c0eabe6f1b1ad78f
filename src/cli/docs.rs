//! Man pages and shell completions, generated from the very definitions that
//! parse the command line.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Failure;

#[derive(Debug, Args)]
pub struct Man {
    /// Where the pages are written.
    directory: PathBuf,
}

impl Man {
    pub fn run(self, command: Command) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(command, &self.directory)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self, mut command: Command) {
        clap_complete::generate(self.shell, &mut command, "bitcall", &mut std::io::stdout());
    }
}
