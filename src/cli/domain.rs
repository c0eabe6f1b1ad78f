//! `bitcall domain`: domains of the tenants' own.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{Target, facts, refused, shown, table};
use super::{Failure, Globals};
use crate::client::{self, Client};

#[derive(Debug, Args)]
pub struct Domain {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Claim a domain for a tenant, in the place of the one it has; says what to publish in DNS.
    Add {
        /// Tenant id
        tenant: String,
        /// The domain, e.g. `phone.acme.com`
        domain: String,
    },
    /// Show a tenant's domain: how far it has come, and what to publish in DNS.
    Show {
        /// Tenant id
        tenant: String,
    },
    /// List the domains of all tenants.
    List,
    /// Give up a tenant's domain. Without one it is no error.
    Remove {
        /// Tenant id
        tenant: String,
    },
}

impl Domain {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            Command::Add { tenant, domain } => {
                let body = json!({ "tenantId": tenant, "domain": domain });
                let data = client.post("/api/tenant/domains", &body).await.map_err(refused)?;
                printer.print(&data, claim);
                Ok(())
            }
            Command::Show { tenant } => {
                let data = client.get("/api/tenant/domains", &[("tenantId", &tenant)]).await.map_err(refused)?;
                printer.print(&data, |data| match data["configured"].as_bool() {
                    Some(true) => claim(data),
                    _ => format!("{tenant} has no domain of its own"),
                });
                Ok(())
            }
            Command::List => {
                let domains = all(&client).await.map_err(refused)?;
                let data = json!({ "total": domains.len(), "domains": domains });
                printer.print(&data, |data| {
                    let headings = ["domain", "tenant", "status", "certificate", "claimed"];
                    table(headings, &data["domains"], "there are no domains", |domain| {
                        ["/domain", "/tenantId", "/status", "/tlsStatus", "/createdAt"]
                            .map(|field| shown(domain, field))
                    })
                });
                Ok(())
            }
            Command::Remove { tenant } => {
                let body = json!({ "tenantId": tenant });
                let data = client.delete("/api/tenant/domains", &body).await.map_err(refused)?;
                printer.print(&data, |data| match data["domain"].as_str() {
                    Some(domain) => format!("{tenant} has given up {domain}"),
                    None => format!("{tenant} has no domain of its own; nothing was changed"),
                });
                Ok(())
            }
        })
    }
}

/// Page after page.
async fn all(client: &Client) -> Result<Vec<Value>, client::Error> {
    let mut domains: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = client.get("/api/admin/domains", &query).await?;
        if let Value::Array(some) = page["domains"].take() {
            domains.extend(some);
        }
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(domains);
        }
    }
}

fn claim(data: &Value) -> String {
    let facts = facts(&[
        ("Tenant", shown(data, "/tenantId")),
        ("Domain", shown(data, "/domain")),
        ("Status", shown(data, "/status")),
        ("Certificate", shown(data, "/tlsStatus")),
        ("Claimed", shown(data, "/createdAt")),
        ("Next", shown(data, "/nextAction")),
    ]);
    let records = json!([
        { "kind": "TXT", "record": data["txt"] },
        { "kind": "CNAME", "record": data["cname"] },
    ]);
    let records = table(["record", "name", "value"], &records, "", |record| {
        ["/kind", "/record/host", "/record/value"].map(|field| shown(record, field))
    });
    format!("{facts}\n\n{records}")
}

/// As many as the server gives at once.
const PAGE: &str = "1000";
