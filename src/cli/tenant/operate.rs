//! `bitcall tenant plan|enable|disable|delete`: what only the operator decides.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::super::Exit;
use super::super::control::{Printer, request_failure};
use super::super::request::usage_error;
use super::super::table::{field_text, key_value_table};
use super::{CliError, record_path};
use crate::client::ControlClient;

#[derive(Debug, Args)]
pub struct ChangeTenantPlan {
    /// Tenant id
    tenant: String,
    /// The plan it has from now on [default: the one it has]
    plan: Option<String>,
    /// How the tenant stands with billing. While it is paused or canceled, it has the default plan's rights
    #[arg(long, value_parser = ["active", "trialing", "past_due", "paused", "canceled"], value_name = "STATUS")]
    status: Option<String>,
}

impl ChangeTenantPlan {
    pub async fn run(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        let mut data = client.get("/api/tenant", &[("tenantId", &self.tenant)]).await.map_err(request_failure)?;
        if self.plan.is_some() || self.status.is_some() {
            let plan = self.plan.map_or_else(|| data["plan"]["planId"].take(), Value::from);
            let body = json!({ "tenantId": self.tenant, "planId": plan, "status": self.status });
            data = client.patch("/api/tenant/plan", &body).await.map_err(request_failure)?;
        }
        let data = json!({ "tenantId": self.tenant, "plan": data["plan"] });
        printer.print(&data, |data| {
            key_value_table(&[
                ("Tenant", field_text(data, "/tenantId")),
                ("Plan", field_text(data, "/plan/planId")),
                ("Status", field_text(data, "/plan/status")),
                ("API keys", field_text(data, "/plan/entitlements/maxApiKeys")),
                ("Calls at a time", field_text(data, "/plan/entitlements/maxSessions")),
            ])
        })?;
        Ok(())
    }
}

pub async fn switch(client: &ControlClient, printer: Printer, tenant: &str, enabled: bool) -> Result<(), CliError> {
    let verb = if enabled { "enable" } else { "disable" };
    let path = format!("{}/{verb}", record_path(tenant));
    let data = client.post(&path, &json!({})).await.map_err(request_failure)?;
    printer.print(&data, |_| format!("{tenant} is {verb}d"))?;
    Ok(())
}

#[derive(Debug, Args)]
pub struct DeleteTenant {
    /// Tenant id
    tenant: String,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl DeleteTenant {
    pub async fn run(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        let path = record_path(&self.tenant);
        let attempt =
            async |dry_run: bool| client.delete(&path, &json!({ "dryRun": dry_run })).await.map_err(request_failure);
        if self.dry_run {
            printer.print(&attempt(true).await?, |data| {
                format!("would be deleted with {}:\n{}", self.tenant, kinds(data))
            })?;
            return Ok(());
        }
        if !self.yes {
            if !std::io::stdin().is_terminal() {
                return Err(usage_error("nobody is there to be asked\nhint: --yes deletes without asking"));
            }
            self.ask(&attempt(true).await?)?;
        }
        printer.print(&attempt(false).await?, |data| format!("{} is deleted, with:\n{}", self.tenant, kinds(data)))?;
        Ok(())
    }

    /// Asks for the whole id: a `y` is typed too easily for something that cannot be undone.
    fn ask(&self, planned: &Value) -> Result<(), CliError> {
        let (tenant, kinds) = (&self.tenant, kinds(planned));
        write!(std::io::stderr(), "This deletes {tenant} for good, with:\n{kinds}\nType its id to delete it: ")?;
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if answer.trim() == self.tenant {
            return Ok(());
        }
        Err(CliError::new(Exit::Failed, "nothing was deleted"))
    }
}

/// How many of what.
fn kinds(data: &Value) -> String {
    let counts = data["removed"].as_object().into_iter().flatten();
    let lines: Vec<_> = counts.map(|(kind, count)| format!("  {kind}: {count}")).collect();
    lines.join("\n")
}
