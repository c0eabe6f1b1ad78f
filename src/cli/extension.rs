//! `bitcall extension`: who can register at the built-in SIP edge.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{CommandGroup, path_segment, request_failure};
use super::table::{field_text, field_time, key_value_table, table};
use super::{CliError, GlobalOptions};
use crate::client::{self, ControlClient};

pub type ExtensionCommands = CommandGroup<ExtensionCommand>;

#[derive(Debug, Subcommand)]
pub enum ExtensionCommand {
    /// Make an extension; a generated password is shown once.
    Add(AddExtension),
    /// List a tenant's extensions.
    List {
        /// Tenant id
        tenant: String,
    },
    /// Remove an extension. Removing what is not there is no error.
    Remove {
        /// Tenant id
        tenant: String,
        /// User name, e.g. 101
        username: String,
    },
}

#[derive(Debug, Args)]
pub struct AddExtension {
    /// Tenant id
    tenant: String,
    /// User name, e.g. 101: a-z, 0-9, dot, _ and -
    username: String,
    /// Name of the person or room
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// File with the password; `-` reads it from standard input [default: generate one]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Give an existing extension a new password
    #[arg(long)]
    reset_password: bool,
}

impl ExtensionCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            ExtensionCommand::Add(add) => {
                let password = add.password_file.as_deref().map(password).transpose()?;
                let body = json!({
                    "tenantId": add.tenant,
                    "username": add.username,
                    "displayName": add.name,
                    "password": password,
                    "resetPassword": add.reset_password,
                });
                let data = client.post("/api/tenant/extensions", &body).await.map_err(request_failure)?;
                let is_given = password.is_some();
                let text = |data: &Value| {
                    let secret = if is_given {
                        "as given".into()
                    } else {
                        format!("{}  (shown only now)", field_text(data, "/password"))
                    };
                    key_value_table(&[
                        ("User name", field_text(data, "/username")),
                        ("Domain", field_text(data, "/domain")),
                        ("Password", secret),
                    ])
                };
                if is_given {
                    return printer.print(&data, text);
                }
                printer.print_once(&data, text, async || add.withdraw(&client).await).await
            }
            ExtensionCommand::List { tenant } => {
                let query = [("tenantId", tenant.as_str())];
                let data = client.get("/api/tenant/extensions", &query).await.map_err(request_failure)?;
                printer.print(&data, |data| {
                    let headings = ["extension", "name", "domain", "made"];
                    table(headings, &data["extensions"], "there are no extensions", |extension| {
                        let [username, name, domain] =
                            ["/username", "/displayName", "/domain"].map(|field| field_text(extension, field));
                        [username, name, domain, field_time(extension, "/createdAt")]
                    })
                })?;
                Ok(())
            }
            ExtensionCommand::Remove { tenant, username } => {
                let data = match client.delete(&path_of(&username), &json!({ "tenantId": tenant })).await {
                    Err(client::Error::Refused(error)) if error.code == "EXTENSION_NOT_FOUND" => {
                        json!({ "username": username, "removed": false })
                    }
                    answer => answer.map_err(request_failure)?,
                };
                printer.print(&data, |data| match data["removed"].as_bool() {
                    Some(true) => format!("{username} is removed"),
                    _ => format!("there is no {username}; nothing was changed"),
                })?;
                Ok(())
            }
        })
    }
}

impl AddExtension {
    /// Removes a new extension whose generated password could not be shown. One that was there before stays, because
    /// it has more than its password. Says what was done.
    async fn withdraw(&self, client: &ControlClient) -> String {
        let Self { tenant, username, .. } = self;
        let unknown = format!("{username} of {tenant} has a new password that was not shown");
        let reset = format!("hint: `bitcall extension add {tenant} {username} --reset-password` gives it another one");
        if self.reset_password {
            return format!("{unknown}\n{reset}");
        }
        match client.delete(&path_of(username), &json!({ "tenantId": tenant })).await {
            Ok(_) => format!("{username} of {tenant} is removed again, because its password was not shown"),
            Err(error) => format!("{unknown}, and could not be removed: {error}\n{reset}"),
        }
    }
}

fn path_of(username: &str) -> String {
    format!("/api/tenant/extensions/{}", path_segment(username))
}

/// The first line, without its end.
pub fn password(file: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        let unreadable = |error| CliError::new(super::Exit::Misconfigured, format!("{}: {error}", file.display()));
        text = std::fs::read_to_string(file).map_err(unreadable)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
