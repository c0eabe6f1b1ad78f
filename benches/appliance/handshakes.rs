//! TLS with one certificate and with ten thousand, beside nginx (a server block for each name, and
//! files named by `$ssl_server_name`) and Caddy from Debian: processor time of the servers per
//! handshake, memory per certificate, the time of a start, and of one more certificate.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::appliance::{Serve, anyone, write_configuration};
use crate::authority::{Authority, Issued};
use crate::bench_directory::ControlClient;
use crate::kernel::{cpu_nanoseconds, free_port, proportional_kib};
use crate::table::{Row, median};

const MANY: usize = 10_000;
const ROUNDS: usize = 7;
/// Handshakes of one contestant in one round, each with another name.
const HANDSHAKES: usize = 1_000;
const PARALLEL_HANDSHAKES: usize = 8;
const NEW: usize = 101;
const KIB: f64 = 1024.0;

pub async fn beside_nginx_and_caddy() -> Vec<Row> {
    let authority = Authority::new();
    let issued: Vec<Issued> = (0..MANY).map(|number| authority.issue(&name(number))).collect();
    println!("{MANY} certificates made; a leaf has {} bytes", issued[0].der.len());
    // Not in /tmp, which may be no disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let files = directory.path().join("files");
    fs::create_dir(&files).unwrap();
    for issued in &issued {
        issued.write_into(&files);
    }
    let last = issued.last().unwrap();

    let one = Ours::start(&directory.path().join("bitcall-one"), &issued[..1]).await;
    let (many, our_start) = Ours::start(&directory.path().join("bitcall-many"), &issued).await.restarted(last).await;
    let blocks_of_one = Peer::nginx(directory.path(), "one", &blocks(&files, &issued[..1])).0;
    let (blocks, nginx_start) = Peer::nginx(directory.path(), "blocks", &blocks(&files, &issued));
    let variables = Peer::nginx(directory.path(), "variables", &variable(&files)).0;
    let caddy_of_one = Peer::caddy(directory.path(), "caddy-one", &files, &issued[..1]).0;
    let (caddy, caddy_start) = Peer::caddy(directory.path(), "caddy", &files, &issued);

    let before = many.memory();
    let mut contestants = [
        Contestant::new(&one.address, one.processes(), &issued[..1]),
        Contestant::new(&many.address, many.processes(), &issued),
        Contestant::new(&blocks.address, blocks.processes(), &issued),
        Contestant::new(&variables.address, variables.processes(), &issued),
        Contestant::new(&caddy.address, caddy.processes(), &issued),
    ];
    // Each name once: whatever is done at the first handshake of a name is done.
    contestants[1].full(MANY).await;
    contestants[0].full(MANY).await;
    let per_certificate = |many: f64, one: f64| (many - one) * KIB / (MANY - 1) as f64;
    let cold = per_certificate(before, one.memory());
    let warm = per_certificate(many.memory(), one.memory());
    let nginx_memory = per_certificate(blocks.memory(), blocks_of_one.memory());
    let caddy_memory = per_certificate(caddy.memory(), caddy_of_one.memory());

    let mut samples = [const { Vec::new() }; 5];
    let mut resumed = [const { Vec::new() }; 5];
    for round in 0..=ROUNDS {
        for (contestant, (samples, resumed)) in contestants.iter_mut().zip(samples.iter_mut().zip(&mut resumed)) {
            let full = contestant.full(HANDSHAKES).await;
            let again = contestant.resumed(HANDSHAKES).await;
            // The first round warms up.
            if round > 0 {
                samples.push(full);
                resumed.push(again);
            }
        }
    }
    let [one_full, ours, by_blocks, by_variables, by_caddy] = samples.map(median);
    let [one_resumed, ours_resumed, blocks_resumed, variables_resumed, caddy_resumed] = resumed.map(median);

    let (live, in_all) = many.one_more(&authority).await;
    let nginx_live = blocks.one_more(&files, &authority).await;
    vec![
        Row::at_most(format!("{MANY} certificates, full handshake: CPU; nginx, blocks"), "µs", ours, by_blocks, 0.5),
        Row::at_most("  the same; nginx with $ssl_server_name", "µs", ours, by_variables, 1.0 / 7.0),
        Row::at_most("  the same; Caddy", "µs", ours, by_caddy, 1.0),
        Row::at_most("  the same; Bitcall with one certificate", "µs", ours, one_full, 1.1),
        Row::at_most(
            format!("{MANY} certificates, resumed: CPU; nginx, blocks"),
            "µs",
            ours_resumed,
            blocks_resumed,
            0.55,
        ),
        Row::at_most("  the same; nginx with $ssl_server_name", "µs", ours_resumed, variables_resumed, 0.55),
        Row::at_most("  the same; Caddy", "µs", ours_resumed, caddy_resumed, 1.0),
        Row::at_most("  the same; Bitcall with one certificate", "µs", ours_resumed, one_resumed, 1.1),
        Row {
            theirs: format!("{nginx_memory:.0} B"),
            ..Row::below("memory per certificate, all keys in use; nginx", "B", warm, 2_000.0)
        },
        Row {
            theirs: format!("{caddy_memory:.0} B"),
            ..Row::below("  before their first handshake; Caddy", "B", cold, 2_000.0)
        },
        Row {
            theirs: format!("{nginx_start:.0} ms"),
            ..Row::below(format!("{MANY} certificates: exec → first handshake; nginx"), "ms", our_start, 500.0)
        },
        Row { theirs: format!("{caddy_start:.0} ms"), ..Row::below("  the same; Caddy", "ms", our_start, 500.0) },
        Row {
            theirs: format!("{nginx_live:.0} ms"),
            ..Row::below(
                format!(
                    "one more certificate: acknowledged → served ({in_all:.1} ms with its durable write); nginx's reload"
                ),
                "ms",
                live,
                1.0,
            )
        },
    ]
}

