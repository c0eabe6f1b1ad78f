//! A real Firefox with its own profile and sound server, gone when dropped. It speaks `WebDriver` `BiDi` by itself: no driver
//! is between.

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::Json;
use serde_json::json;
use tempfile::TempDir;
use thirtyfour::bidi::BiDi;
use thirtyfour::{Capabilities, WebDriver};
use tokio::net::TcpListener;

use super::browser::{PRELOAD, open_window};
use super::browsing_context::BrowsingContext;
use super::process::Process;
use super::wait::until;

/// The microphone is a tone, which needs no permission; media connect on loopback; sound may play without a click.
const PREFERENCES: &str = r#"
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.peerconnection.ice.loopback", true);
user_pref("browser.download.folderList", 2);
"#;
const DOWNLOADS: &str = "downloads";

pub struct Firefox {
    bidi: BiDi,
    session: Option<WebDriver>,
    _process: Process,
    _sound: Process,
    dir: TempDir,
}

impl Firefox {
    /// What its microphone hears, in Hz.
    pub const TONE: u32 = 600;

    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-firefox-").tempdir().unwrap();
        let downloads = dir.path().join(DOWNLOADS);
        std::fs::create_dir(&downloads).unwrap();
        let preferences = format!("{PREFERENCES}user_pref(\"browser.download.dir\", \"{}\");\n", downloads.display());
        std::fs::write(dir.path().join("user.js"), preferences).unwrap();
        let socket = dir.path().join("sound");
        let sound = sound_server(dir.path(), &socket).await;
        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]).arg(dir.path());
        command.env("HOME", dir.path()).env("PULSE_SERVER", format!("unix:{}", socket.display()));
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
        let capabilities = json!({ "alwaysMatch": { "acceptInsecureCerts": true } });
        bidi.send_raw("session.new", json!({ "capabilities": capabilities })).await.unwrap();
        bidi.script().add_preload_script(PRELOAD).await.unwrap();
        Self { bidi, session: Some(session), _process: process, _sound: sound, dir }
    }

    /// The file that was downloaded under a name with `part` in it, once it is complete.
    pub async fn downloaded(&self, part: &str) -> PathBuf {
        super::browser::downloaded(&self.dir.path().join(DOWNLOADS), part).await
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

/// Without one that takes sound, Firefox runs no `AudioContext`.
async fn sound_server(dir: &Path, socket: &Path) -> Process {
    let mut command = Command::new("pulseaudio");
    let listen = format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display());
    command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]);
    command.args(["--load=module-null-sink sink_name=out", "--load=module-null-sink sink_name=microphone"]);
    // A source that is no monitor comes first in Firefox's choice.
    command.arg("--load=module-remap-source master=microphone.monitor source_name=input");
    command.args(["--load=module-sine sink=microphone frequency=600", &format!("--load={listen}")]);
    command.env("HOME", dir).env("XDG_RUNTIME_DIR", dir);
    let mut process = Process::start("pulseaudio", dir, &command);
    until("the sound server", async || {
        process.assert_running();
        if socket.exists() { Ok(()) } else { Err(process.log()) }
    })
    .await;
    process
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
