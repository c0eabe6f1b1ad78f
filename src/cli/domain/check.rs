//! `bitcall domain check`: what DNS answers for one domain now, and whether that is right.

use serde_json::{Value, json};

use super::claim;
use crate::cli::control::{Printer, request_failure};
use crate::cli::table::field_text;
use crate::cli::{CliError, Exit};
use crate::client::ControlClient;

pub async fn run(client: &ControlClient, printer: Printer, who: &str) -> Result<(), CliError> {
    let domain = domain_of(client, who).await?;
    let body = json!({ "domains": [domain] });
    let mut answer = client.post("/api/admin/domains/sync", &body).await.map_err(request_failure)?;
    let mut data = answer.pointer_mut("/domains/0").map(Value::take).unwrap_or_default();
    if data.is_null() {
        let hint = "hint: `bitcall domain list` shows all domains";
        return Err(CliError::new(Exit::Failed, format!("no tenant claims the domain {domain}\n{hint}")));
    }
    let right = is_right(&data);
    data["right"] = json!(right);
    printer.print(&data, claim)?;
    if right {
        return Ok(());
    }
    let next = field_text(&data, "/nextAction");
    Err(match data["checks"]["unsure"].as_str() {
        Some(why) => CliError::new(Exit::Unreachable, format!("DNS could not be asked for everything: {why}")),
        None if only_unknown(&data) => {
            CliError::new(Exit::Unreachable, format!("DNS could not be asked for everything\nhint: {next}"))
        }
        None => CliError::new(Exit::Failed, format!("{domain} is not right yet\nhint: {next}")),
    })
}

/// A tenant's id has no dot, and every domain has one.
async fn domain_of(client: &ControlClient, who: &str) -> Result<String, CliError> {
    if who.contains('.') {
        return Ok(who.to_owned());
    }
    let data = client.get("/api/tenant/domains", &[("tenantId", who)]).await.map_err(request_failure)?;
    let none = || CliError::new(Exit::Failed, format!("{who} has no domain of its own"));
    data["domain"].as_str().map(str::to_owned).ok_or_else(none)
}

/// Whether nothing is left to be done. The TXT record is needed until the domain is proved, and not after that.
fn is_right(data: &Value) -> bool {
    let proved = data["txt"]["matched"] == true || data["status"] != "pending";
    let phase = data["automation"]["phase"].as_str().unwrap_or_default();
    let held_back = phase == "preflight" && data["lastError"].as_str().is_some_and(|error| !error.is_empty());
    let troubled = held_back || matches!(phase, "backoff" | "blocked" | "moved" | "paused");
    let problems = data["problems"].as_array().is_some_and(|problems| !problems.is_empty());
    proved && data["cname"]["matched"] == true && !problems && !troubled && data["checks"]["unsure"].is_null()
}

/// Whether everything is right except for records that could not be looked up.
fn only_unknown(data: &Value) -> bool {
    let mut settled = data.clone();
    if let Some(problems) = settled["problems"].as_array_mut() {
        problems.retain(|problem| problem["kind"] != "caa_unknown");
    }
    is_right(&settled)
}
