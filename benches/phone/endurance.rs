//! A day at the desk: what the phone costs while nothing happens, and whether it grows with its calls.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kernel;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::office::Office;

/// Collects what is not used any more. Rows of lists are not counted: the recents have one for each call. The rig keeps every connection that there ever was.
const LEFT: &str = "(() => {
  const kept = __rig.connections.filter((connection) => connection.signalingState !== 'closed');
  __rig.connections.splice(0, Infinity, ...kept);
  gc();
  return [performance.memory.usedJSHeapSize / 1024, document.querySelectorAll(':not(li, li *)').length];
})()";

const IDLE: Duration = Duration::from_secs(30);
/// A page has come to rest after so long.
const REST: Duration = Duration::from_secs(5);
const CALLS: usize = 100;
/// Caches and pools are full after so many.
const FIRST_CALLS: usize = 10;

/// Processor time of pages, workers and network while a phone is registered and nothing happens, beyond that of an empty page. The
/// browser's own process is left out: what it does for itself now and then is more than either phone takes.
pub async fn idle(host: &Host) {
    println!("\nRegistered and idle for {} s                       % of a core", IDLE.as_secs());
    let empty = share_of_a_core("about:blank", "true").await;
    let ours = share_of_a_core(&host.url("/bitcall/0"), "window.registeredAt").await;
    let theirs = share_of_a_core(&host.url("/jssip/0"), "window.registeredAt").await;
    for (name, share) in [("an empty page", empty), ("Bitcall, beyond that", ours - empty), ("JsSIP", theirs - empty)] {
        println!("{name:<46} {share:>9.2}");
    }
}

async fn share_of_a_core(url: &str, ready: &str) -> f64 {
    let browser = Browser::start(600).await;
    let page = browser.open(url).await;
    page.until(ready).await;
    tokio::time::sleep(REST).await;
    share_over_time(&browser).await
}

/// The share of a core that pages, workers and network take from now on.
async fn share_over_time(browser: &Browser) -> f64 {
    let processes: Vec<u32> =
        with_children(browser.driver_process()).into_iter().filter(|id| serves_pages(*id)).collect();
    let (began, before) = (Instant::now(), kernel::cpu_nanoseconds(&processes));
    tokio::time::sleep(IDLE).await;
    let used = kernel::cpu_nanoseconds(&processes) - before;
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let passed = began.elapsed().as_nanos() as f64;
    100.0 * used / passed
}

fn serves_pages(process: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    ["--type=renderer", "network.mojom.NetworkService"].iter().any(|part| command.contains(part))
}

/// Processor time of pages, workers and network while three talk with the person in a conference, without and with a recording.
pub async fn conference() {
    let music = json!({ "behavior": { "holdMusic": { "enabled": false } } });
    let office = Office::open_in(Browser::start(Office::TONE).await, "enterprise", music).await;
    let Office { phone, b2bua, browser, .. } = &office;
    let _parties = [("201", "Anna", 900), ("202", "Bert", 1_300), ("203", "Carl", 1_700)]
        .map(|(number, name, hz)| b2bua.far_end(number, name, hz));
    for (number, hz) in [("201", 900), ("202", 1_300), ("203", 1_700)] {
        phone.host_page.eval(&format!("BitcallWebphone.call('{number}')")).await;
        phone.frame.hears_only(hz).await;
    }
    phone.frame.click("button", "Merge with Anna").await;
    phone.frame.click("button", "Merge with Bert").await;
    phone.frame.hears_each(&[900, 1_300, 1_700]).await;
    println!("\nA conference with three, for {} s                  % of a core", IDLE.as_secs());
    tokio::time::sleep(REST).await;
    let without = share_over_time(browser).await;
    phone.host_page.eval("BitcallWebphone.startRecording()").await;
    phone.event("recordingState", 1).await;
    tokio::time::sleep(REST).await;
    let with = share_over_time(browser).await;
    println!("{:<46} {without:>9.2}", "without a recording");
    println!("{:<46} {:>9.2}", "the recording, beyond that", with - without);
}

/// Many calls one after another in one page: what is left of them.
pub async fn calls_in_a_row() {
    let flags = ["--js-flags=--expose-gc", "--enable-precise-memory-info"].map(str::to_owned);
    let office = Office::open_in(Browser::start_with(Office::TONE, &flags).await, "free", json!({})).await;
    let _anna = office.b2bua.far_end("201", "Anna", 900);
    println!("\n{CALLS} calls in a row          JavaScript heap, KB   elements   all processes, MB");
    for n in 1..=CALLS {
        office.phone.dial("201").await;
        office.phone.frame.hears(900).await;
        office.phone.frame.click("button", "Hang up").await;
        office.is_quiet_again(n).await;
        if n == FIRST_CALLS || n == CALLS {
            let left = office.phone.frame.eval(LEFT).await;
            let memory = kernel::proportional_kib(&with_children(office.browser.driver_process())) / 1024.0;
            let (heap, elements) = (left[0].as_f64().unwrap(), left[1].as_u64().unwrap());
            println!("after {n:<24} {heap:>19.0} {elements:>10} {memory:>19.0}");
        }
    }
}

fn with_children(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|id| id.parse().ok()).flat_map(with_children));
    }
    all
}