fn name(number: usize) -> String {
    format!("t{number:05}.bench.example")
}

/// `bitcall serve` with certificates in its store.
struct Ours {
    serve: Serve,
    directory: PathBuf,
    address: String,
}

impl Ours {
    async fn start(directory: &Path, issued: &[Issued]) -> Self {
        fs::create_dir(directory).unwrap();
        write_configuration(directory, "");
        let file = directory.join("bitcall.toml");
        let key = directory.join("store_key");
        fs::write(&key, "the store key of the benchmarks").unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let port = free_port();
        let text = text.replace("[secrets]", "[secrets]\nstore_key_file = 'store_key'");
        fs::write(&file, text.replace("https = '127.0.0.1:0'", &format!("https = '127.0.0.1:{port}'"))).unwrap();
        let serve = Serve::start_with(&file);
        let mut tasks = Vec::new();
        for part in issued.chunks(issued.len().div_ceil(64)) {
            let mut control = ControlClient::open(&serve).await;
            let bodies: Vec<_> = part.iter().map(|issued| (path(&issued.name), import(issued))).collect();
            tasks.push(tokio::spawn(async move {
                for (path, body) in bodies {
                    control.call("PUT", &path, &body).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        Self { serve, directory: directory.to_owned(), address: format!("127.0.0.1:{port}") }
    }

    /// The same once more, and the milliseconds until the name had its certificate.
    async fn restarted(mut self, wanted: &Issued) -> (Self, f64) {
        let mut times = Vec::new();
        for _ in 0..5 {
            self.serve.running.signal(rustix::process::Signal::TERM);
            self.serve.running.ended();
            let mut command = crate::appliance::bitcall();
            command.arg("serve").arg("--config").arg(self.directory.join("bitcall.toml"));
            let start = Instant::now();
            let running = crate::appliance::Running::start(&mut command, &self.directory.join("log"));
            until_served(&self.address, wanted).await;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
            self.serve.running = running;
        }
        (self, median(times))
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.serve.running.id()]
    }

    fn memory(&self) -> f64 {
        proportional_kib(&self.processes())
    }

    /// From the acknowledgement of a new certificate to the end of a handshake that shows it, and
    /// from its request on; in milliseconds.
    async fn one_more(&self, authority: &Authority) -> (f64, f64) {
        let mut control = ControlClient::open(&self.serve).await;
        let (mut live, mut in_all) = (Vec::new(), Vec::new());
        for number in 0..NEW {
            let issued = authority.issue(&format!("new{number}.bench.example"));
            let body = import(&issued);
            // Connected beforehand: the connection is no part of the certificate's way.
            let stream = TcpStream::connect(&self.address).await.unwrap();
            let begin = Instant::now();
            control.call("PUT", &path(&issued.name), &body).await;
            let acknowledged = Instant::now();
            let served = shown_on(stream, &issued.name).await.unwrap();
            live.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
            in_all.push(begin.elapsed().as_secs_f64() * 1000.0);
            assert!(served == issued.der, "an acknowledged certificate is served");
        }
        (median(live), median(in_all))
    }
}

fn path(name: &str) -> String {
    format!("/api/admin/certificates/{name}")
}

fn import(issued: &Issued) -> serde_json::Value {
    json!({ "certificate": issued.chain, "key": issued.key })
}

/// nginx or Caddy.
struct Peer {
    child: Child,
    address: String,
    configuration: PathBuf,
}

impl Peer {
    /// With these servers; and the milliseconds until it served.
    fn nginx(directory: &Path, name: &str, servers: &str) -> (Self, f64) {
        let directory = directory.join(name);
        fs::create_dir(&directory).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let text = format!(
            "daemon off; worker_processes auto; pid {dir}/pid; error_log {dir}/error.log; user root;
             worker_rlimit_nofile 65536;
             events {{ worker_connections 4096; }}
             http {{
                 access_log off; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
                 ssl_protocols TLSv1.2 TLSv1.3;
                 client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
                 uwsgi_temp_path {dir}; scgi_temp_path {dir};
                 {servers}
             }}",
            dir = directory.display(),
            servers = servers.replace("LISTEN", &format!("listen {address} ssl")),
        );
        let configuration = directory.join("nginx.conf");
        fs::write(&configuration, text).unwrap();
        let start = Instant::now();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(directory.join("error.log")).arg("-c").arg(&configuration).stdin(Stdio::null());
        let child = command.spawn().expect("nginx is installed (package nginx-light)");
        let peer = Self { child, address, configuration };
        let took = peer.wait(start);
        (peer, took)
    }

    fn caddy(directory: &Path, name: &str, files: &Path, issued: &[Issued]) -> (Self, f64) {
        let address = format!("127.0.0.1:{}", free_port());
        let file = |name: &str, ending| files.join(format!("{name}.{ending}"));
        let load: Vec<_> = issued
            .iter()
            .map(|issued| json!({ "certificate": file(&issued.name, "crt"), "key": file(&issued.name, "key") }))
            .collect();
        let text = json!({
            "admin": { "disabled": true },
            "logging": { "logs": { "default": { "level": "ERROR" } } },
            "apps": {
                "tls": { "certificates": { "load_files": load } },
                "http": { "servers": { "bench": {
                    "listen": [address],
                    "automatic_https": { "disable": true },
                    "tls_connection_policies": [{}],
                    "routes": [{ "handle": [{ "handler": "static_response", "body": "{}" }] }],
                } } },
            },
        });
        let configuration = directory.join(format!("{name}.json"));
        fs::write(&configuration, text.to_string()).unwrap();
        let start = Instant::now();
        let mut command = Command::new("caddy");
        command.arg("run").arg("--config").arg(&configuration).env("HOME", directory).stdin(Stdio::null());
        let child = command.spawn().expect("caddy is installed (package caddy)");
        let peer = Self { child, address, configuration };
        let took = peer.wait(start);
        (peer, took)
    }

    /// Until it accepts: both listen when all certificates are loaded.
    fn wait(&self, start: Instant) -> f64 {
        let deadline = start + Duration::from_mins(2);
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(Instant::now() < deadline, "{} never came up", self.configuration.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        start.elapsed().as_secs_f64() * 1000.0
    }

    /// It and its workers.
    fn processes(&self) -> Vec<u32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        workers.chain([master]).collect()
    }

    fn memory(&self) -> f64 {
        proportional_kib(&self.processes())
    }

    /// Milliseconds from a reload with one more server block to a handshake that shows it.
    async fn one_more(&self, files: &Path, authority: &Authority) -> f64 {
        let issued = authority.issue("new.bench.example");
        issued.write_into(files);
        let text = fs::read_to_string(&self.configuration).unwrap();
        let block = block(files, &issued).replace("LISTEN", &format!("listen {} ssl", self.address));
        let (head, _) = text.rsplit_once('}').unwrap();
        fs::write(&self.configuration, format!("{head}{block}}}")).unwrap();
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let start = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        until_served(&self.address, &issued).await;
        start.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let _ = self.child.wait();
    }
}

fn block(files: &Path, issued: &Issued) -> String {
    let (files, name) = (files.display(), &issued.name);
    format!(
        "server {{ LISTEN; server_name {name}; return 204;
            ssl_certificate {files}/{name}.crt; ssl_certificate_key {files}/{name}.key; }}\n"
    )
}

fn blocks(files: &Path, issued: &[Issued]) -> String {
    issued.iter().map(|issued| block(files, issued)).collect()
}

fn variable(files: &Path) -> String {
    let files = files.display();
    format!(
        "server {{ LISTEN; server_name _; return 204;
            ssl_certificate {files}/$ssl_server_name.crt; ssl_certificate_key {files}/$ssl_server_name.key; }}\n"
    )
}

