//! `kill -9` at any moment loses no acknowledged write, and the server is back
//! at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::appliance::wait_until;
use crate::installation::{Installation, PANEL_KEY, send};

const ROUNDS: usize = 6;
const WRITERS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_keeps_every_write_that_it_acknowledged() {
    let mut bitcall = Installation::serving().await;
    bitcall.tenant("storm", "enterprise").await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..ROUNDS {
        let before = acknowledged.lock().await.len();
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let name = move |number: usize| format!("r{round}-w{writer}-{number}");
                tokio::spawn(write_until_it_dies(
                    bitcall.address().to_owned(),
                    name,
                    acknowledged.clone(),
                    count.clone(),
                ))
            })
            .collect();
        // A different moment each time: in the middle of a first group of writes, or after hundreds.
        let moment = usize::from(getrandom_byte()) * 2;
        let counted = count.clone();
        let enough = move || (counted.load(Ordering::Relaxed) >= moment).then_some(());
        tokio::task::spawn_blocking(move || wait_until("some writes", enough)).await.unwrap();
        bitcall.kill();
        for writer in writers {
            writer.await.unwrap();
        }

        let started = Instant::now();
        bitcall.start().await;
        let kept = stored(&bitcall).await;
        slowest = slowest.max(started.elapsed());
        let acknowledged = acknowledged.lock().await;
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(
            lost.is_empty(),
            "round {round}: of {} acknowledged writes these are lost: {lost:?}",
            acknowledged.len()
        );
        assert!(acknowledged.len() >= before, "a round writes something");
    }
    println!(
        "{} writes kept over {ROUNDS} kills; slowest start with first answer {slowest:?}",
        acknowledged.lock().await.len()
    );
}

/// Tenants with ever new ids and their extensions, each noted only after it was acknowledged.
async fn write_until_it_dies(
    address: String,
    name: impl Fn(usize) -> String,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    count: Arc<AtomicUsize>,
) {
    for number in 0.. {
        let name = name(number);
        let (path, body) = match number % 2 {
            0 => ("/api/tenant/provision", json!({ "tenantId": name })),
            _ => ("/api/tenant/extensions", json!({ "tenantId": "storm", "username": name })),
        };
        let headers = [("x-bitcall-panel-key", PANEL_KEY)];
        match send(&address, "POST", path, &headers, &body.to_string()).await {
            Some(answer) if answer.status.is_success() => {
                acknowledged.lock().await.insert(name);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some(answer) => panic!("{name}: {}", answer.status),
            None => return,
        }
    }
}

async fn stored(bitcall: &Installation) -> BTreeSet<String> {
    let tenants = bitcall.bitcall(&["tenant", "list", "--json"]).json();
    let extensions = bitcall.done("GET", "/api/tenant/extensions?tenantId=storm", Value::Null).await;
    let names = |list: &Value, field: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    names(&tenants["tenants"], "tenantId").into_iter().chain(names(&extensions["extensions"], "username")).collect()
}

fn getrandom_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).unwrap();
    byte[0]
}
