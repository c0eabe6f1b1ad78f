//! What the server costs, beside nginx, Caddy and Express in the same run: processor time per
//! request of the runtime configuration, with few and with many tenants, and per TLS handshake, with
//! one and with many certificates; durable writes beside the disk's own pace; starts; memory.
//!
//! Processor time is read from the kernel for the servers' processes, their workers included, in
//! interleaved rounds: wall-clock figures of a busy machine move two- or threefold, these hardly do.
//!
//! `cargo bench --bench appliance -- reads` measures one section only: `reads`, `writes`, `starts`,
//! `lists`, `memory`, `names`, `handshakes`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The figures are far below 2^52; `ours` and `theirs` are what they are.
#![allow(clippy::cast_precision_loss, clippy::similar_names)]

#[path = "../../tests/appliance.rs"]
mod appliance;
mod authority;
mod bench_directory;
mod handshakes;
mod kernel;
mod lists;
mod memory;
mod names;
mod peers;
mod population;
mod reads;
mod starts;
mod table;
mod writes;

use population::Population;
use table::Row;

const FEW: usize = 10_000;
const MANY: usize = 100_000;

#[tokio::main]
async fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |section: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == section);
    let mut rows: Vec<Row> = Vec::new();
    if wanted("memory") {
        rows.extend(memory::at_rest().await);
        rows.extend(memory::idle_sockets(false).await);
        rows.extend(memory::idle_sockets(true).await);
    }
    if wanted("names") {
        rows.extend(names::answers());
    }
    if wanted("handshakes") {
        rows.extend(handshakes::beside_nginx_and_caddy().await);
    }
    if wanted("starts") {
        rows.extend(starts::beside_nginx().await);
    }
    if ["reads", "writes", "starts", "lists"].into_iter().any(wanted) {
        let mut population = Population::begin().await;
        if wanted("writes") {
            rows.extend(writes::provisioning(&mut population).await);
            rows.extend(writes::until_live(&population).await);
        }
        population.grow_to(FEW).await;
        if wanted("starts") {
            rows.extend(starts::with_tenants(&mut population).await);
        }
        if wanted("reads") {
            rows.extend(reads::configuration(&population).await);
        }
        if wanted("lists") || wanted("reads") {
            population.grow_to(MANY).await;
        }
        if wanted("lists") {
            rows.extend(lists::search(&population).await);
        }
        if wanted("reads") {
            rows.extend(reads::configuration(&population).await);
        }
    }
    table::print(&rows);
}
