//! The binary under test, as `bitcall demo` with its JSON line, or `serve`.

use std::ffi::OsStr;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::process::Process;
use super::wait::until;

/// The line that `bitcall demo --json` prints once it is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    pub url: String,
    pub tenant_id: String,
    pub api_key: String,
    pub panel_key: String,
    pub master_secret: String,
    pub sip: ReadySip,
    pub extensions: Vec<Extension>,
    pub echo: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ReadySip {
    pub domain: String,
    pub wss: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Extension {
    pub username: String,
    pub password: String,
}

pub struct Bitcall {
    pub ready: Ready,
    process: Process,
    dir: TempDir,
}

impl Bitcall {
    /// `bitcall demo` on a port of its own, with data that goes away with it.
    pub async fn demo() -> Self {
        Self::demo_at("127.0.0.1:0", None).await
    }

    pub async fn demo_at(listen: &str, data: Option<&std::path::Path>) -> Self {
        let data = data.map(|data| ["--data".as_ref(), data.as_os_str()]);
        Self::demo_with(listen, data.iter().flatten()).await
    }

    pub async fn demo_with(listen: &str, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-demo-").tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitcall"));
        command.args(["demo", "--json", "--listen", listen]).args(options);
        let mut process = Process::start("bitcall", dir.path(), &command);
        let ready = until("bitcall demo's line", async || {
            process.assert_running();
            let log = process.log();
            let line = log.lines().find(|l| l.starts_with("{\"url\"") && l.ends_with('}'));
            line.and_then(|l| serde_json::from_str(l).ok()).ok_or(log)
        })
        .await;
        Self { ready, process, dir }
    }

    /// Without the slash at the end.
    pub fn origin(&self) -> &str {
        self.ready.url.trim_end_matches('/')
    }

    pub fn listen(&self) -> String {
        self.origin().trim_start_matches("http://").to_owned()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// `PATCH /api/tenant/config` for the demo tenant, which must succeed.
    pub async fn patch(&self, mut change: Value) -> Value {
        change["tenantId"] = json!(self.ready.tenant_id);
        let url = format!("{}/api/tenant/config", self.origin());
        let key = [("x-bitcall-panel-key", self.ready.panel_key.as_str())];
        let answer = http::send("PATCH", &url, &key, Some(&change)).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Gives the demo tenant the rights of a plan.
    pub async fn change_plan(&self, plan: &str) {
        let change = json!({ "tenantId": self.ready.tenant_id, "planId": plan });
        let url = format!("{}/api/tenant/plan", self.origin());
        let key = [("x-bitcall-panel-key", self.ready.panel_key.as_str())];
        let answer = http::send("PATCH", &url, &key, Some(&change)).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }

    /// Lets pages of `origin` use the demo tenant's key.
    pub async fn allow(&self, origin: &str) {
        self.patch(json!({ "origins": { "allowedOrigins": [origin] } })).await;
    }

    /// The three lines, on a page of their own. `init` are fields of the `init` call
    /// besides the key, as JavaScript.
    pub fn three_lines(&self, init: &str) -> String {
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Shop</title><h1>Shop</h1>\n\
             <script src=\"{}/webphone/loader.js\"></script>\n\
             <script>BitcallWebphone.init({{ key: '{}', {init} }});</script>",
            self.origin(),
            self.ready.api_key,
        )
    }

    /// `sip: {…}` of `init` for the demo's extension number `n`.
    pub fn credentials(&self, n: usize) -> String {
        let Extension { username, password } = &self.ready.extensions[n];
        let domain = &self.ready.sip.domain;
        format!("sip: {{ username: '{username}', domain: '{domain}', password: '{password}' }}")
    }
}
