//! An ACME server (RFC 8555, RFC 9773) over TLS with scripted faults.
//!
//! It validates no challenge and no signature. It gives the rare answers of real authorities (errors, resets, stalls,
//! orders that stay in `processing`) on demand. Certificates are real, issued by its own root.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An ACME resource (RFC 8555 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
}

/// What a request gets instead of its normal answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The normal answer, so that a later request of the same kind fails.
    Pass,
    /// A problem document; its type without the `urn:…`.
    Problem {
        status: u16,
        kind: &'static str,
        retry_after: Option<u64>,
        subproblems: Value,
    },
    /// An HTML error page, as from a reverse proxy without its back end.
    Html {
        status: u16,
        retry_after: Option<u64>,
    },
    Status(u16),
    /// The connection is reset before the request is carried out.
    ResetBefore,
    /// The connection is reset after the request was carried out.
    ResetAfter,
    /// The request is never answered; [`Authority::stalled`] tells when it has come.
    StallBefore,
    /// The request is carried out and never answered.
    StallAfter,
}

impl Fault {
    pub fn problem(status: u16, kind: &'static str) -> Self {
        Self::Problem { status, kind, retry_after: None, subproblems: json!([]) }
    }
}

pub struct Authority {
    address: SocketAddr,
    root: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    stalled: Notify,
    issuer: Issuer<'static, KeyPair>,
}

struct State {
    faults: VecDeque<(Resource, Fault)>,
    asked: Vec<(Instant, Resource)>,
    orders: Vec<Order>,
    life: Duration,
    /// How old the next certificates are already when they are made.
    ages: VecDeque<Duration>,
    /// It offers RFC 9773.
    suggests: bool,
    /// Authorizations are valid from the start.
    trusts: bool,
    /// The error of the challenges of the next orders.
    unproved: VecDeque<Value>,
    failed: Vec<Instant>,
    /// Orders stay in `processing`.
    stuck: bool,
    /// The error that orders end with once they were finalized.
    verdicts: VecDeque<Value>,
    /// Hours from now, for each certificate in its turn; with none left, in the far future.
    windows: VecDeque<(i64, i64)>,
    replacements_refused: usize,
    serials: u32,
}

