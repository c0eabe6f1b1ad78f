//! `bitcall init`: a configuration and secrets for this machine. Repeating it
//! changes nothing: what exists is kept.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{CliError, GlobalOptions, output};
use crate::config::{self, Secret, Secrets};
use crate::store::replace_private;

#[derive(Debug, Args)]
pub struct Init {
    /// Address under which browsers will reach this server, e.g. <https://phone.example.com>
    #[arg(long, value_name = "URL", value_parser = config::PublicUrl::parse)]
    public_url: Option<config::PublicUrl>,
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Init {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let file = std::path::absolute(&globals.config)?;
        let directory = file.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let secrets_dir = directory.join("secrets");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)
            .map_err(|error| denied(&directory, &error))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&secrets_dir)
            .map_err(|error| denied(&secrets_dir, &error))?;

        let fresh = Secrets::random()?;
        let panel_key = secrets_dir.join("panel_key");
        let master_secret = secrets_dir.join("master_secret");
        let store_key = secrets_dir.join("store_key");
        let secretly = |path: &Path, text: &str| replace_private(path, text.as_bytes());
        let mut files = Files::default();
        files.write(&panel_key, &fresh.panel_key.to_text(), secretly)?;
        files.write(&master_secret, &fresh.master_secret.to_text(), secretly)?;
        files.write(&store_key, &Secret::random()?.to_text(), secretly)?;
        // Holds no secret, and Bitcall's user must be able to read it.
        let text = self.configuration(&panel_key, &master_secret, &store_key);
        files.write(&file, &text, |path, text| {
            fs::File::options().write(true).create_new(true).mode(0o644).open(path)?.write_all(text.as_bytes())
        })?;
        if globals.json {
            output::data(json!({ "config": file, "written": files.written, "kept": files.kept }))?;
            return Ok(());
        }

        output::message("\nNext:");
        output::message(format_args!("  1. read {}: public_url, and [tls] for your certificate", file.display()));
        output::message("  2. bitcall check");
        output::message("  3. bitcall serve                (or: systemctl enable --now bitcall)");
        output::message("  4. bitcall tenant provision acme");
        Ok(())
    }

    /// The example file with the lines filled in that are known already.
    fn configuration(&self, panel_key: &Path, master_secret: &Path, store_key: &Path) -> String {
        let mut text = config::template();
        let mut set = |name: &str, value: &str| {
            let commented = format!("\n#{name} = ");
            if let Some(start) = text.find(&commented).map(|at| at + 1) {
                let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
                let value = toml::Value::String(value.to_owned());
                text.replace_range(start..end, &format!("{name} = {value}"));
            }
        };
        set("panel_key_file", &panel_key.to_string_lossy());
        set("master_secret_file", &master_secret.to_string_lossy());
        set("store_key_file", &store_key.to_string_lossy());
        if let Some(url) = &self.public_url {
            set("public_url", &url.origin());
        }
        if let Some(data_dir) = &self.data_dir {
            set("data_dir", &data_dir.to_string_lossy());
        }
        text
    }
}

/// What is there at the end.
#[derive(Default)]
struct Files {
    written: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

impl Files {
    /// Keeps a file that exists.
    fn write(
        &mut self,
        path: &Path,
        text: &str,
        write: impl Fn(&Path, &str) -> io::Result<()>,
    ) -> Result<(), CliError> {
        if path.exists() {
            output::message(format_args!("kept    {}", path.display()));
            self.kept.push(path.to_owned());
            return Ok(());
        }
        write(path, text).map_err(|error| denied(path, &error))?;
        output::message(format_args!("written {}", path.display()));
        self.written.push(path.to_owned());
        Ok(())
    }
}

fn denied(path: &Path, error: &io::Error) -> CliError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "\nhint: run it as root, or name a file of your own by --config",
        _ => "",
    };
    CliError::new(super::Exit::Failed, format!("cannot write {}: {error}{hint}", path.display()))
}
