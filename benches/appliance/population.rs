//! A server with many tenants, which are made as a panel would make them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::appliance::Serve;
use crate::bench_directory::{BenchDirectory, ControlClient};

/// Ask at the same time. More did not make it faster.
pub const CALLERS: usize = 64;

pub struct Population {
    pub bench_directory: BenchDirectory,
    pub serve: Serve,
    /// One API key of each tenant.
    pub keys: Vec<String>,
}

impl Population {
    pub async fn begin() -> Self {
        let bench_directory = BenchDirectory::prepare();
        let serve = bench_directory.serve();
        let mut population = Self { bench_directory, serve, keys: Vec::new() };
        population.grow_to(1).await;
        population
    }

    pub async fn grow_to(&mut self, count: usize) {
        let more = count.saturating_sub(self.keys.len());
        let start = Instant::now();
        self.grow(more, CALLERS).await;
        if more > 1000 {
            println!("{more} tenants more, {count} in all, after {:.1} s", start.elapsed().as_secs_f64());
        }
    }

    /// So many tenants more, by one caller, who is a machine of its own and waits for nobody but the server: on one
    /// thread that does nothing else.
    pub fn grow_by_one_caller(&mut self, more: usize) {
        let alone = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.grow(more, 1));
        };
        std::thread::scope(|scope| scope.spawn(alone).join()).unwrap();
    }

    /// So many tenants more, by so many callers at the same time.
    pub async fn grow(&mut self, more: usize, callers: usize) {
        let (next, end) = (Arc::new(AtomicUsize::new(self.keys.len())), self.keys.len() + more);
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let mut control = ControlClient::open(&self.serve).await;
            let next = Arc::clone(&next);
            tasks.push(tokio::spawn(async move {
                let mut keys = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return keys;
                    }
                    // Of equal length, so that all their configurations are.
                    let order = json!({ "tenantId": tenant(number), "displayName": format!("Company {number:06}") });
                    let made = control.call("POST", "/api/tenant/provision", &order).await;
                    keys.push(made["apiKey"].as_str().unwrap().to_owned());
                }
            }));
        }
        for task in tasks {
            self.keys.extend(task.await.unwrap());
        }
    }
}

pub fn tenant(number: usize) -> String {
    format!("t{number:06}")
}
