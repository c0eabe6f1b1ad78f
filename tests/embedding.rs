//! The three-line embedding on a foreign page.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

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
        let phone = TestPhone::open(&browser, &host.url("/")).await;
        phone.frame.fill("textbox", "Username", &extension.username).await;
        phone.frame.fill("textbox", "Password", &extension.password).await;
        phone.frame.click("button", "Sign in").await;
        phone.ready().await;
        desks.push(phone);
    }
    let (anna, bob) = (&desks[0], &desks[1]);

    anna.dial(&bitcall.ready.extensions[1].username).await;
    bob.frame.sees(&bitcall.ready.extensions[0].username).await;
    bob.frame.click("button", "Answer").await;
    anna.frame.hears(600).await;
    bob.frame.hears(600).await;

    bob.frame.click("button", "Hang up").await;
    anna.frame.gone("button", "Hang up").await;
    anna.ready().await;
    bob.ready().await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// A page that isolates itself shows only frames that take part in it (HTML standard, section 7.1.4).
#[tokio::test]
async fn a_page_with_an_embedder_policy_embeds_the_phone_with_its_worker() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
    let browser = Browser::start(600).await;
    for policy in ["require-corp", "credentialless"] {
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("cross-origin-embedder-policy"), HeaderValue::from_static(policy)),
            (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        ]);
        let host = Host::start_with(headers, [("/", page(&bitcall, &fields))]).await;
        bitcall.allow(&host.origin()).await;
        let phone = TestPhone::open(&browser, &host.url("/")).await;
        assert_eq!(phone.host_page.eval("crossOriginIsolated").await, true, "{policy}");
        phone.ready().await;
        phone.dial(&bitcall.ready.echo).await;
        phone.frame.hears(600).await;
        // Its socket is not this page's: the worker has it.
        assert!(phone.frame.sent().await.is_empty(), "{policy}");
        phone.frame.click("button", "Hang up").await;
        phone.host_page.close().await;
    }
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
    let anna = TestPhone::open(&low, &host.url("/0")).await;
    let bob = TestPhone::open(&high, &host.url("/1")).await;
    anna.ready().await;
    bob.ready().await;

    anna.dial(&bitcall.ready.extensions[1].username).await;
    bob.frame.click("button", "Answer").await;
    anna.frame.hears(900).await;
    bob.frame.hears(500).await;

    // Muted, the caller is not heard any more, but hears.
    anna.frame.click("button", "Mute").await;
    anna.frame.pressed("Mute", true).await;
    bob.frame.hears_silence().await;
    anna.frame.hears(900).await;
    anna.frame.click("button", "Mute").await;
    bob.frame.hears(500).await;

    anna.frame.click("button", "Hang up").await;
    bob.frame.gone("button", "Hang up").await;
    assert_eq!(low.errors(), Vec::<String>::new());
    assert_eq!(high.errors(), Vec::<String>::new());
}
