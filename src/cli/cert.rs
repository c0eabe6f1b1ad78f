//! `bitcall cert`: the certificates that this server serves, gets and keeps new.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::control::{CommandGroup, path_segment, request_failure};
use super::table::{field_text, field_time, table};
use super::{CliError, Exit, GlobalOptions};

pub type CertCommands = CommandGroup<CertCommand>;

#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// List all certificates, and those that are being got; exits with 1 when one has expired, cannot be got, or is not
    /// the one that is served.
    List,
    /// Order what is missing, and remove what nobody needs any more.
    Sync,
    /// Order a new certificate now, as far as the limits of the authority allow.
    Renew {
        /// The name that it is for
        name: String,
    },
    /// Bring a certificate; it is served at once, and never renewed.
    Import {
        /// The name that it is for, or `*.<name>`
        name: String,
        /// PEM file: the certificate, then its intermediates
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// PEM file: the private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Remove a certificate; it is served no longer.
    Remove {
        /// The name that it is for
        name: String,
    },
}

impl CertCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            CertCommand::List => {
                let certificates =
                    client.get_all("/api/admin/certificates", "certificates", &[]).await.map_err(request_failure)?.0;
                let bad = certificates.iter().filter(|line| is_bad(line)).count();
                let data = json!({ "total": certificates.len(), "certificates": certificates });
                printer.print(&data, list)?;
                match bad {
                    0 => Ok(()),
                    bad => Err(CliError::new(Exit::Failed, format!("{bad} of {} are not in order", data["total"]))),
                }
            }
            CertCommand::Sync => {
                let data = client.post("/api/internal/certificates/sync", &json!({})).await.map_err(request_failure)?;
                printer.print(&data, |data| {
                    let removed = match data["removed"].as_array().map_or(0, Vec::len) {
                        0 => String::new(),
                        _ => format!("; removed, because nobody needs them any more: {}", field_text(data, "/removed")),
                    };
                    if data["automatic"] == false {
                        return "no certificates are got: `[acme]` names no directory, or no server is running".into();
                    }
                    format!("{} are wanted{removed}", field_text(data, "/wanted"))
                })?;
                Ok(())
            }
            CertCommand::Renew { name } => {
                let path = format!("{}/renew", path_of(&name));
                let data = client.post(&path, &json!({})).await.map_err(request_failure)?;
                printer.print(&data, |data| format!("{name}: {}", field_text(data, "/stage")))?;
                Ok(())
            }
            CertCommand::Import { name, certificate, key } => {
                let body = json!({ "certificate": read(&certificate)?, "key": read(&key)? });
                let data = client.put(&path_of(&name), &body).await.map_err(request_failure)?;
                printer.print(&data, |data| {
                    format!("{} until {}", field_text(data, "/names"), field_text(data, "/notAfter"))
                })?;
                Ok(())
            }
            CertCommand::Remove { name } => {
                let data = client.delete(&path_of(&name), &json!({})).await.map_err(request_failure)?;
                printer.print(&data, |_| format!("the certificate for {name} is served no longer"))?;
                Ok(())
            }
        })
    }
}

/// As the server judges it: over, or with a problem that has lasted, or of no use.
fn is_bad(line: &Value) -> bool {
    matches!(line["status"].as_str(), Some("failed" | "expired")) || line["problem"]["kind"] == "not_served"
}

fn list(data: &Value) -> String {
    let headings = ["name", "status", "stage", "until", "renewed from", "tenant", "problem"];
    table(headings, &data["certificates"], "there are no certificates", |line| {
        let [name, status, stage, tenant, problem] =
            ["/name", "/status", "/stage", "/tenantId", "/problem/message"].map(|field| field_text(line, field));
        [name, status, stage, field_time(line, "/notAfter"), field_time(line, "/renewAt"), tenant, problem]
    })
}

fn path_of(name: &str) -> String {
    format!("/api/admin/certificates/{}", path_segment(name))
}

fn read(path: &Path) -> Result<String, CliError> {
    let failed = |error| CliError::new(Exit::Misconfigured, format!("{}: {error}", path.display()));
    std::fs::read_to_string(path).map_err(failed)
}
