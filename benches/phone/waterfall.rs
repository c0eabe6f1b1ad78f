//! What is fetched when between the host page's first byte and the registration: by the host page, the phone's frame and
//! its worker, on one clock.

use serde_json::{Value, json};

use crate::rig::browser::Browser;
use crate::rig::browsing_context::BrowsingContext;

/// Name, start in milliseconds since the epoch, and duration of everything that a page or a worker has fetched or marked.
const ENTRIES: &str = "['navigation', 'resource', 'mark'].flatMap((type) => performance.getEntriesByType(type))
    .map((entry) => [entry.name, performance.timeOrigin + entry.startTime, entry.duration])
    .concat([['started', performance.timeOrigin, 0]])";
/// Milliseconds per column.
const SCALE: f64 = 2.0;

/// Of a page that is registered and has noted when.
pub async fn print(browser: &Browser, page: &BrowsingContext) {
    let begin = page.eval("performance.timeOrigin").await.as_f64().unwrap();
    let mut rows = rows("host page", &page.eval(ENTRIES).await);
    rows.extend(self::rows("frame", &page.phone().await.eval(ENTRIES).await));
    rows.extend(self::rows("worker", &in_worker(browser).await));
    let moments = page.eval("[['DOMContentLoaded', readyAt, 0], ['registered', registeredAt, 0]]").await;
    rows.extend(self::rows("host page", &moments));
    rows.sort_by(|a, b| a.at.total_cmp(&b.at));
    println!("\n{:<10} {:<22} {:>7} {:>7}  1 column = {SCALE} ms", "where", "what", "from", "to");
    for row in rows {
        let (from, to) = (row.at - begin, row.at + row.lasts - begin);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a few hundred columns
        let columns = |ms: f64| " ".repeat((ms / SCALE).max(0.0) as usize);
        let bar = if row.lasts == 0.0 { "◆".to_owned() } else { columns(row.lasts).replace(' ', "█") + "▌" };
        println!("{:<10} {:<22} {from:>7.1} {to:>7.1}  {}{bar}", row.place, row.name, columns(from));
    }
}

struct Row {
    place: &'static str,
    name: String,
    at: f64,
    lasts: f64,
}

fn rows(place: &'static str, entries: &Value) -> Vec<Row> {
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|entry| Row {
            place,
            name: short(entry[0].as_str().unwrap()),
            at: entry[1].as_f64().unwrap(),
            lasts: entry[2].as_f64().unwrap(),
        })
        .collect()
}

/// The file's name, without its hash and its query.
fn short(address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path);
    match (file.split_once('-'), file.rsplit_once('.')) {
        (Some((stem, _)), Some((_, extension))) => format!("{stem}.{extension}"),
        _ => file.to_owned(),
    }
}

/// The entries of the phone's shared worker.
async fn in_worker(browser: &Browser) -> Value {
    let send = async |command: &str, parameters: Value| browser.bidi().send_raw(command, parameters).await.unwrap();
    let workers = send("script.getRealms", json!({ "type": "shared-worker" })).await;
    let Some(worker) = workers["realms"].as_array().and_then(|all| all.last()) else { return json!([]) };
    let function = format!("() => JSON.stringify({ENTRIES})");
    let target = json!({ "realm": worker["realm"] });
    let parameters = json!({ "functionDeclaration": function, "awaitPromise": false, "target": target });
    let done = send("script.callFunction", parameters).await;
    serde_json::from_str(done["result"]["value"].as_str().unwrap()).unwrap()
}
