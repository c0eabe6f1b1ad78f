//! `bitcall tenant`: make, list, show.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{Printer, Target, facts, refused, shown, table};
use super::{Failure, Globals};
use crate::client::{self, Client};

#[derive(Debug, Args)]
pub struct Tenant {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a tenant and its first API key; the key is shown once.
    Provision(Provision),
    /// List tenants.
    List(List),
    /// Show a tenant: effective settings, domains, keys.
    Show {
        /// Tenant id
        tenant: String,
    },
}

#[derive(Debug, Args)]
struct Provision {
    /// Tenant id, e.g. `acme_corp`: a-z, 0-9, _ and -
    tenant: String,
    /// Name shown in the phone [default: the id]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Plan [default: the catalogue's default plan]
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Label of the API key
    #[arg(long, value_name = "TEXT")]
    key_label: Option<String>,
    /// Origin whose pages may embed the phone, e.g. `https://crm.acme.com`; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Succeed without a change when the tenant exists
    #[arg(long)]
    if_missing: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Only those with this text in id or name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this plan
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Only enabled ones
    #[arg(long, conflicts_with = "disabled")]
    enabled: bool,
    /// Only disabled ones
    #[arg(long)]
    disabled: bool,
}

impl Tenant {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            Command::Provision(provision) => provision.run(&client, printer).await,
            Command::List(list) => list.run(&client, printer).await,
            Command::Show { tenant } => {
                let data = client.get("/api/tenant", &[("tenantId", &tenant)]).await.map_err(refused)?;
                printer.print(&data, profile);
                Ok(())
            }
        })
    }
}

impl Provision {
    async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let body = json!({
            "tenantId": self.tenant,
            "displayName": self.name,
            "planId": self.plan,
            "apiKeyLabel": self.key_label,
            "origins": { "allowedOrigins": self.origins },
        });
        match client.post("/api/tenant/provision", &body).await {
            Ok(data) => {
                printer.print(&data, |data| {
                    facts(&[
                        ("Tenant", shown(data, "/tenantId")),
                        ("Plan", shown(data, "/plan/name")),
                        ("API key", format!("{}  (shown only now)", shown(data, "/apiKey"))),
                    ])
                });
                Ok(())
            }
            Err(client::Error::Refused(error)) if self.if_missing && error.code == "TENANT_EXISTS" => {
                let query = [("tenantId", self.tenant.as_str())];
                let found = client.get("/api/tenant", &query).await.map_err(refused)?;
                // The same fields as for a new tenant; the key cannot be shown again.
                let data = json!({ "tenantId": self.tenant, "apiKey": null, "planId": found["plan"]["planId"] });
                printer.print(&data, |_| format!("tenant {} exists already; nothing was changed", self.tenant));
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }
}

impl List {
    async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut tenants = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            query.extend(self.plan.as_deref().map(|plan| ("planId", plan)));
            query.extend(self.search.as_deref().map(|text| ("q", text)));
            query.extend(self.enabled.then_some(("enabled", "true")));
            query.extend(self.disabled.then_some(("enabled", "false")));
            let mut page = client.get("/api/admin/tenants", &query).await.map_err(refused)?;
            if let Value::Array(found) = page["tenants"].take() {
                tenants.extend(found);
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let data = json!({ "total": tenants.len(), "tenants": tenants });
        printer.print(&data, |data| {
            let headings = ["tenant", "name", "enabled", "plan", "status", "keys"];
            table(headings, &data["tenants"], "there are no such tenants", |tenant| {
                ["/tenantId", "/displayName", "/enabled", "/planId", "/planStatus", "/apiKeyCount"]
                    .map(|field| shown(tenant, field))
            })
        });
        Ok(())
    }
}

fn profile(data: &Value) -> String {
    let theme = format!("{} (locked: {})", shown(data, "/behavior/theme/start"), shown(data, "/behavior/theme/lock"));
    let facts = facts(&[
        ("Tenant", shown(data, "/tenantId")),
        ("Name", shown(data, "/branding/displayName")),
        ("Enabled", shown(data, "/enabled")),
        ("Plan", format!("{} ({})", shown(data, "/plan/planId"), shown(data, "/plan/status"))),
        ("Allowed origins", shown(data, "/origins/allowedOrigins")),
        ("Transport", shown(data, "/transport/mode")),
        ("SIP domain", shown(data, "/transport/sip/domain")),
        ("SIP WebSocket", shown(data, "/transport/wss")),
        ("DTMF", shown(data, "/transport/sip/dtmf")),
        ("Sign-in", shown(data, "/behavior/host/mode")),
        ("Theme", theme),
        ("Accent", shown(data, "/branding/themeColor")),
        ("Calls at a time", shown(data, "/capabilities/maxSessions")),
        ("Subdomain", shown(data, "/domains/subdomain")),
        ("Custom domain", shown(data, "/domains/customDomain")),
        ("Made", shown(data, "/createdAt")),
    ]);
    format!("{facts}\n\n{}", super::key::keys(&data["apiKeys"]))
}

/// As many as the server gives at once.
const PAGE: &str = "1000";
