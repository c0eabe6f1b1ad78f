//! coturn as the TURN server, with one static user or with a secret shared with Bitcall.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ports::{Ports, has_udp_socket};
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
        Self::start_with(&["--lt-cred-mech", &format!("--user={}:{}", Self::USER, Self::PASSWORD)]).await
    }

    /// That lets in whoever has time-limited credentials made from `secret`.
    pub async fn sharing(secret: &str) -> Self {
        Self::start_with(&["--use-auth-secret", &format!("--static-auth-secret={secret}")]).await
    }

    async fn start_with(access: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-turn-").tempdir().unwrap();
        let ports = Ports::reserve();
        let (port, relays) = (ports.take(), ports.range());
        let mut command = Command::new("turnserver");
        command
            .current_dir(dir.path())
            .args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--no-tcp", "--log-file=stdout", "--simple-log"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"])
            .args(["--realm=turn.test", "--pidfile=turn.pid", "--userdb=turn.db"])
            .args(access)
            .arg(format!("--listening-port={port}"))
            .arg(format!("--min-port={}", relays.0))
            .arg(format!("--max-port={}", relays.1));
        let process = Process::start("turnserver", dir.path(), &command);
        let mut this = Self { port, relays, process, _ports: ports, _dir: dir };
        until("coturn to listen", async || {
            this.process.assert_running();
            if has_udp_socket(port) { Ok(()) } else { Err(this.process.log()) }
        })
        .await;
        this
    }

    /// A tenant's `iceServers` that name it.
    pub fn ice_servers(&self) -> Value {
        json!([{ "urls": [self.url()], "username": Self::USER, "credential": Self::PASSWORD }])
    }

    pub fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    /// Whether it gives out a relay, and carries a packet over it, for these credentials.
    pub fn allocates(&self, username: &str, credential: &str) -> bool {
        let mut client = Command::new("turnutils_uclient");
        client.args(["-y", "-c", "-n", "1", "-m", "1", "-l", "20", "-u", username, "-w", credential]);
        client.args(["-p", &self.port.to_string(), "127.0.0.1"]);
        client.output().unwrap().status.success()
    }

    /// Whether this is one of its relay ports.
    pub fn relays(&self, port: u16) -> bool {
        (self.relays.0..=self.relays.1).contains(&port)
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}
