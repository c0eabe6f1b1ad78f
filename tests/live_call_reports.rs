//! Live-call reports of real phones.

use std::time::Duration;

use serde_json::Value;

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::http;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};
use crate::rig::wait::{until, within};

/// What the panel is told.
async fn live(bitcall: &Bitcall) -> Value {
    let url = format!("{}/api/tenant/live-calls?tenantId={}", bitcall.origin(), bitcall.ready.tenant_id);
    let key = [("x-bitcall-panel-key", bitcall.ready.panel_key.as_str())];
    http::send("GET", &url, &key, None).await.json()["data"].take()
}

/// Waits until the panel counts `calls` in as many phones, all of them in `state`.
async fn counts(bitcall: &Bitcall, calls: u64, state: &str) -> Value {
    until(&format!("{calls} live calls, {state}"), async || {
        let seen = live(bitcall).await;
        let states = seen["calls"].as_array().unwrap().iter().all(|call| call["state"] == state);
        let fits = seen["liveCalls"] == calls && seen["activeClients"] == calls && states;
        if fits { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_live_call_ends_with_its_hang_up_or_its_killed_browser() {
    let bitcall = Bitcall::demo().await;
    let pages = (0..2).map(|n| {
        let who = &bitcall.ready.extensions[n];
        (format!("/{n}"), page(&bitcall, &signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password)))
    });
    let host = Host::start(pages).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(600).await;
    let anna = TestPhone::open(&browser, &host.url("/0")).await;
    let bob = TestPhone::open(&browser, &host.url("/1")).await;
    anna.ready().await;
    bob.ready().await;
    assert_eq!(live(&bitcall).await["liveCalls"], 0);

    anna.dial(&bitcall.ready.extensions[1].username).await;
    let ringing = counts(&bitcall, 1, "ringing").await;
    assert_eq!(ringing["calls"][0]["direction"], "outbound");
    assert_eq!(ringing["calls"][0]["number"], bitcall.ready.extensions[1].username);
    bob.frame.click("button", "Answer").await;
    counts(&bitcall, 2, "active").await;
    bob.frame.click("button", "Hang up").await;
    counts(&bitcall, 0, "").await;

    // A closed window reports its end by sendBeacon.
    anna.ready().await;
    bob.ready().await;
    bob.dial(&bitcall.ready.extensions[0].username).await;
    anna.frame.click("button", "Answer").await;
    counts(&bitcall, 2, "active").await;
    let bobs = |seen: &Value| seen["calls"].as_array().unwrap().iter().any(|call| call["direction"] == "outbound");
    bob.host_page.close().await;
    until("the closed window's call to go", async || {
        let seen = live(&bitcall).await;
        if bobs(&seen) { Err(seen.to_string()) } else { Ok(()) }
    })
    .await;

    // The agent waits for the page as after a reload, so the other side hangs up.
    anna.frame.click("button", "Hang up").await;

    // A killed browser reports nothing, and its calls expire.
    counts(&bitcall, 0, "").await;
    anna.ready().await;
    anna.dial(&bitcall.ready.echo).await;
    counts(&bitcall, 1, "active").await;
    drop(browser);
    within(Duration::from_mins(1), "the killed window's call to go", async || {
        let seen = live(&bitcall).await;
        if seen["liveCalls"] == 0 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}
