//! pebble, Let's Encrypt's test ACME server, with a configured DNS resolver. It validates challenges for real, on
//! configured ports, and rejects a share of valid nonces.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::ports::Ports;
use super::process::Process;
use super::wait::until;

pub struct Pebble {
    port: u16,
    root: PathBuf,
    process: Process,
    _dir: TempDir,
    _ports: Ports,
}

/// What pebble is configured with.
pub struct PebbleOptions<'a> {
    /// The ports it validates HTTP-01 and TLS-ALPN-01 on, on loopback.
    pub http_port: u16,
    pub tls_port: u16,
    /// The address of its DNS resolver.
    pub dns: &'a str,
    /// Key identifier and key in base64url of the external account that it insists on.
    pub external_account: Option<(&'a str, &'a str)>,
    /// The lifetime of its certificates.
    pub life: Option<Duration>,
}

impl Pebble {
    pub async fn start(options: &PebbleOptions<'_>) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-pebble-").tempdir().unwrap();
        let ports = Ports::reserve();
        let (port, management) = (ports.take(), ports.take());
        let root = own_certificate(dir.path());
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.path().join("cert.pem"),
            "privateKey": dir.path().join("key.pem"),
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.external_account.is_some(),
        });
        if let Some(life) = options.life {
            config["certificateValidityPeriod"] = json!(life.as_secs());
        }
        if let Some((id, key)) = options.external_account {
            config["externalAccountMACKeys"] = json!({ id: key });
        }
        let file = dir.path().join("pebble.json");
        std::fs::write(&file, json!({ "pebble": config }).to_string()).unwrap();
        let mut command = Command::new("pebble");
        command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "30")
            .args(["-strict", "-config"])
            .arg(&file)
            .args(["-dnsserver", options.dns]);
        let process = Process::start("pebble", dir.path(), &command);
        let mut this = Self { port, root, process, _dir: dir, _ports: ports };
        until("pebble to listen", async || {
            this.process.assert_running();
            let open = std::net::TcpStream::connect(("127.0.0.1", port));
            open.map(|_| ()).map_err(|error| format!("{error}\n{}", this.process.log()))
        })
        .await;
        this
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// PEM file: who has signed its own certificate.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A certificate for its own HTTPS, from an authority of its own.
fn own_certificate(dir: &Path) -> PathBuf {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Who signs for pebble");
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), own.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    let file = dir.join("root.pem");
    std::fs::write(&file, root).unwrap();
    file
}
