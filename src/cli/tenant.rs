//! `bitcall tenant`: make, list, show, change, switch off, delete.

mod config;
mod operate;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{CommandGroup, Printer, not_applied, path_segment, request_failure};
use super::table::{field_text, key_value_table, table};
use super::{CliError, GlobalOptions, key};
use crate::client::{self, ControlClient};

pub type TenantCommands = CommandGroup<TenantCommand>;

#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant and its first API key; the key is shown once.
    Provision(ProvisionTenant),
    /// List tenants.
    List(ListTenants),
    /// Show a tenant: effective settings, domains, keys.
    Show {
        /// Tenant id
        tenant: String,
        /// As the operator has it: what was set beside what is in effect
        #[arg(long)]
        raw: bool,
    },
    /// Change settings; what is not named stays as it is.
    Config(Box<config::ChangeSettings>),
    /// Show or set a tenant's plan, and how it stands with billing.
    Plan(operate::ChangeTenantPlan),
    /// Let a tenant in again.
    Enable {
        /// Tenant id
        tenant: String,
    },
    /// Shut a tenant out of every surface at once.
    Disable {
        /// Tenant id
        tenant: String,
    },
    /// Delete a tenant with all that is kept of it; asks first.
    Delete(operate::DeleteTenant),
}

#[derive(Debug, Args)]
pub struct ProvisionTenant {
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
    /// What the API key may be used for, `pages` or `backend` [default: both]
    #[arg(long, value_name = "PURPOSE", value_parser = ["pages", "backend"])]
    key_for: Option<String>,
    /// Origin whose pages may embed the phone, e.g. `https://crm.acme.com`; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Succeed without a change when the tenant exists
    #[arg(long)]
    if_missing: bool,
}

#[derive(Debug, Args)]
pub struct ListTenants {
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

impl TenantCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            TenantCommand::Provision(provision) => provision.run(&client, printer).await,
            TenantCommand::List(list) => list.run(&client, printer).await,
            TenantCommand::Config(config) => config.run(&client, printer).await,
            TenantCommand::Plan(plan) => plan.run(&client, printer).await,
            TenantCommand::Enable { tenant } => operate::switch(&client, printer, &tenant, true).await,
            TenantCommand::Disable { tenant } => operate::switch(&client, printer, &tenant, false).await,
            TenantCommand::Delete(delete) => delete.run(&client, printer).await,
            TenantCommand::Show { tenant, raw: true } => {
                let data = client.get(&record_path(&tenant), &[]).await.map_err(request_failure)?;
                printer.print(&data, record)?;
                Ok(())
            }
            TenantCommand::Show { tenant, raw: false } => {
                let data = client.get("/api/tenant", &[("tenantId", &tenant)]).await.map_err(request_failure)?;
                printer.print(&data, profile)?;
                Ok(())
            }
        })
    }
}

impl ProvisionTenant {
    async fn run(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        let body = json!({
            "tenantId": self.tenant,
            "displayName": self.name,
            "planId": self.plan,
            "apiKeyLabel": self.key_label,
            "apiKeyPurpose": self.key_for,
            "origins": { "allowedOrigins": self.origins },
        });
        match client.post("/api/tenant/provision", &body).await {
            Ok(data) => {
                let text = |data: &Value| {
                    key_value_table(&[
                        ("Tenant", field_text(data, "/tenantId")),
                        ("Plan", field_text(data, "/plan/name")),
                        ("API key", format!("{}  (shown only now)", field_text(data, "/apiKey"))),
                    ])
                };
                let key = &data["apiKeyMeta"]["id"];
                printer.print_once(&data, text, async || key::withdraw(client, &self.tenant, key).await).await
            }
            Err(client::Error::Refused(error)) if self.if_missing && error.code == "TENANT_EXISTS" => {
                let query = [("tenantId", self.tenant.as_str())];
                let found = client.get("/api/tenant", &query).await.map_err(request_failure)?;
                // The same fields as for a new tenant; the key cannot be shown again.
                let data = json!({ "tenantId": self.tenant, "apiKey": null, "planId": found["plan"]["planId"] });
                printer.print(&data, |_| format!("tenant {} exists already; nothing was changed", self.tenant))?;
                Ok(())
            }
            Err(error) => Err(request_failure(error)),
        }
    }
}

impl ListTenants {
    async fn run(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        let mut query = Vec::new();
        query.extend(self.plan.as_deref().map(|plan| ("planId", plan)));
        query.extend(self.search.as_deref().map(|text| ("q", text)));
        query.extend(self.enabled.then_some(("enabled", "true")));
        query.extend(self.disabled.then_some(("enabled", "false")));
        let (tenants, _) = client.get_all("/api/admin/tenants", "tenants", &query).await.map_err(request_failure)?;
        let data = json!({ "total": tenants.len(), "tenants": tenants });
        printer.print(&data, |data| {
            let headings = ["tenant", "name", "enabled", "plan", "status", "keys"];
            table(headings, &data["tenants"], "there are no such tenants", |tenant| {
                ["/tenantId", "/displayName", "/enabled", "/planId", "/planStatus", "/apiKeyCount"]
                    .map(|field| field_text(tenant, field))
            })
        })?;
        Ok(())
    }
}

