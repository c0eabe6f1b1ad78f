//! Certificates in the store: served by name, swapped while connections are open, sealed on the
//! disk, and still there after a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rustix::process::Signal;
use rustls::ClientConfig;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::appliance::{Serve, anyone, bitcall, certificate, run, write_configuration};
use crate::rig::wait::until;

/// `serve` with a store key, and certificate files to import.
struct ServeWithFiles {
    serve: Serve,
    files: TempDir,
}

struct GeneratedCertificate {
    leaf: Vec<u8>,
    /// PKCS #8.
    key: Vec<u8>,
}

impl ServeWithFiles {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        Self { serve: Serve::start_in(directory), files: tempfile::tempdir().unwrap() }
    }

    /// Makes a certificate for the names.
    fn make(&self, names: &[&str]) -> GeneratedCertificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(self.files.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(self.files.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        GeneratedCertificate { leaf: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }

    /// `bitcall cert`, beside the running server; exit code, output, errors.
    fn cert(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = bitcall();
        command.arg("cert").args(arguments).arg("--config").arg(self.serve.place().join("bitcall.toml"));
        let (status, out, err) = run(command.current_dir(self.files.path()));
        (status.code().unwrap(), out, err)
    }

    fn import(&self, name: &str, names: &[&str]) -> GeneratedCertificate {
        let made = self.make(names);
        let (exit, out, err) = self.cert(&["import", name, "--certificate", "cert.pem", "--key", "key.pem", "--json"]);
        assert_eq!(exit, 0, "{err}");
        let data: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((data["name"].as_str().unwrap(), data["names"].as_array().unwrap().len()), (name, names.len()));
        made
    }

    /// The certificate that a client gets who asks for `name`.
    async fn shown(&self, name: Option<&str>) -> Vec<u8> {
        certificate(&dial(&self.serve.https, name, &["http/1.1"]).await.unwrap())
    }

    /// The problem of a certificate in `bitcall cert list`.
    fn problem_of(&self, name: &str) -> Value {
        let list: Value = serde_json::from_str(&self.cert(&["list", "--json"]).1).unwrap();
        let mut lines = list["certificates"].as_array().unwrap().iter();
        lines.find(|line| line["name"] == name).unwrap()["problem"].clone()
    }

    /// Stopped and started again, with what `change` does to its directory in between.
    fn restarted(mut self, change: impl FnOnce(&Path)) -> Self {
        self.serve.running.signal(Signal::TERM);
        assert!(self.serve.running.ended().success());
        change(self.serve.place());
        let directory = self.serve.directory.take().unwrap();
        Self { serve: Serve::start_in(directory), files: self.files }
    }
}

fn prepare(directory: &Path) {
    write_configuration(directory, "");
    let file = directory.join("bitcall.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[secrets]", "[secrets]\nstore_key_file = 'store_key'")).unwrap();
    write_key(directory, &["the first store key of the tests"]);
}

