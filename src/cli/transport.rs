//! `bitcall transport`: what tenants inherit who set no SIP, WebSocket or ICE servers of their own.

use clap::Subcommand;
use serde_json::Value;

use super::control::{CommandGroup, request_failure};
use super::request::{self, ChangeBody, ChangeSource};
use super::table::{field_text, key_value_table};
use super::{CliError, GlobalOptions};

const PATH: &str = "/api/admin/settings/transport-defaults";

pub type TransportCommands = CommandGroup<TransportCommand>;

#[derive(Debug, Subcommand)]
pub enum TransportCommand {
    /// Show the platform's defaults.
    Show,
    /// Change the platform's defaults; tenants that inherit have them at once.
    Set {
        #[command(flatten)]
        given: ChangeSource,
        #[command(flatten)]
        transport: request::TransportOptions,
    },
}

impl TransportCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| {
            let data = match command {
                TransportCommand::Show => client.get(PATH, &[]).await,
                TransportCommand::Set { given, transport } => {
                    let mut body = ChangeBody::new(&given)?;
                    transport.add_to(&mut body)?;
                    client.patch(PATH, &body.finish()?).await
                }
            };
            printer.print(&data.map_err(request_failure)?, defaults)?;
            Ok(())
        })
    }
}

fn defaults(data: &Value) -> String {
    let domain = match field_text(data, "/effective/sip/domain").as_str() {
        "-" => "each tenant's own, on the built-in edge".to_owned(),
        domain => domain.to_owned(),
    };
    key_value_table(&[
        ("Transport", field_text(data, "/effective/mode")),
        ("SIP domain", domain),
        ("SIP WebSocket", field_text(data, "/effective/wss")),
        ("DTMF", field_text(data, "/effective/sip/dtmf")),
        ("ICE servers", ice_servers(&data["effective"]["iceServers"])),
    ])
}

/// Also part of `bitcall tenant show`.
pub fn ice_servers(servers: &Value) -> String {
    let servers = servers.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |server: &Value| {
        let how = match (&server["hasSecret"], &server["hasCredential"]) {
            (Value::Bool(true), _) => " (shared secret)",
            (_, Value::Bool(true)) => " (password)",
            _ => "",
        };
        format!("{}{how}", field_text(server, "/urls"))
    };
    if servers.is_empty() { "-".to_owned() } else { servers.iter().map(text).collect::<Vec<_>>().join(", ") }
}
