//! A real Firefox with its own profile, gone when dropped. It speaks `WebDriver` `BiDi` by itself: no driver is between.

use std::process::Command;

use axum::Json;
use serde_json::json;
use tempfile::TempDir;
use thirtyfour::bidi::BiDi;
use thirtyfour::{Capabilities, WebDriver};
use tokio::net::TcpListener;

use super::browser::open_window;
use super::browsing_context::BrowsingContext;
use super::process::Process;
use super::wait::until;

pub struct Firefox {
    bidi: BiDi,
    session: Option<WebDriver>,
    _process: Process,
    _dir: TempDir,
}

impl Firefox {
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-firefox-").tempdir().unwrap();
        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]).arg(dir.path());
        command.env("HOME", dir.path());
        let mut process = Process::start("firefox", dir.path(), &command);
        let address = until("Firefox's address", async || {
            process.assert_running();
            let log = process.log();
            let line = log.split("WebDriver BiDi listening on ").nth(1).and_then(|rest| rest.split_once('\n'));
            line.map(|(address, _)| address.trim().to_owned()).ok_or(log)
        })
        .await;
        let session =
            WebDriver::new(driver_of(&format!("{address}/session")).await, Capabilities::new()).await.unwrap();
        let bidi = session.bidi().await.unwrap();
        bidi.send_raw("session.new", json!({ "capabilities": {} })).await.unwrap();
        Self { bidi, session: Some(session), _process: process, _dir: dir }
    }

    /// Opens `url` in a window of its own and waits until it is loaded.
    pub async fn open(&self, url: &str) -> BrowsingContext {
        open_window(&self.bidi, url).await
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.leak().ok();
        }
    }
}

/// thirtyfour learns the address of `BiDi` from a driver: this one knows nothing else.
async fn driver_of(bidi: &str) -> String {
    let session = json!({ "value": { "sessionId": "firefox", "capabilities": { "webSocketUrl": bidi } } });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(move || std::future::ready(Json(session.clone())));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}
