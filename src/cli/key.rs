//! `bitcall key`: a tenant's API keys.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::control::{CommandGroup, path_segment, request_failure};
use super::table::{field_text, field_time, key_value_table, table};
use super::{CliError, Exit, GlobalOptions};
use crate::api::MAX_OVERLAP_SECONDS;
use crate::client::{self, ControlClient};
use crate::config;

pub type KeyCommands = CommandGroup<KeyCommand>;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a further API key; it is shown once.
    Create {
        /// Tenant id
        tenant: String,
        /// A name for people
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// What it may be used for: `pages`, whose source shows it to everybody, or `backend`, which makes sign-in links
        /// [default: both]
        #[arg(long = "for", value_name = "PURPOSE", value_parser = ["pages", "backend"])]
        purpose: Option<String>,
    },
    /// Make a key that takes the place of another, which stays valid for a while.
    Rotate {
        /// Tenant id
        tenant: String,
        /// Id of the key to be replaced (`key_…`), or its label
        key: String,
        /// How long the old key stays valid, e.g. `30m`, `24h`, `7d`, or 0 for not at all; at most 30 days
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap)]
        overlap: Duration,
    },
    /// List a tenant's API keys; of the keys themselves only their ids.
    List {
        /// Tenant id
        tenant: String,
    },
    /// Revoke an API key at once. Revoking it again is no error.
    Revoke {
        /// Tenant id
        tenant: String,
        /// The key's id (`key_…`), or its label
        key: String,
    },
}

impl KeyCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            KeyCommand::Create { tenant, label, purpose } => {
                let body = json!({ "tenantId": tenant, "label": label, "purpose": purpose });
                let data = client.post("/api/tenant/api-keys", &body).await.map_err(request_failure)?;
                let text = |data: &Value| {
                    key_value_table(&[
                        ("Key id", field_text(data, "/id")),
                        ("Label", field_text(data, "/label")),
                        ("For", purpose_in_words(data)),
                        ("API key", format!("{}  (shown only now)", field_text(data, "/apiKey"))),
                    ])
                };
                printer.print_once(&data, text, async || withdraw(&client, &tenant, &data["id"]).await).await
            }
            KeyCommand::Rotate { tenant, key, overlap } => {
                let id = id_of(&client, &tenant, key).await?;
                let body = json!({ "tenantId": tenant, "overlapSeconds": overlap.as_secs() });
                let data = client.post(&format!("{}/rotate", path_of(&id)), &body).await.map_err(request_failure)?;
                let text = |data: &Value| {
                    key_value_table(&[
                        ("Key id", field_text(data, "/id")),
                        ("Label", field_text(data, "/label")),
                        ("For", purpose_in_words(data)),
                        ("API key", format!("{}  (shown only now)", field_text(data, "/apiKey"))),
                        ("In place of", format!("{id}, valid until {}", field_text(data, "/replaced/retiresAt"))),
                    ])
                };
                printer.print_once(&data, text, async || withdraw(&client, &tenant, &data["id"]).await).await
            }
            KeyCommand::List { tenant } => {
                let found = client.get("/api/tenant", &[("tenantId", &tenant)]).await.map_err(request_failure)?;
                let data = json!({ "tenantId": tenant, "apiKeys": found["apiKeys"] });
                printer.print(&data, |data| keys(&data["apiKeys"]))?;
                Ok(())
            }
            KeyCommand::Revoke { tenant, key } => {
                let id = id_of(&client, &tenant, key).await?;
                let data =
                    client.delete(&path_of(&id), &json!({ "tenantId": tenant })).await.map_err(request_failure)?;
                printer.print(&data, |_| format!("{id} is revoked"))?;
                Ok(())
            }
        })
    }
}

/// The id of the tenant's key that `key` names: by its id, or by a label that no other key has.
async fn id_of(client: &ControlClient, tenant: &str, key: String) -> Result<String, CliError> {
    if key.starts_with("key_") {
        return Ok(key);
    }
    let found = client.get("/api/tenant", &[("tenantId", tenant)]).await.map_err(request_failure)?;
    let labelled = found["apiKeys"].as_array().into_iter().flatten().filter(|found| found["label"] == key.as_str());
    match labelled.collect::<Vec<_>>().as_slice() {
        [one] => Ok(field_text(one, "/id")),
        all => {
            let count = if all.is_empty() { "no key" } else { "more than one key" };
            let hint = format!("`bitcall key list {tenant}` shows the keys with their ids");
            Err(CliError::new(Exit::Failed, format!("{tenant} has {count} with the label {key}\nhint: {hint}")))
        }
    }
}

fn path_of(id: &str) -> String {
    format!("/api/tenant/api-keys/{}", path_segment(id))
}

/// Revokes an API key that was made and could not be shown: part of it may have been written to who knows where. The
/// tenant's only key cannot be revoked; it is replaced at once by one that nobody has seen. Says what was done.
pub async fn withdraw(client: &ControlClient, tenant: &str, key: &Value) -> String {
    let id = key.as_str().unwrap_or_default();
    let made = format!("the API key {id} of {tenant} was made and not shown");
    let mut done = client.delete(&path_of(id), &json!({ "tenantId": tenant })).await;
    if matches!(&done, Err(client::Error::Refused(refusal)) if refusal.code == "LAST_API_KEY") {
        let body = json!({ "tenantId": tenant, "overlapSeconds": 0 });
        done = client.post(&format!("{}/rotate", path_of(id)), &body).await;
    }
    match done {
        Ok(data) if data["revoked"] == true => {
            format!("{made}; it is revoked\nhint: `bitcall key create {tenant}` makes another one")
        }
        Ok(data) => {
            let new = field_text(&data, "/id");
            let hint = format!("`bitcall key rotate {tenant} {new} --overlap 0` makes one in its place and shows it");
            format!("{made}; it is revoked, and {new}, which nobody knows, is in its place\nhint: {hint}")
        }
        Err(error) => {
            format!("{made}, and could not be revoked: {error}\nhint: `bitcall key revoke {tenant} {id}` revokes it")
        }
    }
}

fn overlap(text: &str) -> Result<Duration, &'static str> {
    match text {
        "0" => Ok(Duration::ZERO),
        _ => match config::duration(text) {
            Some(overlap) if overlap.as_secs() <= MAX_OVERLAP_SECONDS => Ok(overlap),
            Some(_) => Err("it must be 30d at most"),
            None => Err("it must be a number with its unit, such as 30m, 24h or 7d, or 0"),
        },
    }
}

/// Also part of `bitcall tenant show`.
pub fn keys(keys: &Value) -> String {
    table(["key", "label", "for", "made", "last used", "retires"], keys, "there are no keys", |key| {
        let [made, used, retires] = ["/createdAt", "/lastUsedAt", "/retiresAt"].map(|field| field_time(key, field));
        [field_text(key, "/id"), field_text(key, "/label"), purpose_in_words(key), made, used, retires]
    })
}

fn purpose_in_words(key: &Value) -> String {
    match key["purpose"].as_str() {
        Some("pages") => "pages".into(),
        Some("backend") => "back ends".into(),
        _ => "both".into(),
    }
}
