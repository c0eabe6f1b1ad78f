//! `bitcall secret`: the operator's two secrets, replaced without a moment at which the old one is
//! refused and the new one not yet known; and the store's key, replaced without losing what it sealed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::control::{Printer, TargetOptions, request_failure};
use super::table::{field_text, key_value_table};
use super::{CliError, Exit, GlobalOptions, output};
use crate::api::secret_name;
use crate::certs::Seal;
use crate::client::ControlClient;
use crate::config::{Config, RotatedSecret};
use crate::store::replace_private;

#[derive(Debug, Args)]
pub struct SecretCommands {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Make a new secret beside the old one; with --finish, end the old one. The old store key is not ended as long as
    /// anything needs it.
    Rotate {
        which: OperatorSecret,
        /// Keep the new secret alone
        #[arg(long)]
        finish: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OperatorSecret {
    PanelKey,
    MasterSecret,
    StoreKey,
}

impl OperatorSecret {
    fn argument(self) -> &'static str {
        match self {
            Self::PanelKey => "panel-key",
            Self::MasterSecret => "master-secret",
            Self::StoreKey => "store-key",
        }
    }

    /// The configured file.
    fn file(self, globals: &GlobalOptions) -> Result<PathBuf, CliError> {
        let config = Config::read(&globals.config);
        let files = config.map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))?.secrets;
        let (file, setting) = match self {
            Self::PanelKey => (files.panel_key_file, "panel_key_file"),
            Self::MasterSecret => (files.master_secret_file, "master_secret_file"),
            Self::StoreKey => (files.store_key_file, "store_key_file"),
        };
        file.ok_or_else(|| {
            let hint = "where it comes from otherwise, put the new secret on a line above the old one";
            CliError::new(Exit::Misconfigured, format!("`secrets.{setting}` names no file\nhint: {hint}"))
        })
    }
}

impl SecretCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let SecretCommand::Rotate { which, finish } = self.command;
        let file = which.file(globals)?;
        let printer = Printer::of(globals);
        let text = std::fs::read_to_string(&file).map_err(|error| denied(&file, &error))?;
        let found = RotatedSecret::parse(&text)
            .map_err(|problem| CliError::new(Exit::Misconfigured, format!("{} {problem}", file.display())))?;
        if !finish {
            return begin(which, &file, found, printer);
        }
        if let (OperatorSecret::StoreKey, Some(old)) = (which, &found.previous) {
            let names = [&found.current, old].map(|key| Seal::new([key.as_str()]).map(|seal| seal.name().to_owned()));
            TargetOptions::default().run(globals, async |client, _| needs_no_more(&client, names).await)?;
        }
        end(which, &file, found, printer)
    }
}

fn begin(which: OperatorSecret, file: &Path, found: RotatedSecret, printer: Printer) -> Result<(), CliError> {
    let (is_store_key, which) = (matches!(which, OperatorSecret::StoreKey), which.argument());
    if found.previous.is_some() {
        let hint = format!("`bitcall secret rotate {which} --finish` ends the old one");
        let message = format!("{} holds two secrets already: one is being replaced\nhint: {hint}", file.display());
        return Err(CliError::new(Exit::Conflict, message));
    }
    let new = RotatedSecret { current: RotatedSecret::random()?.current, previous: Some(found.current) };
    write(file, &new)?;
    if is_store_key {
        // Only this server needs the key, so it is not printed.
        printer.print(&json!({ "secret": which, "file": file }), |_| format!("{} has a new key", file.display()))?;
        output::message("\nNext:");
        output::message("  1. systemctl restart bitcall    seals everything by the new key");
        output::message(format_args!("  2. bitcall secret rotate {which} --finish"));
        return Ok(());
    }
    let data = json!({
        "secret": which,
        "file": file,
        "value": new.current,
        "digest": name(&new.current),
        "previousDigest": new.previous.as_deref().map(name),
    });
    let told = printer.print(&data, |_| {
        key_value_table(&[
            ("New secret", format!("{}  (audit name {})", new.current, name(&new.current))),
            ("Old secret", format!("audit name {}", new.previous.as_deref().map(name).unwrap_or_default())),
        ])
    });
    let where_it_is = |error: &CliError| format!("{error}\nthe new secret is the first line of {}", file.display());
    told.map_err(|error| CliError::new(error.exit, where_it_is(&error)))?;
    output::message("\nNext:");
    output::message("  1. systemctl reload bitcall     (or: kill -HUP); both secrets are good then");
    output::message("  2. give the new one to whoever uses the old one");
    output::message("  3. bitcall audit                shows which of the two is used; the log warns of the old one");
    output::message(format_args!("  4. bitcall secret rotate {which} --finish"));
    Ok(())
}

/// Refuses as long as the server seals by the old store key, or something in the store is sealed by it. Without a
/// server, the store itself is looked at. `names`: of the new store key and of the old one.
async fn needs_no_more(client: &ControlClient, names: [Option<String>; 2]) -> Result<(), CliError> {
    let [new, old] = names.map(Option::unwrap_or_default);
    let data = client.get("/api/admin/store-key", &[]).await.map_err(request_failure)?;
    let count = data["sealedBy"][&old].as_u64().unwrap_or_default();
    let why = if data["name"] != new.as_str() {
        format!("the server still seals by the old store key, {}, not by {new}", field_text(&data, "/name"))
    } else if count > 0 {
        format!("the old store key is still needed: it has sealed {count} private keys in the store")
    } else {
        return Ok(());
    };
    let hint = "`systemctl restart bitcall` seals everything by the new key; a reload does not";
    Err(CliError::new(Exit::Conflict, format!("{why}; nothing was changed\nhint: {hint}")))
}

fn end(which: OperatorSecret, file: &Path, found: RotatedSecret, printer: Printer) -> Result<(), CliError> {
    let is_store_key = matches!(which, OperatorSecret::StoreKey);
    let ended = found.previous.as_deref().map(name);
    let new = RotatedSecret::from(found.current);
    write(file, &new)?;
    let data = json!({
        "secret": which.argument(),
        "file": file,
        "digest": name(&new.current),
        "endedDigest": ended,
    });
    printer.print(&data, |_| match &ended {
        Some(_) if is_store_key => "the old store key is ended; nothing needs it any more".to_owned(),
        Some(ended) => format!("the old secret ({ended}) ends with the next reload"),
        None => "there is only one secret; nothing was changed".to_owned(),
    })?;
    if ended.is_some() && !is_store_key {
        output::message("\nNext: systemctl reload bitcall     (or: kill -HUP)");
    }
    Ok(())
}

/// The secret's name in the audit log.
fn name(secret: &str) -> String {
    secret_name(&Sha256::digest(secret))
}

fn write(file: &Path, secret: &RotatedSecret) -> Result<(), CliError> {
    replace_private(file, secret.to_text().as_bytes()).map_err(|error| denied(file, &error))
}

fn denied(file: &Path, error: &std::io::Error) -> CliError {
    let (exit, hint) = match error.kind() {
        std::io::ErrorKind::PermissionDenied => (Exit::Refused, "\nhint: run it as root"),
        std::io::ErrorKind::NotFound => (Exit::Misconfigured, "\nhint: `bitcall init` makes one"),
        _ => (Exit::Failed, ""),
    };
    CliError::new(exit, format!("{}: {error}{hint}", file.display()))
}
