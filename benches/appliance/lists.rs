//! The administrator's list of tenants, with a search over all of them.

use std::time::Instant;

use serde_json::Value;

use crate::bench_directory::ControlClient;
use crate::kernel::{cpu_nanoseconds, resident_kib};
use crate::population::Population;
use crate::table::{Row, median};

const ROUNDS: usize = 21;

/// Searches that match one tenant and none, so that every tenant is looked at; and what they all take in memory.
pub async fn search(population: &Population) -> Vec<Row> {
    let count = population.keys.len();
    let mut control = ControlClient::open(&population.serve).await;
    let processes = [population.serve.running.id()];
    let resident = resident_kib(population.serve.running.id()) as f64 / 1024.0;
    let mut rows = vec![Row::below(format!("{count} tenants: resident after they were made"), "MiB", resident, 381.5)];
    for (what, query) in [("a search that finds one", "q=company 012345"), ("a search that finds nothing", "q=nobody")]
    {
        let path = format!("/api/admin/tenants?{}", query.replace(' ', "%20"));
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (start, before) = (Instant::now(), cpu_nanoseconds(&processes));
            control.call("GET", &path, &Value::Null).await;
            wall.push(start.elapsed().as_secs_f64() * 1000.0);
            cpu.push((cpu_nanoseconds(&processes) - before) / 1e6);
        }
        rows.push(Row::below(
            format!("{count} tenants, {what} ({:.1} ms of CPU)", median(cpu)),
            "ms",
            median(wall),
            50.0,
        ));
    }
    rows
}
