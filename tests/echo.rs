//! The echo number, and the playground of `bitcall demo`.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::browsing_context::BrowsingContext;
use crate::rig::host::Host;
use crate::rig::ports::Ports;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

#[tokio::test]
async fn the_echo_number_plays_the_callers_own_audio() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(700).await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;

    phone.dial(&bitcall.ready.echo).await;
    phone.frame.hears(700).await;

    phone.frame.click("button", "Hang up").await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["number"], "*43");
    phone.ready().await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "the connection is closed");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// The playground at `/`, as whoever tries `bitcall demo` sees it: the second
/// window, opened by the page's link, is the second extension, and nobody types
/// a password.
#[tokio::test]
async fn two_windows_of_the_playground_call_each_other() {
    let bitcall = Bitcall::demo().await;
    let browser = Browser::start(700).await;
    let first = browser.open(&bitcall.ready.url).await;
    first.until("document.querySelector('#state').innerText === 'Ready as 101'").await;
    let second = browser.open(&format!("{}/?as=102", bitcall.ready.url)).await;
    second.until("document.querySelector('#state').innerText === 'Ready as 102'").await;

    first.click("button", "Call 102").await;
    let (anna, bob) = (first.phone().await, second.phone().await);
    press(&bob, "Answer").await;
    anna.hears(700).await;
    bob.hears(700).await;
    press(&anna, "Hang up").await;
    second.until("!BitcallWebphone.isInCall()").await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// The phone is of the playground's own origin, and in such frames the driver finds nothing by role and name.
async fn press(phone: &BrowsingContext, name: &str) {
    let button = format!("[...document.querySelectorAll('button')].find((b) => b.textContent.trim() === '{name}')");
    phone.until(&format!("{button}?.checkVisibility({{ visibilityProperty: true }})")).await;
    phone.eval(&format!("{button}.click()")).await;
}

/// By `localhost` it signs in like by the address that the demo has printed. By a name that leads here and that the demo
/// does not know, it says what to do; by one that it was told it works, but for the microphone, and says that.
#[tokio::test]
async fn the_playground_works_by_every_name_of_the_demo_or_says_what_is_missing() {
    let ports = Ports::reserve();
    let listen = format!("127.0.0.1:{}", ports.take());
    let public_url = format!("http://desk.example:{}", listen.rsplit(':').next().unwrap());
    let bitcall = Bitcall::demo_with(&listen, ["--public-url", &public_url]).await;
    assert_eq!(bitcall.origin(), public_url);
    let leads_here = "--host-resolver-rules=MAP *.example 127.0.0.1".to_owned();
    let browser = Browser::start_with(600, &[leads_here]).await;
    let is_ready = "document.querySelector('#state').innerText === 'Ready as 101'";
    for (name, has_microphone) in [("127.0.0.1", true), ("localhost", true), ("desk.example", false)] {
        let page = browser.open(&public_url.replace("desk.example", name)).await;
        page.until(is_ready).await;
        let phone = page.phone().await;
        assert_eq!(phone.eval("location.hostname").await, name);
        assert_eq!(page.text().await.contains("gives no microphone"), !has_microphone, "{name}");
        page.close().await;
    }
    let page = browser.open(&public_url.replace("desk.example", "evil.example")).await;
    page.sees("The demo is not known by this name").await;
    assert_eq!(page.frames().await, 0);
}
