//! SIGKILL at random moments under concurrent writes: every acknowledged write is there after the restart, a write
//! under way is there completely or not at all, and the server restarts about as fast as after an orderly stop.
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
    let mut sum = Outcome::default();
    for storm in storms {
        let outcome = storm.await.unwrap();
        sum.after_kills.extend(outcome.after_kills);
        sum.after_stops.extend(outcome.after_stops);
        sum.writes += outcome.writes;
    }
    let kills = sum.after_kills.len();
    let (after_kill, after_stop) = (median(sum.after_kills), median(sum.after_stops));
    println!(
        "{} writes kept over {kills} kills; from start to first answer {after_kill:?}, after an orderly stop {after_stop:?}",
        sum.writes
    );
    // Other tests compete for the processor, so only the ratio says anything.
    assert!(after_kill < 3 * after_stop, "starts are slow: {after_kill:?} after a kill, {after_stop:?} after a stop");
}

#[derive(Default)]
struct Outcome {
    /// From start to first answer, after a kill.
    after_kills: Vec<Duration>,
    /// The same, after an orderly stop.
    after_stops: Vec<Duration>,
    /// Acknowledged ones.
    writes: u32,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn storm() -> Outcome {
    let mut bitcall = Installation::serving().await;
    let (mut outcome, mut all) = (Outcome::default(), Vec::new());
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
        outcome.writes += *counting.borrow();

        if round % 4 == 3 {
            bitcall.start_and_kill(Duration::from_micros(u64::from(getrandom::u32().unwrap() % 80_000))).await;
        }
        outcome.after_kills.push(timed_start(&mut bitcall).await);
        for ledger in &mut ledgers {
            ledger.settle(&bitcall).await;
        }
        all.append(&mut ledgers);
        if round % 4 == 1 {
            bitcall.stop().await;
            outcome.after_stops.push(timed_start(&mut bitcall).await);
        }
    }
    for ledger in &all {
        ledger.is_unchanged(&bitcall).await;
    }
    outcome
}

/// From start to first answer.
async fn timed_start(bitcall: &mut Installation) -> Duration {
    let started = Instant::now();
    bitcall.start().await;
    assert_eq!(bitcall.send("GET", "/api/openapi.json", &[], "").await.status, 200);
    started.elapsed()
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
