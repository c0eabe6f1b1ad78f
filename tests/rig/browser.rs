//! A real Chromium with its own driver and profile, gone when dropped.
//!
//! Its microphone is a file with a pure tone; two browsers with different
//! tones prove which way a sound went.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::bidi::BiDi;
use thirtyfour::bidi::events::LogEntryAdded;
use thirtyfour::bidi::modules::browsing_context::{CreateType, ReadinessState};
use thirtyfour::{Capabilities, ChromiumCapabilities, WebDriver};

use super::browsing_context::BrowsingContext;
use super::process::Process;
use super::sound;
use super::wait::until;

pub const PRELOAD: &str = include_str!("preload.js");

/// The port is the driver's to choose: it says which in its first lines. It takes a free one of IPv6 and
/// the same of IPv4, where somebody else may have it: then it ends, and another one is started.
async fn start_driver(dir: &Path) -> (Process, u16) {
    loop {
        let mut driver = Process::start("chromedriver", dir, Command::new("chromedriver").arg("--port=0"));
        let port = until("chromedriver's port", async || {
            let log = driver.log();
            if log.contains("port not available") {
                return Ok(None);
            }
            driver.assert_running();
            let rest = log.split("successfully on port ").nth(1).and_then(|rest| rest.split('.').next());
            rest.and_then(|port| port.parse::<u16>().ok()).map(Some).ok_or(log)
        })
        .await;
        if let Some(port) = port {
            return (driver, port);
        }
    }
}

/// Without the last one nothing connects on 127.0.0.1.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
];

pub struct Browser {
    bidi: BiDi,
    session: Option<WebDriver>,
    driver: Process,
    console: Arc<Mutex<Vec<String>>>,
    profile: PathBuf,
    downloads: PathBuf,
    _dir: TempDir,
}

impl Browser {
    /// Starts a browser whose microphone hears a tone of `hz`.
    pub async fn start(hz: u32) -> Self {
        Self::start_with(hz, &[]).await
    }

    pub async fn start_with(hz: u32, flags: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-browser-").tempdir().unwrap();
        let tone = dir.path().join("tone.wav");
        sound::write_tone(&tone, hz);

        let (driver, port) = start_driver(dir.path()).await;

        let mut args: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        args.push(format!("--use-file-for-fake-audio-capture={}", tone.display()));
        let profile = dir.path().join("profile");
        args.push(format!("--user-data-dir={}", profile.display()));
        args.extend(flags.iter().cloned());
        let mut wanted: Capabilities = ChromiumCapabilities::new().into();
        wanted.set("browserName", "chrome").unwrap();
        wanted.set("webSocketUrl", true).unwrap();
        wanted.set("acceptInsecureCerts", true).unwrap();
        let downloads = dir.path().join("downloads");
        let prefs = json!({ "download.default_directory": downloads, "download.prompt_for_download": false });
        wanted.set("goog:chromeOptions", json!({ "args": args, "prefs": prefs })).unwrap();
        let session = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted)
            .await
            .unwrap_or_else(|e| panic!("no browser: {e}\n{}", driver.log()));
        let bidi = session.bidi().await.unwrap();
        bidi.script().add_preload_script(PRELOAD).await.unwrap();

