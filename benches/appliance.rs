//! What the server costs, beside nginx in the same run: processor time per
//! request of the runtime configuration over TLS, time from start to the first
//! answer, memory at rest and per idle WebSocket.
//!
//! Processor time is read from the kernel for the servers' processes, their
//! workers included, in interleaved rounds: wall-clock figures of a busy machine
//! move two- or threefold, these hardly do. nginx serves the very same bytes as
//! a static file, with its file cache off (its default) and on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The figures are far below 2^52; `ours` and `theirs` are what they are.
#![allow(clippy::cast_precision_loss, clippy::similar_names)]

#[path = "../tests/appliance.rs"]
mod appliance;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use appliance::{Running, Serve, bitcall, connect, exchange, request, wait_until, write_configuration};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 8;
const REQUESTS_PER_ROUND: usize = 16_000;
const STARTS: usize = 11;
const SOCKETS: usize = 3_000;

#[tokio::main]
async fn main() {
    let table = [
        config_requests().await,
        starts().await,
        idle_memory().await,
        idle_sockets(false).await,
        idle_sockets(true).await,
    ];
    println!("\n{:<58} {:>12} {:>12} {:>12}  ", "", "bitcall", "nginx", "goal");
    for row in table.iter().flatten() {
        let met = if row.met { "met" } else { "MISSED" };
        println!("{:<58} {:>12} {:>12} {:>12}  {met}", row.what, row.ours, row.theirs, row.goal);
    }
}

struct Row {
    what: String,
    ours: String,
    theirs: String,
    goal: String,
    met: bool,
}

// ── Processor time per request ─────────────────────────────────────────────

async fn config_requests() -> Vec<Row> {
    let ground = Ground::prepare();
    let serve = ground.serve();
    let (path, body) = provision(&serve).await;
    let plain = Nginx::start(&ground, &body, false);
    let cached = Nginx::start(&ground, &body, true);
    let contestants = [
        Contestant::new(&serve.https, &path, vec![serve.running.id()]).await,
        Contestant::new(&plain.address, "/config.json", plain.processes()).await,
        Contestant::new(&cached.address, "/config.json", cached.processes()).await,
    ];
    let mut samples = [const { Vec::new() }; 3];
    let mut contestants = contestants;
    for round in 0..=ROUNDS {
        for (contestant, samples) in contestants.iter_mut().zip(&mut samples) {
            let cost = contestant.round().await;
            // The first round warms up.
            if round > 0 {
                samples.push(cost);
            }
        }
    }
    let [ours, plain, cached] = samples.map(median);
    let row = |what: &str, theirs: f64, goal: f64| Row {
        what: what.to_owned(),
        ours: format!("{ours:.1} µs"),
        theirs: format!("{theirs:.1} µs"),
        goal: format!("{:.2} ≤ {goal:.2}", ours / theirs),
        met: ours <= theirs * goal,
    };
    vec![
        row("GET runtime configuration, TLS, h1: CPU per request", plain, 0.9),
        row("  the same, nginx with open_file_cache", cached, 0.9),
    ]
}

/// One server with the load that is put on it.
struct Contestant {
    connections: Vec<tokio_rustls::client::TlsStream<TcpStream>>,
    request: Vec<u8>,
    answer_length: usize,
    processes: Vec<u32>,
}

impl Contestant {
    async fn new(address: &str, path: &str, processes: Vec<u32>) -> Self {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: bench\r\n\r\n").into_bytes();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(address, &["http/1.1"]).await);
        }
        let answer_length = first_answer(&mut connections[0], &request).await;
        Self { connections, request, answer_length, processes }
    }

    /// Every connection asks again as soon as it was answered. Microseconds of the server's CPU per request.
    async fn round(&mut self) -> f64 {
        let before = cpu_nanoseconds(&self.processes);
        let mut tasks = Vec::new();
        for mut connection in self.connections.drain(..) {
            let (request, length) = (self.request.clone(), self.answer_length);
            tasks.push(tokio::spawn(async move {
                let mut answer = vec![0; length];
                for _ in 0..REQUESTS_PER_ROUND / CONNECTIONS {
                    connection.write_all(&request).await.unwrap();
                    connection.flush().await.unwrap();
                    connection.read_exact(&mut answer).await.unwrap();
                }
                assert!(answer.starts_with(b"HTTP/1.1 200"));
                connection
            }));
        }
        for task in tasks {
            self.connections.push(task.await.unwrap());
        }
        let used = cpu_nanoseconds(&self.processes) - before;
        used / (REQUESTS_PER_ROUND as f64) / 1000.0
    }
}

/// Its length is that of every further one: only digits of equal number change.
async fn first_answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> usize {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..count]);
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                assert!(head.starts_with("http/1.1 200"), "{text}");
                return answer.len();
            }
        }
    }
}