async fn until_served(address: &str, wanted: &Issued) {
    let start = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect(address).await
            && shown_on(stream, &wanted.name).await.is_ok_and(|shown| shown == wanted.der)
        {
            return;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "{address} never served {}", wanted.name);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn shown_on(stream: TcpStream, name: &str) -> std::io::Result<Vec<u8>> {
    let connector = TlsConnector::from(Arc::new(client()));
    let stream = connector.connect(name.to_owned().try_into().unwrap(), stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

/// By X25519, which all of them speak, so that nobody has to ask twice.
fn client() -> ClientConfig {
    let mut config = anyone(&["http/1.1"]);
    config.resumption = Resumption::disabled();
    config
}

/// One server with the load that is put on it.
struct Contestant<'a> {
    address: String,
    processes: Vec<u32>,
    issued: &'a [Issued],
    next: usize,
    /// With the sessions of each name.
    returning: Arc<ClientConfig>,
    seen: HashSet<String>,
}

impl<'a> Contestant<'a> {
    fn new(address: &str, processes: Vec<u32>, issued: &'a [Issued]) -> Self {
        let mut config = client();
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8 * MANY)));
        let returning = Arc::new(config);
        Self { address: address.to_owned(), processes, issued, next: 0, returning, seen: HashSet::new() }
    }

    /// Microseconds of the server's CPU per full handshake, each with the next name.
    async fn full(&mut self, count: usize) -> f64 {
        let names: Vec<_> = (0..count).map(|n| &self.issued[(self.next + n) % self.issued.len()]).collect();
        self.next += count;
        let before = cpu_nanoseconds(&self.processes);
        let kinds = visit(&self.address, &Arc::new(client()), &names).await;
        let used = cpu_nanoseconds(&self.processes) - before;
        assert!(kinds.iter().all(|kind| *kind == HandshakeKind::Full), "{}: not all were full", self.address);
        used / count as f64 / 1000.0
    }

    /// The same for resumed ones, always with the same names.
    async fn resumed(&mut self, count: usize) -> f64 {
        let names: Vec<_> = (0..count).map(|n| &self.issued[n % self.issued.len()]).collect();
        let new: Vec<_> = names.iter().copied().filter(|issued| !self.seen.contains(&issued.name)).collect();
        visit(&self.address, &self.returning, &new).await;
        self.seen.extend(new.iter().map(|issued| issued.name.clone()));
        let before = cpu_nanoseconds(&self.processes);
        let kinds = visit(&self.address, &self.returning, &names).await;
        let used = cpu_nanoseconds(&self.processes) - before;
        let resumed = kinds.iter().filter(|kind| **kind == HandshakeKind::Resumed).count();
        assert!(resumed * 100 >= count * 98, "{}: {resumed} of {count} were resumed", self.address);
        used / count as f64 / 1000.0
    }
}

