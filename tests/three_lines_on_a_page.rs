//! Three lines on anybody's page, and people talk.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::desk::{Desk, page, signed_in_as};
use crate::rig::host::Host;

/// The page of a foreign site with nothing but the three lines. A person signs
/// in by hand, in two windows as two extensions, and one calls the other.
#[tokio::test]
async fn two_windows_of_a_foreign_page_call_each_other() {
    let bitcall = Bitcall::demo().await;
    let host = Host::start([("/", bitcall.three_lines(""))]).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(600).await;

    let mut desks = Vec::new();
    for extension in &bitcall.ready.extensions[..2] {
        let desk = Desk::open(&browser, &host.url("/")).await;
        desk.phone.fill("textbox", "Username", &extension.username).await;
        desk.phone.fill("textbox", "Password", &extension.password).await;
        desk.phone.click("button", "Sign in").await;
        desk.ready().await;
        desks.push(desk);
    }
    let (caller, callee) = (&desks[0], &desks[1]);

    caller.dial(&bitcall.ready.extensions[1].username).await;
    callee.phone.sees(&bitcall.ready.extensions[0].username).await;
    callee.phone.click("button", "Answer").await;
    caller.phone.hears(600).await;
    callee.phone.hears(600).await;

    callee.phone.click("button", "Hang up").await;
    caller.phone.gone("button", "Hang up").await;
    caller.ready().await;
    callee.ready().await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Two browsers whose microphones hear different tones: each hears the other's.
#[tokio::test]
async fn each_side_hears_the_other_and_not_itself() {
    let bitcall = Bitcall::demo().await;
    let pages = (0..2).map(|n| {
        let who = &bitcall.ready.extensions[n];
        let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
        (format!("/{n}"), page(&bitcall, &fields))
    });
    let host = Host::start(pages).await;
    bitcall.allow(&host.origin()).await;
    let (low, high) = (Browser::start(500).await, Browser::start(900).await);
    let caller = Desk::open(&low, &host.url("/0")).await;
    let callee = Desk::open(&high, &host.url("/1")).await;
    caller.ready().await;
    callee.ready().await;

    caller.dial(&bitcall.ready.extensions[1].username).await;
    callee.phone.click("button", "Answer").await;
    caller.phone.hears(900).await;
    callee.phone.hears(500).await;

    // Muted, the caller is not heard any more, but hears.
    caller.phone.click("button", "Mute").await;
    caller.phone.pressed("Mute", true).await;
    callee.phone.hears_silence().await;
    caller.phone.hears(900).await;
    caller.phone.click("button", "Mute").await;
    callee.phone.hears(500).await;

    caller.phone.click("button", "Hang up").await;
    callee.phone.gone("button", "Hang up").await;
    assert_eq!(low.errors(), Vec::<String>::new());
    assert_eq!(high.errors(), Vec::<String>::new());
}
