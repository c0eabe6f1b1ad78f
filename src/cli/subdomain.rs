//! `bitcall subdomain`: a tenant's name below the operator's base domain.

use clap::Subcommand;
use serde_json::json;

use super::control::{CommandGroup, request_failure};
use super::table::field_text;
use super::{CliError, Exit, GlobalOptions, output};

pub type SubdomainCommands = CommandGroup<SubdomainCommand>;

#[derive(Debug, Subcommand)]
pub enum SubdomainCommand {
    /// Tell whether a tenant could have a subdomain now; exits with 1 when it could not.
    Check {
        /// Tenant id
        tenant: String,
        /// The label below the base domain, e.g. `acme`
        name: String,
    },
    /// Give a tenant a subdomain, in the place of the one it has.
    Set {
        /// Tenant id
        tenant: String,
        /// The label below the base domain, e.g. `acme`
        name: String,
    },
    /// Take a tenant's subdomain back. Without one it is no error.
    Remove {
        /// Tenant id
        tenant: String,
    },
}

impl SubdomainCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            SubdomainCommand::Check { tenant, name } => {
                let query = [("tenantId", tenant.as_str()), ("value", name.as_str())];
                let data = client.get("/api/tenant/subdomains/check", &query).await.map_err(request_failure)?;
                if data["available"] == true {
                    printer.print(&data, |data| format!("{} is available", field_text(data, "/host")))?;
                    return Ok(());
                }
                if printer.is_json() {
                    output::data(&data)?;
                }
                Err(CliError::new(Exit::Failed, field_text(&data, "/message")))
            }
            SubdomainCommand::Set { tenant, name } => {
                let body = json!({ "tenantId": tenant, "subdomain": name });
                let data = client.post("/api/tenant/subdomains", &body).await.map_err(request_failure)?;
                printer.print(&data, |data| format!("{tenant} is at {}", field_text(data, "/host")))?;
                Ok(())
            }
            SubdomainCommand::Remove { tenant } => {
                let body = json!({ "tenantId": tenant });
                let data = client.delete("/api/tenant/subdomains", &body).await.map_err(request_failure)?;
                printer.print(&data, |data| match data["subdomain"].as_str() {
                    Some(name) => format!("{tenant} has no subdomain any more; it was {name}"),
                    None => format!("{tenant} has no subdomain; nothing was changed"),
                })?;
                Ok(())
            }
        })
    }
}
