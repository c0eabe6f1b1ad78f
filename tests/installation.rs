//! An installation under test: a data directory, the server on plain HTTP, the panel's requests, and the `bitcall`
//! command beside it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::appliance::{self, Running};
use crate::documented_schemas;

pub const PANEL_KEY: &str = "the panel key of the tests";
pub const MASTER_SECRET: &str = "the master secret of the tests";

const STORE_KEY: &str = "the store key of the tests";

pub struct Installation {
    directory: TempDir,
    /// The server and its address, while it runs.
    server: Option<(Running, String)>,
}

impl Installation {
    /// Not running.
    pub fn new() -> Self {
        Self::with("")
    }

    /// Not running; with further lines of configuration, which start inside `[log]`.
    pub fn with(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = "public_url = 'https://phone.example.com'\n\
                      data_dir = 'data'\n\
                      [listen]\nhttps = []\nhttp = '127.0.0.1:0'\nops = ''\ncontrol = 'control.sock'\n\
                      [domains]\nbase = 'bitcall.example'\ningress = 'in.bitcall.example'\n\
                      [log]\nformat = 'json'\n";
        std::fs::write(directory.path().join("bitcall.toml"), format!("{config}{more}")).unwrap();
        Self { directory, server: None }
    }

    pub async fn serving() -> Self {
        Self::serving_with("").await
    }

    /// See [`Self::with`].
    pub async fn serving_with(more: &str) -> Self {
        let mut installation = Self::with(more);
        installation.start().await;
        installation
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&mut self) {
        let mut command = self.command();
        command.arg("serve");
        let log = self.directory.path().join("log");
        let running = tokio::task::spawn_blocking(move || {
            let mut running = Running::start(&mut command, &log);
            running.wait_for("ready", |line| line.contains("ready").then_some(()));
            let address = running.wait_for("its address", |line| {
                let (_, rest) = line.split_once("\"address\":\"").filter(|_| line.contains("\"protocol\":\"http\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            });
            (running, address)
        });
        self.server = Some(running.await.unwrap());
    }

    /// Starts the server and sends SIGKILL after `delay`, whatever it is doing then.
    pub async fn start_and_kill(&self, delay: Duration) {
        let mut command = self.command();
        let starting = Running::start(command.arg("serve"), &self.directory.path().join("log"));
        tokio::time::sleep(delay).await;
        drop(starting);
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        drop(self.server.take().expect("it runs"));
    }

    /// `systemctl stop`: asks it to end and waits until it has.
    pub async fn stop(&mut self) {
        let (mut running, _) = self.server.take().expect("it runs");
        running.signal(rustix::process::Signal::TERM);
        let status = tokio::task::spawn_blocking(move || running.ended()).await.unwrap();
        assert!(status.success(), "{status}");
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Of the running server.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    pub fn address(&self) -> &str {
        &self.server.as_ref().expect("it runs").1
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address())
    }

    /// One request, as anybody can send it.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address(), method, path, headers, body).await.expect("the server answers")
    }

    /// A request of the operator's panel; it may be refused.
    pub async fn panel(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("x-bitcall-panel-key", PANEL_KEY)], &body).await
    }

    /// A request of the operator's support; it may be refused.
    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("authorization", &format!("Bearer {MASTER_SECRET}"))], &body).await
    }

    /// A request of the operator's panel that must succeed; the envelope's data.
    pub async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        data(&self.panel(method, path, body).await)
    }

    /// A tenant with nothing but what `provision` asks for; its API key.
    pub async fn tenant(&self, id: &str, plan: &str) -> String {
        let made = self.done("POST", "/api/tenant/provision", json!({ "tenantId": id, "planId": plan })).await;
        made["apiKey"].as_str().unwrap().to_owned()
    }

    /// What a page of `origin` gets for an API key.
    pub async fn runtime(&self, key: &str, origin: Option<&str>) -> Answer {
        let origin: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        self.send("GET", &format!("/api/webphone/config?key={key}"), &origin, "").await
    }

    /// Has a tenant's phones sign in at a SIP server of its own, whose sign-ins this one does not see.
    pub async fn sip_elsewhere(&self, id: &str) {
        let wss = json!({ "wss": "wss://pbx.example.com" });
        data(&self.admin("PATCH", &format!("/api/admin/tenants/{id}"), wss).await);
    }

    /// What the phone of a page gets with its runtime configuration.
    pub async fn page_session(&self, key: &str) -> String {
        let path = format!("/api/webphone/config?key={key}&pageOrigin=https%3A%2F%2Fphone.example.com");
        let answer = self.send("GET", &path, &[], "").await;
        answer.headers["x-bitcall-session"].to_str().unwrap().to_owned()
    }

    /// The `bitcall` command on this installation.
    pub fn bitcall(&self, arguments: &[&str]) -> CommandOutput {
        self.bitcall_with(PANEL_KEY, arguments)
    }

    /// The same with another panel key in the environment.
    pub fn bitcall_with(&self, panel_key: &str, arguments: &[&str]) -> CommandOutput {
        let (status, out, err) = appliance::run(self.command().args(arguments).env("BITCALL_PANEL_KEY", panel_key));
        CommandOutput { exit: status.code().expect("it ends by itself"), out, err }
    }

    /// The command, without arguments.
    pub fn command(&self) -> std::process::Command {
        let mut command = appliance::bitcall();
        command
            .current_dir(self.directory.path())
            .env("BITCALL_CONFIG", self.directory.path().join("bitcall.toml"))
            .env("BITCALL_PANEL_KEY", PANEL_KEY)
            .env("APP_MASTER_SECRET", MASTER_SECRET)
            .env("BITCALL_STORE_KEY", STORE_KEY);
        command
    }
}

/// One request over a connection of its own; nothing when it broke.
pub async fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", address);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let (parts, answer) = sender.send_request(request).await.ok()?.into_parts();
    let answer = http_body_util::BodyExt::collect(answer).await.ok()?.to_bytes();
    if parts.status == StatusCode::OK {
        documented_schemas::check_accepted(method, path, body, &answer);
    }
    Some(Answer { status: parts.status, headers: parts.headers, body: answer })
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// A finished command's exit code and output.
#[derive(Debug)]
pub struct CommandOutput {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    /// The data on standard output, of a command that must succeed.
    pub fn json(&self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The data of an answer that must be a success.
pub fn data(answer: &Answer) -> Value {
    let mut envelope = answer.json();
    assert!(answer.status.is_success() && envelope["ok"] == true, "{} {envelope}", answer.status);
    envelope["data"].take()
}

/// Status and code of an answer that must be a refusal.
pub fn refusal(answer: &Answer) -> (u16, String) {
    let envelope = answer.json();
    assert_eq!(envelope["ok"], false, "{envelope}");
    assert!(!envelope["error"]["message"].as_str().unwrap().is_empty());
    (answer.status.as_u16(), envelope["error"]["code"].as_str().unwrap().to_owned())
}

/// The names of the fields that a `VALIDATION_ERROR` complains about, in alphabetical order.
pub fn faulty_fields(answer: &Answer) -> Vec<String> {
    assert_eq!(refusal(answer), (400, "VALIDATION_ERROR".into()));
    let fields = answer.json()["error"]["fields"].take();
    let mut names: Vec<String> =
        fields.as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