        let console = Arc::new(Mutex::new(Vec::new()));
        let mut entries = bidi.subscribe::<LogEntryAdded>().await.unwrap();
        let lines = Arc::clone(&console);
        tokio::spawn(async move {
            while let Some(entry) = entries.next().await {
                let line = format!("{}: {}", entry.level, entry.text.unwrap_or_default());
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { bidi, session: Some(session), driver, console, profile, downloads, _dir: dir }
    }

    /// Opens `url` in a window of its own and waits until it is loaded. The empty one
    /// that the browser came with stays, so that every other one may be closed.
    pub async fn open(&self, url: &str) -> BrowsingContext {
        open_window(&self.bidi, url).await
    }

    /// The window that a page has opened at `url`, once it is there.
    pub async fn window_at(&self, url: &str) -> BrowsingContext {
        let context = until(&format!("a window at {url}"), async || {
            let tree = self.bidi.browsing_context().get_tree(None).await.map_err(|e| e.to_string())?;
            let found = tree.contexts.iter().find(|window| window.url == url).map(|window| window.context.clone());
            found.ok_or_else(|| format!("{:?}", tree.contexts.iter().map(|window| &window.url).collect::<Vec<_>>()))
        })
        .await;
        BrowsingContext::new(self.bidi.clone(), context)
    }

    /// The file that was downloaded under a name with `part` in it, once it is complete.
    pub async fn downloaded(&self, part: &str) -> PathBuf {
        downloaded(&self.downloads, part).await
    }

    /// Carries out a command of the `DevTools` protocol in a page or its frames.
    pub async fn devtools(&self, page: &BrowsingContext, method: &str, params: Value) -> Result<Value, String> {
        let context = json!({ "context": page.context().as_str() });
        let session = self.bidi.send_raw("goog:cdp.getSession", context).await.map_err(|e| e.to_string())?;
        let command = json!({ "method": method, "params": params, "session": session["session"] });
        self.bidi.send_raw("goog:cdp.sendCommand", command).await.map_err(|e| e.to_string())
    }

    /// Console lines so far, `level: text`, of all pages and frames.
    pub fn console(&self) -> Vec<String> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Console lines of level error.
    pub fn errors(&self) -> Vec<String> {
        let mut lines = self.console();
        lines.retain(|l| l.starts_with("error:"));
        lines
    }

    /// Its driver's process, which has started the browser's.
    pub fn driver_process(&self) -> u32 {
        self.driver.id()
    }

    /// For commands that have no method here.
    pub fn bidi(&self) -> &BiDi {
        &self.bidi
    }
}

/// Opens `url` in a window of its own and waits until it is loaded.
pub async fn open_window(bidi: &BiDi, url: &str) -> BrowsingContext {
    let made = bidi.browsing_context().create(CreateType::Window).await;
    let view = BrowsingContext::new(bidi.clone(), made.unwrap().context);
    let context = view.context().clone();
    bidi.browsing_context()
        .navigate(context, url, Some(ReadinessState::Complete))
        .await
        .unwrap_or_else(|e| panic!("cannot open {url}: {e}"));
    view
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("──── browser console ────\n{}", self.console().join("\n"));
        }
        // Asking the driver to close it takes minutes when a page hangs, which is
        // when a test fails: so no farewell, to either of them.
        if let Some(session) = self.session.take() {
            session.leak().ok();
        }
        self.driver.kill();
        kill_using(&self.profile);
    }
}

/// Kills every process that was started with this profile: the browser does
/// not stay in its driver's process group.
fn kill_using(profile: &Path) {
    let wanted = profile.as_os_str().as_encoded_bytes();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let (Some(pid), Ok(line)) = (pid, std::fs::read(entry.path().join("cmdline"))) else {
            continue;
        };
        let uses_it = line.windows(wanted.len()).any(|part| part == wanted);
        if let (true, Some(pid)) = (uses_it, rustix::process::Pid::from_raw(pid)) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

pub async fn downloaded(directory: &Path, part: &str) -> PathBuf {
    until(&format!("a download of {part}"), async || {
        let files = std::fs::read_dir(directory).map_err(|e| e.to_string())?.flatten();
        let names: Vec<PathBuf> = files.map(|file| file.path()).collect();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let is_under_way = names.iter().any(|path| path.extension().is_some_and(|end| end == "part"));
        let is_meant = |path: &&PathBuf| {
            let name = name(path);
            name.contains(part) && !name.ends_with(".crdownload") && !name.starts_with('.')
        };
        names.iter().find(is_meant).filter(|_| !is_under_way).cloned().ok_or_else(|| format!("{names:?}"))
    })
    .await
}
