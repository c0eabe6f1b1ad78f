//! The sign-in modes `confirm`, `autologin` and `prefilled`, and session restore.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::tap::{Tap, TappedFrame};
use crate::rig::test_bed::{TestPhone, page};
use crate::rig::wait::until;

/// MD5 of `agent1:sip.test:secret1`.
const HA1: &str = "459cdf46363ee14fdb9c5022784673df";

/// `init` fields with these `sip` fields and this mode.
fn init(sip: &str, mode: &str) -> String {
    format!("sip: {{ {sip} }}, behavior: {{ host: {{ mode: '{mode}' }} }}")
}

const WHO: &str = "username: 'agent1', domain: 'sip.test'";

/// A tenant on Kamailio, with one page per mode.
async fn pages(pages: &[(&str, String)]) -> (Kamailio, Bitcall, Host, Browser) {
    let kamailio = Kamailio::start().await;
    let bitcall = Bitcall::demo().await;
    let host = Host::start(pages.iter().map(|(path, fields)| (*path, page(&bitcall, fields)))).await;
    bitcall
        .patch(serde_json::json!({
            "origins": { "allowedOrigins": [host.origin()] },
            "sip": { "domain": Kamailio::DOMAIN },
            "wss": kamailio.wss(),
        }))
        .await;
    (kamailio, bitcall, host, Browser::start(600).await)
}

#[tokio::test]
async fn complete_credentials_connect_by_one_button_or_by_themselves_or_fill_the_form() {
    let full = format!("{WHO}, password: 'secret1'");
    let (_kamailio, _bitcall, host, browser) = pages(&[
        ("/confirm", init(&full, "confirm")),
        ("/autologin", init(&full, "autologin")),
        ("/prefilled", init(&full, "prefilled")),
        ("/ha1", init(&format!("{WHO}, HA1Password: '{HA1}'"), "autologin")),
    ])
    .await;

    let phone = TestPhone::open(&browser, &host.url("/confirm")).await;
    phone.frame.find("button", "Connect").await;
    assert_eq!(phone.host_page.eval("BitcallWebphone.isRegistered()").await, false);
    phone.frame.click("button", "Connect").await;
    phone.ready().await;
    phone.host_page.close().await;

    let phone = TestPhone::open(&browser, &host.url("/autologin")).await;
    phone.ready().await;
    phone.host_page.close().await;

    let phone = TestPhone::open(&browser, &host.url("/ha1")).await;
    phone.ready().await;
    phone.host_page.close().await;

    let phone = TestPhone::open(&browser, &host.url("/prefilled")).await;
    let username = phone.frame.property("textbox", "Username", "value").await;
    assert_eq!(username, "agent1");
    assert_eq!(phone.host_page.eval("BitcallWebphone.isRegistered()").await, false);
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
}

/// The worker that both pages share ends with the last agent in it, but not under a page that counts on it.
#[tokio::test]
async fn a_page_waiting_at_connect_registers_after_another_pages_agent_has_ended() {
    let full = format!("{WHO}, password: 'secret1'");
    let pages = pages(&[("/confirm", init(&full, "confirm")), ("/autologin", init(&full, "autologin"))]).await;
    let (kamailio, bitcall, host, browser) = pages;
    let tap = Tap::start(&kamailio.ws()).await;
    bitcall.patch(serde_json::json!({ "wss": tap.url() })).await;
    let waiting = TestPhone::open(&browser, &host.url("/confirm")).await;
    waiting.frame.find("button", "Connect").await;

    let leaving = TestPhone::open(&browser, &host.url("/autologin")).await;
    leaving.ready().await;
    leaving.host_page.close().await;
    // Nobody came back to it.
    let unregistered = |frame: &TappedFrame| frame.text.starts_with("REGISTER ") && frame.text.contains("expires=0");
    until("the end of the registration", async || {
        tap.frames().iter().any(unregistered).then_some(()).ok_or_else(String::new)
    })
    .await;

    waiting.frame.click("button", "Connect").await;
    waiting.ready().await;
}

