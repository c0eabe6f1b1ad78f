//! `bitcall serve` that obtains its certificates from an ACME server; what it serves is checked by TLS handshakes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::wait::until;
use crate::appliance::{Running, Serve, anyone, bitcall, run};

/// Where nobody answers.
const NO_RESOLVER: &str = "127.0.0.1:9";

/// An installation with its configuration, and the server once it is started.
pub struct AcmeInstallation {
    directory: TempDir,
    serve: Option<Serve>,
    pub https_port: u16,
}

/// The configuration that a test chooses.
pub struct AcmeOptions<'a> {
    pub public_url: &'a str,
    pub directories: &'a [String],
    /// PEM file.
    pub trust: &'a Path,
    pub https_port: u16,
    /// For HTTP-01.
    pub redirect_port: Option<u16>,
    /// Names and values of `[acme]`.
    pub acme: &'a str,
    /// Further tables.
    pub more: &'a str,
}

/// What is served to a client that asks for a name by SNI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub issuer: String,
    pub serial: String,
    pub names: Vec<String>,
    pub chain: usize,
}

impl AcmeInstallation {
    pub fn new(options: &AcmeOptions<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["panel_key", "master_secret", "store_key"] {
            let path = directory.path().join(name);
            fs::write(&path, format!("{name}-{}", "x".repeat(32))).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let AcmeOptions { public_url, directories, trust, https_port, redirect_port, acme, more } = options;
        // Names of a test do not exist in the public DNS: without a resolver of its own, nobody answers for them.
        let more = match (more.contains("resolvers"), more.contains("[dns]")) {
            (true, _) => (*more).to_owned(),
            (false, true) => more.replace("[dns]", &format!("[dns]\nresolvers = '{NO_RESOLVER}'")),
            (false, false) => format!("{more}\n[dns]\nresolvers = '{NO_RESOLVER}'"),
        };
        let redirect = redirect_port.map(|port| format!("redirect = '127.0.0.1:{port}'\n")).unwrap_or_default();
        let text = format!(
            "data_dir = 'data'\n\
             public_url = '{public_url}'\n\
             [listen]\nhttps = '127.0.0.1:{https_port}'\nops = '127.0.0.1:0'\ncontrol = 'control.sock'\n{redirect}\
             [secrets]\npanel_key_file = 'panel_key'\nmaster_secret_file = 'master_secret'\nstore_key_file = 'store_key'\n\
             [log]\nformat = 'json'\nfilter = 'info,bitcall::certs=debug'\n\
             [acme]\ndirectories = {directories:?}\nca_bundle = '{}'\n{acme}\n\
             {more}\n",
            trust.display()
        );
        fs::write(directory.path().join("bitcall.toml"), text).unwrap();
        Self { directory, serve: None, https_port: *https_port }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("bitcall.toml")
    }

    pub fn place(&self) -> &Path {
        self.directory.path()
    }

    /// A file beside the configuration that only its owner may read.
    pub fn secret(&self, name: &str, text: &str) {
        let path = self.place().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn start(&mut self) -> &mut Serve {
        let serve = Serve::start_with(&self.file());
        self.serve.insert(serve)
    }

    /// Starts it without waiting until it is ready.
    pub fn launch(&self, log: &str) -> Running {
        let mut command = bitcall();
        command.arg("serve").arg("--config").arg(self.file());
        Running::start(&mut command, &self.place().join(log))
    }

    pub fn serve(&mut self) -> &mut Serve {
        self.serve.as_mut().expect("started")
    }

    /// A command that must succeed, beside the running server; what it prints.
    pub fn bitcall(&self, arguments: &[&str]) -> String {
        let (status, stdout, stderr) = run(bitcall().args(arguments).arg("--config").arg(self.file()));
        assert!(status.success(), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// The entry of `name` in `bitcall cert list`.
    pub fn certificate(&self, name: &str) -> Value {
        let list: Value = serde_json::from_str(&self.bitcall(&["cert", "list", "--json"])).unwrap();
        let all = list["certificates"].as_array().unwrap();
        all.iter().find(|line| line["name"] == name).cloned().unwrap_or_else(|| panic!("{name} in {list}"))
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            serve.running.signal(rustix::process::Signal::KILL);
            serve.running.ended();
        }
    }

    pub fn log(&self) -> String {
        self.serve.as_ref().map(|serve| serve.running.log()).unwrap_or_default()
    }

    /// The certificate that a client gets for the SNI `name`.
    pub async fn served(&self, name: &str) -> Result<Served, String> {
        let address =
            self.serve.as_ref().map_or_else(|| format!("127.0.0.1:{}", self.https_port), |serve| serve.https.clone());
        let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(anyone(&["http/1.1"])));
        let stream = connector.connect(server, stream).await.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let alternatives = leaf.subject_alternative_name().unwrap().unwrap();
        Ok(Served {
            issuer: leaf.issuer().to_string(),
            serial: leaf.raw_serial_as_string().replace(':', "").to_lowercase(),
            names: alternatives
                .value
                .general_names
                .iter()
                .map(|name| match name {
                    x509_parser::extensions::GeneralName::DNSName(name) => (*name).to_owned(),
                    other => other.to_string(),
                })
                .collect(),
            chain: chain.len(),
        })
    }

    /// Waits until a certificate of this issuer is served for `name`.
    pub async fn until_served(&self, name: &str, issuer: &str) -> Served {
        until(&format!("the certificate of {name}"), async || {
            let served = self.served(name).await?;
            if served.issuer.contains(issuer) { Ok(served) } else { Err(format!("{served:?}\n{}", self.log())) }
        })
        .await
    }

    /// Waits until the log reports a problem with `name`; its message and the next attempt.
    pub async fn until_problem(&self, name: &str) -> (String, String) {
        until(&format!("a problem with {name}"), async || self.problems(name).into_iter().next_back().ok_or(self.log()))
            .await
    }

    /// Every problem with `name` in the log: its message and the next attempt.
    pub fn problems(&self, name: &str) -> Vec<(String, String)> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = lines.filter(|line| line["message"] == "no certificate yet" && line["name"] == name);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        ours.map(|line| (text(&line["problem"]), text(&line["next"]))).collect()
    }
}