// ── Start ──────────────────────────────────────────────────────────────────

async fn starts() -> Vec<Row> {
    let ground = Ground::prepare();
    let (path, body) = {
        let mut serve = ground.serve();
        let provisioned = provision(&serve).await;
        serve.running.signal(rustix::process::Signal::TERM);
        serve.running.ended();
        provisioned
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        ours.push(start_bitcall(&ground, &path).await);
        theirs.push(start_nginx(&ground, &body).await);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    vec![Row {
        what: "exec → first answer over TLS".to_owned(),
        ours: format!("{ours:.1} ms"),
        theirs: format!("{theirs:.1} ms"),
        goal: "≤ nginx".to_owned(),
        met: ours <= theirs,
    }]
}

async fn start_bitcall(ground: &Ground, path: &str) -> f64 {
    let address = format!("127.0.0.1:{}", free_port());
    let file = ground.directory.path().join("start.toml");
    let text = fs::read_to_string(ground.directory.path().join("bitcall.toml")).unwrap();
    fs::write(&file, text.replace("https = '127.0.0.1:0'", &format!("https = '{address}'"))).unwrap();
    let mut command = bitcall();
    command.arg("serve").arg("--config").arg(&file);
    let start = Instant::now();
    let mut running = Running::start(&mut command, &ground.directory.path().join("start.log"));
    let elapsed = until_answered(&address, path, start).await;
    running.signal(rustix::process::Signal::TERM);
    running.ended();
    elapsed
}

async fn start_nginx(ground: &Ground, body: &[u8]) -> f64 {
    let prepared = Nginx::prepare(ground, body, false);
    let start = Instant::now();
    let nginx = prepared.spawn();
    until_answered(&nginx.address, "/config.json", start).await
}

/// Milliseconds.
async fn until_answered(address: &str, path: &str, start: Instant) -> f64 {
    while TcpStream::connect(address).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "{address} never came up");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let stream = connect(address, &["http/1.1"]).await;
    let answer = exchange(stream, request(path, &[])).await;
    assert!(answer.status().is_success());
    start.elapsed().as_secs_f64() * 1000.0
}

// ── Memory ─────────────────────────────────────────────────────────────────

async fn idle_memory() -> Vec<Row> {
    let ground = Ground::prepare();
    let serve = ground.serve();
    provision(&serve).await;
    let idle = resident_kib(serve.running.id());
    let nginx = Nginx::start(&ground, b"{}", false);
    let theirs: u64 = nginx.processes().into_iter().map(resident_kib).sum();
    vec![Row {
        what: "idle `serve` with one tenant: resident".to_owned(),
        ours: format!("{:.1} MiB", idle as f64 / 1024.0),
        theirs: format!("{:.1} MiB", theirs as f64 / 1024.0),
        goal: "≤ 16 MB".to_owned(),
        met: idle * 1024 <= 16_000_000,
    }]
}

/// Each socket has sent a REGISTER and got its challenge, so that its buffers are as large as a phone's.
async fn idle_sockets(tls: bool) -> Vec<Row> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();

    let ground = Ground::prepare();
    let mut serve = ground.serve();
    provision(&serve).await;
    let address = if tls { serve.https.clone() } else { serve.address("http") };
    // A few first, so that what is allocated once does not count.
    let mut sockets: Vec<Box<dyn Send>> = Vec::new();
    for index in 0..50 {
        sockets.push(idle_socket(&address, tls, index).await);
    }
    let before = resident_kib(serve.running.id());
    for index in 0..SOCKETS {
        sockets.push(idle_socket(&address, tls, index + 50).await);
    }
    let after = resident_kib(serve.running.id());
    let each = (after - before) as f64 / SOCKETS as f64;
    vec![Row {
        what: format!("idle WebSocket on the edge, {}: resident each", if tls { "TLS" } else { "plain" }),
        ours: format!("{each:.1} KiB"),
        theirs: "-".to_owned(),
        goal: "≤ 11 KiB".to_owned(),
        met: each <= 11.0,
    }]
}

async fn idle_socket(address: &str, tls: bool, index: usize) -> Box<dyn Send> {
    if tls {
        Box::new(register(connect(address, &["http/1.1"]).await, index).await)
    } else {
        Box::new(register(TcpStream::connect(address).await.unwrap(), index).await)
    }
}