struct Order {
    names: Vec<String>,
    replaces: Option<String>,
    profile: Option<String>,
    status: &'static str,
    authorizations: Vec<(&'static str, Option<Value>)>,
    error: Option<Value>,
    request: Vec<u8>,
    chain: Option<String>,
}

impl Authority {
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-authority-").tempdir().unwrap();
        let (issuer, root_pem) = authority();
        let root = dir.path().join("root.pem");
        std::fs::write(&root, root_pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let state = State {
            faults: VecDeque::new(),
            asked: Vec::new(),
            orders: Vec::new(),
            life: Duration::from_hours(90 * 24),
            ages: VecDeque::new(),
            suggests: true,
            trusts: false,
            unproved: VecDeque::new(),
            failed: Vec::new(),
            stuck: false,
            verdicts: VecDeque::new(),
            windows: VecDeque::new(),
            replacements_refused: 0,
            serials: 0,
        };
        let shared = Arc::new(Shared { address, state: Mutex::new(state), stalled: Notify::new(), issuer });
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&shared)));
        Self { address, root, shared, task, _dir: dir }
    }

    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.address)
    }

    /// PEM file: who has signed its own certificate, and all that it issues.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The next request of this kind fails so; several of one kind in their order.
    pub fn fail(&self, resource: Resource, fault: Fault) {
        self.state().faults.push_back((resource, fault));
    }

    pub fn set_life(&self, life: Duration) {
        self.state().life = life;
    }

    /// The next certificate is as old already; the others after it are new.
    pub fn age(&self, age: Duration) {
        self.state().ages.push_back(age);
    }

    /// It does not say when to renew.
    pub fn suggest_nothing(&self) {
        self.state().suggests = false;
    }

    pub fn trust(&self) {
        self.state().trusts = true;
    }

    /// The next order's challenges are found wanting.
    pub fn disprove(&self, error: Value) {
        self.state().unproved.push_back(error);
    }

    pub fn set_stuck(&self, stuck: bool) {
        self.state().stuck = stuck;
    }

    /// The next order that is finalized ends invalid.
    pub fn condemn(&self, error: Value) {
        self.state().verdicts.push_back(error);
    }

    /// The renewal window that is suggested next, in hours from when it is asked for.
    pub fn suggest(&self, start: i64, end: i64) {
        self.state().windows.push_back((start, end));
    }

    /// So many orders that replace a certificate are refused, because it has a successor.
    pub fn refuse_replacements(&self, count: usize) {
        self.state().replacements_refused = count;
    }

    /// Waits until a request has come that is not answered.
    pub async fn stalled(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.shared.stalled.notified()).await.expect("nobody came");
    }

    pub fn asked(&self, resource: Resource) -> usize {
        self.state().asked.iter().filter(|(_, asked)| *asked == resource).count()
    }

    /// When requests of this kind came.
    pub fn moments(&self, resource: Resource) -> Vec<Instant> {
        self.state().asked.iter().filter(|(_, asked)| *asked == resource).map(|(at, _)| *at).collect()
    }

    /// Orders for which a certificate was made.
    pub fn bought(&self) -> usize {
        self.state().orders.iter().filter(|order| order.chain.is_some()).count()
    }

    /// What each order was said to replace.
    pub fn replaced(&self) -> Vec<Option<String>> {
        self.state().orders.iter().map(|order| order.replaces.clone()).collect()
    }

    /// The kind of certificate that each order wished for.
    pub fn profiles(&self) -> Vec<Option<String>> {
        self.state().orders.iter().map(|order| order.profile.clone()).collect()
    }

    pub fn failed_validations(&self) -> usize {
        self.state().failed.len()
    }

    /// Faults that have not happened.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A root, which signs by itself.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Scripted Authority");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    (Issuer::new(params, key), pem)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error of the service breaks the connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
    let Some(resource) = resource(&path) else { return Ok(status(404)) };
    let fault = {
        let mut state = shared.state();
        state.asked.push((Instant::now(), resource));
        let found = state.faults.iter().position(|(at, _)| *at == resource);
        found.and_then(|index| state.faults.remove(index)).map(|(_, fault)| fault)
    };
    match fault {
        None | Some(Fault::Pass) => Ok(shared.carry_out(resource, &path, &parts.method, &body)),
        Some(Fault::Problem { status, kind, retry_after, subproblems }) => {
            let body = json!({
                "type": format!("urn:ietf:params:acme:error:{kind}"),
                "detail": format!("scripted {kind}"),
                "status": status,
                "subproblems": subproblems,
            });
            Ok(waiting(respond(status, "application/problem+json", body.to_string()), retry_after))
        }
        Some(Fault::Html { status, retry_after }) => {
            let page = "<html><body><h1>Service Unavailable</h1></body></html>".to_owned();
            Ok(waiting(respond(status, "text/html", page), retry_after))
        }
        Some(Fault::Status(code)) => Ok(status(code)),
        Some(Fault::ResetBefore) => Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(Fault::ResetAfter) => {
            shared.carry_out(resource, &path, &parts.method, &body);
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
        Some(Fault::StallBefore) => {
            shared.stalled.notify_one();
            std::future::pending().await
        }
        Some(Fault::StallAfter) => {
            shared.carry_out(resource, &path, &parts.method, &body);
            shared.stalled.notify_one();
            std::future::pending().await
        }
    }
}

fn resource(path: &[&str]) -> Option<Resource> {
    Some(match path {
        ["directory"] => Resource::Directory,
        ["nonce"] => Resource::NewNonce,
        ["account"] => Resource::NewAccount,
        ["new-order"] => Resource::NewOrder,
        ["order", _] => Resource::Order,
        ["authorization", _, _] => Resource::Authorization,
        ["challenge", _, _, _] => Resource::Challenge,
        ["finalize", _] => Resource::Finalize,
        ["certificate", _] => Resource::Certificate,
        ["renewal", _] => Resource::RenewalInfo,
        _ => return None,
    })
}

