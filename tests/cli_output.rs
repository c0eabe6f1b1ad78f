//! Commands whose output cannot be written: the reader of a pipe has ended, or the disk is full.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::appliance::{bitcall, write_configuration};
use crate::installation::{CommandOutput, Installation};

/// Where standard output leads.
#[derive(Clone, Copy, Debug)]
enum Sink {
    /// A pipe whose reader has ended, as behind `| head -0`.
    ClosedPipe,
    /// `/dev/full`: every write fails as on a full disk.
    FullDisk,
}
use Sink::{ClosedPipe, FullDisk};

impl Sink {
    fn open(self) -> Stdio {
        match self {
            ClosedPipe => std::io::pipe().unwrap().1.into(),
            FullDisk => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
        }
    }
}

fn into(sink: Sink, command: &mut Command) -> CommandOutput {
    let output = command.stdin(Stdio::null()).stdout(sink.open()).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    CommandOutput { exit: output.status.code().expect("no signal ends it"), out: String::new(), err }
}

#[tokio::test]
async fn output_that_nobody_reads_any_more_is_no_error_and_a_full_disk_is_one() {
    let bitcall = Installation::serving().await;
    bitcall.bitcall(&["tenant", "provision", "acme"]);
    for arguments in [
        &["completions", "bash"][..],
        &["tenant", "list"],
        &["tenant", "list", "--json"],
        &["tenant", "show", "acme"],
        &["key", "list", "acme"],
        &["audit", "--follow"],
        &["calls", "--watch"],
        &["--help"],
        &["key", "create", "--help"],
        &["--version"],
    ] {
        let output = into(ClosedPipe, bitcall.command().args(arguments));
        assert_eq!((output.exit, output.err.as_str()), (0, ""), "{arguments:?}");
        let output = into(FullDisk, bitcall.command().args(arguments));
        assert_eq!(output.exit, 1, "{arguments:?}: {}", output.err);
        assert!(output.err.contains("standard output cannot be written: No space left"), "{}", output.err);
    }
}

#[test]
fn messages_that_cannot_be_written_end_no_command() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let config = |name| directory.path().join(name);
    for (arguments, config, code) in [
        (&["init"][..], config("new/bitcall.toml"), 0),
        (&["check"], config("bitcall.toml"), 0),
        (&["check"], config("nowhere.toml"), 2),
        (&["tenant", "list", "--socket", "nowhere"], config("bitcall.toml"), 3),
    ] {
        let mut command = bitcall();
        command.args(arguments).arg("--config").arg(&config).stdout(Stdio::null()).stderr(FullDisk.open());
        assert_eq!(command.status().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_key_that_was_made_and_could_not_be_shown_is_said_and_revoked() {
    let bitcall = Installation::serving().await;
    let keys = || {
        let list = bitcall.bitcall(&["key", "list", "acme", "--json"]).json();
        let keys = list["apiKeys"].as_array().unwrap().iter();
        keys.map(|key| key["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The tenant's only key cannot be revoked: another one is in its place, which nobody knows.
    let output = into(FullDisk, bitcall.command().args(["tenant", "provision", "acme", "--plan", "pro"]));
    assert_eq!(output.exit, 1, "{output:?}");
    let unseen = keys();
    assert_eq!(unseen.len(), 1);
    assert!(output.err.contains("was made and not shown; it is revoked"), "{}", output.err);
    let hint = format!("bitcall key rotate acme {} --overlap 0", unseen[0]);
    assert!(output.err.contains(&hint), "{hint}: {}", output.err);
    let shown = bitcall.bitcall(&["key", "rotate", "acme", &unseen[0], "--overlap", "0", "--json"]).json();
    assert!(shown["apiKey"].is_string(), "the hint works: {shown}");

    for sink in [ClosedPipe, FullDisk] {
        let before = keys();
        for arguments in [&["key", "create", "acme"][..], &["key", "create", "acme", "--json"]] {
            let output = into(sink, bitcall.command().args(arguments));
            assert_eq!(output.exit, 1, "{sink:?} {arguments:?}: {output:?}");
            assert!(output.err.contains("standard output cannot be written"), "{}", output.err);
            assert!(output.err.contains("was made and not shown; it is revoked"), "{}", output.err);
            assert!(output.err.contains("hint: `bitcall key create acme`"), "{}", output.err);
            assert_eq!(keys(), before, "{sink:?} {arguments:?}");
        }
        // The old key stays until its time is over, the new one is refused.
        let output = into(sink, bitcall.command().args(["key", "rotate", "acme", &before[0]]));
        assert!(output.exit == 1 && output.err.contains("it is revoked, and key_"), "{}", output.err);
        let after = keys();
        let named = after.last().unwrap();
        assert!(after.contains(&before[0]) && output.err.contains(&format!("rotate acme {named} ")), "{}", output.err);
        bitcall.bitcall(&["key", "revoke", "acme", &before[0]]);
    }
}

#[tokio::test]
async fn a_password_or_link_that_could_not_be_shown_is_of_no_use() {
    let bitcall = Installation::serving().await;
    bitcall.bitcall(&["tenant", "provision", "acme", "--plan", "pro"]);
    bitcall.admin("PATCH", "/api/admin/tenants/acme", json!({ "features": { "authLink": true } })).await;
    let add = ["extension", "add", "acme", "101"];
    let output = into(FullDisk, bitcall.command().args(add));
    assert!(output.exit == 1 && output.err.contains("101 of acme is removed again"), "{output:?}");
    assert_eq!(bitcall.bitcall(&add).exit, 0, "it is not there");
    let output = into(FullDisk, bitcall.command().args(add).arg("--reset-password"));
    assert!(output.err.contains("hint: `bitcall extension add acme 101 --reset-password`"), "{output:?}");

    std::fs::write(bitcall.data().with_file_name("password"), "correct horse").unwrap();
    let link = ["link", "create", "acme", "--username", "101", "--password-file", "password"];
    let output = into(FullDisk, bitcall.command().args(link));
    assert!(output.exit == 1 && output.err.contains("opens nothing any more"), "{output:?}");
    let audit: Value = bitcall.bitcall(&["audit", "--json", "--limit", "2"]).json();
    assert_eq!(audit["entries"][0]["action"], "link.redeem", "{audit}");
}
