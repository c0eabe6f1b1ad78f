//! `bitcall domain`: domains of the tenants' own.

mod check;
mod sync;

use clap::Subcommand;
use serde_json::{Value, json};

use super::control::{CommandGroup, path_segment, request_failure};
use super::table::{field_text, field_time, key_value_table, table};
use super::{CliError, GlobalOptions};

pub type DomainCommands = CommandGroup<DomainCommand>;

#[derive(Debug, Subcommand)]
pub enum DomainCommand {
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

impl DomainCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            DomainCommand::Add { tenant, domain } => {
                let body = json!({ "tenantId": tenant, "domain": domain });
                let data = client.post("/api/tenant/domains", &body).await.map_err(request_failure)?;
                printer.print(&data, claim)?;
                Ok(())
            }
            DomainCommand::Show { tenant } => {
                let data =
                    client.get("/api/tenant/domains", &[("tenantId", &tenant)]).await.map_err(request_failure)?;
                printer.print(&data, |data| match data["configured"].as_bool() {
                    Some(true) => claim(data),
                    _ => format!("{tenant} has no domain of its own"),
                })?;
                Ok(())
            }
            DomainCommand::List => {
                let domains = client.get_all("/api/admin/domains", "domains", &[]).await.map_err(request_failure)?.0;
                let data = json!({ "total": domains.len(), "domains": domains });
                printer.print(&data, |data| {
                    let headings = ["domain", "tenant", "status", "phase", "certificate", "next check", "error"];
                    table(headings, &data["domains"], "there are no domains", |domain| {
                        let [name, tenant, status, phase, certificate, error] =
                            ["/domain", "/tenantId", "/status", "/phase", "/tlsStatus", "/lastError"]
                                .map(|field| field_text(domain, field));
                        [name, tenant, status, phase, certificate, field_time(domain, "/nextCheckAt"), error]
                    })
                })?;
                Ok(())
            }
            DomainCommand::Check { who } => check::run(&client, printer, &who).await,
            DomainCommand::Recheck { tenant } => {
                let body = json!({ "tenantId": tenant });
                let data = client.post("/api/tenant/domains/recheck", &body).await.map_err(request_failure)?;
                printer.print(&data, claim)?;
                Ok(())
            }
            DomainCommand::Sync { domains } => sync::run(&client, printer, domains).await,
            DomainCommand::Activate { domain } => {
                let path = format!("/api/admin/domains/{}/activate", path_segment(&domain));
                let data = client.post(&path, &json!({})).await.map_err(request_failure)?;
                printer.print(&data, claim)?;
                Ok(())
            }
            DomainCommand::Remove { tenant } => {
                let body = json!({ "tenantId": tenant });
                let data = client.delete("/api/tenant/domains", &body).await.map_err(request_failure)?;
                printer.print(&data, |data| match data["domain"].as_str() {
                    Some(domain) => format!("{tenant} has given up {domain}"),
                    None => format!("{tenant} has no domain of its own; nothing was changed"),
                })?;
                Ok(())
            }
        })
    }
}

/// How far a domain has come, and what to publish.
fn claim(data: &Value) -> String {
    let mut rows = vec![
        ("Tenant", field_text(data, "/tenantId")),
        ("Domain", field_text(data, "/domain")),
        ("Status", field_text(data, "/status")),
        ("Phase", field_text(data, "/automation/phase")),
        ("Certificate", field_text(data, "/tlsStatus")),
        ("Claimed", field_time(data, "/createdAt")),
        ("Checked", field_time(data, "/checks/lastCheckedAt")),
        ("Next check", field_time(data, "/automation/nextCheckAt")),
    ];
    let optional = [
        ("Ends", "/automation/expiresAt"),
        ("Elsewhere since", "/automation/movedAt"),
        ("Paused", "/automation/paused"),
        ("Not asked", "/checks/unsure"),
    ];
    rows.extend(
        optional.map(|(name, field)| (name, field_text(data, field))).into_iter().filter(|(_, text)| text != "-"),
    );
    let next = field_text(data, "/nextAction");
    let error = data["lastError"].as_str().unwrap_or_default();
    // `nextAction` mostly begins with the error; then the error is not shown twice. An empty error is not shown either.
    if !next.to_lowercase().starts_with(&error.trim_end_matches('.').to_lowercase()) {
        rows.push(("Error", error.to_owned()));
    }
    rows.push(("Next", next));
    let records = json!([
        { "kind": "TXT", "record": data["txt"] },
        { "kind": "CNAME", "record": data["cname"] },
    ]);
    let headings = ["record", "name", "value", "dns answers", "right"];
    let records = table(headings, &records, "", |record| {
        ["/kind", "/record/host", "/record/value", "/record/observed", "/record/matched"]
            .map(|field| field_text(record, field))
    });
    format!("{}\n\n{records}", key_value_table(&rows))
}