/// A handshake for each, some at the same time; closed in an orderly way, so that tickets arrive.
async fn visit(address: &str, config: &Arc<ClientConfig>, all: &[&Issued]) -> Vec<HandshakeKind> {
    let mut tasks = Vec::new();
    for part in all.chunks(all.len().div_ceil(PARALLEL_HANDSHAKES).max(1)) {
        let part: Vec<_> = part.iter().map(|issued| (issued.name.clone(), issued.der.clone())).collect();
        let (address, connector) = (address.to_owned(), TlsConnector::from(Arc::clone(config)));
        tasks.push(tokio::spawn(async move {
            let mut kinds = Vec::new();
            for (name, der) in part {
                let stream = TcpStream::connect(&address).await.unwrap();
                let server = name.try_into().unwrap();
                let mut stream = connector.connect(server, stream).await.unwrap();
                let session = stream.get_ref().1;
                assert!(*session.peer_certificates().unwrap()[0] == *der, "the certificate of another name");
                let group = session.negotiated_key_exchange_group().unwrap().name();
                assert_eq!(group, rustls::NamedGroup::X25519, "all contestants exchange keys alike");
                kinds.push(session.handshake_kind().unwrap());
                stream.shutdown().await.unwrap();
                // Some servers end without a farewell.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            kinds
        }));
    }
    let mut kinds = Vec::new();
    for task in tasks {
        kinds.extend(task.await.unwrap());
    }
    kinds
}
