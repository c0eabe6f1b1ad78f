//! `bitcall transport`: what tenants inherit who set no SIP, WebSocket or ICE servers of their own.

use clap::Subcommand;
use serde_json::Value;

use super::control::{Group, facts, refused, shown};
use super::request::{self, Body, Given};
use super::{Failure, Globals};

const PATH: &str = "/api/admin/settings/transport-defaults";

pub type Transport = Group<Command>;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the platform's defaults.
    Show,
    /// Change the platform's defaults; tenants that inherit have them at once.
    Set {
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        transport: request::Transport,
    },
}

impl Transport {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let command = self.command;
        self.target.run(globals, async |client, printer| {
            let data = match command {
                Command::Show => client.get(PATH, &[]).await,
                Command::Set { given, transport } => {
                    let mut body = Body::new(&given)?;
                    transport.add_to(&mut body)?;
                    client.patch(PATH, &body.finish()?).await
                }
            };
            printer.print(&data.map_err(refused)?, defaults);
            Ok(())
        })
    }
}

fn defaults(data: &Value) -> String {
    let domain = match shown(data, "/effective/sip/domain").as_str() {
        "-" => "each tenant's own, on the built-in edge".to_owned(),
        domain => domain.to_owned(),
    };
    facts(&[
        ("Transport", shown(data, "/effective/mode")),
        ("SIP domain", domain),
        ("SIP WebSocket", shown(data, "/effective/wss")),
        ("DTMF", shown(data, "/effective/sip/dtmf")),
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
        format!("{}{how}", shown(server, "/urls"))
    };
    if servers.is_empty() { "-".to_owned() } else { servers.iter().map(text).collect::<Vec<_>>().join(", ") }
}