impl Shared {
    fn carry_out(&self, resource: Resource, path: &[&str], method: &Method, body: &[u8]) -> Response<Full<Bytes>> {
        let base = format!("https://{}", self.address);
        let number = |index: usize| path.get(index).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        let mut state = self.state();
        match resource {
            Resource::Directory => {
                let mut directory = json!({
                    "newNonce": format!("{base}/nonce"),
                    "newAccount": format!("{base}/account"),
                    "newOrder": format!("{base}/new-order"),
                    "meta": { "profiles": { "classic": "as always" } },
                });
                if state.suggests {
                    directory["renewalInfo"] = json!(format!("{base}/renewal"));
                }
                answer_json(200, &directory)
            }
            Resource::NewNonce => {
                assert_eq!(method, Method::HEAD);
                status(200)
            }
            Resource::NewAccount => {
                located(answer_json(201, &json!({ "status": "valid" })), &format!("{base}/account/1"))
            }
            Resource::NewOrder => {
                let wanted = payload(body);
                if wanted["replaces"].is_string() && state.replacements_refused > 0 {
                    state.replacements_refused -= 1;
                    let body = json!({ "type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "it has a successor", "status": 409 });
                    return respond(409, "application/problem+json", body.to_string());
                }
                let names = wanted["identifiers"].as_array().unwrap().iter();
                let names: Vec<_> = names.map(|name| name["value"].as_str().unwrap().to_owned()).collect();
                let status = if state.trusts { "valid" } else { "pending" };
                let order = Order {
                    authorizations: vec![(status, None); names.len()],
                    names,
                    replaces: wanted["replaces"].as_str().map(str::to_owned),
                    profile: wanted["profile"].as_str().map(str::to_owned),
                    status: if state.trusts { "ready" } else { "pending" },
                    error: None,
                    request: Vec::new(),
                    chain: None,
                };
                state.orders.push(order);
                let index = state.orders.len() - 1;
                located(answer_json(201, &state.order(&base, index)), &format!("{base}/order/{index}"))
            }
            Resource::Order => {
                let index = number(1);
                if state.orders[index].status == "processing" && !state.stuck {
                    self.issue(&mut state, index);
                }
                answer_json(200, &state.order(&base, index))
            }
            Resource::Authorization => answer_json(200, &state.authorization(&base, number(1), number(2))),
            Resource::Challenge => {
                let (order, authorization) = (number(1), number(2));
                if state.orders[order].authorizations[authorization].0 != "pending" {
                    let body = json!({ "type": "urn:ietf:params:acme:error:malformed", "detail": "not pending", "status": 400 });
                    return respond(400, "application/problem+json", body.to_string());
                }
                let error = state.unproved.pop_front();
                let status = if error.is_some() { "invalid" } else { "valid" };
                if error.is_some() {
                    state.failed.push(Instant::now());
                }
                let order = &mut state.orders[order];
                order.authorizations[authorization] = (status, error);
                if status == "invalid" {
                    order.status = "invalid";
                } else if order.authorizations.iter().all(|(status, _)| *status == "valid") {
                    order.status = "ready";
                }
                let url = format!("{base}/{}", path.join("/"));
                answer_json(200, &json!({ "type": path[3], "url": url, "token": "t", "status": "processing" }))
            }
            Resource::Finalize => {
                let index = number(1);
                let request = payload(body)["csr"].as_str().map(|text| BASE64.decode(text).unwrap()).unwrap();
                let verdict = state.verdicts.pop_front();
                let order = &mut state.orders[index];
                assert_eq!(order.status, "ready", "finalized twice, or too early");
                order.request = request;
                (order.status, order.error) = match verdict {
                    Some(error) => ("invalid", Some(error)),
                    None => ("processing", None),
                };
                answer_json(200, &state.order(&base, index))
            }
            Resource::Certificate => match &state.orders[number(1)].chain {
                Some(chain) => respond(200, "application/pem-certificate-chain", chain.clone()),
                None => status(404),
            },
            Resource::RenewalInfo => {
                let (start, end) = state.windows.pop_front().unwrap_or((2000, 2001));
                let moment = |hours: i64| {
                    let at = OffsetDateTime::now_utc() + time::Duration::hours(hours);
                    at.format(&time::format_description::well_known::Rfc3339).unwrap()
                };
                let body = json!({ "suggestedWindow": { "start": moment(start), "end": moment(end) } });
                waiting(answer_json(200, &body), Some(21_600))
            }
        }
    }

    fn issue(&self, state: &mut State, index: usize) {
        use x509_parser::prelude::FromDer as _;
        state.serials += 1;
        let (serial, life, age) = (state.serials, state.life, state.ages.pop_front().unwrap_or_default());
        let order = &mut state.orders[index];
        let (_, request) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&order.request).unwrap();
        let key = RequestedKey(request.certification_request_info.subject_pki.subject_public_key.data.to_vec());
        let mut params = CertificateParams::new(order.names.clone()).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from(vec![1, 0, 0, u8::try_from(serial).unwrap()]));
        params.use_authority_key_identifier_extension = true;
        let made = OffsetDateTime::now_utc() - age;
        params.not_before = made - time::Duration::minutes(1);
        params.not_after = made + life;
        order.chain = Some(params.signed_by(&key, &self.issuer).unwrap().pem());
        order.status = "valid";
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn order(&self, base: &str, index: usize) -> Value {
        let order = &self.orders[index];
        let authorizations = 0..order.authorizations.len();
        let mut view = json!({
            "status": order.status,
            "identifiers": order.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect::<Vec<_>>(),
            "authorizations": authorizations.map(|n| format!("{base}/authorization/{index}/{n}")).collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{index}"),
        });
        if order.status == "valid" {
            view["certificate"] = json!(format!("{base}/certificate/{index}"));
        }
        if let Some(replaces) = &order.replaces {
            view["replaces"] = json!(replaces);
        }
        if let Some(error) = &order.error {
            view["error"] = error.clone();
        }
        view
    }

    fn authorization(&self, base: &str, order: usize, index: usize) -> Value {
        let name = &self.orders[order].names[index];
        let (status, error) = &self.orders[order].authorizations[index];
        let challenges = ["http-01", "tls-alpn-01", "dns-01"].map(|kind| {
            let mut challenge = json!({
                "type": kind,
                "url": format!("{base}/challenge/{order}/{index}/{kind}"),
                "token": format!("token-{order}-{index}-{kind}"),
                "status": if *status == "pending" { "pending" } else { status },
            });
            if let Some(error) = error {
                challenge["error"] = error.clone();
            }
            challenge
        });
        json!({
            "identifier": { "type": "dns", "value": name.trim_start_matches("*.") },
            "wildcard": name.starts_with("*."),
            "status": status,
            "challenges": challenges,
        })
    }
}

/// The key of a request for a certificate.
struct RequestedKey(Vec<u8>);

impl rcgen::PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap();
    let payload = BASE64.decode(signed["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn answer_json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", body.to_string())
}

fn status(code: u16) -> Response<Full<Bytes>> {
    respond(code, "text/plain", String::new())
}

fn respond(status: u16, kind: &str, body: String) -> Response<Full<Bytes>> {
    let mut nonce = [0_u8; 12];
    getrandom::fill(&mut nonce).unwrap();
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", kind)
        .header("replay-nonce", BASE64.encode(nonce))
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

fn located(mut response: Response<Full<Bytes>>, at: &str) -> Response<Full<Bytes>> {
    response.headers_mut().insert("location", at.parse().unwrap());
    response
}

fn waiting(mut response: Response<Full<Bytes>>, seconds: Option<u64>) -> Response<Full<Bytes>> {
    if let Some(seconds) = seconds {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
