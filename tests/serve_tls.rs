//! `bitcall serve`: TLS, both versions of HTTP, time limits, reload, drain, systemd.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream as BlockingStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use http_body_util::Empty;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::appliance::{
    Running, Serve, bitcall, certificate, exchange, exchange_http2, header, read_all, request, run, secure, wait_until,
    write_configuration,
};

#[tokio::test]
async fn http_1_1_and_http_2_are_served_over_tls() {
    let serve = Serve::start("");
    let answer = serve.get("/webphone/loader.js", &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let stream = serve.connect(&["h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut get = request("https://localhost/webphone/loader.js", &[]);
    get.headers_mut().clear();
    let answer = exchange_http2(stream, get).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "strict-transport-security"), "", "not with a certificate that browsers refuse");
    let demo = serve.get("/demo.json", &[]).await;
    assert_eq!(demo.status(), StatusCode::NOT_FOUND, "that is for `bitcall demo` only");
}

#[tokio::test]
async fn the_development_certificate_is_private_and_kept_over_a_restart() {
    let mut first = Serve::start("");
    let before = certificate(&first.connect(&["http/1.1"]).await);
    first.running.signal(Signal::TERM);
    assert!(first.running.ended().success());
    let key = first.place().join("data/tls/development-localhost.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);

    let second = Serve::start_in(first.directory.take().unwrap());
    assert_eq!(certificate(&second.connect(&["http/1.1"]).await), before);
}

#[test]
fn a_human_log_has_no_colours_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("format = 'json'", "format = 'human'")).unwrap();
    let mut command = bitcall();
    command.env_remove("NO_COLOR").arg("serve").arg("--config").arg(&file);
    let mut running = Running::start(&mut command, &directory.path().join("log"));
    let warned = running.wait_for("the warning", |line| line.contains("self-signed").then(|| line.to_owned()));
    assert!(warned.contains("WARN") && !warned.contains('\x1b'), "{warned:?}");
}

#[tokio::test]
async fn a_renewed_certificate_file_is_taken_on_sighup_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'");
    let place = directory.path().to_owned();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(place.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(place.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    };
    let first = renew();
    let mut serve = Serve::start_in(directory);
    let answer = serve.get("/", &[]).await;
    assert_ne!(header(&answer, "strict-transport-security"), "", "with a real certificate");
    let mut old = serve.connect(&["http/1.1"]).await;
    assert_eq!(certificate(&old), first);

    let second = renew();
    serve.running.signal(Signal::HUP);
    serve.running.wait_for("the new certificate", |line| line.contains("certificate read again").then_some(()));
    assert_eq!(certificate(&serve.connect(&["http/1.1"]).await), second);

    fs::write(place.join("cert.pem"), "broken").unwrap();
    serve.running.signal(Signal::HUP);
    serve.running.wait_for("the refusal", |line| line.contains("was not replaced").then_some(()));
    assert_eq!(certificate(&serve.connect(&["http/1.1"]).await), second);

    old.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.ok();
    assert!(answer.starts_with("HTTP/1.1 200"), "an old connection goes on: {answer}");
}

