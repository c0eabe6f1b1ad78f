//! Durable writes beside the pace of the disk itself, and how soon a change is in effect.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::appliance::{connect, request};
use crate::bench_directory::ControlClient;
use crate::kernel::cpu_nanoseconds;
use crate::population::{CALLERS, Population, tenant};
use crate::table::{Row, median};

const ROUNDS: usize = 5;
const WRITES_BY_MANY_CALLERS: usize = 3_000;
const WRITES_BY_ONE_CALLER: usize = 200;
const CHANGES: usize = 301;

/// Tenants made per second, each on the disk before it is acknowledged; the peer is a loop that
/// appends 4 KiB to a file and waits for the disk.
pub async fn provisioning(population: &mut Population) -> Vec<Row> {
    let (mut raw, mut by_many, mut by_one, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let disk = fsyncs_per_second(population);
        let before = cpu_nanoseconds(&[population.serve.running.id()]);
        let start = Instant::now();
        population.grow(WRITES_BY_MANY_CALLERS, CALLERS).await;
        let many = WRITES_BY_MANY_CALLERS as f64 / start.elapsed().as_secs_f64();
        let used = cpu_nanoseconds(&[population.serve.running.id()]) - before;
        let start = Instant::now();
        population.grow_by_one_caller(WRITES_BY_ONE_CALLER);
        let one = WRITES_BY_ONE_CALLER as f64 / start.elapsed().as_secs_f64();
        // The first round warms up.
        if round > 0 {
            raw.push(disk);
            by_many.push(many);
            by_one.push(one);
            cpu.push(used / WRITES_BY_MANY_CALLERS as f64 / 1000.0);
        }
    }
    let raw = median(raw);
    vec![
        Row::at_least(
            format!("tenants made durably, {CALLERS} callers ({:.0} µs of CPU each); raw fsync", median(cpu)),
            "/s",
            median(by_many),
            raw,
            2.5,
        ),
        Row::at_least("  one caller; raw fsync", "/s", median(by_one), raw, 0.2),
    ]
}

fn fsyncs_per_second(population: &Population) -> f64 {
    let mut file = File::create(population.bench_directory.temp.path().join("raw")).unwrap();
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1.0;
    }
    count / start.elapsed().as_secs_f64()
}

/// From the acknowledgement of a change to an answer of the runtime configuration that shows it,
/// the question's own way included.
pub async fn until_live(population: &Population) -> Vec<Row> {
    let mut control = ControlClient::open(&population.serve).await;
    let order = json!({ "tenantId": tenant(0) });
    let key = control.call("POST", "/api/tenant/api-keys", &order).await["apiKey"].as_str().unwrap().to_owned();
    let path = format!("/api/webphone/config?key={key}");
    let stream = TokioIo::new(connect(&population.serve.https, &["http/1.1"]).await);
    let (mut phone, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut delays = Vec::new();
    for number in 0..CHANGES {
        let name = format!("Company {number}.");
        let change = json!({ "tenantId": tenant(0), "branding": { "displayName": name } });
        control.call("PATCH", "/api/tenant/config", &change).await;
        let acknowledged = Instant::now();
        phone.ready().await.unwrap();
        let answer = phone.send_request(request(&path, &[])).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        delays.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
        assert!(String::from_utf8_lossy(&body).contains(&name), "an acknowledged change is in effect");
    }
    vec![Row::below("acknowledged change → answer that shows it, over TLS", "ms", median(delays), 1.0)]
}
