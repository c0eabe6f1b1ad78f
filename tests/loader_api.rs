//! The API of `window.BitcallWebphone`.

use serde_json::{Value, json};

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};
use crate::rig::wait::until;

struct Shop {
    bitcall: Bitcall,
    host: Host,
    browser: Browser,
}

/// The demo and a customer's pages: `/` signs in by itself, `/confirm` waits for a
/// button, `/blank` only has the loader.
async fn shop() -> Shop {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
    let auto = page(&bitcall, &fields);
    let host = Host::start([
        ("/", auto.clone()),
        ("/confirm", auto.replace("autologin", "confirm")),
        (
            "/at-once",
            auto.replacen(
                "</script>\n<script>\n",
                "</script>\n<script>\nqueueMicrotask(() => BitcallWebphone.call('*43'));\n",
                1,
            ),
        ),
        ("/blank", auto.split("BitcallWebphone.init").next().unwrap().to_owned() + "</script>"),
    ])
    .await;
    bitcall.allow(&host.origin()).await;
    Shop { bitcall, host, browser: Browser::start(600).await }
}

#[tokio::test]
async fn each_call_event_is_emitted_exactly_once() {
    let Shop { bitcall, host, browser } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;
    let who = &bitcall.ready.extensions[0].username;
    let registered = phone.event("registered", 1).await;
    assert_eq!(registered["username"], json!(who));
    assert_eq!(registered["domain"], json!(bitcall.ready.sip.domain));

    phone.host_page.eval("BitcallWebphone.call('*43', { callerId: '+15559876543' })").await;
    let started = phone.event("callStarted", 1).await;
    assert_eq!(started["number"], "*43");
    assert_eq!(started["direction"], "outbound");
    assert_eq!(started["requestedCallerId"], "+15559876543");
    let answered = phone.event("callAnswered", 1).await;
    assert_eq!(answered["callId"], started["callId"]);
    phone.frame.hears(600).await;
    let state = phone.host_page.eval("BitcallWebphone.getState()").await;
    assert_eq!(state, json!({ "registered": true, "inCall": true, "activeNumber": "*43", "callCount": 1 }));

    // An unknown call is an error, and never the wrong call.
    phone.host_page.eval("BitcallWebphone.hangup('nobody')").await;
    phone.host_page.until("faults.some((f) => f.code === 'UNKNOWN_CALL')").await;
    assert_eq!(phone.host_page.eval("BitcallWebphone.isInCall()").await, true);

    phone.host_page.until("(window.since ??= Date.now()) < Date.now() - 1100").await;
    let id = &started["callId"];
    phone.host_page.eval(&format!("BitcallWebphone.hangup({id})")).await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["callId"], started["callId"]);
    assert_eq!(ended["number"], "*43");
    assert_eq!(ended["requestedCallerId"], "+15559876543");
    assert!(ended["duration"].as_u64().unwrap() >= 1, "{ended}");
    assert!(ended["cause"].is_string() && ended.get("sipCode").is_some(), "{ended}");
    phone.host_page.until("!BitcallWebphone.isInCall()").await;
    let names = phone.host_page.eval("heard.map((h) => h[0])").await;
    assert_eq!(names, json!(["registered", "callStarted", "callAnswered", "callEnded"]));
}

#[tokio::test]
async fn a_call_during_init_is_queued_and_placed() {
    let Shop { bitcall: _bitcall, host, browser } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/at-once")).await;
    phone.event("callAnswered", 1).await;
    phone.frame.hears(600).await;
    assert_eq!(phone.events("callStarted").await.len(), 1);
}

#[tokio::test]
async fn a_number_dialled_before_sign_in_is_kept_in_the_dialer() {
    let Shop { bitcall: _bitcall, host, browser } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/confirm")).await;
    phone.frame.find("button", "Connect").await;
    phone.host_page.eval("BitcallWebphone.dial('+49 30 901820')").await;
    phone.frame.click("button", "Connect").await;
    phone.ready().await;
    let shown = phone.frame.property("textbox", "Phone number", "value").await;
    let digits: String = shown.as_str().unwrap().chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(digits, "+4930901820");
    assert_eq!(phone.events("callStarted").await.len(), 0, "dial() only fills in");
}

