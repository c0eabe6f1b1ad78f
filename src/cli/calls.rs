//! `bitcall calls`: the calls that phones are in now.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::control::{Printer, TargetOptions, request_failure};
use super::output::Reader;
use super::table::{field_text, field_time, table};
use super::{CliError, GlobalOptions};
use crate::client::ControlClient;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct CallsCommand {
    #[command(flatten)]
    target: TargetOptions,
    /// Tenant id [default: all tenants]
    tenant: Option<String>,
    /// Show them again whenever they change, until interrupted
    #[arg(long)]
    watch: bool,
}

impl CallsCommand {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let Self { target, tenant, watch } = self;
        target.run(globals, async |client, printer| {
            let mut last = Value::Null;
            loop {
                let now = calls(&client, tenant.as_deref()).await?;
                if now != last && show(printer, &now, watch)? == Reader::Gone || !watch {
                    return Ok(());
                }
                last = now;
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        })
    }
}

async fn calls(client: &ControlClient, tenant: Option<&str>) -> Result<Value, CliError> {
    let chosen = tenant.map_or(("activeOnly", "true"), |tenant| ("tenantId", tenant));
    let (tenants, last) =
        client.get_all("/api/admin/live-calls", "tenants", &[chosen]).await.map_err(request_failure)?;
    Ok(json!({ "liveCalls": last["liveCalls"], "activeClients": last["activeClients"], "tenants": tenants }))
}

fn show(printer: Printer, data: &Value, again: bool) -> Result<Reader, CliError> {
    printer.print_next(data, |data| {
        // At a terminal the table is redrawn in place.
        let clear = if again && stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
        format!("{clear}{}", text(data))
    })
}

fn text(data: &Value) -> String {
    let mut lines = Vec::new();
    for tenant in data["tenants"].as_array().into_iter().flatten() {
        for call in tenant["calls"].as_array().into_iter().flatten() {
            let mut line = call.clone();
            line["tenantId"] = tenant["tenantId"].clone();
            lines.push(line);
        }
    }
    let headings = ["tenant", "direction", "number", "state", "since", "phone"];
    let calls = table(headings, &Value::Array(lines), "nobody is in a call", |call| {
        let [tenant, direction, number, state, phone] =
            ["/tenantId", "/direction", "/number", "/state", "/clientId"].map(|field| field_text(call, field));
        [tenant, direction, number, state, field_time(call, "/startedAt"), phone]
    });
    match data["liveCalls"].as_u64() {
        None | Some(0) => calls,
        Some(_) => {
            format!(
                "{calls}\n\n{} calls in {} phones",
                field_text(data, "/liveCalls"),
                field_text(data, "/activeClients")
            )
        }
    }
}
