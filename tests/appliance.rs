//! `bitcall` as an administrator runs it: commands with their output, and
//! `bitcall serve` with a configuration of its own on ports that the system
//! chooses, in a directory that disappears with the test.

// The benchmarks share this file and use another part of it than the tests do.
#![allow(dead_code)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Long enough for a busy machine; a test that passes never waits this long.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// A `bitcall` command without anything of the developer's environment. `BITCALL_BIN` names
/// another binary than the one just built, e.g. the release that is to be measured.
pub fn bitcall() -> Command {
    let binary = std::env::var_os("BITCALL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_bitcall").into());
    let mut command = Command::new(binary);
    for name in [
        "BITCALL_CONFIG",
        "BITCALL_PANEL_KEY",
        "APP_MASTER_SECRET",
        "BITCALL_STORE_KEY",
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "RUNTIME_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(stdout), text(stderr))
}

/// A started `bitcall`, killed with the test if it is still there.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Standard output and error go to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        Self::start_with(command, Stdio::null(), None, log)
    }

    /// See [`Self::start`].
    pub fn start_with(command: &mut Command, input: Stdio, output: Option<Stdio>, log: &Path) -> Self {
        let out = fs::File::create(log).unwrap();
        let output = output.unwrap_or_else(|| out.try_clone().unwrap().into());
        let child = command.stdin(input).stdout(output).stderr(out).process_group(0).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The first line of the log that `wanted` accepts.
    pub fn wait_for<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        wait_until(what, || {
            let log = self.log();
            let found = log.lines().find_map(&wanted);
            let gone = found.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!gone, "bitcall ended before {what}:\n{log}");
            found
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end that a signal or the test has brought about.
    pub fn ended(&mut self) -> ExitStatus {
        wait_until("the end of bitcall", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("──── bitcall ────\n{}", self.log());
        }
    }
}

/// Asks until there is an answer.
pub fn wait_until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_LIMIT;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {WAIT_LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `bitcall serve`.
pub struct Serve {
    pub running: Running,
    /// Of the configuration file.
    place: PathBuf,
    /// Removed with the server, when it is the server's.
    pub directory: Option<TempDir>,
    pub https: String,
    pub ops: String,
}

impl Serve {
    /// With the development certificate and these further lines, which start inside `[limits]`.
    pub fn start(limits_and_more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_configuration(directory.path(), limits_and_more);
        Self::start_in(directory)
    }

    /// With the configuration that the directory holds.
    pub fn start_in(directory: TempDir) -> Self {
        let mut serve = Self::start_with(&directory.path().join("bitcall.toml"));
        serve.directory = Some(directory);
        serve
    }

    pub fn start_with(file: &Path) -> Self {
        let mut command = bitcall();
        command.arg("serve").arg("--config").arg(file);
        let place = file.parent().unwrap().to_owned();
        let mut running = Running::start(&mut command, &place.join("log"));
        running.wait_for("ready", |line| line.contains("\"ready\"").then_some(()));
        let (https, ops) = (listening(&mut running, "https"), listening(&mut running, "operations"));
        Self { running, place, directory: None, https, ops }
    }

    /// Where it listens for `protocol`, one of `https`, `http`, `operations`.
    pub fn address(&mut self, protocol: &str) -> String {
        listening(&mut self.running, protocol)
    }

    /// The directory of the configuration file.
    pub fn place(&self) -> &Path {
        &self.place
    }

    pub fn socket(&self) -> PathBuf {
        self.place.join("control.sock")
    }

    /// A TLS connection that speaks one of `protocols`.
    pub async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        connect(&self.https, protocols).await
    }

    /// `GET path` by HTTP/1.1 over TLS.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
        exchange(self.connect(&["http/1.1"]).await, request(path, headers)).await
    }
}

fn listening(running: &mut Running, protocol: &str) -> String {
    let protocol = format!("\"protocol\":\"{protocol}\"");
    running.wait_for(&protocol, |line| {
        let (_, rest) = line.split_once("\"address\":\"").filter(|_| line.contains(&protocol))?;
        Some(rest.split_once('"')?.0.to_owned())
    })
}

/// A configuration whose ports the system chooses, with its secrets.
pub fn write_configuration(directory: &Path, limits_and_more: &str) {
    for name in ["panel_key", "master_secret"] {
        let path = directory.join(name);
        fs::write(&path, format!("{name}-{}", "x".repeat(32))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "data_dir = 'data'\n\
         public_url = 'https://localhost'\n\
         [listen]\nhttps = '127.0.0.1:0'\nops = '127.0.0.1:0'\ncontrol = 'control.sock'\n\
         [secrets]\npanel_key_file = 'panel_key'\nmaster_secret_file = 'master_secret'\n\
         [log]\nformat = 'json'\n\
         [limits]\n{limits_and_more}\n"
    );
    fs::write(directory.join("bitcall.toml"), text).unwrap();
}

pub fn request(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// One request and its answer by HTTP/1.1.
pub async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    whole(sender.send_request(request).await.unwrap()).await
}

/// One request and its answer by HTTP/2.
pub async fn exchange_http2<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    whole(sender.send_request(request).await.unwrap()).await
}

async fn whole(response: Response<hyper::body::Incoming>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

pub fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A client that speaks one of `protocols`, and takes every certificate.
pub fn anyone(protocols: &[&str]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A TLS connection to `address`, whoever it is.
pub async fn connect(address: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
    secure(TcpStream::connect(address).await.unwrap(), protocols).await
}

/// The TLS handshake on an open connection.
pub async fn secure(stream: TcpStream, protocols: &[&str]) -> TlsStream<TcpStream> {
    let config = anyone(protocols);
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// The certificate that a connection was secured with.
pub fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Everything that the peer still sends before it closes.
pub fn read_all(mut stream: std::net::TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let mut all = Vec::new();
    // A reset counts as the end, too.
    if let Err(error) = stream.read_to_end(&mut all) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    all
}

/// Trusts every certificate: the tests look at it themselves.
#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
