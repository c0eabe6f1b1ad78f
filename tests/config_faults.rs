//! Faulty configurations: each fault is named with its line and a remedy, and nothing is started or written.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::appliance::{Serve, bitcall, run, write_configuration};

/// Exit code of a wrong configuration.
const MISCONFIGURED: Option<i32> = Some(2);

#[test]
fn check_names_every_fault_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    fs::write(&file, "public_url = 'phone'\n\n[listen]\nhtttps = []\nops = 9180\n").unwrap();
    for command in ["check", "serve"] {
        let (status, stdout, stderr) = run(bitcall().arg(command).arg("--config").arg(&file));
        assert_eq!(status.code(), MISCONFIGURED, "{stderr}");
        assert_eq!(stdout, "");
        for (line, what) in [(1, "public_url"), (4, "did you mean `https`?"), (5, "listen.ops")] {
            let place = format!("{}:{line}: ", file.display());
            let named = stderr.lines().any(|text| text.contains(&place) && text.contains(what));
            assert!(named, "{place}{what} in:\n{stderr}");
        }
    }
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let (status, _, stderr) = run(bitcall().args(["serve", "--config", "/nonexistent/bitcall.toml"]));
    assert_eq!(status.code(), MISCONFIGURED);
    assert!(stderr.contains("bitcall init"), "{stderr}");
}

#[test]
fn secrets_that_are_missing_short_or_readable_by_others_are_named_without_being_shown() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let check = || run(bitcall().arg("check").arg("--config").arg(&file));
    assert!(check().0.success(), "{}", check().2);

    let panel_key = directory.path().join("panel_key");
    fs::set_permissions(&panel_key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(directory.path().join("master_secret"), "hunter2").unwrap();
    let (status, _, stderr) = check();
    assert_eq!(status.code(), MISCONFIGURED);
    assert!(stderr.contains("chmod 600") && stderr.contains("at least"), "both are named: {stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");

    fs::remove_file(&panel_key).unwrap();
    let (_, _, stderr) = check();
    assert!(stderr.contains(&panel_key.display().to_string()), "{stderr}");
    let long = "x".repeat(32);
    let (status, _, stderr) = run(bitcall()
        .env("BITCALL_PANEL_KEY", &long)
        .env("APP_MASTER_SECRET", &long)
        .arg("check")
        .arg("--config")
        .arg(&file));
    assert!(status.success(), "the environment comes first: {stderr}");
}

#[test]
fn certificate_files_that_are_missing_or_no_certificates_are_named() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'");
    let file = directory.path().join("bitcall.toml");
    let check = || run(bitcall().arg("check").arg("--config").arg(&file)).2;
    assert!(check().contains("cert.pem does not exist"), "{}", check());
    fs::write(directory.path().join("cert.pem"), "no certificate").unwrap();
    assert!(check().contains("cert.pem holds no PEM"), "{}", check());

    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    fs::write(directory.path().join("cert.pem"), made("a.example").cert.pem()).unwrap();
    fs::write(directory.path().join("key.pem"), made("b.example").signing_key.serialize_pem()).unwrap();
    assert!(check().contains("does not belong to"), "{}", check());
}

#[test]
fn a_taken_port_is_named_with_a_way_to_find_its_owner() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, stdout, stderr) = run(bitcall().args(["demo", "--listen", &address]));
    assert_eq!(status.code(), Some(1));
    assert_eq!(stdout, "");
    assert!(stderr.contains(&address) && stderr.contains("ss -ltnp"), "{stderr}");
}

