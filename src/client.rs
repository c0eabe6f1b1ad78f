//! The control API from the command line's side: one way to call it, whoever
//! answers. A daemon on this machine answers on its control socket; with no
//! daemon the same API runs in this process on the opened store; a daemon
//! elsewhere answers at its URL. The command cannot tell the difference.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::api::{self, Access, EntryPoint, RequestLimits};
use crate::certs::{CertificateStore, Seal};
use crate::dial;
use crate::domains::Domains;
use crate::store;
use crate::tenancy::{Defaults, OpenError, Platform, store_file};

/// For one call, connecting included.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Items in one page: the server's own limit.
const MAX_PAGE_ITEMS: &str = "1000";

/// A client of the control API.
pub struct ControlClient {
    connection: ServerConnection,
}

enum ServerConnection {
    Socket(PathBuf),
    InProcess(api::Api),
    Remote(Remote),
}

/// A daemon elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    pub url: Url,
    pub panel_key: Option<String>,
    pub master_secret: Option<String>,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or the connection broke. The command may have taken effect; retrying is safe.
    #[error("{0}")]
    Unreachable(String),
    /// This user may not talk to the server, or open its store. Retrying does not help.
    #[error("{0}")]
    Forbidden(String),
    /// Not sent, because secrets would cross the network in clear.
    #[error("{0}")]
    Unsafe(String),
    /// The server answered with an error.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
}

/// The error half of the API's envelope. The message names every faulty field.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorBody {
    #[serde(skip)]
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub fields: Vec<FieldError>,
}

/// One field that was not accepted.
#[derive(Clone, Debug, Deserialize)]
pub struct FieldError {
    /// By its path in the request, e.g. `origins.allowedOrigins[0]`.
    pub field: String,
    pub message: String,
}

impl ControlClient {
    /// The daemon on `socket`; if there is none, this process on the store in `data`.
    pub async fn local(
        socket: &Path,
        data: &Path,
        defaults: Defaults,
        domains: impl FnOnce(&Platform) -> Domains,
        seal: Option<Seal>,
    ) -> Result<Self, Error> {
        match UnixStream::connect(socket).await {
            Ok(_) => return Ok(Self::on_socket(socket)),
            Err(error) if is_not_running(&error) => {}
            Err(error) => return Err(socket_error(socket, &error)),
        }
        let store = std::fs::File::options().read(true).write(true).open(store_file(data));
        if [std::fs::read_dir(data).err(), store.err()]
            .iter()
            .flatten()
            .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
        {
            return Err(Error::Forbidden(format!(
                "no server on {}, and this user may not open its store {}\nhint: run it as root or as the server's user",
                socket.display(),
                data.display()
            )));
        }
        let platform = Platform::open(data, defaults).await.map_err(|error| {
            let socket = socket.display();
            Error::Unreachable(match error {
                OpenError::Store(store::Error::InUse(_)) => format!(
                    "a server is running on {}, but not listening on {socket}\nhint: is `listen.control` the server's? --socket names another",
                    data.display()
                ),
                other => format!(
                    "no server on {socket}, and its store cannot be opened: {other}\nhint: --config names the configuration of another installation"
                ),
            })
        })?;
        platform.verified().await.map_err(|error| Error::Unreachable(error.to_string()))?;
        let domains = domains(&platform);
        let certificate_store = CertificateStore::beside(platform.store(), seal);
        let api = api::Api::new(api::ApiState {
            platform,
            domains,
            access: Access::in_process_only(),
            limits: Arc::new(RequestLimits::none()),
            certificate_store,
            certs: None,
        });
        Ok(Self { connection: ServerConnection::InProcess(api) })
    }

    /// The daemon on `socket`; there is no fallback to the store.
    pub fn on_socket(socket: &Path) -> Self {
        Self { connection: ServerConnection::Socket(socket.to_owned()) }
    }