#[tokio::test]
async fn destroy_leaves_nothing_and_init_works_again() {
    let Shop { bitcall: _bitcall, host, browser } = shop().await;
    let page = browser.open(&host.url("/blank")).await;
    let trace = "({ nodes: document.querySelectorAll('*').length, sheets: document.styleSheets.length + \
                 document.adoptedStyleSheets.length, globals: Object.getOwnPropertyNames(window).sort() })";
    // A first pass makes what the rig itself keeps.
    let before = page.eval(trace).await;
    let init = init_of(&host, &page).await;
    for n in 1..=2 {
        page.eval(&init).await;
        page.until("BitcallWebphone.isRegistered()").await;
        page.eval("BitcallWebphone.call('*43')").await;
        page.until("BitcallWebphone.isInCall()").await;
        page.eval("BitcallWebphone.destroy()").await;
        assert_eq!(page.eval("BitcallWebphone.isInCall()").await, false);
        until("the page to be as it was", async || {
            let now = page.try_eval(trace).await?;
            if now == before { Ok(()) } else { Err(format!("{now} instead of {before}")) }
        })
        .await;
        assert_eq!(page.frames().await, 0);
        let count = page.eval("heard.filter((h) => h[0] === 'callEnded').length").await;
        assert_eq!(count, n, "callEnded, also for a call that destroy() ends");
    }
}

/// The `init(…)` call of `/`, as an expression.
async fn init_of(host: &Host, page: &crate::rig::browsing_context::BrowsingContext) -> String {
    let html = page.eval(&format!("fetch('{}').then((r) => r.text())", host.url("/"))).await;
    let html = html.as_str().unwrap().to_owned();
    let from = html.find("BitcallWebphone.init(").unwrap();
    let to = html[from..].find(");\n").unwrap();
    html[from..=from + to].to_owned()
}

#[tokio::test]
async fn integration_errors_are_reported_with_codes() {
    let Shop { bitcall, host, browser } = shop().await;
    let page = browser.open(&host.url("/blank")).await;
    let fault = async |what: &str| -> Value {
        page.eval("faults.length = 0").await;
        page.eval(&format!("BitcallWebphone.init({what})")).await;
        page.until("faults[0]").await
    };
    let fault_of = "onError: (e) => faults.push(e)";
    assert_eq!(fault(&format!("{{ {fault_of} }}")).await["code"], "INVALID_CONFIG");
    let wrong = fault(&format!("{{ key: 'bk_live_nonsense', {fault_of} }}")).await;
    assert_eq!(wrong["code"], "WEBPHONE_INVALID_KEY", "{wrong}");

    let key = &bitcall.ready.api_key;
    page.eval(&format!("BitcallWebphone.init({{ key: '{key}' }})")).await;
    let twice = fault(&format!("{{ key: '{key}', {fault_of} }}")).await;
    assert_eq!(twice["code"], "ALREADY_INITIALIZED");
    page.eval("BitcallWebphone.destroy()").await;

    bitcall.allow("https://elsewhere.example").await;
    let foreign = fault(&format!("{{ key: '{key}', {fault_of} }}")).await;
    assert!(
        ["WEBPHONE_ORIGIN_FORBIDDEN", "SERVER_UNREACHABLE"].contains(&foreign["code"].as_str().unwrap()),
        "{foreign}"
    );
    assert!(foreign["message"].as_str().unwrap().contains("origin"), "{foreign}");
}

#[tokio::test]
async fn handlers_are_registered_once_and_removed_by_off() {
    let Shop { bitcall: _bitcall, host, browser } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/confirm")).await;
    phone
        .host_page
        .eval(
            "(() => {
                window.counts = { twice: 0, gone: 0, after: 0 };
                const twice = () => counts.twice++;
                BitcallWebphone.on('registered', twice);
                BitcallWebphone.on('registered', twice);
                const gone = () => counts.gone++;
                BitcallWebphone.on('registered', gone);
                BitcallWebphone.off('registered', gone);
                BitcallWebphone.on('registered', () => { throw new Error('a fault of the host page'); });
                BitcallWebphone.on('registered', () => counts.after++);
            })()",
        )
        .await;
    phone.frame.click("button", "Connect").await;
    phone.ready().await;
    assert_eq!(phone.host_page.eval("counts").await, json!({ "twice": 1, "gone": 0, "after": 1 }));
}