#[test]
fn check_finds_what_would_stop_a_start_or_leave_it_without_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let plain = fs::read_to_string(&file).unwrap().replace("[secrets]", "[secrets]\nstore_key_file = 'store_key'");
    fs::write(directory.path().join("store_key"), "the store key of these tests").unwrap();
    fs::set_permissions(directory.path().join("store_key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.path().join("no-directory"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let (status, stdout, stderr) = run(bitcall().arg("check").arg("--json").arg("--config").arg(&file));
        let told: Value = serde_json::from_str(&stdout).unwrap();
        let faults = told["faults"].as_array().unwrap();
        assert_eq!(
            (told["ok"] == true, status.code()),
            (faults.is_empty(), Some(if faults.is_empty() { 0 } else { 2 }))
        );
        for fault in faults {
            assert!(stderr.contains(fault["message"].as_str().unwrap()), "{stderr}");
        }
        told
    };
    let told = check(&plain);
    assert_eq!((&told["faults"], &told["notes"]), (&json!([]), &json!([])));
    let acme = "[acme]\ndirectories = 'https://ca.example/dir'\n";
    let public = plain.replace("https://localhost", "https://phone.example.com");
    for (text, fault) in [
        (plain.replace("127.0.0.1:0", &taken), "is taken by another program"),
        (plain.replace("ops = '127.0.0.1:0'", &format!("redirect = '{taken}'")), "`listen.redirect`: "),
        (plain.replace("127.0.0.1:0", "192.0.2.1:8443"), "192.0.2.1:8443 is not an address of this machine"),
        (plain.replace("'data'", "'no-directory'"), "no-directory is not a directory"),
        (plain.replace("'data'", "'no-directory/data'"), "`data_dir` "),
        (plain.replace("https://localhost", "https://a..b"), "`public_url` must be"),
        (plain.replace("[log]", "[log]\nfilter = 'inof'"), "matches nothing of Bitcall's"),
        (format!("{plain}{acme}"), "no authority certifies localhost"),
        (
            format!("{plain}{acme}").replace("https://localhost", "https://192.0.2.1"),
            "no authority certifies 192.0.2.1",
        ),
        (format!("{public}{acme}").replace(".com'", ".com:8443'"), "no authority reaches this server"),
    ] {
        let told = check(&text);
        let faults = told["faults"].as_array().unwrap();
        let found = faults.iter().find(|found| found["message"].as_str().unwrap().contains(fault));
        let found = found.unwrap_or_else(|| panic!("{fault} in {told}"));
        assert_eq!(found["line"], if fault.contains("public_url") { json!(2) } else { Value::Null }, "{told}");
    }
    // Whoever forwards port 443 here is right, and is told so.
    let told = check(&format!("{public}{acme}"));
    let note = told["notes"][0].as_str().unwrap();
    assert!(note.contains("tls-alpn-01") && note.contains("only where that port is forwarded"), "{told}");
}

#[test]
fn check_beside_a_running_server_takes_its_ports_for_its_own() {
    let serve = Serve::start("");
    let file = serve.place().join("bitcall.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("https = '127.0.0.1:0'", &format!("https = '{}'", serve.https))).unwrap();
    let (status, _, stderr) = run(bitcall().arg("check").arg("--config").arg(&file));
    assert!(status.success(), "{stderr}");
}

#[test]
fn check_before_the_first_start_takes_the_ports_that_systemd_holds_for_bitcalls_own() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let (tcp, dns) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (tcp, dns) = (tcp.local_addr().map(|address| (address, tcp)), dns.local_addr().map(|address| (address, dns)));
    let ((https, _tcp), (dns, _dns)) = (tcp.unwrap(), dns.unwrap());
    let text = fs::read_to_string(&file).unwrap().replace("https = '127.0.0.1:0'", &format!("https = '{https}'"));
    let zone = format!("[domains]\nbase = 'bitcall.example'\n[dns]\naddresses = '203.0.113.5'\nlisten = '{dns}'\n");
    fs::write(&file, format!("{text}{zone}")).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let check = |state: &str, listen: &str| {
        let systemctl = directory.path().join("systemctl");
        let lines =
            format!("#!/bin/sh\n[ \"$1 $2\" = 'show bitcall.socket' ] && echo 'ActiveState={state}\n{listen}'\n");
        fs::write(&systemctl, lines).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        let mut check = bitcall();
        check.env("PATH", &path).args(["check", "--json", "--config"]).arg(&file);
        let (status, stdout, _) = run(&mut check);
        let told: Value = serde_json::from_str(&stdout).unwrap();
        (status.success(), told["faults"].to_string(), told["notes"].to_string())
    };
    let held = format!("Listen={https} (Stream)\nListen={dns} (Datagram)\nListen={dns} (Stream)");
    let (ok, faults, notes) = check("active", &held);
    assert!(ok, "{faults}");
    for told in [format!("`listen.https`: systemd holds {https}"), format!("`dns.listen`: systemd holds {dns}")] {
        assert!(notes.contains(&told) && notes.contains("bitcall.socket"), "{notes}");
    }
    for (state, listen) in [("inactive", held.as_str()), ("active", "Listen=127.0.0.1:1 (Stream)")] {
        let (ok, faults, notes) = check(state, listen);
        assert!(!ok && faults.contains(&format!("{https} is taken")) && faults.contains(&dns.to_string()), "{faults}");
        assert_eq!(notes, "[]");
    }
}

