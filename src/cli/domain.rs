//! `bitcall domain`: domains of the tenants' own.

mod check;
mod sync;

use clap::Subcommand;
use serde_json::{Value, json};

use super::control::{Group, facts, refused, shown, table};
use super::{Failure, Globals};

pub type Domain = Group<Command>;

#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Look at a domain's DNS now: what it answers, what is wrong, and the exact record to add; exits with 1 when
    /// something is to be done, and with 3 when DNS could not be asked.
    Check {
        /// Tenant id, or the domain
        #[arg(value_name = "TENANT|DOMAIN")]
        who: String,
    },
    /// Look at a tenant's domain now, as the tenant may ask for itself: not more often than every 30 seconds.
    Recheck {
        /// Tenant id
        tenant: String,
    },
    /// Look at the DNS of many domains now, many at a time.
    Sync {
        /// Which ones [default: those of all tenants]
        domains: Vec<String>,
    },
    /// Take a claimed domain as proved and leading here, whatever DNS says. Again is no error.
    Activate {
        /// The domain
        domain: String,
    },
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
                let domains = client.all("/api/admin/domains", "domains", &[]).await.map_err(refused)?.0;
                let data = json!({ "total": domains.len(), "domains": domains });
                printer.print(&data, |data| {
                    let headings = ["domain", "tenant", "status", "phase", "certificate", "next check", "error"];
                    table(headings, &data["domains"], "there are no domains", |domain| {
                        ["/domain", "/tenantId", "/status", "/phase", "/tlsStatus", "/nextCheckAt", "/lastError"]
                            .map(|field| shown(domain, field))
                    })
                });
                Ok(())
            }
            Command::Check { who } => check::run(&client, printer, &who).await,
            Command::Recheck { tenant } => {
                let body = json!({ "tenantId": tenant });
                let data = client.post("/api/tenant/domains/recheck", &body).await.map_err(refused)?;
                printer.print(&data, claim);
                Ok(())
            }
            Command::Sync { domains } => sync::run(&client, printer, domains).await,
            Command::Activate { domain } => {
                let escaped: String = url::form_urlencoded::byte_serialize(domain.as_bytes()).collect();
                let path = format!("/api/admin/domains/{escaped}/activate");
                let data = client.post(&path, &json!({})).await.map_err(refused)?;
                printer.print(&data, claim);
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

/// How far a domain has come, and what to publish.
fn claim(data: &Value) -> String {
    let mut told = vec![
        ("Tenant", shown(data, "/tenantId")),
        ("Domain", shown(data, "/domain")),
        ("Status", shown(data, "/status")),
        ("Phase", shown(data, "/automation/phase")),
        ("Certificate", shown(data, "/tlsStatus")),
        ("Claimed", shown(data, "/createdAt")),
        ("Checked", shown(data, "/checks/lastCheckedAt")),
        ("Next check", shown(data, "/automation/nextCheckAt")),
    ];
    let optional = [
        ("Ends", "/automation/expiresAt"),
        ("Elsewhere since", "/automation/movedAt"),
        ("Paused", "/automation/paused"),
        ("Not asked", "/checks/unsure"),
    ];
    told.extend(optional.map(|(name, field)| (name, shown(data, field))).into_iter().filter(|(_, text)| text != "-"));
    let next = shown(data, "/nextAction");
    let error = data["lastError"].as_str().unwrap_or_default();
    // Most errors are the beginning of what is to be done; and none is the beginning of everything.
    if !next.to_lowercase().starts_with(&error.trim_end_matches('.').to_lowercase()) {
        told.push(("Error", error.to_owned()));
    }
    told.push(("Next", next));
    let records = json!([
        { "kind": "TXT", "record": data["txt"] },
        { "kind": "CNAME", "record": data["cname"] },
    ]);
    let headings = ["record", "name", "value", "dns answers", "right"];
    let records = table(headings, &records, "", |record| {
        ["/kind", "/record/host", "/record/value", "/record/observed", "/record/matched"]
            .map(|field| shown(record, field))
    });
    format!("{}\n\n{records}", facts(&told))
}
