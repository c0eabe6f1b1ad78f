//! The access log: one line for each request, without anything secret, written to the end and rotated without a restart.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::appliance::{Serve, exchange_http2, request, wait_until, write_configuration};
use crate::installation::{Installation, MASTER_SECRET, PANEL_KEY};

/// Waits until so many lines are there.
fn lines(path: &Path, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} lines of {}", path.display()), || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[tokio::test]
async fn each_request_is_one_line_with_its_client_and_tenant_and_without_keys_and_tokens() {
    let bitcall = Installation::serving_with("access = 'access.log'\n").await;
    let path = bitcall.data().with_file_name("access.log");
    let key = bitcall.tenant("acme", "pro").await;
    let client = [("x-forwarded-for", "203.0.113.9, 198.51.100.7"), ("user-agent", "Test \"1\"\u{e9}")];
    let config = format!("/api/webphone/config?key={key}&pageOrigin=https://crm.acme.com");
    bitcall.send("GET", &config, &client, "").await;
    let found = bitcall.send("GET", &format!("/webphone/?key={key}"), &client, "").await;
    bitcall
        .send("GET", "/app/?token=bt_abcdefgh&dial=5551234", &[("referer", "https://crm.acme.com/?session=abc")], "")
        .await;
    let mut socket = TcpStream::connect(bitcall.address()).await.unwrap();
    let handshake = format!(
        "GET /sip HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        bitcall.address()
    );
    socket.write_all(handshake.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    // The operator's own commands are in the audit.
    bitcall.bitcall(&["tenant", "list"]);

    let written = lines(&path, 5);
    let [provision, config, phone, app, sip] = written.as_slice() else { panic!("{written:#?}") };
    let fields = |line: &Value, names: &[&str]| names.iter().map(|name| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(
        fields(provision, &["client", "method", "path", "protocol", "status"]),
        ["127.0.0.1".into(), "POST".into(), "/api/tenant/provision".into(), "HTTP/1.1".into(), Value::from(200)]
    );
    assert_eq!(config["path"], "/api/webphone/config?key=redacted&pageOrigin=https://crm.acme.com");
    assert_eq!(
        fields(config, &["client", "tenant", "status", "error", "user_agent"]),
        [
            "198.51.100.7".into(),
            "acme".into(),
            Value::from(403),
            "WEBPHONE_ORIGIN_FORBIDDEN".into(),
            "Test \"1\"\u{e9}".into()
        ]
    );
    assert!(config["request_id"].is_string() && config["duration_ms"].as_f64().unwrap() > 0.0, "{config}");
    assert_eq!(fields(phone, &["tenant", "bytes"]), ["acme".into(), Value::from(found.body.len())]);
    assert_eq!(app["path"], "/app/?token=redacted&dial=redacted");
    assert_eq!(app["referer"], "https://crm.acme.com/");
    assert_eq!(fields(sip, &["path", "status"]), ["/sip".into(), Value::from(101)]);
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [key.as_str(), PANEL_KEY, MASTER_SECRET, "bt_abc", "5551234", "session"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_goes_on_in_a_new_file_and_a_stop_writes_the_last_line() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let config = directory.path().join("bitcall.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[log]\n", "[log]\naccess = 'access.log'\n")).unwrap();
    let mut serve = Serve::start_in(directory);
    let (path, old) = (serve.place().join("access.log"), serve.place().join("access.log.1"));
    // By HTTPS, a client writes into a header what it likes.
    let forged = request("/healthz", &[("x-forwarded-for", "192.0.2.66")]);
    exchange_http2(serve.connect(&["h2"]).await, forged).await;
    let first = lines(&path, 1);
    assert_eq!((&first[0]["client"], &first[0]["protocol"]), (&"127.0.0.1".into(), &"HTTP/2.0".into()));
    std::fs::rename(&path, &old).unwrap();
    serve.running.signal(Signal::HUP);
    serve.running.wait_for("the new file", |line| line.contains("access log opened again").then_some(()));
    serve.get("/after", &[]).await;
    serve.running.signal(Signal::TERM);
    assert!(serve.running.ended().success());
    assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 1);
    assert_eq!(lines(&path, 1)[0]["path"], "/after");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o027, 0, "{mode:o}");
}

#[test]
fn an_access_log_that_cannot_be_written_is_refused_by_its_setting() {
    let bitcall = Installation::with("access = 'nowhere/access.log'\n");
    for command in ["check", "serve"] {
        let refused = bitcall.bitcall(&[command]);
        assert_eq!(refused.exit, 2, "{command}: {refused:?}");
        assert!(refused.err.contains("`log.access`") && refused.err.contains("nowhere/access.log"), "{}", refused.err);
    }
}
