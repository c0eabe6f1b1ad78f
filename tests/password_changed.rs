//! The password was changed on the server while the phone was signed in.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::http;
use crate::rig::tap::{self, Tap};
use crate::rig::test_bed::{TestPhone, page};

#[tokio::test]
async fn a_changed_password_is_asked_for_without_flooding_the_server() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let host = Host::start([("/", page(&bitcall, &format!("sip: {{ username: '{}' }}", who.username)))]).await;
    bitcall.allow(&host.origin()).await;
    let tap = Tap::start(&bitcall.ready.sip.wss).await;
    bitcall.patch(json!({ "wss": tap.url() })).await;
    let browser = Browser::start(600).await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.frame.fill("textbox", "Password", &who.password).await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;

    let url = format!("{}/api/tenant/extensions", bitcall.origin());
    let body = json!({
        "tenantId": bitcall.ready.tenant_id, "username": who.username, "password": "a-new-one", "resetPassword": true,
    });
    let key = [("x-bitcall-panel-key", bitcall.ready.panel_key.as_str())];
    let answer = http::send("POST", &url, &key, Some(&body)).await;
    assert!(answer.status.is_success(), "{}", answer.json());
    let changed = tap::now();
    tap.say(Message::Close(None));

    phone.frame.sees_in_any_case("wrong password").await;
    phone.event("unregistered", 1).await;
    assert_eq!(phone.host_page.eval("BitcallWebphone.isRegistered()").await, false);
    let tries = || {
        let frames = tap.frames();
        let registers = frames.into_iter().filter(|f| f.at >= changed && f.text.starts_with("REGISTER "));
        registers.filter(|f| f.text.to_lowercase().contains("\r\nauthorization:")).count()
    };
    // One with the nonce of before, one with the fresh one; then a person has to say something.
    assert!(tries() <= 2, "{} answers to challenges", tries());

    // Still not the new one: said again, tried once.
    let before = tries();
    phone.frame.fill("textbox", "Password", "neither-this").await;
    phone.frame.click("button", "Sign in").await;
    phone.frame.sees_in_any_case("wrong password").await;
    assert!(tries() <= before + 2, "{} answers to challenges", tries());

    phone.frame.fill("textbox", "Password", "a-new-one").await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
}