fn write_key(directory: &Path, lines: &[&str]) {
    let file = directory.join("store_key");
    fs::write(&file, lines.join("\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A handshake, asking for a name or for none.
async fn dial(address: &str, name: Option<&str>, offers: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config: ClientConfig = anyone(offers);
    config.enable_sni = name.is_some();
    let name = name.unwrap_or("localhost").to_owned().try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn each_name_gets_its_certificate() {
    let installed = ServeWithFiles::start();
    let makeshift = installed.shown(None).await;
    let wildcard = installed.import("*.bitcall.example", &["bitcall.example", "*.bitcall.example"]);
    let exact = installed.import("acme.bitcall.example", &["acme.bitcall.example"]);
    assert!(installed.shown(Some("acme.bitcall.example")).await == exact.leaf);
    assert!(installed.shown(Some("other.bitcall.example")).await == wildcard.leaf);
    assert!(installed.shown(Some("bitcall.example")).await == wildcard.leaf);
    for name in [None, Some("localhost"), Some("stranger.example")] {
        assert!(installed.shown(name).await == makeshift, "nothing changed for {name:?}");
    }
    let (exit, ..) = installed.cert(&["remove", "acme.bitcall.example"]);
    assert_eq!(exit, 0);
    assert!(installed.shown(Some("acme.bitcall.example")).await == wildcard.leaf);
    let (exit, _, err) = installed.cert(&["remove", "acme.bitcall.example"]);
    assert!(exit == 1 && err.contains("there is no certificate for acme.bitcall.example"), "{err}");
}

#[tokio::test]
async fn a_certificate_swap_keeps_open_connections_and_is_verified_by_dialling() {
    let mut installed = ServeWithFiles::start();
    let first = installed.import("a.example", &["a.example"]);
    let mut open = dial(&installed.serve.https, Some("a.example"), &["http/1.1"]).await.unwrap();
    assert!(certificate(&open) == first.leaf);
    answered(&mut open).await;
    let second = installed.import("a.example", &["a.example"]);
    assert!(installed.shown(Some("a.example")).await == second.leaf);
    answered(&mut open).await;
    let said = |line: &str| {
        (line.contains("the new certificate is served") && line.contains("\"name\":\"a.example\"")).then_some(())
    };
    installed.serve.running.wait_for("the check", said);
}

/// A request on an open connection.
async fn answered(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"HEAD /webphone/loader.js HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {answer}");
        answer.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn private_keys_are_sealed_on_disk_and_serve_again_after_a_restart() {
    let installed = ServeWithFiles::start();
    let brought = installed.import("a.example", &["a.example", "*.a.example"]);
    let installed = installed.restarted(|place| {
        let files = fs::read_dir(place.join("data")).unwrap().map(|entry| entry.unwrap().path());
        let store: Vec<u8> = files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect();
        let has = |bytes: &[u8]| store.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(b"certificate/a.example"), "this is where it is kept");
        // Of a P-256 key in PKCS #8 the private part is 32 bytes from the 36th on (RFC 5915).
        let private = &brought.key[36..68];
        assert!(!has(private), "the key in clear");
        for start in 0..3 {
            let encoded = BASE64.encode(&brought.key[36 - start..66]);
            assert!(!has(&encoded.as_bytes()[4..36]), "the key in base64");
        }
    });
    assert!(installed.shown(Some("a.example")).await == brought.leaf);
    assert!(installed.shown(Some("b.a.example")).await == brought.leaf);
}

#[tokio::test]
async fn the_store_key_is_rotated_in_steps_and_a_wrong_one_is_named() {
    const NEXT: &str = "the second store key of the tests";
    let installed = ServeWithFiles::start();
    let brought = installed.import("a.example", &["a.example"]);
    let mut installed = installed.restarted(|place| write_key(place, &[NEXT, "the first store key of the tests"]));
    assert!(installed.shown(Some("a.example")).await == brought.leaf);
    installed = installed.restarted(|place| write_key(place, &[NEXT]));
    assert!(installed.shown(Some("a.example")).await == brought.leaf, "it was sealed again by the new key");

    let file = installed.serve.place().join("bitcall.toml");
    let told = |command: &str| {
        let (status, _, err) = run(bitcall().arg(command).arg("--config").arg(&file));
        (status.code(), err)
    };
    let (code, err) = told("check");
    assert!(code == Some(0) && err.contains("were not looked at") && err.contains("in use"), "beside a server: {err}");
    installed.serve.running.signal(Signal::TERM);
    installed.serve.running.ended();
    let place = installed.serve.place();
    let files = || fs::read(place.join("data/bitcall.redb")).unwrap();
    let before = files();
    let (code, err) = told("check");
    assert!(code == Some(0) && !err.contains("looked at"), "{err}");
    write_key(place, &["the first store key of the tests"]);
    for command in ["check", "serve"] {
        let (code, err) = told(command);
        assert!(code == Some(2) && err.contains("1 certificates in the store were sealed by the store key"), "{err}");
        assert!(err.contains("hint: give the old one back"), "{command}: {err}");
        assert!(command != "check" || files() == before, "nothing was changed");
    }
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("store_key_file = 'store_key'\n", "")).unwrap();
    for command in ["check", "serve"] {
        let (code, err) = told(command);
        assert!(code == Some(2) && err.contains("there is no store key"), "{err}");
        assert!(err.contains("BITCALL_STORE_KEY"), "{command}: {err}");
    }
}

#[tokio::test]
async fn the_old_store_key_is_not_ended_before_everything_is_sealed_by_the_new_one() {
    let installed = ServeWithFiles::start();
    let brought = installed.import("a.example", &["a.example"]);
    let file = installed.serve.place().join("bitcall.toml");
    let rotate = |more: &[&str]| {
        let mut command = bitcall();
        command.args(["secret", "rotate", "store-key"]).args(more).arg("--config").arg(&file);
        let (status, out, err) = run(&mut command);
        (status.code().unwrap(), format!("{out}{err}"))
    };
    let keys = || fs::read_to_string(file.with_file_name("store_key")).unwrap();
    let (exit, said) = rotate(&[]);
    assert!(exit == 0 && said.contains("systemctl restart") && !said.contains("reload"), "{said}");
    let both = keys();
    let (exit, said) = rotate(&["--finish"]);
    assert!(exit == 5 && said.contains("the server still seals by the old store key"), "{said}");
    assert!(said.contains("hint: `systemctl restart"), "{said}");
    assert_eq!(keys(), both, "nothing was changed");
    let mut installed = installed.restarted(|place| {
        let both = fs::read_to_string(place.join("store_key")).unwrap();
        let (status, _, err) = run(bitcall()
            .args(["secret", "rotate", "store-key", "--finish", "--config"])
            .arg(place.join("bitcall.toml")));
        assert!(status.code() == Some(5) && err.contains("it has sealed 1 private keys"), "without a server: {err}");
        assert_eq!(fs::read_to_string(place.join("store_key")).unwrap(), both, "nothing was changed");
    });
    let file = installed.serve.place().join("bitcall.toml");
    let finish = ["secret", "rotate", "store-key", "--finish", "--config"];
    let (status, out, err) = run(bitcall().args(finish).arg(&file));
    assert!(status.success() && out.contains("nothing needs it"), "{out}{err}");
    assert!(!err.contains("reload"), "{err}");
    let new = both.lines().next().unwrap();
    assert_eq!(fs::read_to_string(file.with_file_name("store_key")).unwrap().trim(), new);
    installed = installed.restarted(|_| ());
    assert!(installed.shown(Some("a.example")).await == brought.leaf);
}

#[tokio::test]
async fn the_list_names_the_tenant_whose_subdomain_or_domain_it_is() {
    let mut installed = ServeWithFiles::start();
    installed = installed.restarted(|place| {
        let file = place.join("bitcall.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + "[domains]\nbase = 'bitcall.example'\n").unwrap();
    });
    let done = |arguments: &[&str]| {
        let file = installed.serve.place().join("bitcall.toml");
        let (status, out, err) = run(bitcall().args(arguments).arg("--config").arg(file));
        assert!(status.success(), "{arguments:?}: {err}");
        out
    };
    done(&["tenant", "provision", "acme", "--plan", "enterprise"]);
    done(&["subdomain", "set", "acme", "agents"]);
    done(&["domain", "add", "acme", "phone.acme.com"]);
    let expected = [
        ("*.bitcall.example", None),
        ("*.phone.acme.com", Some("acme")),
        ("agents.bitcall.example", Some("acme")),
        ("phone.acme.com", Some("acme")),
        ("strangers.bitcall.example", None),
    ];
    for (name, _) in expected {
        installed.import(name, &[name]);
    }
    let list: Value = serde_json::from_str(&done(&["cert", "list", "--json"])).unwrap();
    let lines = list["certificates"].as_array().unwrap();
    let found: Vec<_> = lines.iter().map(|line| (line["name"].as_str().unwrap(), line["tenantId"].as_str())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_certificate_hidden_by_configured_files_is_reported_until_they_are_gone() {
    let mut installed = ServeWithFiles::start();
    let made = installed.files.path().to_owned();
    let bring = |place: &Path| {
        for file in ["cert.pem", "key.pem"] {
            fs::copy(made.join(file), place.join(file)).unwrap();
        }
    };
    let files = installed.make(&["localhost", "*.a.example"]);
    installed = installed.restarted(|place| {
        bring(place);
        let file = place.join("bitcall.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + "[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n").unwrap();
    });
    let hidden = installed.import("b.a.example", &["b.a.example"]);
    installed.import("b.example", &["b.example"]);
    assert!(installed.shown(Some("b.a.example")).await == files.leaf);
    for started in ["by the import", "after a restart"] {
        let problem = until("the problem", async || match installed.problem_of("b.a.example") {
            Value::Null => Err(installed.serve.running.log()),
            problem => Ok(problem),
        })
        .await;
        assert_eq!(problem["kind"], "not_served", "{started}");
        let message = problem["message"].as_str().unwrap();
        for word in ["b.a.example", "another (serial", "`[tls]`", "take it out"] {
            assert!(message.contains(word), "{started}, {word}: {message}");
        }
        assert_eq!(installed.cert(&["list"]).0, 1, "something is not in order");
        assert_eq!(installed.problem_of("b.example"), Value::Null, "another name");
        if started == "by the import" {
            installed = installed.restarted(|_| {});
        }
    }

    installed.make(&["localhost"]);
    bring(installed.serve.place());
    installed.serve.running.signal(Signal::HUP);
    until("the end of the problem", async || match installed.problem_of("b.a.example") {
        Value::Null => Ok(()),
        problem => Err(problem.to_string()),
    })
    .await;
    assert!(installed.shown(Some("b.a.example")).await == hidden.leaf);
    assert_eq!(installed.cert(&["list"]).0, 0);
}

#[tokio::test]
async fn an_invalid_certificate_bundle_is_refused_and_changes_nothing() {
    let installed = ServeWithFiles::start();
    let before = installed.import("a.example", &["a.example"]);
    let import = |name: &str| installed.cert(&["import", name, "--certificate", "cert.pem", "--key", "key.pem"]);
    let refused = |name: &str, why: &str| {
        let (exit, out, err) = import(name);
        assert!(exit == 2 && out.is_empty() && err.contains(why), "{exit} {err}");
    };
    let key = |text: &str| fs::write(installed.files.path().join("key.pem"), text).unwrap();
    installed.make(&["b.example"]);
    refused("a.example", "is not for a.example, but for b.example");
    refused("a b", "must be a domain name");
    installed.make(&["a.example"]);
    key(&rcgen::KeyPair::generate().unwrap().serialize_pem());
    refused("a.example", "belongs to another key");
    key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    refused("a.example", "has a key that cannot be read");
    key("no key");
    refused("a.example", "must be a private key in PEM");
    let mut expired = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    expired.not_after = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    let pair = rcgen::KeyPair::generate().unwrap();
    fs::write(installed.files.path().join("cert.pem"), expired.self_signed(&pair).unwrap().pem()).unwrap();
    key(&pair.serialize_pem());
    refused("a.example", "expired on");
    assert!(installed.shown(Some("a.example")).await == before.leaf);
}

#[tokio::test]
async fn without_a_store_key_no_private_key_is_imported() {
    let mut installed = ServeWithFiles::start();
    installed = installed.restarted(|place| {
        let file = place.join("bitcall.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("store_key_file = 'store_key'\n", "")).unwrap();
    });
    installed.make(&["a.example"]);
    let (exit, _, err) = installed.cert(&["import", "a.example", "--certificate", "cert.pem", "--key", "key.pem"]);
    assert!(exit == 5 && err.contains("store key") && err.contains("store_key_file"), "{exit} {err}");
}

#[tokio::test]
async fn acme_tls_alpn_handshakes_are_refused_without_a_challenge() {
    let installed = ServeWithFiles::start();
    installed.import("a.example", &["a.example"]);
    let refused = dial(&installed.serve.https, Some("a.example"), &["acme-tls/1"]).await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
}

#[tokio::test]
async fn plain_http_only_redirects_to_https() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("[listen]", "[listen]\nredirect = '127.0.0.1:0'");
    fs::write(&file, text.replace("'https://localhost'", "'https://phone.example.com:8443'")).unwrap();
    let mut serve = Serve::start_in(directory);
    let address = serve.address("redirect");
    let ask = async |request: &str| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let moved = ask("POST /app/?x=%20y HTTP/1.1\r\nhost: acme.example:80\r\ncontent-length: 0\r\n\r\n").await;
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(moved.contains("\r\nlocation: https://acme.example:8443/app/?x=%20y\r\n"), "{moved}");
    assert!(moved.contains("\r\nconnection: close\r\n"), "{moved}");
    let unknown = ask("GET /.well-known/acme-challenge/nothing HTTP/1.1\r\nhost: acme.example\r\n\r\n").await;
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    let nameless = ask("GET /api/openapi.json HTTP/1.0\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.0 400 "), "{nameless}");
    let long = format!("GET / HTTP/1.1\r\nhost: a.example\r\nx: {}\r\n\r\n", "x".repeat(10_000));
    assert!(ask(&long).await.starts_with("HTTP/1.1 431 "));
}
