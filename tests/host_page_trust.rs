//! What pages other than the tenant's own can do with a phone: on the same site, in the same tab, around it or behind it.
//!
//! Pages of one site share the storage and the shared worker of the phone that they frame.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::browsing_context::BrowsingContext;
use crate::rig::host::Host;
use crate::rig::http;
use crate::rig::test_bed::{TestPhone, page};
use crate::rig::wait::until;

/// A page that frames the phone without the loader, answers its `BITCALL_READY` with `init`, and keeps what it says.
fn page_without_loader(bitcall: &Bitcall, key: &str, attributes: &str, init: &Value) -> String {
    let origin = bitcall.origin();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Frame</title><script>
        window.said = [];
        addEventListener('message', ({{ data, source }}) => {{
            if (data.relay) return frames[0].postMessage(data.relay, '*');
            said.push(data);
            if (data.type === 'BITCALL_READY') source.postMessage({{ type: 'BITCALL_INIT', payload: {init} }}, '*');
        }});
        </script><iframe {attributes} allow='microphone; autoplay' src='{origin}/webphone/?key={key}'></iframe>"
    )
}

/// A request of the operator's panel, which must succeed; the answer's data.
async fn panel(bitcall: &Bitcall, method: &str, path: &str, body: Value) -> Value {
    let key = [("x-bitcall-panel-key", bitcall.ready.panel_key.as_str())];
    let answer = http::send(method, &format!("{}{path}", bitcall.origin()), &key, Some(&body)).await;
    assert!(answer.status.is_success(), "{}", answer.json());
    answer.json()["data"].take()
}

/// Signs the demo's first extension in by hand, on this device.
async fn sign_in(bitcall: &Bitcall, phone: &TestPhone) {
    let who = &bitcall.ready.extensions[0];
    phone.frame.fill("textbox", "Username", &who.username).await;
    phone.frame.fill("textbox", "Password", &who.password).await;
    phone.frame.click("checkbox", "Keep me signed in on this device").await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
}

/// Waits until the page's first frame is not the phone but the browser's words that it was not allowed.
async fn is_blocked(page: &BrowsingContext) {
    until("the frame to be blocked", async || {
        let frame = page.frame("").await;
        let address = frame.try_eval("location.href").await?;
        if address.as_str().is_some_and(|text| text.starts_with("chrome-error:")) {
            Ok(())
        } else {
            Err(address.to_string())
        }
    })
    .await;
}

/// The sign-in form with no name in it, and no sign of an account.
async fn knows_nobody(phone: &BrowsingContext) {
    phone.find("textbox", "Username").await;
    assert_eq!(phone.property("textbox", "Username", "value").await, "");
}

#[tokio::test]
async fn a_page_that_the_tenant_does_not_allow_cannot_frame_its_phone() {
    let bitcall = Bitcall::demo().await;
    let key = &bitcall.ready.api_key;
    let hostile = page_without_loader(&bitcall, key, "", &json!({ "host": {} }));
    let host = Host::start([
        ("/", page(&bitcall, "")),
        ("/hostile", hostile.clone()),
        ("/around", "<!doctype html><title>Around</title><iframe></iframe>".to_owned()),
        ("/keyless", hostile.replace(key.as_str(), "")),
    ])
    .await;
    let (allowed, sibling) = (host.at("crm.acme.localhost"), host.at("blog.acme.localhost"));
    bitcall.allow(&allowed).await;
    let browser = Browser::start(600).await;
    let phone = TestPhone::open(&browser, &format!("{allowed}/")).await;
    sign_in(&bitcall, &phone).await;

    // Another page of the same site, in the tab where the session is.
    for path in ["/hostile", "/keyless"] {
        phone.host_page.goes_to(&format!("{sibling}{path}")).await;
        is_blocked(&phone.host_page).await;
        assert_eq!(phone.host_page.eval("said").await, json!([]), "{path}");
    }
    // A page around an allowed one.
    phone.host_page.goes_to(&format!("{sibling}/around")).await;
    phone.host_page.eval(&format!("void (document.querySelector('iframe').src = '{allowed}/hostile')")).await;
    is_blocked(&phone.host_page.frame(&format!("{allowed}/hostile")).await).await;
    // Without a page of its own it is no phone.
    phone.host_page.goes_to(&format!("{}/webphone/?key={key}", bitcall.origin())).await;
    phone.host_page.sees("This phone lives on other pages").await;

    phone.host_page.goes_to(&format!("{allowed}/")).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
}

