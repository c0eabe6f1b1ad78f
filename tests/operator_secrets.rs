//! Rotation of the panel key and the master secret while the server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::appliance::{Serve, bitcall, run, wait_until, write_configuration};

/// `bitcall secret rotate panel-key …` on this configuration.
fn rotate(place: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = bitcall();
    command.args(["secret", "rotate", "panel-key"]).args(more).arg("--config").arg(place.join("bitcall.toml"));
    let (status, out, err) = run(&mut command);
    (status.code(), out, err)
}

/// One request on a connection that goes on; status and answer.
async fn ask(sender: &mut SendRequest<Full<Bytes>>, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("x-bitcall-panel-key", key).header("authorization", format!("Bearer {key}"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

fn reload(serve: &mut Serve, times: usize) {
    serve.running.signal(Signal::HUP);
    wait_until("the reload", || (serve.running.log().matches("secrets read again").count() == times).then_some(()));
}

#[tokio::test]
async fn both_panel_keys_are_good_until_the_rotation_is_finished_and_connections_stay() {
    let mut serve = Serve::start("");
    let place = serve.place().to_owned();
    let old = fs::read_to_string(place.join("panel_key")).unwrap();
    let stream = serve.connect(&["http/1.1"]).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let provision = "/api/tenant/provision";
    let made = ask(&mut sender, "POST", provision, &old, json!({ "tenantId": "acme" })).await;
    assert_eq!(made.0, 200);

    let (code, out, err) = rotate(&place, &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("systemctl reload bitcall") && err.contains("--finish"), "says what is next: {err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let new = told["value"].as_str().unwrap().to_owned();
    assert_eq!(fs::metadata(place.join("panel_key")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = rotate(&place, &[]);
    assert!(code == Some(5) && err.contains("--finish"), "one at a time: {err}");
    assert_eq!(ask(&mut sender, "POST", provision, &new, json!({ "tenantId": "b" })).await.0, 401, "not read yet");

    reload(&mut serve, 1);
    assert_eq!(ask(&mut sender, "POST", provision, &old, json!({ "tenantId": "by-old" })).await.0, 200);
    assert_eq!(ask(&mut sender, "POST", provision, &new, json!({ "tenantId": "by-new" })).await.0, 200);
    assert!(serve.running.log().contains("a panel key was used that is being replaced"));
    let master = fs::read_to_string(place.join("master_secret")).unwrap();
    let (_, log) = ask(&mut sender, "GET", "/api/admin/audit?limit=2", &master, Value::Null).await;
    let digests = ["0", "1"].map(|n| log.pointer(&format!("/data/entries/{n}/actor/digest")).unwrap().clone());
    assert_eq!(digests, [told["digest"].clone(), told["previousDigest"].clone()], "the audit tells them apart");

    let (code, _, err) = rotate(&place, &["--finish"]);
    assert_eq!(code, Some(0), "{err}");
    reload(&mut serve, 2);
    assert_eq!(ask(&mut sender, "POST", provision, &old, json!({ "tenantId": "c" })).await.0, 401);
    assert_eq!(ask(&mut sender, "POST", provision, &new, json!({ "tenantId": "c" })).await.0, 200);
    assert_eq!(rotate(&place, &["--finish"]).0, Some(0), "again is no error");
    assert_eq!(fs::read_to_string(place.join("panel_key")).unwrap().trim(), new);
    let refused = "a wrong panel key was refused";
    serve.running.wait_for(refused, |line| (line.contains(refused) && line.contains("127.0.0.1")).then_some(()));
    for secret in [old.trim(), new.trim()] {
        assert!(!serve.running.log().contains(secret));
    }

    fs::write(place.join("panel_key"), "short").unwrap();
    serve.running.signal(Signal::HUP);
    serve.running.wait_for("the fault", |line| line.contains("at least 24").then_some(()));
    assert_eq!(ask(&mut sender, "POST", provision, &new, json!({ "tenantId": "d" })).await.0, 200, "kept as it was");
}

#[test]
fn check_names_what_is_wrong_with_a_file_of_two_secrets() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let check = || run(bitcall().arg("check").arg("--config").arg(&file));
    let (one, two, three) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
    for (text, fault) in [
        (format!("{one}\n{two}\n{three}\n"), "more than two lines"),
        (format!("{one}\n{one}"), "twice"),
        (format!("{one}\nshort\n"), "has 5 characters"),
        ("\n".to_owned(), "has 0 characters"),
    ] {
        fs::write(directory.path().join("panel_key"), &text).unwrap();
        let (status, _, err) = check();
        assert!(status.code() == Some(2) && err.contains(fault), "{text}: {err}");
        assert!(!err.contains(&one));
    }
    fs::write(directory.path().join("panel_key"), format!("\n{one}\r\n{two}\n\n")).unwrap();
    assert!(check().0.success(), "{}", check().2);
}

#[test]
fn a_unit_reload_reads_newer_credentials_than_the_start() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let (start, runtime) = (directory.path().join("start"), directory.path().join("runtime"));
    fs::create_dir_all(runtime.join("credentials")).unwrap();
    fs::create_dir(&start).unwrap();
    let mut check = bitcall();
    check.arg("check").arg("--config").arg(directory.path().join("bitcall.toml"));
    check.env("CREDENTIALS_DIRECTORY", &start).env("RUNTIME_DIRECTORY", &runtime);
    fs::write(start.join("panel_key"), "short").unwrap();
    let (_, _, err) = run(&mut check);
    assert!(err.contains(&start.display().to_string()), "{err}");
    fs::write(runtime.join("credentials/panel_key"), "x".repeat(32)).unwrap();
    assert!(run(&mut check).0.success());

    let unit = include_str!("../systemd/bitcall.service");
    assert!(unit.contains("-t /run/bitcall/credentials ") && unit.contains("RuntimeDirectory=bitcall\n"), "{unit}");
    // In this order: the newer secrets, the check, the signal. A check that fails is a reload that fails, without a signal.
    let steps: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect();
    assert!(
        matches!(steps[..], [secrets, "/usr/bin/bitcall check", "/bin/kill -HUP $MAINPID"] if secrets.starts_with("+/usr/bin/install ")),
        "{steps:?}"
    );
}

#[test]
fn secret_rotation_requires_a_secret_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bitcall.toml"), "").unwrap();
    let (code, out, err) = rotate(directory.path(), &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("secrets.panel_key_file") && err.contains("hint: "), "{err}");
}