#[tokio::test]
async fn the_web_socket_opens_on_pointer_over_connect_and_is_used_for_the_registration() {
    let full = format!("{WHO}, password: 'secret1'");
    let pages = pages(&[("/confirm", init(&full, "confirm")), ("/autologin", init(&full, "autologin"))]).await;
    let (kamailio, bitcall, host, browser) = pages;
    let tap = Tap::start(&kamailio.ws()).await;
    bitcall.patch(serde_json::json!({ "wss": tap.url() })).await;
    let connections = async |wanted: (usize, usize)| {
        let what = format!("{} connections, {} of them over", wanted.0, wanted.1);
        let seen = || tap.connections();
        until(&what, async || if seen() == wanted { Ok(()) } else { Err(format!("{:?}", seen())) }).await;
    };

    let phone = TestPhone::open(&browser, &host.url("/confirm")).await;
    phone.frame.find("button", "Connect").await;
    assert_eq!(tap.connections(), (0, 0), "nobody has come near the button");
    phone.frame.points_at("button", "Connect").await;
    connections((1, 0)).await;
    // Nobody pressed it after all.
    connections((1, 1)).await;
    phone.frame.points_at("button", "Use another account").await;
    phone.frame.points_at("button", "Connect").await;
    connections((2, 1)).await;
    assert!(tap.frames().is_empty(), "nobody has signed in");
    phone.frame.click("button", "Connect").await;
    phone.ready().await;
    assert!(tap.frames().iter().any(|frame| frame.text.starts_with("REGISTER ")));

    // Another tab of the same person is served by the same connection.
    let second = TestPhone::open(&browser, &host.url("/autologin")).await;
    second.ready().await;
    assert_eq!(tap.connections(), (2, 1), "one before the button was pressed, and the same one since");
}

#[tokio::test]
async fn missing_credentials_are_asked_for() {
    let (_kamailio, _bitcall, host, browser) =
        pages(&[("/confirm", init(WHO, "confirm")), ("/autologin", init(WHO, "autologin"))]).await;
    for path in ["/confirm", "/autologin"] {
        let phone = TestPhone::open(&browser, &host.url(path)).await;
        let username = phone.frame.property("textbox", "Username", "value").await;
        assert_eq!(username, "agent1");
        // Nothing happens without a password, and it says what is missing.
        phone.frame.click("button", "Sign in").await;
        phone.frame.sees_in_any_case("password").await;
        phone.frame.fill("textbox", "Password", "secret1").await;
        phone.frame.click("button", "Sign in").await;
        phone.ready().await;
        phone.host_page.close().await;
    }
}

#[tokio::test]
async fn a_reload_restores_the_session_unless_the_host_says_no_and_no_password_is_kept() {
    let off = "behavior: { host: { mode: 'confirm' }, sessionRestore: 'off' }".to_owned();
    let (_kamailio, _bitcall, host, browser) = pages(&[("/", init("", "confirm")), ("/off", off)]).await;

    let mut phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.frame.fill("textbox", "Username", "agent1").await;
    phone.frame.fill("textbox", "Password", "secret1").await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
    let kept = phone.frame.eval("JSON.stringify([{...sessionStorage}, {...localStorage}])").await;
    let kept = kept.as_str().unwrap();
    assert!(!kept.contains("secret1"), "{kept}");
    phone.reload().await;
    phone.ready().await;
    phone.host_page.close().await;

    let mut phone = TestPhone::open(&browser, &host.url("/off")).await;
    phone.frame.fill("textbox", "Username", "agent1").await;
    phone.frame.fill("textbox", "Password", "secret1").await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
    phone.reload().await;
    phone.frame.find("button", "Sign in").await;
    assert_eq!(phone.host_page.eval("BitcallWebphone.isRegistered()").await, false);
}
