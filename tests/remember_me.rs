//! Remember-me.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

/// A wrong password in one tab is no reason to forget who signed in properly in another.
#[tokio::test]
async fn a_refused_sign_in_in_another_tab_keeps_the_remembered_account() {
    let bitcall = Bitcall::demo().await;
    let [who, other] = &bitcall.ready.extensions[..2] else { panic!("two extensions") };
    let domain = &bitcall.ready.sip.domain;
    let wrong = |username: &str| {
        signed_in_as(username, domain, "not-it").replace("autologin' }", "autologin' }, sessionRestore: 'off'")
    };
    let host = Host::start([
        ("/", page(&bitcall, "")),
        ("/other", page(&bitcall, &wrong(&other.username))),
        ("/same", page(&bitcall, &wrong(&who.username))),
    ])
    .await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(600).await;

    let mut first = TestPhone::open(&browser, &host.url("/")).await;
    first.frame.fill("textbox", "Username", &who.username).await;
    first.frame.fill("textbox", "Password", &who.password).await;
    first.frame.click("checkbox", "Keep me signed in on this device").await;
    first.frame.click("button", "Sign in").await;
    first.ready().await;

    for path in ["/other", "/same"] {
        let second = TestPhone::open(&browser, &host.url(path)).await;
        second.frame.sees_in_any_case("wrong password").await;
        second.host_page.close().await;
    }
    first.ready().await;
    first.reload().await;
    first.ready().await;

    // Another person signs in properly in this device's other tab, and leaves.
    let second = TestPhone::open(&browser, &host.url("/other")).await;
    second.frame.fill("textbox", "Password", &other.password).await;
    second.frame.click("button", "Sign in").await;
    second.ready().await;
    second.host_page.close().await;

    // A later visit: the device still knows the first.
    first.host_page.close().await;
    let later = TestPhone::open(&browser, &host.url("/")).await;
    later.ready().await;
    assert_eq!(later.event("registered", 1).await["username"], who.username);
}