async fn register<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, index: usize) -> S {
    let handshake = "GET /sip HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: sip\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    read_until(&mut stream, "\r\n\r\n", "101 Switching").await;
    let message = format!(
        "REGISTER sip:bench.sip.bitcall.internal SIP/2.0\r\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bK{index}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:101@bench.sip.bitcall.internal>;tag=a{index}\r\n\
         To: <sip:101@bench.sip.bitcall.internal>\r\nCall-ID: {index}@bench\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:101@x.invalid;transport=ws>;expires=600\r\nContent-Length: 0\r\n\r\n"
    );
    let mut frame = vec![0x81, 0xFE];
    frame.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
    // A mask of zeros leaves the text as it is (RFC 6455 section 5.3).
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(message.as_bytes());
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
    read_until(&mut stream, "\r\n\r\n", "401 ").await;
    stream
}

async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str, wanted: &str) {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(end) {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&some[..count]);
    }
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains(wanted), "{text}");
}

// ── The servers ────────────────────────────────────────────────────────────

/// A directory with one certificate for both servers.
struct Ground {
    directory: TempDir,
}

impl Ground {
    fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { directory }
    }

    /// `bitcall serve` with its defaults, on ports that the system chooses.
    fn serve(&self) -> Serve {
        let certificate = self.directory.path().join("cert.pem");
        let key = self.directory.path().join("key.pem");
        let tls = format!("[tls]\ncertificate = '{}'\nkey = '{}'", certificate.display(), key.display());
        write_configuration(self.directory.path(), &tls);
        let file = self.directory.path().join("bitcall.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("[listen]", "[listen]\nhttp = '127.0.0.1:0'")).unwrap();
        Serve::start_with(&file)
    }
}

/// A configuration of nginx that waits to be started.
struct Prepared {
    address: String,
    directory: TempDir,
}

impl Prepared {
    fn spawn(self) -> Nginx {
        let place = self.directory.path();
        let child = Command::new("nginx")
            .arg("-e")
            .arg(place.join("error.log"))
            .arg("-c")
            .arg(place.join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed (package nginx-light)");
        Nginx { child, address: self.address, _directory: self.directory }
    }
}

struct Nginx {
    child: Child,
    address: String,
    _directory: TempDir,
}

impl Nginx {
    fn start(ground: &Ground, body: &[u8], file_cache: bool) -> Self {
        let nginx = Self::prepare(ground, body, file_cache).spawn();
        nginx.wait();
        nginx
    }

    /// Everything but the start itself, which is measured.
    fn prepare(ground: &Ground, body: &[u8], file_cache: bool) -> Prepared {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let address = format!("127.0.0.1:{}", free_port());
        fs::create_dir(place.join("www")).unwrap();
        fs::write(place.join("www/config.json"), body).unwrap();
        fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let cache = if file_cache { "open_file_cache max=100; open_file_cache_valid 60s;" } else { "" };
        let text = format!(
            "daemon off; worker_processes auto; pid {dir}/pid; error_log {dir}/error.log;
             events {{ worker_connections 4096; }}
             http {{
                 access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; {cache}
                 types {{ application/json json; }}
                 client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
                 uwsgi_temp_path {dir}; scgi_temp_path {dir};
                 server {{
                     listen {address} ssl; root {dir}/www;
                     ssl_certificate {ground}/cert.pem; ssl_certificate_key {ground}/key.pem;
                     ssl_protocols TLSv1.2 TLSv1.3;
                     add_header Cache-Control 'private, no-store'; add_header Vary Origin;
                 }}
             }}",
            dir = place.display(),
            ground = ground.directory.path().display(),
        );
        fs::write(place.join("nginx.conf"), text).unwrap();
        Prepared { address, directory }
    }

    /// Workers come a moment after the master.
    fn wait(&self) {
        wait_until("nginx", || std::net::TcpStream::connect(&self.address).ok());
    }

    /// Master and workers.
    fn processes(&self) -> Vec<u32> {
        let master = self.child.id();
        wait_until("nginx's workers", || {
            let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
            let workers: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            (!workers.is_empty()).then(|| workers.into_iter().chain([master]).collect())
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let _ = self.child.wait();
    }
}

/// Makes a tenant; where its runtime configuration is, and what is there.
async fn provision(serve: &Serve) -> (String, Vec<u8>) {
    let body = bytes::Bytes::from_static(br#"{"tenantId":"bench"}"#);
    let post = hyper::Request::post("/api/tenant/provision")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(body))
        .unwrap();
    let stream = UnixStream::connect(serve.socket()).await.unwrap();
    let answer = exchange(stream, post).await;
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    let key = answer["data"]["apiKey"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let path = format!("/api/webphone/config?key={key}");
    let config = serve.get(&path, &[]).await;
    assert!(config.status().is_success());
    (path, config.body().to_vec())
}

// ── Reading the kernel ─────────────────────────────────────────────────────

/// On the processor, over all threads that live now.
fn cpu_nanoseconds(processes: &[u32]) -> f64 {
    let mut total = 0.0;
    for process in processes {
        for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let path = task.unwrap().path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            total += text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    total
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