fn profile(data: &Value) -> String {
    let theme =
        format!("{} (locked: {})", field_text(data, "/behavior/theme/start"), field_text(data, "/behavior/theme/lock"));
    let facts = key_value_table(&[
        ("Tenant", field_text(data, "/tenantId")),
        ("Name", field_text(data, "/branding/displayName")),
        ("Enabled", field_text(data, "/enabled")),
        ("Plan", format!("{} ({})", field_text(data, "/plan/planId"), field_text(data, "/plan/status"))),
        ("Allowed origins", field_text(data, "/origins/allowedOrigins")),
        ("Transport", field_text(data, "/transport/mode")),
        ("SIP domain", field_text(data, "/transport/sip/domain")),
        ("SIP WebSocket", field_text(data, "/transport/wss")),
        ("ICE servers", super::transport::ice_servers(&data["transport"]["iceServers"])),
        ("DTMF", field_text(data, "/transport/sip/dtmf")),
        ("Sign-in", field_text(data, "/behavior/host/mode")),
        ("Theme", theme),
        ("Accent", field_text(data, "/branding/themeColor")),
        ("Calls at a time", field_text(data, "/capabilities/maxSessions")),
        ("Subdomain", field_text(data, "/domains/subdomain")),
        ("Custom domain", field_text(data, "/domains/customDomain")),
        ("Made", field_text(data, "/createdAt")),
    ]);
    format!("{facts}{}\n\n{}", not_applied(data), super::key::keys(&data["apiKeys"]))
}

/// What was set on the left, what is in effect on the right.
fn record(data: &Value) -> String {
    let head = key_value_table(&[
        ("Tenant", field_text(data, "/tenantId")),
        ("Enabled", field_text(data, "/enabled")),
        ("Plan", format!("{} ({})", field_text(data, "/planId"), field_text(data, "/planStatus"))),
        ("Extensions", field_text(data, "/extensionCount")),
        ("Allowed origins", field_text(data, "/raw/origins/allowedOrigins")),
        ("By the operator", by_operator(&data["raw"]["byOperator"])),
        ("Changed", field_text(data, "/updatedAt")),
    ]);
    let settings = [
        ("Name", "branding/displayName", "branding/displayName"),
        ("Accent", "branding/themeColor", "branding/themeColor"),
        ("Pop-up", "app/popupMode", "capabilities/popupMode"),
        ("Installable", "app/installable", "capabilities/installable"),
        ("Audio clips", "app/audioClips", "capabilities/audioClips"),
        ("Recording", "app/recording", "capabilities/recording"),
        ("Automatic recording", "behavior/recording/autoRecord", "behavior/recording/autoRecord"),
        ("Stereo recording", "behavior/recording/stereo", "behavior/recording/stereo"),
        ("Recording beep", "behavior/recording/beep", "behavior/recording/beep"),
        ("Recording announcement", "behavior/recording/announcement", "behavior/recording/announcement"),
        ("Sign-in", "behavior/host/mode", "behavior/host/mode"),
        ("Decline", "behavior/calls/declineStatus", "behavior/calls/declineStatus"),
        ("Redirects", "behavior/calls/redirects", "behavior/calls/redirects"),
        ("Referrals", "behavior/calls/referrals", "behavior/calls/referrals"),
        ("Auto-answer", "behavior/calls/autoAnswer", "behavior/calls/autoAnswer"),
        ("Message replies", "behavior/calls/messageReplies", "behavior/calls/messageReplies"),
        ("Caller ID in", "behavior/calls/callerIdHeader", "behavior/calls/callerIdHeader"),
        ("Hold music", "behavior/holdMusic/enabled", "behavior/holdMusic/enabled"),
        ("Hold music file", "behavior/holdMusic/url", "behavior/holdMusic/url"),
        ("SIP domain", "sip/domain", "transport/sip/domain"),
        ("DTMF", "sip/dtmf", "transport/sip/dtmf"),
        ("SIP WebSocket", "wss", "transport/wss"),
        ("Sign-in links", "features/authLink", "features/authLink"),
    ];
    let mut rows: Vec<_> = settings
        .iter()
        .map(|(name, raw, effective)| json!([name, at(data, "raw", raw), at(data, "effective", effective)]))
        .collect();
    let ice = super::transport::ice_servers;
    let servers = [&data["raw"]["iceServers"], &data["effective"]["transport"]["iceServers"]].map(ice);
    rows.push(json!(["ICE servers", servers[0], servers[1]]));
    let clips = ["raw", "effective"].map(|side| {
        let list = data[side]["behavior"]["clips"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<_> = list.iter().map(|clip| field_text(clip, "/name")).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    });
    rows.push(json!(["Clips", clips[0], clips[1]]));
    let side_by_side = table(["setting", "set", "in effect"], &Value::Array(rows), "", |row| {
        ["/0", "/1", "/2"].map(|column| field_text(row, column))
    });
    let not_applied = not_applied(data);
    format!("{head}\n\n{side_by_side}{not_applied}\n\n{}", super::key::keys(&data["apiKeys"]))
}

fn at(data: &Value, side: &str, field: &str) -> String {
    field_text(data, &format!("/{side}/{field}"))
}

/// The transport that is in effect whatever the plan says.
fn by_operator(marks: &Value) -> String {
    let set = marks.as_object().into_iter().flatten().filter(|(_, mark)| **mark == Value::Bool(true));
    let names: Vec<_> = set.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn record_path(tenant: &str) -> String {
    format!("/api/admin/tenants/{}", path_segment(tenant))
}
