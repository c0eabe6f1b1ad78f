//! SIGKILL at random moments under concurrent writes: every acknowledged write is there after the restart, a write
//! under way is there completely or not at all, and the server restarts at once.
//!
//! Every writer has tenants of its own and at most one request under way, so that its ledger knows
//! the two states that are possible after a restart. Each round ends in a kill, and some starts are killed as well. At
//! the end everything that earlier rounds left is checked again.

mod ledger;

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::installation::Installation;
use ledger::Ledger;

/// Installations that run in parallel, so that restarts do not leave the processor idle.
const INSTALLATIONS: usize = 4;
const ROUNDS: usize = 200 / INSTALLATIONS;
const WRITERS: usize = 6;
/// A round is killed after a random number of acknowledged writes, at most this many.
const MAX_WRITES_PER_ROUND: u32 = 120;
/// Changes to one tenant after its provisioning; the last one deletes it, and the writer goes on to the next tenant.
const CHANGES: usize = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_or_torn_over_200_kills() {
    let storms: Vec<_> = (0..INSTALLATIONS).map(|_| tokio::spawn(storm())).collect();
    let (mut starts, mut writes) = (Vec::new(), 0);
    for storm in storms {
        let (some, acknowledged) = storm.await.unwrap();
        starts.extend(some);
        writes += acknowledged;
    }
    starts.sort_unstable();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!(
        "{writes} writes kept over {} kills; from start to first answer {median:?}, at most {slowest:?}",
        starts.len()
    );
    // Other tests compete for the processor, so single starts may be slow.
    assert!(median < Duration::from_secs(1), "starts are slow: {starts:?}");
}

/// How long each start took, and how many writes were acknowledged.
async fn storm() -> (Vec<Duration>, u32) {
    let mut bitcall = Installation::serving().await;
    let (mut starts, mut all) = (Vec::new(), Vec::new());
    let mut sum = 0;
    for round in 0..ROUNDS {
        let (acknowledged, mut counting) = watch::channel(0);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let name = format!("r{round}w{writer}");
                tokio::spawn(write_until_it_dies(bitcall.address().to_owned(), name, acknowledged.clone()))
            })
            .collect();
        let moment = getrandom::u32().unwrap() % MAX_WRITES_PER_ROUND;
        counting.wait_for(|count| *count >= moment).await.unwrap();
        bitcall.kill();
        let mut ledgers = Vec::new();
        for writer in writers {
            ledgers.extend(writer.await.unwrap());
        }
        sum += *counting.borrow();

        if round % 4 == 3 {
            bitcall.start_and_kill(Duration::from_micros(u64::from(getrandom::u32().unwrap() % 80_000))).await;
        }
        let started = Instant::now();
        bitcall.start().await;
        assert_eq!(bitcall.send("GET", "/api/openapi.json", &[], "").await.status, 200);
        starts.push(started.elapsed());
        for ledger in &mut ledgers {
            ledger.settle(&bitcall).await;
        }
        all.append(&mut ledgers);
    }
    for ledger in &all {
        ledger.is_unchanged(&bitcall).await;
    }
    (starts, sum)
}

/// Tenant after tenant, each with some changes.
async fn write_until_it_dies(address: String, name: String, acknowledged: watch::Sender<u32>) -> Vec<Ledger> {
    let mut ledgers = Vec::new();
    for number in 0.. {
        let mut ledger = Ledger::new(format!("{name}-t{number}"));
        for change in 0..=CHANGES {
            if !ledger.write(&address, change).await {
                ledgers.push(ledger);
                return ledgers;
            }
            acknowledged.send_modify(|count| *count += 1);
        }
        ledgers.push(ledger);
    }
    ledgers
}
