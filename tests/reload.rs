//! SIGHUP: what a running server takes from a changed configuration, what it says of the rest, and that a broken one
//! changes nothing. systemd is told the same, on the socket that `NOTIFY_SOCKET` names (`sd_notify(3)`).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::appliance::{Running, bitcall, certificate, connect, exchange, request, write_configuration};

struct Service {
    running: Running,
    systemd: UnixDatagram,
    directory: TempDir,
    https: String,
}

impl Service {
    /// With these changes of the text of the configuration.
    fn start(directory: TempDir, changes: &[(&str, &str)]) -> Self {
        write_configuration(directory.path(), "");
        change(&directory, changes);
        let socket = directory.path().join("notify.sock");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut command = bitcall();
        command.arg("serve").arg("--config").arg(file(&directory)).env("NOTIFY_SOCKET", socket);
        let mut running = Running::start(&mut command, &directory.path().join("log"));
        let https = running.wait_for("its address", |line| {
            let (_, rest) = line.split_once("\"address\":\"").filter(|_| line.contains("\"protocol\":\"https\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        let service = Self { running, systemd, directory, https };
        assert_eq!(service.told(), "READY=1\nSTATUS=serving https://localhost");
        service
    }

    fn told(&self) -> String {
        let mut message = [0; 4096];
        let length = self.systemd.recv(&mut message).expect("systemd is told something");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Its status when it has read everything again.
    fn reload(&self) -> String {
        self.running.signal(Signal::HUP);
        let reloading = self.told();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        self.told().strip_prefix("READY=1\nSTATUS=serving https://localhost").expect("still serving").to_owned()
    }

    fn has_logged(&self, parts: &[&str]) -> bool {
        self.running.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("bitcall.toml")
}

fn change(directory: &TempDir, changes: &[(&str, &str)]) {
    let text = fs::read_to_string(file(directory)).unwrap();
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1)
    });
    fs::write(file(directory), text).unwrap();
}

/// The certificate's DER.
fn make_certificate(directory: &TempDir, name: &str) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(directory.path().join(format!("{name}.crt")), made.cert.pem()).unwrap();
    fs::write(directory.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().to_vec()
}

#[tokio::test]
async fn a_reload_takes_what_it_can_and_names_what_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (make_certificate(&directory, "first"), make_certificate(&directory, "second"));
    let tls = "[tls]\ncertificate = 'first.crt'\nkey = 'first.key'\n[limits]\n";
    let service = Service::start(directory, &[("[limits]\n", tls)]);
    let ask = async || exchange(connect(&service.https, &["http/1.1"]).await, request("/api/openapi.json", &[])).await;
    assert_eq!(certificate(&connect(&service.https, &["h2"]).await), first);
    assert_eq!(service.reload(), "", "nothing has changed");

    change(
        &service.directory,
        &[
            ("first.crt", "second.crt"),
            ("first.key", "second.key"),
            ("[limits]\n", "[limits]\nrequests_per_address = 2\nmax_connections = 77\n[sip]\ndomain = 'sip.example'\n"),
        ],
    );
    assert_eq!(service.reload(), "; needs a restart: sip.domain, limits.max_connections");
    assert!(service.has_logged(&["\"taken\":\"tls.certificate, tls.key, limits.requests_per_address\""]));
    for setting in ["sip.domain", "limits.max_connections"] {
        assert!(service.has_logged(&["needs a restart", &format!("\"setting\":\"{setting}\"")]), "{setting}");
    }
    assert_eq!(certificate(&connect(&service.https, &["h2"]).await), second);
    let statuses = [ask().await.status().as_u16(), ask().await.status().as_u16(), ask().await.status().as_u16()];
    assert_eq!(statuses, [200, 200, 429]);

    change(&service.directory, &[("[log]\n", "[log]\nfilter = 'off'\n")]);
    service.reload();
    assert!(service.has_logged(&["\"taken\":\"log.filter\""]), "said before it falls silent");
    let length = service.running.log().len();
    service.reload();
    assert_eq!(service.running.log().len(), length, "the new filter is in effect");
    change(&service.directory, &[("filter = 'off'\n", "")]);
    service.reload();
    service.reload();
    assert!(service.running.log().len() > length, "and gone again");
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_all_its_faults_are_named() {
    let service = Service::start(tempfile::tempdir().unwrap(), &[]);
    let before = fs::read_to_string(file(&service.directory)).unwrap();
    let broken = [
        ("public_url = 'https://localhost'", "public_url = 'localhost'"),
        ("[limits]\n", "[limits]\nrequests_per_address = 1\nwrite_timeout = 5\n"),
    ];
    change(&service.directory, &broken);
    let told = service.reload();
    assert!(told.contains("bitcall.toml was not taken") && told.contains("2 faults"), "{told}");
    for (line, what) in [("bitcall.toml:2: ", "public_url"), ("bitcall.toml:14: ", "limits.write_timeout")] {
        assert!(service.has_logged(&["was not taken", line, what]), "{}", service.running.log());
    }
    for _ in 0..3 {
        let answer = exchange(connect(&service.https, &["http/1.1"]).await, request("/api/openapi.json", &[])).await;
        assert_eq!(answer.status(), 200, "the old limit");
    }
    // Every setting by itself can be read.
    fs::write(file(&service.directory), before.replace("[log]", "[log]\nfilter = 'inof'")).unwrap();
    assert!(service.reload().contains("1 fault"));
    assert!(service.has_logged(&["was not taken", "inof", "matches nothing of Bitcall's"]));
    // The certificate's files are another matter than the file that names them.
    fs::write(
        file(&service.directory),
        before.replace("[limits]", "[tls]\ncertificate = 'no.crt'\nkey = 'no.key'\n[limits]"),
    )
    .unwrap();
    assert_eq!(service.reload(), "; needs a restart: tls.certificate, tls.key", "from the development certificate");
    fs::write(file(&service.directory), &before).unwrap();
    assert_eq!(service.reload(), "", "all is well again");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_not_taken_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = make_certificate(&directory, "first");
    let tls = "[tls]\ncertificate = 'first.crt'\nkey = 'first.key'\n[limits]\n";
    let service = Service::start(directory, &[("[limits]\n", tls)]);
    change(&service.directory, &[("first.crt", "later.crt"), ("first.key", "later.key")]);
    assert_eq!(service.reload(), "; the certificate was not replaced");
    assert!(service.has_logged(&["the certificate was not replaced", "later.crt does not exist"]));
    assert_eq!(certificate(&connect(&service.https, &["h2"]).await), first);
    let later = make_certificate(&service.directory, "later");
    assert_eq!(service.reload(), "");
    assert_eq!(certificate(&connect(&service.https, &["h2"]).await), later);
}
