//! `bitcall audit`: who changed what, and when.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::control::{Printer, TargetOptions, request_failure};
use super::output::{self, Reader};
use super::table::{field_text, field_time, table};
use super::{CliError, GlobalOptions};
use crate::client::ControlClient;
use crate::config;
use crate::timestamp::Timestamp;

/// Entries in one request: the server's own limit.
const MAX_PAGE_ENTRIES: usize = 1000;
/// Characters of a line for what has changed.
const MAX_DIFFERENCE_CHARS: usize = 60;
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// More than any request may take.
const MAX_REQUEST_TIME: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub struct AuditCommand {
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    filter: AuditFilter,
    /// Go on and show changes as they are made
    #[arg(long, conflicts_with = "until")]
    follow: bool,
}

#[derive(Clone, Debug, Args)]
struct AuditFilter {
    /// Only changes of this tenant; its deletion is found by its id, too
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only changes of this kind, e.g. `key.create`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only from then on: a time ago, e.g. `2h` or `7d`, or a moment, e.g. 2026-03-14T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl AuditCommand {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let Self { target, filter, follow } = self;
        target.run(globals, async |client, printer| {
            if follow {
                return filter.follow(&client, printer).await;
            }
            let data = json!({ "entries": filter.entries(&client).await? });
            printer.print(&data, |data| lines(&data["entries"]))?;
            Ok(())
        })
    }
}

impl AuditFilter {
    /// The newest first.
    async fn entries(&self, client: &ControlClient) -> Result<Vec<Value>, CliError> {
        let mut entries = Vec::new();
        let mut cursor = None;
        while entries.len() < self.limit {
            let limit = (self.limit - entries.len()).min(MAX_PAGE_ENTRIES).to_string();
            let (since, until) = (self.since.map(|at| at.to_string()), self.until.map(|at| at.to_string()));
            let mut query = vec![("limit", limit.as_str())];
            query.extend(self.tenant.as_deref().map(|tenant| ("tenantId", tenant)));
            query.extend(self.action.as_deref().map(|action| ("action", action)));
            query.extend(since.as_deref().map(|since| ("since", since)));
            query.extend(until.as_deref().map(|until| ("until", until)));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = client.get("/api/admin/audit", &query).await.map_err(request_failure)?;
            if let Value::Array(found) = page["entries"].take() {
                entries.extend(found);
            }
            match page["next"].take() {
                Value::String(next) => cursor = Some(next),
                _ => break,
            }
        }
        Ok(entries)
    }

    /// Until it is interrupted, the oldest first; as JSON one entry a line.
    async fn follow(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        // Those that the later questions will find again, and that the first one does not show because of its limit or
        // its start, are not new.
        let mut shown = ids(&self.recent(Timestamp::now()).entries(client).await?);
        let mut entries = self.entries(client).await?;
        loop {
            let started_at = Timestamp::now();
            shown.extend(ids(&entries));
            entries.reverse();
            if !entries.is_empty() {
                let text = if printer.is_json() {
                    entries.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
                } else {
                    lines(&Value::Array(entries))
                };
                if output::data(text)? == Reader::Gone {
                    return Ok(());
                }
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            let found = self.recent(started_at).entries(client).await?;
            // Older ones are not found again.
            let window = ids(&found);
            entries = found;
            entries.retain(|entry| entry["id"].as_str().is_none_or(|id| !shown.contains(id)));
            shown.retain(|id| window.contains(id));
        }
    }

    /// The same filter for everything that may have been committed since `moment`: an entry has the time at which its
    /// request arrived, not that at which it was committed.
    fn recent(&self, moment: Timestamp) -> Self {
        Self { since: Some(moment.before(MAX_REQUEST_TIME)), limit: usize::MAX, ..self.clone() }
    }
}

fn ids(entries: &[Value]) -> HashSet<String> {
    entries.iter().filter_map(|entry| entry["id"].as_str().map(str::to_owned)).collect()
}

/// A time ago (`2h`), or a point in time (RFC 3339).
fn time(text: &str) -> Result<Timestamp, String> {
    match config::duration(text) {
        Some(ago) => Ok(Timestamp::now().before(ago)),
        None => text.parse().map_err(|_| "it must be a time ago, such as 2h or 7d, or as 2026-03-14T12:00:00Z".into()),
    }
}

fn lines(entries: &Value) -> String {
    table(["when", "who", "action", "tenant", "what"], entries, "there are no such changes", |entry| {
        let what = differences(&entry["before"], &entry["after"]);
        let [who, action, tenant] = ["/by", "/action", "/tenantId"].map(|field| field_text(entry, field));
        [field_time(entry, "/at"), who, action, tenant, what]
    })
}

/// `settings.displayName: Acme → New, …`, cut to `MAX_DIFFERENCE_CHARS`.
fn differences(before: &Value, after: &Value) -> String {
    let mut found = Vec::new();
    differing("", before, after, &mut found);
    let text = found.join(", ");
    match text.char_indices().nth(MAX_DIFFERENCE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// An item of a list: itself, or its id (an API key's, for example).
fn item_name(item: &Value) -> String {
    item["id"].as_str().map_or_else(|| field_text(item, ""), str::to_owned)
}

fn differing(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    let nothing = Map::new();
    if !before.is_object() && !after.is_object() {
        if let (Value::Array(before), Value::Array(after)) = (before, after) {
            let only = |some: &[Value], others: &[Value], sign: char| {
                let names = |items: &[Value]| items.iter().map(item_name).collect::<Vec<_>>();
                let others = names(others);
                let own = names(some).into_iter().filter(|name| !others.contains(name));
                own.map(|name| format!("{path}: {sign}{name}")).collect::<Vec<_>>()
            };
            found.extend(only(before, after, '-').into_iter().chain(only(after, before, '+')));
            return;
        }
        let value = |value: &Value| match value {
            Value::Array(items) => items.iter().map(item_name).collect::<Vec<_>>().join(" "),
            value => field_text(value, ""),
        };
        if before != after {
            found.push(format!("{path}: {} → {}", value(before), value(after)));
        }
        return;
    }
    let (before, after) = (before.as_object().unwrap_or(&nothing), after.as_object().unwrap_or(&nothing));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let side = |side: &Map<String, Value>| side.get(name).cloned().unwrap_or_default();
        differing(&below, &side(before), &side(after), found);
    }
}
