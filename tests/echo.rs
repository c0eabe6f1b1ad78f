//! One agent alone can hear that everything works.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::desk::{Desk, page, signed_in_as};
use crate::rig::host::Host;

#[tokio::test]
async fn dialling_the_echo_lets_the_caller_hear_itself() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(700).await;
    let desk = Desk::open(&browser, &host.url("/")).await;
    desk.ready().await;

    desk.dial(&bitcall.ready.echo).await;
    desk.phone.hears(700).await;

    desk.phone.click("button", "Hang up").await;
    let ended = desk.event("callEnded", 1).await;
    assert_eq!(ended["number"], "*43");
    desk.ready().await;
    assert_eq!(desk.phone.heard().await.unwrap().len(), 0, "the connection is closed");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// The playground at `/` is the phone's first host page.
#[tokio::test]
async fn the_playground_carries_a_phone_that_works() {
    let bitcall = Bitcall::demo().await;
    let browser = Browser::start(700).await;
    let page = browser.open(&bitcall.ready.url).await;
    let phone = page.phone().await;
    page.until("typeof BitcallWebphone === 'object'").await;
    phone.until("document.body.innerText.length > 0").await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}
