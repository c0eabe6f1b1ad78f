//! The administrator's list of tenants, with a search over all of them.

use std::time::Instant;

use serde_json::Value;

use crate::ground::Control;
use crate::kernel::cpu_nanoseconds;
use crate::population::Population;
use crate::table::{Row, median};

const ROUNDS: usize = 21;

/// Few are found, so that all must be looked at; the first page of all; the page at the end.
pub async fn search(population: &Population) -> Vec<Row> {
    let count = population.keys.len();
    let mut control = Control::open(&population.serve).await;
    let processes = [population.serve.running.id()];
    let mut rows = Vec::new();
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