#[test]
fn an_address_of_another_machine_is_named() {
    let (status, _, stderr) = run(bitcall().args(["demo", "--listen", "192.0.2.1:8088"]));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("192.0.2.1:8088 is not an address of this machine"), "{stderr}");
}

#[test]
fn a_second_server_on_the_same_socket_or_data_is_refused_and_the_first_one_lives_on() {
    let first = Serve::start("");
    let file = first.place().join("bitcall.toml");
    let (status, _, stderr) = run(bitcall().arg("serve").arg("--config").arg(&file));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("another bitcall is running"), "{stderr}");
    assert!(first.socket().exists());

    let other = first.place().join("other.toml");
    let text = fs::read_to_string(&file).unwrap().replace("control.sock", "other.sock");
    fs::write(&other, text).unwrap();
    let (status, _, stderr) = run(bitcall().arg("serve").arg("--config").arg(&other));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("another") && stderr.contains("data"), "the store is locked: {stderr}");
}

#[test]
fn check_and_serve_name_what_acme_still_needs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    write_configuration(directory.path(), "");
    let plain = fs::read_to_string(&file).unwrap();
    fs::write(directory.path().join("empty.pem"), "").unwrap();
    fs::write(directory.path().join("eab"), "https://other.example/dir kid-1 c2VjcmV0\n").unwrap();
    fs::set_permissions(directory.path().join("eab"), fs::Permissions::from_mode(0o600)).unwrap();
    for (lines, fault) in [
        ("", "needs a store key"),
        ("challenges = 'dns-01'", "none of `acme.challenges` is possible"),
        ("ca_bundle = 'empty.pem'", "holds no certificate"),
        ("eab_file = 'eab'", "https://other.example/dir"),
        ("eab_file = 'nowhere'", "cannot be read"),
        ("contact = 'me'", "mail address"),
        ("challenges = 'http-02'", "\"http-01\""),
    ] {
        fs::write(&file, format!("{plain}[acme]\ndirectories = 'https://ca.example/dir'\n{lines}\n")).unwrap();
        for command in ["check", "serve"] {
            let (status, _, stderr) = run(bitcall().arg(command).arg("--config").arg(&file));
            assert_eq!(status.code(), MISCONFIGURED, "{lines}: {stderr}");
            assert!(stderr.contains(fault), "{command}, {lines}: {stderr}");
        }
    }
    fs::write(&file, format!("{plain}[acme]\ndirectories = 'http://ca.example/dir'\n")).unwrap();
    let (status, _, stderr) = run(bitcall().arg("check").arg("--config").arg(&file));
    assert!(status.code() == MISCONFIGURED && stderr.contains("https://"), "{stderr}");
}
