//! `bitcall key`: a tenant's API keys.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{Target, facts, refused, shown, table};
use super::{Failure, Globals};

#[derive(Debug, Args)]
pub struct Key {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a further API key; it is shown once.
    Create {
        /// Tenant id
        tenant: String,
        /// What the key is for
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
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
        /// The key's id (`key_…`)
        id: String,
    },
}

impl Key {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let command = self.command;
        self.target.run(globals, async |client, printer| match command {
            Command::Create { tenant, label } => {
                let body = json!({ "tenantId": tenant, "label": label });
                let data = client.post("/api/tenant/api-keys", &body).await.map_err(refused)?;
                printer.print(&data, |data| {
                    facts(&[
                        ("Key id", shown(data, "/id")),
                        ("Label", shown(data, "/label")),
                        ("API key", format!("{}  (shown only now)", shown(data, "/apiKey"))),
                    ])
                });
                Ok(())
            }
            Command::List { tenant } => {
                let found = client.get("/api/tenant", &[("tenantId", &tenant)]).await.map_err(refused)?;
                let data = json!({ "tenantId": tenant, "apiKeys": found["apiKeys"] });
                printer.print(&data, |data| keys(&data["apiKeys"]));
                Ok(())
            }
            Command::Revoke { tenant, id } => {
                let escaped: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
                let path = format!("/api/tenant/api-keys/{escaped}");
                let data = client.delete(&path, &json!({ "tenantId": tenant })).await.map_err(refused)?;
                printer.print(&data, |_| format!("{id} is revoked"));
                Ok(())
            }
        })
    }
}

/// Also part of `bitcall tenant show`.
pub fn keys(keys: &Value) -> String {
    table(["key", "label", "made", "last used"], keys, "there are no keys", |key| {
        ["/id", "/label", "/createdAt", "/lastUsedAt"].map(|field| shown(key, field))
    })
}
