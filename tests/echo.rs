//! The echo number, and the playground of `bitcall demo`.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::browsing_context::BrowsingContext;
use crate::rig::host::Host;
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
