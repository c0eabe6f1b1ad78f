//! `bitcall domain sync`: checks the DNS of many domains, several at a time, with a progress bar on a terminal.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::control::{Printer, request_failure};
use crate::cli::table::{field_text, table};
use crate::cli::{CliError, Exit};
use crate::client::ControlClient;

/// Names in one request: a server looks at 32 at a time, each within seconds.
const MAX_NAMES_PER_REQUEST: usize = 16;
const MAX_CONCURRENT_REQUESTS: usize = 4;

pub async fn run(client: &ControlClient, printer: Printer, mut names: Vec<String>) -> Result<(), CliError> {
    let asked_for_all = names.is_empty();
    if asked_for_all {
        let lines = client.get_all("/api/admin/domains", "domains", &[]).await.map_err(request_failure)?.0;
        names = lines.iter().filter_map(|line| line["domain"].as_str().map(str::to_owned)).collect();
    }
    let bar = bar(names.len());
    let requests = names.chunks(MAX_NAMES_PER_REQUEST).map(async |some| {
        let answer =
            client.post("/api/admin/domains/sync", &json!({ "domains": some })).await.map_err(request_failure)?;
        bar.inc(u64::try_from(some.len()).unwrap_or_default());
        Ok::<_, CliError>(answer)
    });
    let answers: Vec<Value> = stream::iter(requests).buffer_unordered(MAX_CONCURRENT_REQUESTS).try_collect().await?;
    bar.finish_and_clear();

    let mut synced = json!({ "total": 0, "active": 0, "verified": 0, "pending": 0, "unsure": 0 });
    let (mut domains, mut unknown) = (Vec::new(), Vec::new());
    for mut answer in answers {
        domains.append(answer["domains"].as_array_mut().unwrap_or(&mut Vec::new()));
        unknown.append(answer["unknown"].as_array_mut().unwrap_or(&mut Vec::new()));
    }
    domains.sort_by_cached_key(|domain| field_text(domain, "/domain"));
    let count = |fits: &dyn Fn(&Value) -> bool| domains.iter().filter(|domain| fits(domain)).count();
    for status in ["active", "verified", "pending"] {
        synced[status] = json!(count(&|domain| domain["status"] == status));
    }
    synced["unsure"] = json!(count(&|domain| !domain["checks"]["unsure"].is_null()));
    synced["total"] = json!(domains.len());
    synced["domains"] = domains.into();
    synced["unknown"] = unknown.into();
    printer.print(&synced, text)?;
    // Without names, a domain may have been given up since the list was read; a domain that was named must exist.
    match synced["unknown"].as_array().map(Vec::as_slice) {
        Some([_, ..]) if !asked_for_all => {
            Err(CliError::new(Exit::Failed, format!("no tenant claims {}", field_text(&synced, "/unknown"))))
        }
        _ => Ok(()),
    }
}

/// Hidden where standard error is no terminal.
fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left");
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or_default()).with_message("looking");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn text(synced: &Value) -> String {
    let not_active = |domain: &&Value| domain["status"] != "active" || domain["lastError"] != "";
    let rest: Vec<Value> = synced["domains"].as_array().into_iter().flatten().filter(not_active).cloned().collect();
    let counts = format!(
        "{} domains: {} active, {} verified, {} pending",
        synced["total"], synced["active"], synced["verified"], synced["pending"]
    );
    if rest.is_empty() {
        return counts;
    }
    let rest = table(["domain", "tenant", "status", "phase", "next"], &Value::Array(rest), "", |domain| {
        ["/domain", "/tenantId", "/status", "/automation/phase", "/nextAction"].map(|field| field_text(domain, field))
    });
    format!("{rest}\n\n{counts}")
}