#[tokio::test]
async fn pages_of_one_site_share_no_session_and_a_page_cannot_configure_the_phone() {
    let bitcall = Bitcall::demo().await;
    let host_page = page(&bitcall, "");
    let hostile_server = TcpListener::bind("127.0.0.1:0").unwrap();
    let hostile_wss = format!("ws://{}/", hostile_server.local_addr().unwrap());
    let other = json!({ "tenantId": "other", "displayName": "Other company" });
    let other_key = panel(&bitcall, "POST", "/api/tenant/provision", other).await["apiKey"].take();
    let other_key = other_key.as_str().unwrap();
    let url = format!("{}/api/webphone/config?key={}", bitcall.origin(), bitcall.ready.api_key);
    let mut config = http::send("GET", &url, &[], None).await.json()["data"].take();
    config["wss"] = json!([hostile_wss]);
    config["wsUrl"] = json!(hostile_wss);
    let init = json!({ "config": config, "host": { "key": bitcall.ready.api_key } });
    let host = Host::start([
        ("/", host_page.clone()),
        ("/other", host_page.replace(&bitcall.ready.api_key, other_key)),
        ("/hostile", page_without_loader(&bitcall, other_key, "", &init)),
    ])
    .await;
    let names = ["crm.acme.localhost", "sales.acme.localhost", "desk.acme.localhost"];
    let [crm, sales, desk] = names.map(|name| host.at(name));
    bitcall.patch(json!({ "origins": { "allowedOrigins": [crm, sales] } })).await;
    let origins = json!({ "tenantId": "other", "origins": { "allowedOrigins": [desk] } });
    panel(&bitcall, "PATCH", "/api/tenant/config", origins).await;
    let browser = Browser::start(600).await;
    let mut phone = TestPhone::open(&browser, &format!("{crm}/")).await;
    sign_in(&bitcall, &phone).await;

    // The same tenant on another origin, and another tenant, in the same tab.
    for url in [format!("{sales}/"), format!("{desk}/other")] {
        phone.goes_to(&url).await;
        knows_nobody(&phone.frame).await;
    }
    // A page that is allowed for its own tenant sends the configuration of the first one, with a server of its own.
    phone.host_page.goes_to(&format!("{desk}/hostile")).await;
    let frame = phone.host_page.phone().await;
    knows_nobody(&frame).await;
    frame.sees("Other company").await;
    hostile_server.set_nonblocking(true).unwrap();
    assert!(hostile_server.accept().is_err(), "nothing connects to the page's server");

    phone.goes_to(&format!("{crm}/")).await;
    phone.ready().await;

    // Meanwhile the tenant's server becomes another: it gets no answer to a challenge that the person does not want.
    bitcall.patch(json!({ "wss": [hostile_wss] })).await;
    phone.reload().await;
    knows_nobody(&phone.frame).await;
    assert!(hostile_server.accept().is_err(), "no socket without a sign-in");
    bitcall.patch(json!({ "wss": null })).await;
    phone.reload().await;
    knows_nobody(&phone.frame).await;
}

#[tokio::test]
async fn only_the_page_around_it_commands_the_phone() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let sip = json!({ "username": who.username, "domain": bitcall.ready.sip.domain, "password": who.password });
    let init = json!({ "host": { "sip": sip, "behavior": { "mode": "autologin" } } });
    let key = &bitcall.ready.api_key;
    let host = Host::start([
        ("/", page_without_loader(&bitcall, key, "", &init)),
        ("/sandboxed", page_without_loader(&bitcall, key, "sandbox='allow-scripts'", &init)),
        ("/opener", "<!doctype html><title>Opener</title>".to_owned()),
    ])
    .await;
    let (allowed, sibling) = (host.at("crm.acme.localhost"), host.at("blog.acme.localhost"));
    bitcall.allow(&allowed).await;
    let browser = Browser::start(600).await;

    // A page that opened the phone's page in a popup has a handle on the phone's frame.
    let opener = browser.open(&format!("{sibling}/opener")).await;
    opener.eval(&format!("void (window.popup = open('{allowed}/', 'popup'))")).await;
    opener.until("popup.length").await;
    let heard = |kind: &str| format!("said.filter((message) => message.type === '{kind}').length");
    let popup = browser.window_at(&format!("{allowed}/")).await;
    popup.until(&heard("BITCALL_REGISTERED")).await;
    let call = |number: &str| json!({ "type": "BITCALL_CALL", "payload": { "number": number } });
    for message in [json!({ "type": "BITCALL_INIT", "payload": init }), call("102")] {
        opener.eval(&format!("popup[0].postMessage({message}, '*')")).await;
    }
    // The page around it calls after that.
    opener.eval(&format!("popup.postMessage({{ relay: {} }}, '*')", call("*43"))).await;
    popup.until(&heard("BITCALL_CALL_STARTED")).await;
    let started = "said.filter((message) => message.type === 'BITCALL_CALL_STARTED')";
    assert_eq!(popup.eval(&format!("{started}.map((message) => message.payload.number)")).await, json!(["*43"]));

    // In a sandbox without an origin there is no server's word for the page, and so no phone.
    let sandboxed = browser.open(&format!("{allowed}/sandboxed")).await;
    sandboxed.until(&heard("BITCALL_ERROR")).await;
    assert_eq!(sandboxed.eval("said.map((message) => message.type)").await, json!(["BITCALL_READY", "BITCALL_ERROR"]));
}