    pub fn remote(remote: Remote) -> Result<Self, Error> {
        if remote.url.scheme() != "https" && !is_loopback(&remote.url) {
            return Err(Error::Unsafe(format!(
                "{} is not https: the keys would cross the network in clear",
                remote.url
            )));
        }
        Ok(Self { connection: ServerConnection::Remote(remote) })
    }

    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        let query = pairs.extend_pairs(query).finish();
        self.call(Method::GET, &format!("{path}?{query}"), None).await
    }

    /// A list that comes page by page, whole: the items, and the answer of the last page without them.
    pub async fn get_all(&self, path: &str, items: &str, query: &[(&str, &str)]) -> Result<(Vec<Value>, Value), Error> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = [&[("limit", MAX_PAGE_ITEMS)], query].concat();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Value::Array(some) = page[items].take() {
                found.extend(some);
            }
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok((found, page));
            }
        }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::DELETE, path, Some(body)).await
    }

    /// Makes one call; the answer is the envelope's `data`.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let body = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        if let ServerConnection::Remote(remote) = &self.connection {
            request = remote.add_credentials(request);
        }
        let request = request
            .header(HOST, self.host())
            .body(body)
            .map_err(|error| Error::Unreachable(format!("the request cannot be made: {error}")))?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.answer(request))
            .await
            .map_err(|_| Error::Unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))?;
        let (status, body) = answer?;
        read_envelope(status, &body)
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), Error> {
        match &self.connection {
            ServerConnection::InProcess(api) => {
                let mut request = request.map(Body::from);
                request.extensions_mut().insert(EntryPoint::InProcess { uid: rustix::process::getuid().as_raw() });
                // The call as a whole has a time limit already.
                let answer = api.answer(request, Duration::MAX).await;
                let status = answer.status();
                Ok((status, read_body(answer.into_body()).await?))
            }
            ServerConnection::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| socket_error(path, &error))?;
                send_request_on(stream, request).await
            }
            ServerConnection::Remote(remote) => remote.send_request_on(request).await,
        }
    }

    fn host(&self) -> String {
        match &self.connection {
            ServerConnection::Remote(remote) => remote.authority(),
            ServerConnection::Socket(_) | ServerConnection::InProcess(_) => "localhost".into(),
        }
    }
}

impl Remote {
    fn add_credentials(&self, mut request: hyper::http::request::Builder) -> hyper::http::request::Builder {
        if let Some(key) = &self.panel_key {
            request = request.header("X-Bitcall-Panel-Key", key);
        }
        if let Some(secret) = &self.master_secret {
            request = request.header(AUTHORIZATION, format!("Bearer {secret}"));
        }
        request
    }

    fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    async fn send_request_on(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), Error> {
        let unreachable = |why: String| Error::Unreachable(format!("{}: {why}", self.url));
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(443);
        let stream = dial::connect(host, port).await.map_err(|error| unreachable(error.to_string()))?;
        if self.url.scheme() != "https" {
            return send_request_on(stream, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(error.to_string()))?;
        let roots = self.roots().map_err(unreachable)?;
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| unreachable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| {
            unreachable(format!("{error}\nhint: --ca names the certificate of the server's authority"))
        })?;
        send_request_on(stream, request).await
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let paths = match &self.ca {
            Some(path) => vec![path.clone()],
            None => system_authorities(),
        };
        for path in paths {
            let certificates = CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            roots.add_parsable_certificates(certificates);
        }
        if roots.is_empty() {
            return Err("no certificate authorities are known\nhint: --ca names a PEM file with one".into());
        }
        Ok(roots)
    }
}

/// The first existing file of those in which distributions keep the certificate authorities that the machine trusts.
fn system_authorities() -> Vec<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    named.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.exists()).into_iter().collect()
}

/// One request over one connection.
async fn send_request_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<(StatusCode, Bytes), Error> {
    let broken = |error: hyper::Error| Error::Unreachable(format!("the connection broke: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender below; its error is the answer's error too.
    tokio::spawn(connection);
    let answer = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
    let status = answer.status();
    Ok((status, read_body(answer.into_body()).await?))
}

async fn read_body<B>(body: B) -> Result<Bytes, Error>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Error::Unreachable(format!("the answer broke off: {error}"))),
    }
}

#[derive(Deserialize)]
struct ResponseEnvelope {
    ok: bool,
    #[serde(default)]
    data: Value,
    error: Option<ErrorBody>,
}

fn read_envelope(status: StatusCode, body: &[u8]) -> Result<Value, Error> {
    match serde_json::from_slice(body) {
        Ok(ResponseEnvelope { ok: true, data, .. }) => Ok(data),
        Ok(ResponseEnvelope { error: Some(error), .. }) => Err(Error::Refused(ErrorBody { status, ..error })),
        _ => Err(Error::Unreachable(format!("what answers is no Bitcall server (HTTP status {status})"))),
    }
}

/// No socket file, or one that a stopped daemon left behind.
fn is_not_running(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn socket_error(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::Forbidden(format!(
            "this user may not open the control socket {path}\nhint: run it as root, as the server's user, or as a member of the socket's group"
        )),
        io::ErrorKind::NotFound => Error::Unreachable(format!(
            "there is no control socket {path}\nhint: start the server (`systemctl start bitcall`), or name another socket by --socket"
        )),
        io::ErrorKind::ConnectionRefused => Error::Unreachable(format!(
            "nobody listens on the control socket {path}: its server is gone\nhint: start the server (`systemctl start bitcall`); `journalctl -u bitcall` says why it ended"
        )),
        _ => Error::Unreachable(format!("the control socket {path}: {error}")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}
