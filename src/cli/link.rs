//! `bitcall link`: one-time links that sign a person in to the app.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{CommandGroup, request_failure};
use super::extension::password;
use super::table::{field_text, key_value_table};
use super::{CliError, Exit, GlobalOptions};
use crate::api::LINK_TTL_SECONDS;
use crate::client::ControlClient;
use crate::config;

pub type LinkCommands = CommandGroup<LinkCommand>;

#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Make a link that opens the app and signs in, once.
    Create(CreateLink),
}

#[derive(Debug, Args)]
pub struct CreateLink {
    /// Tenant id
    tenant: String,
    /// User name at the SIP server
    #[arg(long, value_name = "NAME")]
    username: String,
    /// SIP domain [default: the tenant's]
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// File with the password; `-` reads it from standard input
    #[arg(long, value_name = "FILE", required_unless_present = "password_stdin")]
    password_file: Option<std::path::PathBuf>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// What is given is the HA1 digest, 32 or 64 hexadecimal digits, instead of the password
    #[arg(long)]
    ha1: bool,
    /// How long the link is good: 90s, 15m, 8h [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    ttl: Option<u64>,
}

impl LinkCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let LinkCommand::Create(create) = self.command;
        let file = create.password_file.unwrap_or_else(|| "-".into());
        let secret = password(&file)?;
        if secret.is_empty() {
            return Err(CliError::new(Exit::Misconfigured, "the password is empty"));
        }
        let mut sip = json!({ "username": create.username, "domain": create.domain });
        sip[if create.ha1 { "HA1Password" } else { "password" }] = Value::String(secret);
        let body = json!({ "tenantId": create.tenant, "sip": sip, "ttlSeconds": create.ttl });
        self.target.run(globals, async |client, printer| {
            let data = client.post("/api/tenant/auth-link", &body).await.map_err(request_failure)?;
            let text = |data: &Value| {
                key_value_table(&[
                    ("Link", format!("{}  (shown only now)", field_text(data, "/url"))),
                    ("Good until", field_text(data, "/expiresAt")),
                ])
            };
            printer.print_once(&data, text, async || withdraw(&client, &data).await).await
        })
    }
}

/// Uses up a link that could not be shown. Says what was done.
async fn withdraw(client: &ControlClient, link: &Value) -> String {
    match client.post("/api/auth/redeem", &json!({ "token": link["token"] })).await {
        Ok(_) => "the link was made and not shown; it is used up, and opens nothing any more".to_owned(),
        Err(error) => {
            let until = field_text(link, "/expiresAt");
            format!("the link was made and not shown, is good until {until}, and could not be used up: {error}")
        }
    }
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    let ttl = config::duration(text).ok_or("is not understood; write 90s, 15m or 8h")?.as_secs();
    if LINK_TTL_SECONDS.contains(&ttl) { Ok(ttl) } else { Err("it must be from 10s to 24h") }
}
