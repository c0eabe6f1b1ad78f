//! `bitcall demo`: its output, its data and its end.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

use crate::appliance::{Running, bitcall, exchange, request, run};

/// A running demo whose temporary files go into a directory of its own.
struct Demo {
    running: Running,
    line: Value,
    temporary: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    fn start_in(temporary: TempDir, arguments: &[&str]) -> Self {
        let mut command = bitcall();
        command.env("TMPDIR", temporary.path()).args(["demo", "--json"]).args(arguments);
        let mut running = Running::start(&mut command, &temporary.path().join("log"));
        let line = running.wait_for("the JSON line", |line| {
            let one = line.starts_with("{\"url\":").then(|| serde_json::from_str(line).unwrap());
            one.filter(Value::is_object)
        });
        Self { running, line, temporary }
    }

    fn text(&self, pointer: &str) -> &str {
        self.line.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {}", self.line))
    }

    fn address(&self) -> &str {
        self.text("/localUrl").strip_prefix("http://").unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let mut request = request(path, &[]);
        request.headers_mut().insert("host", self.address().parse().unwrap());
        for (name, value) in headers {
            let name = name.parse::<hyper::header::HeaderName>().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = exchange(stream, request).await;
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    /// Everything it has in its temporary directory, besides the log.
    fn traces(temporary: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(temporary).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("log")).collect()
    }
}

#[tokio::test]
async fn the_json_line_is_what_the_server_serves() {
    let demo = Demo::start(&["--listen", "127.0.0.1:0"]);
    let url = demo.text("/url").to_owned();
    let key = demo.text("/apiKey");
    let (status, config) =
        demo.get(&format!("/api/webphone/config?key={key}"), &[("origin", "http://localhost:3000")]).await;
    assert_eq!(status, 200, "local pages may embed the phone: {config}");
    assert_eq!(config["data"]["tenantId"], demo.line["tenantId"]);
    assert_eq!(config["data"]["sip"]["domain"], demo.line["sip"]["domain"]);
    assert_eq!(config["data"]["wss"][0], demo.line["sip"]["wss"]);
    assert_eq!(config["data"]["uiUrl"], format!("{url}/webphone/"));
    let (status, _) = demo.get(&format!("/api/webphone/config?key={key}"), &[("origin", "https://evil.example")]).await;
    assert_eq!(status, 403);

    let panel_key = demo.text("/panelKey");
    let (status, tenant) = demo.get("/api/tenant?tenantId=demo", &[("x-bitcall-panel-key", panel_key)]).await;
    assert_eq!(status, 200, "{tenant}");

    let (status, playground) = demo.get("/demo.json", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(playground["key"], demo.line["apiKey"]);
    assert_eq!(playground["extensions"], demo.line["extensions"]);
    assert_eq!(playground["echo"], "*43");
    assert_eq!(demo.line["extensions"].as_array().unwrap().len(), 2);
    let port = demo.address().rsplit(':').next().unwrap();
    for name in ["evil.example".to_owned(), format!("evil.example:{port}"), format!("127.0.0.1.evil.example:{port}")] {
        let (status, _) = demo.get("/demo.json", &[("host", &name)]).await;
        assert_eq!(status, 421, "a page's own name that leads here: {name}");
    }
}

#[tokio::test]
async fn a_demo_opened_by_another_name_names_itself_by_that_name() {
    let demo = Demo::start(&["--listen", "0.0.0.0:0", "--public-url", "https://tunnel.example"]);
    let port = demo.text("/localUrl").rsplit(':').next().unwrap().to_owned();
    let config = format!("/api/webphone/config?key={}", demo.text("/apiKey"));
    let addresses = |answer: &Value| {
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/data/uiUrl"), text("/data/wss/0"))
    };
    for name in ["localhost", "127.0.0.1", "shop.localhost", "192.0.2.7"] {
        let (name, page) = (format!("{name}:{port}"), format!("http://{name}:{port}"));
        let headers = [("host", &*name), ("origin", &*page)];
        let (status, answer) = demo.get(&format!("{config}&pageOrigin={page}"), &headers).await;
        assert_eq!(status, 200, "{name}: {answer}");
        assert_eq!(addresses(&answer), (format!("{page}/webphone/"), format!("ws://{name}/sip")));
        let (status, playground) = demo.get("/demo.json", &headers).await;
        assert_eq!((status, &playground["extensions"]), (200, &demo.line["extensions"]), "{name}");
    }
    let by_tunnel = [("host", "tunnel.example"), ("origin", "https://tunnel.example")];
    let (status, answer) = demo.get(&config, &by_tunnel).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(addresses(&answer), ("https://tunnel.example/webphone/".into(), "wss://tunnel.example/sip".into()));
    assert_eq!(demo.get("/demo.json", &by_tunnel).await.0, 200);

    // A page's own name that leads here is no name of the demo's, and has no page of its own.
    let (evil, page) = (format!("evil.example:{port}"), format!("http://evil.example:{port}"));
    assert_eq!(demo.get("/demo.json", &[("host", &*evil)]).await.0, 421);
    assert_eq!(demo.get(&config, &[("host", &*evil), ("origin", &*page)]).await.0, 403);
    assert_eq!(demo.get(&format!("{config}&pageOrigin={page}"), &[("host", &*evil)]).await.0, 403);
    // Nor does one local name speak for the pages of another one.
    let other = [("host", &*format!("localhost:{port}")), ("origin", "http://192.0.2.7")];
    assert_eq!(demo.get(&config, &other).await.0, 403);
}

#[tokio::test]
async fn the_control_socket_in_its_data_needs_no_key() {
    let demo = Demo::start(&["--listen", "127.0.0.1:0"]);
    let [home] = &Demo::traces(demo.temporary.path())[..] else { panic!("one directory") };
    let stream = UnixStream::connect(home.join("control.sock")).await.unwrap();
    let answer = exchange(stream, request("/api/tenant?tenantId=demo", &[])).await;
    assert_eq!(answer.status(), 200);
    let (status, _) = demo.get("/api/tenant?tenantId=demo", &[]).await;
    assert_eq!(status, 401, "the network needs one");
}

#[test]
fn sigint_sigterm_and_sighup_end_the_demo_and_remove_its_data() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut demo = Demo::start(&["--listen", "127.0.0.1:0"]);
        assert_eq!(Demo::traces(demo.temporary.path()).len(), 1);
        demo.running.signal(signal);
        assert!(demo.running.ended().success());
        assert_eq!(Demo::traces(demo.temporary.path()), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_demo_removes_what_one_that_was_killed_has_left() {
    let Demo { mut running, temporary, .. } = Demo::start(&["--listen", "127.0.0.1:0"]);
    let left = Demo::traces(temporary.path());
    running.signal(Signal::KILL);
    running.ended();
    assert_eq!(Demo::traces(temporary.path()), left);
    let next = Demo::start_in(temporary, &["--listen", "127.0.0.1:0"]);
    let now = Demo::traces(next.temporary.path());
    assert!(now.len() == 1 && now != left, "{left:?} {now:?}");
}

#[test]
fn two_demos_get_two_ports() {
    let (one, two) = (Demo::start(&[]), Demo::start(&[]));
    assert_ne!(one.text("/url"), two.text("/url"));
    assert!(one.text("/url").starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn kept_data_keep_keys_and_passwords_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("kept").display().to_string();
    let arguments = ["--listen", "127.0.0.1:0", "--data", &directory];
    let mut first = Demo::start(&arguments);
    first.running.signal(Signal::TERM);
    assert!(first.running.ended().success());

    let memory = data.path().join("kept/demo.json");
    let inode = || std::fs::metadata(&memory).unwrap().ino();
    let before = inode();
    let second = Demo::start(&arguments);
    assert_eq!(inode(), before, "what is the same is not written again");
    for same in ["/apiKey", "/panelKey", "/masterSecret", "/extensions/0/password", "/extensions/1/password"] {
        assert_eq!(first.text(same), second.text(same), "{same}");
    }
    let key = second.text("/apiKey");
    assert_eq!(second.get(&format!("/api/webphone/config?key={key}"), &[]).await.0, 200);

    let (status, _, stderr) = run(bitcall().args(["demo", "--json"]).args(arguments));
    assert_eq!(status.code(), Some(1), "the same data cannot be served twice: {stderr}");
    assert!(stderr.contains("another bitcall is running"), "{stderr}");
}

#[test]
fn the_terminal_shows_the_address_both_extensions_and_how_to_stop() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = bitcall();
    command.env("TMPDIR", temporary.path()).args(["demo", "--listen", "127.0.0.1:0"]);
    let mut running = Running::start(&mut command, &temporary.path().join("log"));
    running.wait_for("how to stop", |line| line.contains("Ctrl-C").then_some(()));
    let text = running.log();
    for wanted in ["http://127.0.0.1:", "101", "102", "password", "*43"] {
        assert!(text.contains(wanted), "{wanted} in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours where there is no terminal");
}
