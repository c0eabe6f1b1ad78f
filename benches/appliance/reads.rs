//! Processor time per request of the runtime configuration, over TLS. nginx serves the very same
//! bytes as a static file, with its file cache off (its default) and on; Express looks each key up
//! in a map. Bitcall is asked for all its tenants in turn.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::appliance::connect;
use crate::kernel::cpu_nanoseconds;
use crate::peers::{Express, Nginx};
use crate::population::Population;
use crate::table::{Row, median};

const CONNECTIONS: usize = 16;
/// Requests under way at the same time on one connection by HTTP/2.
const STREAMS: usize = 4;
const ROUNDS: usize = 7;
const REQUESTS: usize = 16_000;
/// Enough for a whole answer.
const ANSWER_CAPACITY: usize = 4096;

pub async fn configuration(population: &Population) -> Vec<Row> {
    let count = population.keys.len();
    let paths: Vec<_> = population.keys.iter().map(|key| format!("/api/webphone/config?key={key}")).collect();
    let body = population.serve.get(&paths[0], &[]).await.into_body();
    let ours = vec![population.serve.running.id()];
    let plain = Nginx::start(&population.bench_directory, &body, false);
    let cached = Nginx::start(&population.bench_directory, &body, true);
    let express = Express::start(&population.bench_directory, &population.keys, &body);
    let file = vec!["/config.json".to_owned()];

    let mut by_http1 = [
        Http1::new(&population.serve.https, &paths, ours.clone()).await,
        Http1::new(&plain.address, &file, plain.processes()).await,
        Http1::new(&cached.address, &file, cached.processes()).await,
        Http1::new(&express.address, &paths, express.processes()).await,
    ];
    // What is in effect for a tenant is worked out when it is first asked for.
    by_http1[0].ask(count).await;
    let mut samples = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        for (contestant, samples) in by_http1.iter_mut().zip(&mut samples) {
            let cost = contestant.ask(REQUESTS).await;
            // The first round warms up.
            if round > 0 {
                samples.push(cost);
            }
        }
    }
    let [ours_h1, plain_h1, cached_h1, express_h1] = samples.map(median);
    drop(by_http1);

    let mut by_http2 = [
        Http2::new(&population.serve.https, &paths, ours).await,
        Http2::new(&plain.address, &file, plain.processes()).await,
        Http2::new(&cached.address, &file, cached.processes()).await,
    ];
    let mut samples = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for (contestant, samples) in by_http2.iter_mut().zip(&mut samples) {
            let cost = contestant.ask(REQUESTS).await;
            if round > 0 {
                samples.push(cost);
            }
        }
    }
    let [ours_h2, plain_h2, cached_h2] = samples.map(median);

    vec![
        Row::at_most(format!("{count} tenants, configuration by HTTP/1.1: CPU; nginx"), "µs", ours_h1, plain_h1, 1.0),
        Row::reported("  the same; nginx with open_file_cache", "µs", ours_h1, cached_h1),
        Row::at_most("  the same; Express with a map", "µs", ours_h1, express_h1, 1.0 / 7.0),
        Row::at_most(
            format!("{count} tenants, by HTTP/2, {STREAMS} streams: CPU; nginx"),
            "µs",
            ours_h2,
            plain_h2,
            1.0,
        ),
        Row::reported("  the same; nginx with open_file_cache", "µs", ours_h2, cached_h2),
    ]
}

/// One server with the load that is put on it by HTTP/1.1.
struct Http1<'a> {
    connections: Vec<TlsStream<TcpStream>>,
    paths: &'a [String],
    next: usize,
    processes: Vec<u32>,
}

impl<'a> Http1<'a> {
    async fn new(address: &str, paths: &'a [String], processes: Vec<u32>) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(address, &["http/1.1"]).await);
        }
        Self { connections, paths, next: 0, processes }
    }

    /// Every connection asks again as soon as it was answered. Microseconds of the server's CPU per request.
    async fn ask(&mut self, requests: usize) -> f64 {
        let before = cpu_nanoseconds(&self.processes);
        let mut tasks = Vec::new();
        let each = requests / CONNECTIONS;
        for mut connection in self.connections.drain(..) {
            let asked: Vec<_> = (0..each).map(|n| request(&self.paths[(self.next + n) % self.paths.len()])).collect();
            self.next += each;
            tasks.push(tokio::spawn(async move {
                let mut answer = Vec::with_capacity(ANSWER_CAPACITY);
                for request in asked {
                    connection.write_all(&request).await.unwrap();
                    connection.flush().await.unwrap();
                    read_answer(&mut connection, &mut answer).await;
                }
                connection
            }));
        }
        for task in tasks {
            self.connections.push(task.await.unwrap());
        }
        (cpu_nanoseconds(&self.processes) - before) / ((each * CONNECTIONS) as f64) / 1000.0
    }
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: bench\r\n\r\n").into_bytes()
}

/// Reads one answer of status 200 into `answer`, as long as its own head says: not all tenants' are of equal length.
async fn read_answer(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>) {
    answer.clear();
    let mut length = None;
    while length.is_none_or(|length| answer.len() < length) {
        let count = stream.read_buf(answer).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(answer));
        length = length.or_else(|| answer_length(answer));
    }
    assert_eq!(length, Some(answer.len()), "nothing more was asked for");
}

/// Bytes of an answer, head and body. `None` until its head is there.
fn answer_length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, length) = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    Some(end + 4 + length.parse::<usize>().unwrap())
}

/// One server with the load that is put on it by HTTP/2.
struct Http2<'a> {
    connections: Vec<http2::SendRequest<Empty<Bytes>>>,
    paths: &'a [String],
    next: usize,
    processes: Vec<u32>,
}

impl<'a> Http2<'a> {
    async fn new(address: &str, paths: &'a [String], processes: Vec<u32>) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TokioIo::new(connect(address, &["h2"]).await);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            connections.push(sender);
        }
        Self { connections, paths, next: 0, processes }
    }

    /// Every connection asks for [`STREAMS`] at once, and again when all were answered, as a browser
    /// that loads a page. Microseconds of the server's CPU per request.
    async fn ask(&mut self, requests: usize) -> f64 {
        let before = cpu_nanoseconds(&self.processes);
        let mut tasks = Vec::new();
        let each = requests / CONNECTIONS;
        for sender in &self.connections {
            let asked: Vec<_> = (0..each).map(|n| self.paths[(self.next + n) % self.paths.len()].clone()).collect();
            self.next += each;
            let sender = sender.clone();
            tasks.push(tokio::spawn(async move {
                for group in asked.chunks(STREAMS) {
                    futures_util::future::join_all(group.iter().map(|path| get(sender.clone(), path))).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        (cpu_nanoseconds(&self.processes) - before) / ((each * CONNECTIONS) as f64) / 1000.0
    }
}

async fn get(mut sender: http2::SendRequest<Empty<Bytes>>, path: &str) {
    let request = Request::get(format!("https://localhost{path}"))
        .header("accept", "*/*")
        .header("user-agent", "bench")
        .body(Empty::new())
        .unwrap();
    sender.ready().await.unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.unwrap();
}
