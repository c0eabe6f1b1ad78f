//! From `exec` to the first answer over TLS, in milliseconds.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::appliance::{Running, bitcall, connect, exchange, request};
use crate::bench_directory::{BenchDirectory, provision};
use crate::kernel::{free_port, resident_kib};
use crate::peers::Nginx;
use crate::population::{CALLERS, Population};
use crate::table::{Row, median};

const STARTS: usize = 11;
const MEBIBYTE: f64 = 1024.0;

pub async fn beside_nginx() -> Vec<Row> {
    let bench_directory = BenchDirectory::prepare();
    let (path, body) = {
        let mut serve = bench_directory.serve();
        let provisioned = provision(&serve).await;
        serve.running.signal(Signal::TERM);
        serve.running.ended();
        provisioned
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (elapsed, mut running) = start(&bench_directory, &path).await;
        running.signal(Signal::TERM);
        running.ended();
        ours.push(elapsed);
        theirs.push(start_nginx(&bench_directory, &body).await);
    }
    vec![Row::at_most("exec → first answer over TLS; nginx", "ms", median(ours), median(theirs), 1.0)]
}

/// After an orderly stop, and after `kill -9` at the end of a storm of writes. The server runs again afterwards.
pub async fn with_tenants(population: &mut Population) -> Vec<Row> {
    let count = population.keys.len();
    let path = format!("/api/webphone/config?key={}", population.keys[count / 2]);
    population.serve.running.signal(Signal::TERM);
    population.serve.running.ended();
    let (mut orderly, mut killed, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (elapsed, mut running) = start(&population.bench_directory, &path).await;
        orderly.push(elapsed);
        resident.push(resident_kib(running.id()) as f64 / MEBIBYTE);
        running.signal(Signal::TERM);
        running.ended();

        population.serve = population.bench_directory.serve();
        population.grow(CALLERS, CALLERS).await;
        population.serve.running.signal(Signal::KILL);
        population.serve.running.ended();
        let (elapsed, mut running) = start(&population.bench_directory, &path).await;
        killed.push(elapsed);
        running.signal(Signal::TERM);
        running.ended();
    }
    population.serve = population.bench_directory.serve();
    let (orderly, killed) = (median(orderly), median(killed));
    vec![
        Row::below(format!("{count} tenants: exec → first answer over TLS"), "ms", orderly, 100.0),
        Row::below("  the same: resident", "MiB", median(resident), 66.7),
        Row::below("  after kill -9: longer by", "ms", killed - orderly, 20.0),
    ]
}

async fn start(bench_directory: &BenchDirectory, path: &str) -> (f64, Running) {
    let address = format!("127.0.0.1:{}", free_port());
    let file = bench_directory.temp.path().join("start.toml");
    let text = fs::read_to_string(bench_directory.temp.path().join("bitcall.toml")).unwrap();
    fs::write(&file, text.replace("https = '127.0.0.1:0'", &format!("https = '{address}'"))).unwrap();
    let mut command = bitcall();
    command.arg("serve").arg("--config").arg(&file);
    let start = Instant::now();
    let running = Running::start(&mut command, &bench_directory.temp.path().join("start.log"));
    (until_answered(&address, path, start).await, running)
}

async fn start_nginx(bench_directory: &BenchDirectory, body: &[u8]) -> f64 {
    let prepared = Nginx::prepare(bench_directory, body, false);
    let start = Instant::now();
    let nginx = prepared.spawn();
    until_answered(&nginx.address, "/config.json", start).await
}

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
