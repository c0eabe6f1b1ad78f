//! A TURN server, as offices have it: coturn with one user.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ports::Ports;
use super::process::Process;
use super::wait::until;

pub struct Coturn {
    port: u16,
    relays: (u16, u16),
    process: Process,
    _ports: Ports,
    _dir: TempDir,
}

impl Coturn {
    const USER: &str = "office";
    const PASSWORD: &str = "relay-me";

    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-turn-").tempdir().unwrap();
        let ports = Ports::reserve();
        let (port, relays) = (ports.take(), ports.range());
        let mut command = Command::new("turnserver");
        command
            .current_dir(dir.path())
            .args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--no-tcp", "--log-file=stdout", "--simple-log"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"])
            .args(["--lt-cred-mech", "--realm=turn.test", "--pidfile=turn.pid", "--userdb=turn.db"])
            .arg(format!("--user={}:{}", Self::USER, Self::PASSWORD))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--min-port={}", relays.0))
            .arg(format!("--max-port={}", relays.1));
        let process = Process::start("turnserver", dir.path(), &command);
        let mut this = Self { port, relays, process, _ports: ports, _dir: dir };
        until("coturn to listen", async || {
            this.process.assert_running();
            match UdpSocket::bind(("127.0.0.1", port)) {
                Err(_) => Ok(()),
                Ok(_) => Err(this.process.log()),
            }
        })
        .await;
        this
    }

    /// A tenant's `iceServers` that name it.
    pub fn ice_servers(&self) -> Value {
        let url = format!("turn:127.0.0.1:{}?transport=udp", self.port);
        json!([{ "urls": [url], "username": Self::USER, "credential": Self::PASSWORD }])
    }

    /// Whether this is one of its relay ports.
    pub fn relays(&self, port: u16) -> bool {
        (self.relays.0..=self.relays.1).contains(&port)
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}
