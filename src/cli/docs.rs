//! Man pages, generated from the very definitions that parse the command line.

use std::path::PathBuf;

use clap::{Args, Command};

use super::CliError;

#[derive(Debug, Args)]
pub struct Man {
    /// Where the pages are written.
    directory: PathBuf,
}

impl Man {
    pub fn run(self, command: Command) -> Result<(), CliError> {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(command, &self.directory)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::Help;
    use super::*;

    fn pages(directory: &Path) -> BTreeMap<String, String> {
        let Ok(entries) = std::fs::read_dir(directory) else { return BTreeMap::new() };
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(&path).unwrap())
            })
            .collect()
    }

    #[test]
    fn the_man_pages_in_the_repository_are_current() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
        let fresh = tempfile::tempdir().unwrap();
        Man { directory: fresh.path().to_owned() }.run(super::super::command(Help::Full)).unwrap();
        if std::env::var_os("BITCALL_REGENERATE").is_some() {
            let _ = std::fs::remove_dir_all(&repository);
            Man { directory: repository.clone() }.run(super::super::command(Help::Full)).unwrap();
        }
        let (have, want) = (pages(&repository), pages(fresh.path()));
        assert_eq!(have.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
        for (name, page) in &want {
            assert!(have[name] == *page, "man/{name} is stale; run: BITCALL_REGENERATE=1 cargo test --bin bitcall");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        for help in [Help::Short, Help::Full] {
            super::super::command(help).debug_assert();
        }
    }
}