#[tokio::test]
async fn the_control_socket_is_for_owner_and_group_and_asks_for_no_key() {
    let serve = Serve::start("");
    assert_eq!(fs::metadata(serve.socket()).unwrap().permissions().mode() & 0o777, 0o660);
    let stream = UnixStream::connect(serve.socket()).await.unwrap();
    let answer = exchange(stream, request("/api/admin/tenants", &[])).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    let answer = serve.get("/api/admin/tenants", &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn health_checks_have_their_own_listener() {
    let serve = Serve::start("");
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/api/admin/tenants", 404)] {
        let stream = TcpStream::connect(&serve.ops).await.unwrap();
        let answer = exchange(stream, request(path, &[])).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    assert_eq!(serve.get("/healthz", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn idle_and_slow_clients_are_disconnected() {
    let serve = Serve::start("header_timeout = '1s'\nrequest_timeout = '1s'");
    let silent = BlockingStream::connect(&serve.https).unwrap();
    assert_eq!(read_all(silent), b"", "no TLS handshake");
    let mut half = BlockingStream::connect(&serve.ops).unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").unwrap();
    assert_eq!(read_all(half), b"", "half a header");

    let mut silent = serve.connect(&["h2"]).await;
    // It ends; what the server says of itself before (its settings) does not matter.
    silent.read_to_end(&mut Vec::new()).await.ok();

    let unused = TokioIo::new(serve.connect(&["h2"]).await);
    let (_sender, connection) = http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), unused).await.unwrap();
    connection.await.expect("it ends by GOAWAY and is not cut");

    let mut slow = serve.connect(&["http/1.1"]).await;
    slow.write_all(b"POST /api/tenant/provision HTTP/1.1\r\nhost: localhost\r\nx-bitcall-panel-key: panel_key-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.ok();
    assert!(answer.starts_with("HTTP/1.1 408"), "half a body: {answer}");
    assert!(answer.contains("REQUEST_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_client_that_floods_http_2_with_frames_is_cut() {
    let serve = Serve::start("header_timeout = '10m'");
    let mut stream = serve.connect(&["h2"]).await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    flood.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(10_000));
    // Either may be the first to see the end.
    let _ = stream.write_all(&flood).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(serve.get("/", &[]).await.status(), StatusCode::OK);
}

#[test]
fn curl_shows_every_refusal_of_a_request_with_a_body() {
    let serve = Serve::start("");
    let url = |path: &str| format!("https://{}{path}", serve.https);
    let refused = [("/api/tenant/provision", "401"), ("/nothing", "404"), ("/webphone/loader.js", "405")];
    for (path, status) in refused.into_iter().cycle().take(60) {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--http2", "--write-out", "%{http_version} %{http_code}"]);
        curl.args(["--header", "content-type: application/json", "--data", "{\"tenantId\":\"acme\"}"]);
        let (outcome, answer, error) = run(curl.arg(url(path)));
        assert!(outcome.success() && answer.ends_with(&format!("2 {status}")), "{path}: {outcome} {answer} {error}");
        assert!(answer.contains("\"error\""), "{answer}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_permit() {
    // Two permits are taken by these connections, and a third by the listener that waits in accept.
    let serve = Serve::start("max_connections = 5");
    let mut held = Vec::new();
    while held.len() < 3 {
        let Ok(stream) = tokio::time::timeout(std::time::Duration::from_secs(1), serve.connect(&["http/1.1"])).await
        else {
            break;
        };
        held.push(stream);
    }
    assert!(!held.is_empty());
    let waiting = tokio::spawn({
        let address = serve.https.clone();
        async move { crate::appliance::connect(&address, &["http/1.1"]).await }
    });
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn silent_connections_keep_neither_the_operator_nor_other_addresses_out() {
    let serve = Serve::start("max_connections = 40\nmax_connections_per_address = 20");
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(TcpStream::connect(&serve.https).await.unwrap());
    }
    // Those beyond the share of one address are closed at once.
    let read = silent.pop().unwrap().read(&mut [0; 1]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = other.connect(serve.https.parse().unwrap()).await.unwrap();
    let answer = exchange(secure(other, &["http/1.1"]).await, request("/webphone/loader.js", &[])).await;
    assert_eq!(answer.status(), StatusCode::OK);
    the_operator_is_served(&serve).await;
}

#[tokio::test]
async fn strangers_on_all_connections_leave_health_checks_and_commands_alone() {
    let serve = Serve::start("max_connections = 10\nmax_connections_per_address = 0");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(&serve.https).await.unwrap());
    }
    the_operator_is_served(&serve).await;
}

async fn the_operator_is_served(serve: &Serve) {
    let stream = TcpStream::connect(&serve.ops).await.unwrap();
    assert_eq!(exchange(stream, request("/readyz", &[])).await.status(), StatusCode::OK);
    let (status, _, error) =
        run(bitcall().args(["tenant", "list", "--config"]).arg(serve.place().join("bitcall.toml")));
    assert!(status.success(), "{error}");
}

#[tokio::test]
async fn sigterm_lets_an_open_request_finish_and_takes_no_new_one() {
    let mut serve = Serve::start("drain_timeout = '20s'");
    let body = br#"{"tenantId":"late"}"#;
    let head = format!(
        "POST /api/tenant/provision HTTP/1.1\r\nhost: localhost\r\nx-bitcall-panel-key: panel_key-{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        "x".repeat(32),
        body.len()
    );
    let mut open = serve.connect(&["http/1.1"]).await;
    let idle = serve.connect(&["http/1.1"]).await;
    open.write_all(head.as_bytes()).await.unwrap();
    open.write_all(&body[..5]).await.unwrap();
    // The request has arrived when a later one on another connection was answered.
    serve.get("/", &[]).await;

    serve.running.signal(Signal::TERM);
    wait_until("the listener's end", || BlockingStream::connect(&serve.https).is_err().then_some(()));
    open.write_all(&body[5..]).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.ok();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert!(answer.contains("\"late\""), "{answer}");
    assert!(serve.running.ended().success());
    assert!(serve.running.log().contains("every open request was answered"), "{}", serve.running.log());
    assert!(!serve.socket().exists(), "the control socket is gone");
    drop(idle);
}

#[tokio::test]
async fn a_request_over_the_drain_timeout_is_cut() {
    let mut serve = Serve::start("drain_timeout = '1s'");
    let mut open = serve.connect(&["http/1.1"]).await;
    open.write_all(b"POST /api/tenant/provision HTTP/1.1\r\nhost: localhost\r\nx-bitcall-panel-key: panel_key-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    serve.get("/", &[]).await;
    serve.running.signal(Signal::TERM);
    assert!(serve.running.ended().success());
    assert!(serve.running.log().contains("were cut"), "{}", serve.running.log());
}

#[test]
fn systemd_is_notified_of_ready_and_stopping() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut command = bitcall();
    command
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .args(["serve", "--config"])
        .arg(directory.path().join("bitcall.toml"));
    let mut running = Running::start(&mut command, &directory.path().join("log"));
    let hear = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(hear().starts_with("READY=1\n"));
    running.signal(Signal::TERM);
    assert!(hear().starts_with("STOPPING=1\n"));
    assert!(running.ended().success());
}

#[test]
fn the_unit_file_is_one_that_systemd_accepts() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/bitcall.service");
    let mut verify = std::process::Command::new("systemd-analyze");
    verify.args(["security", "--offline=true", "--no-pager", "--threshold=20", unit]);
    let (status, stdout, stderr) = run(&mut verify);
    assert!(status.success(), "exposure above 2.0:\n{stdout}{stderr}");
}
