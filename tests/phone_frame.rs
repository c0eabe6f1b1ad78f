//! The phone on pages that nobody here wrote: they replace their body, take the phone's frame away, move it, block it.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::browsing_context::BrowsingContext;
use crate::rig::fault_proxy::{Fault, FaultProxy};
use crate::rig::firefox::Firefox;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};
use crate::rig::wait::until;

const ELEMENT: &str = "document.querySelector('[data-bitcall-webphone]')";

/// The browser reports that it is online again, on which a phone that waits starts at once.
const ONLINE: &str = "void dispatchEvent(new Event('online'))";

struct Shop {
    bitcall: Bitcall,
    host: Host,
    browser: Browser,
    /// The `init(…)` call of `/`, as an expression.
    init: String,
}

struct Pages {
    bitcall: Bitcall,
    host: Host,
    init: String,
}

/// A file of the packages in `tests/host_pages/package.json`.
fn library(path: &str) -> String {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/host_pages/node_modules");
    std::fs::read_to_string(place.join(path)).expect("`make test-tools` has installed it")
}

/// A module of Astro as its compiler makes it.
fn astro_module(path: &str) -> String {
    let module = library(&format!("astro/dist/{path}"));
    let header_fields = "const internalFetchHeaders = {}";
    module
        .replace("import { internalFetchHeaders } from \"virtual:astro:adapter-config/client\"", header_fields)
        .replace("import.meta.env.DEV", "false")
        .replace("import.meta.env.SSR", "false")
}

/// The demo and a customer's pages: `/` signs in by itself, `/blank` only has the loader, `/csp` forbids the frame,
/// `/libraries` has Turbo and htmx besides, `/react` is a React application in `StrictMode`,
/// `/astro` has Astro's router.
async fn pages() -> Pages {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let auto = page(&bitcall, &signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password));
    let from = auto.find("BitcallWebphone.init(").unwrap();
    let to = from + auto[from..].find(");\n").unwrap();
    let init = auto[from..=to].to_owned();
    let blank = auto.replace(&init, "");
    let with_head = |tags: &str| auto.replacen("<title>", &format!("{tags}<title>"), 1);
    let react = "<div id=root></div><script src=/react.js></script><script src=/react-dom.js></script><script>
        const App = () => {
            React.useEffect(() => {
                {init};
                return () => BitcallWebphone.destroy();
            }, []);
            return React.createElement('p', null, 'Application');
        };
        ReactDOM.createRoot(document.getElementById('root'))
            .render(React.createElement(React.StrictMode, null, React.createElement(App)));
        </script>"
        .replace("{init}", &init);
    let astro = with_head(
        "<meta name=astro-view-transitions-enabled content=true><script type=module>
        import { navigate } from '/astro/dist/transitions/router.js';
        window.navigateByAstro = (path) => navigate(path);
        </script>",
    );
    let host = Host::start([
        ("/", auto.clone()),
        ("/blank", blank.clone()),
        (
            "/csp",
            blank.replacen(
                "<title>",
                "<meta http-equiv=Content-Security-Policy content=\"frame-src 'none'\"><title>",
                1,
            ),
        ),
        ("/libraries", with_head("<script src=/turbo.js></script><script src=/htmx.js></script>")),
        (
            "/second",
            "<!doctype html><title>Second</title><h1>Second</h1><button hx-get=/part hx-target=body>More</button>"
                .to_owned(),
        ),
        ("/part", "<h1>Third</h1>".to_owned()),
        ("/react", blank + react.as_str()),
        ("/astro", astro.clone()),
        ("/astro/second", astro.replace("Shop", "Second")),
        ("/astro/dist/transitions/router.js", astro_module("transitions/router.js")),
        ("/astro/dist/transitions/events.js", astro_module("transitions/events.js")),
        ("/astro/dist/transitions/swap-functions.js", astro_module("transitions/swap-functions.js")),
        (
            "/astro/dist/runtime/server/render/server-islands-shared.js",
            astro_module("runtime/server/render/server-islands-shared.js"),
        ),
        ("/turbo.js", library("@hotwired/turbo/dist/turbo.es2017-umd.js")),
        ("/htmx.js", library("htmx.org/dist/htmx.min.js")),
        ("/react.js", library("react/umd/react.development.js")),
        ("/react-dom.js", library("react-dom/umd/react-dom.development.js")),
    ])
    .await;
    bitcall.allow(&host.origin()).await;
    Pages { bitcall, host, init }
}

/// These pages, and a browser whose microphone hears a tone.
async fn shop() -> Shop {
    let Pages { bitcall, host, init } = pages().await;
    Shop { bitcall, host, browser: Browser::start(600).await, init }
}

/// Calls the echo and waits until it is heard.
async fn calls_echo(phone: &TestPhone, nth: usize) {
    phone.host_page.eval("BitcallWebphone.call('*43')").await;
    phone.event("callAnswered", nth).await;
    phone.frame.hears(600).await;
}

/// A phone that was taken down is there a moment longer, to hang up.
async fn has_one_frame(page: &BrowsingContext) {
    until("one frame", async || match page.frames().await {
        1 => Ok(()),
        several => Err(several.to_string()),
    })
    .await;
}

/// How often the page has heard of each step of a call.
async fn call_events(page: &BrowsingContext) -> Value {
    page.eval("['callStarted', 'callAnswered', 'callEnded'].map((name) => heard.filter((h) => h[0] === name).length)")
        .await
}

async fn codes(page: &BrowsingContext) -> Value {
    page.eval("faults.map((fault) => fault.code)").await
}

async fn waits_for_code(page: &BrowsingContext, code: &str) -> Value {
    let fault = page.until(&format!("faults.find((fault) => fault.code === '{code}')")).await;
    assert!(!fault["message"].as_str().unwrap().contains('{'), "{fault}");
    assert!(fault["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty() && !remedy.contains('{')), "{fault}");
    fault
}

#[tokio::test]
async fn a_page_whose_body_is_replaced_keeps_its_phone_and_the_call() {
    let Shop { bitcall: _bitcall, host, browser, .. } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/libraries")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    let page = &phone.host_page;
    page.eval("void Turbo.visit('/second')").await;
    page.sees("Second").await;
    page.eval("void htmx.ajax('GET', '/part', 'body')").await;
    page.sees("Third").await;
    // A view transition.
    page.eval(
        "document.startViewTransition(() => {
            const body = document.createElement('body');
            body.innerHTML = '<h1>Fourth</h1>';
            document.body.replaceWith(body);
        }).updateCallbackDone",
    )
    .await;
    page.eval("document.body.innerHTML = '<h1>Fifth</h1>'").await;
    phone.frame.hears(600).await;
    assert_eq!(call_events(page).await, json!([1, 1, 0]));
    page.eval("BitcallWebphone.hangup()").await;
    phone.event("callEnded", 1).await;
    assert_eq!(phone.events("registered").await.len(), 1, "the frame was never loaded again");
    assert_eq!(codes(page).await, json!([]));
}

#[tokio::test]
async fn a_react_application_in_strict_mode_has_one_phone() {
    let Shop { bitcall: _bitcall, host, browser, .. } = shop().await;
    let page = browser.open(&host.url("/react")).await;
    page.until("BitcallWebphone.isRegistered()").await;
    has_one_frame(&page).await;
    page.eval("BitcallWebphone.call('*43')").await;
    page.until("heard.some((h) => h[0] === 'callAnswered')").await;
    page.eval("BitcallWebphone.hangup()").await;
    page.until("heard.some((h) => h[0] === 'callEnded')").await;
    assert_eq!(call_events(&page).await, json!([1, 1, 1]));
    assert_eq!(codes(&page).await, json!([]));
}

#[tokio::test]
async fn astros_router_keeps_the_phone_and_its_call() {
    let Shop { bitcall: _bitcall, host, browser, .. } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/astro")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    let page = &phone.host_page;
    page.until("!!window.navigateByAstro").await;
    for (path, heading) in [("/astro/second", "Second"), ("/astro", "Shop")] {
        page.eval(&format!("navigateByAstro('{path}')")).await;
        page.until(&format!(
            "document.querySelector('h1').textContent === '{heading}' && location.pathname === '{path}'"
        ))
        .await;
        has_one_frame(page).await;
        assert_eq!(page.eval("document.title").await, heading);
    }
    phone.frame.hears(600).await;
    phone.frame.click("button", "Hang up").await;
    phone.event("callEnded", 1).await;
    assert_eq!(call_events(page).await, json!([1, 1, 1]));
    assert_eq!(phone.events("registered").await.len(), 1, "the frame was never loaded again");
    assert_eq!(codes(page).await, json!([]));
}

#[tokio::test]
async fn a_frame_that_is_taken_away_or_moved_comes_back_with_its_call() {
    let Shop { bitcall: _bitcall, host, browser, init } = shop().await;
    let mut phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    let acts = [
        format!("{ELEMENT}.remove()"),
        format!("void document.body.append({ELEMENT})"),
        "document.open(), document.write('<!doctype html><h1>Written</h1>'), document.close()".to_owned(),
    ];
    for (n, act) in acts.iter().enumerate() {
        // The loader knows it at once, before it is told by the browser.
        let state =
            phone.host_page.eval(&format!("({act}, BitcallWebphone.dial('{n}'), BitcallWebphone.getState())")).await;
        assert_eq!(state["inCall"], true, "{act}");
        phone.event("registered", n + 2).await;
        phone.frame = phone.host_page.phone().await;
        phone.frame.hears(600).await;
        assert_eq!(call_events(&phone.host_page).await, json!([1, 1, 0]), "{act}");
        assert_eq!(phone.events("unregistered").await.len(), n + 1, "{act}");
    }
    phone.host_page.eval("BitcallWebphone.hangup()").await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["callId"], phone.event("callStarted", 1).await["callId"]);
    assert!(ended["duration"].as_u64().is_some(), "{ended}");
    phone.host_page.until("!BitcallWebphone.isInCall()").await;

    // A phone that takes another one's place at once is the only one that is heard.
    phone.host_page.eval(&format!("(BitcallWebphone.destroy(), {init})")).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    has_one_frame(&phone.host_page).await;
    phone.frame = phone.host_page.phone().await;
    calls_echo(&phone, 2).await;
    phone.host_page.eval("BitcallWebphone.hangup()").await;
    phone.event("callEnded", 2).await;
    assert_eq!(call_events(&phone.host_page).await, json!([2, 2, 2]));
    let registered = phone.events("registered").await.len();
    assert_eq!(phone.events("unregistered").await.len(), registered - 1);
    assert_eq!(codes(&phone.host_page).await, json!([]));
}

#[tokio::test]
async fn a_page_that_hides_the_phone_or_takes_it_away_and_puts_it_back_keeps_the_call() {
    let Shop { bitcall: _bitcall, host, browser, .. } = shop().await;
    let mut phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    for hide in [
        "document.documentElement.style.display = 'none'",
        "document.querySelector('[data-bitcall-webphone]').hidden = true",
        "document.querySelector('[data-bitcall-webphone]').style.setProperty('display', 'none', 'important')",
    ] {
        phone.host_page.eval(hide).await;
        phone.frame.hears(600).await;
    }
    phone.host_page.eval(&format!("({ELEMENT}.hidden = false, document.documentElement.style.display = '')")).await;
    phone.frame.click("button", "Mute").await;
    phone.frame.pressed("Mute", true).await;
    phone.frame.click("button", "Mute").await;
    assert_eq!(phone.events("registered").await.len(), 1, "the frame was never loaded again");

    // Some keep elements of a page apart while they draw another one, and then put them back.
    phone
        .host_page
        .eval(
            "new Promise((put) => { const kept = document.querySelector('[data-bitcall-webphone]');
            kept.remove(); setTimeout(() => put(document.body.append(kept))); })",
        )
        .await;
    phone.event("registered", 2).await;
    has_one_frame(&phone.host_page).await;
    phone.frame = phone.host_page.phone().await;
    phone.frame.hears(600).await;
    phone.host_page.eval("BitcallWebphone.hangup()").await;
    phone.event("callEnded", 1).await;
    assert_eq!(call_events(&phone.host_page).await, json!([1, 1, 1]));
    assert_eq!(codes(&phone.host_page).await, json!([]));
}

#[tokio::test]
async fn a_page_that_insists_on_its_removal_hears_the_end_of_the_call_once() {
    let Shop { bitcall: _bitcall, host, browser, .. } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    let page = &phone.host_page;
    let insist = format!("() => {ELEMENT}?.remove()");
    page.eval(&format!(
        "(new MutationObserver({insist}).observe(document.documentElement, {{ childList: true }}), {ELEMENT}.remove())"
    ))
    .await;
    waits_for_code(page, "PHONE_REMOVED").await;
    assert_eq!(call_events(page).await, json!([1, 1, 1]));
    let state = page.eval("BitcallWebphone.getState()").await;
    assert_eq!(state, json!({ "registered": false, "inCall": false, "activeNumber": null, "callCount": 0 }));
    page.eval("BitcallWebphone.destroy()").await;
    assert_eq!(call_events(page).await, json!([1, 1, 1]));
}

#[tokio::test]
async fn a_blocked_phone_says_so_and_comes_back_when_it_can() {
    let Shop { bitcall, host, browser, init } = shop().await;
    let page = browser.open(&host.url("/csp")).await;
    assert_eq!(page.eval(&format!("{init}.then(() => faults.length)")).await, 1, "init() is over when it is known");
    let fault = waits_for_code(&page, "PHONE_BLOCKED").await;
    assert!(fault["message"].as_str().unwrap().contains("frame-src"), "{fault}");
    page.close().await;

    let proxy = FaultProxy::start(&bitcall, Fault::None).await;
    let blank = page_through(&bitcall, &proxy, &init);
    let proxied = Host::start([("/", blank)]).await;
    bitcall.allow(&proxied.origin()).await;
    for (fault, code) in [
        (Fault::Frame, "PHONE_BLOCKED"),
        (Fault::ModuleGone, "PHONE_START_FAILED"),
        (Fault::ServerDown, "SERVER_UNREACHABLE"),
    ] {
        let page = browser.open(&proxied.url("/")).await;
        proxy.set(fault);
        page.eval("void (window.settled = start().then(() => true))").await;
        waits_for_code(&page, code).await;
        assert_eq!(page.eval("settled").await, true);
        // A command waits for the phone.
        page.eval("BitcallWebphone.call('*43')").await;
        proxy.set(Fault::None);
        // One that lacks only the server tries again soon.
        if fault != Fault::ServerDown {
            page.eval(ONLINE).await;
        }
        page.until("heard.some((h) => h[0] === 'callAnswered')").await;
        assert_eq!(codes(&page).await, json!([code]), "said once");
        page.close().await;
    }
}

/// As ad blockers do it: by rules that the browser applies to its requests (`declarativeNetRequest`).
#[tokio::test]
async fn a_phone_that_an_ad_blocker_blocks_says_so() {
    let Pages { bitcall, host: _host, init } = pages().await;
    let frame_blocked = FaultProxy::start(&bitcall, Fault::None).await;
    let module_blocked = FaultProxy::start(&bitcall, Fault::None).await;
    let blocks = |proxy: &FaultProxy, path: &str| format!("|{}/webphone/{path}", proxy.origin());
    let extension = ad_blocker(&[&blocks(&frame_blocked, "?"), &blocks(&module_blocked, "bitcall-*.wasm")]);
    let flags = [
        format!("--load-extension={}", extension.path().display()),
        "--disable-features=DisableLoadExtensionCommandLineSwitch".to_owned(),
    ];
    let browser = Browser::start_with(600, &flags).await;
    for (proxy, code) in [(&frame_blocked, "PHONE_BLOCKED"), (&module_blocked, "PHONE_START_FAILED")] {
        let host = Host::start([("/", page_through(&bitcall, proxy, &init))]).await;
        bitcall.allow(&host.origin()).await;
        let page = browser.open(&host.url("/")).await;
        page.eval("start()").await;
        waits_for_code(&page, code).await;
        assert_eq!(codes(&page).await, json!([code]), "said once");
    }
}

/// An extension that blocks what these filters name.
fn ad_blocker(filters: &[&str]) -> TempDir {
    let dir = tempfile::Builder::new().prefix("bitcall-blocker-").tempdir().unwrap();
    let manifest = json!({
        "manifest_version": 3, "name": "Blocker", "version": "1", "permissions": ["declarativeNetRequest"],
        "declarative_net_request": { "rule_resources": [{ "id": "rules", "enabled": true, "path": "rules.json" }] },
    });
    let rule = |(n, filter): (usize, &&str)| {
        // Without a list of types, a rule is for everything but a whole page.
        json!({ "id": n + 1, "action": { "type": "block" }, "condition": { "urlFilter": filter } })
    };
    let rules: Vec<Value> = filters.iter().enumerate().map(rule).collect();
    for (name, content) in [("manifest.json", manifest), ("rules.json", json!(rules))] {
        std::fs::write(dir.path().join(name), content.to_string()).unwrap();
    }
    dir
}

#[tokio::test]
async fn in_firefox_the_phone_outlives_what_pages_do_to_it_and_says_when_it_is_blocked() {
    let Pages { bitcall: _bitcall, host, init } = pages().await;
    let firefox = Firefox::start().await;
    let registered = |n: usize| format!("heard.filter((h) => h[0] === 'registered').length === {n}");
    let page = firefox.open(&host.url("/libraries")).await;
    page.until(&registered(1)).await;
    page.eval("void Turbo.visit('/second')").await;
    page.sees("Second").await;
    page.eval("void htmx.ajax('GET', '/part', 'body')").await;
    page.sees("Third").await;
    page.eval("document.body.innerHTML = '<h1>Fifth</h1>'").await;
    has_one_frame(&page).await;
    assert_eq!(page.eval(&registered(1)).await, true, "the frame was never loaded again");
    for (n, act) in [format!("{ELEMENT}.remove()"), format!("void document.body.append({ELEMENT})")].iter().enumerate()
    {
        page.eval(act).await;
        page.until(&registered(n + 2)).await;
        has_one_frame(&page).await;
    }
    assert_eq!(codes(&page).await, json!([]));
    page.close().await;

    let page = firefox.open(&host.url("/react")).await;
    page.until("BitcallWebphone.isRegistered()").await;
    has_one_frame(&page).await;
    assert_eq!(codes(&page).await, json!([]));
    page.close().await;

    let page = firefox.open(&host.url("/csp")).await;
    page.eval(&init).await;
    let fault = waits_for_code(&page, "PHONE_BLOCKED").await;
    assert!(fault["message"].as_str().unwrap().contains("frame-src"), "{fault}");
}

/// A page with the loader of `proxy` and a function `start()` that calls `init`.
fn page_through(bitcall: &Bitcall, proxy: &FaultProxy, init: &str) -> String {
    let html = page(bitcall, "").replace(bitcall.origin(), &proxy.origin());
    let from = html.find("BitcallWebphone.init(").unwrap();
    format!("{}window.start = () => {init};\n</script>", &html[..from])
}

#[tokio::test]
async fn a_page_that_is_no_longer_allowed_hears_it_and_the_phone_comes_back() {
    let Shop { bitcall, host, browser, .. } = shop().await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;
    phone.ready().await;
    calls_echo(&phone, 1).await;
    bitcall.allow("https://elsewhere.example").await;
    // A quarter of an hour passes for the phone.
    phone.frame.eval("void (Date.now = ((now) => () => now() + 15 * 60 * 1000)(Date.now))").await;
    waits_for_code(&phone.host_page, "WEBPHONE_ORIGIN_FORBIDDEN").await;
    phone.frame.hears(600).await;
    assert_eq!(call_events(&phone.host_page).await, json!([1, 1, 0]), "the call goes on");
    phone.host_page.eval("BitcallWebphone.hangup()").await;
    phone.event("callEnded", 1).await;
    phone.event("unregistered", 1).await;
    phone.frame.sees("Try again").await;
    phone.frame.sees("origin").await;

    bitcall.allow(&host.origin()).await;
    phone.host_page.eval(ONLINE).await;
    phone.event("registered", 2).await;
    assert_eq!(call_events(&phone.host_page).await, json!([1, 1, 1]));
}

/// Calls every method with every argument; the list of what was thrown. Promises must settle.
const CALL_EVERYTHING: &str = "async (last) => {
    const odd = [[], [undefined], [null], ['100'], [''], [100], [{}], [[]], [Symbol('x')], ['100', null],
        ['100', { callerId: {} }], ['callEnded', 'no function'], [{ toString() { throw new Error('odd'); } }],
        ['100', { get callerId() { throw new Error('odd'); } }], [new Proxy({}, { get() { throw new Error('odd'); } })]];
    const names = Object.keys(BitcallWebphone).sort((a, b) => last.includes(a) - last.includes(b));
    const thrown = [];
    for (const name of names) for (const given of odd) {
        try {
            await BitcallWebphone[name](...given);
        } catch (error) {
            thrown.push(`${name}: ${error}`);
        }
    }
    return thrown;
}";

#[tokio::test]
async fn no_method_throws_and_every_promise_settles_in_every_state_of_the_frame() {
    let Shop { bitcall: _bitcall, host, browser, init } = shop().await;
    let states = [
        ("/blank", "not there", "void 0".to_owned()),
        ("/blank", "loading", format!("void {init}")),
        (
            "/blank",
            "starting",
            format!("(void {init}, new Promise((ready) => addEventListener('message', ready, {{ once: true }})))"),
        ),
        ("/blank", "ready", init.clone()),
        ("/blank", "gone", format!("{init}.then(() => {ELEMENT}.remove())")),
        ("/blank", "moved", format!("{init}.then(() => document.body.append({ELEMENT}))")),
        ("/blank", "without a document", format!("{init}.then(() => document.documentElement.remove())")),
        ("/csp", "blocked", init.clone()),
        ("/blank", "destroyed", format!("(void {init}, BitcallWebphone.destroy())")),
    ];
    for (path, name, reach) in states {
        let page = browser.open(&host.url(path)).await;
        let all =
            "Promise.race([all(['destroy', 'init']), new Promise((late) => setTimeout(late, 20000, 'not settled'))])";
        let thrown =
            page.eval(&format!("(async (all) => {{ await ({reach}); return {all}; }})({CALL_EVERYTHING})")).await;
        assert_eq!(thrown, json!([]), "{name}");
        let names = page.eval("Object.keys(BitcallWebphone).length").await;
        assert!(names.as_u64().unwrap() >= 11, "{names}");
        page.close().await;
    }
}

#[tokio::test]
async fn init_is_over_when_the_phone_takes_commands_and_also_after_destroy() {
    let Shop { bitcall: _bitcall, host, browser, init } = shop().await;
    let page = browser.open(&host.url("/blank")).await;
    page.eval(&format!("(() => {{ const begun = {init}; BitcallWebphone.destroy(); return begun; }})()")).await;
    page.eval(&init).await;
    page.eval("BitcallWebphone.dial('+49 30 901820')").await;
    let phone = page.phone().await;
    phone.find("textbox", "Phone number").await;
    until("the number in the dialer", async || {
        let shown = phone.property("textbox", "Phone number", "value").await;
        if shown == "+49 30 901820" { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(codes(&page).await, json!([]));
}

#[tokio::test]
async fn names_and_values_that_are_not_known_are_warned_of() {
    let Shop { bitcall, host, browser, .. } = shop().await;
    let page = browser.open(&host.url("/blank")).await;
    let key = &bitcall.ready.api_key;
    page.eval(&format!(
        "(BitcallWebphone.on('callended', () => {{}}),
        void BitcallWebphone.init({{ key: '{key}', sip: {{ user_name: 'a', domain: 7 }}, sipp: {{}}, branding: {{}},
            behavior: {{ host: {{ mode: 'autologn' }}, sessionRestore: 'off' }}, embedOrigin: undefined }}),
        BitcallWebphone.call('*43', {{ callerID: '1' }}))"
    ))
    .await;
    let warned = browser.console().into_iter().filter(|line| line.contains("Bitcall: ")).collect::<Vec<_>>().join("\n");
    for words in [
        "there is no event “callended” (did you mean “callEnded”?)",
        "there is no option “sip.user_name” (did you mean “sip.username”?)",
        "the option sip.domain is ignored, it must be a string",
        "there is no option “sipp”",
        "the option branding is ignored, it belongs to the tenant's configuration",
        "behavior.host.mode is ignored, it must be one of “confirm”, “autologin”, “prefilled” (did you mean “autologin”?)",
        "call() has no option “callerID” (did you mean “callerId”?)",
    ] {
        assert!(warned.contains(words), "{words} in:\n{warned}");
    }
    assert_eq!(warned.lines().count(), 7, "{warned}");
}

/// By the messages themselves: an answer to each id, and none to what has no id.
#[tokio::test]
async fn every_command_with_an_id_is_answered_once() {
    let Shop { bitcall, host: _host, browser, .. } = shop().await;
    let who = &bitcall.ready.extensions[0];
    let sip = json!({ "username": who.username, "domain": bitcall.ready.sip.domain, "password": who.password });
    let init = json!({ "host": { "sip": sip, "behavior": { "mode": "autologin" } } });
    let html = format!(
        "<!doctype html><meta charset=utf-8><title>Frame</title><script>
        window.said = [];
        addEventListener('message', ({{ data, source }}) => {{
            said.push(data);
            if (data.type === 'BITCALL_READY') source.postMessage({{ type: 'BITCALL_INIT', id: 1, payload: {init} }}, '*');
        }});
        window.ask = (type, id, payload) => frames[0].postMessage({{ type, id, payload }}, '*');
        window.answers = () => said.filter((m) => m.type === 'BITCALL_ANSWER').map((m) => [m.payload.id, m.payload.error?.code ?? null]);
        </script><iframe allow='microphone; autoplay' src='{}/webphone/?key={}'></iframe>",
        bitcall.origin(),
        bitcall.ready.api_key,
    );
    let host = Host::start([("/", html)]).await;
    bitcall.allow(&host.origin()).await;
    let page = browser.open(&host.url("/")).await;
    page.until("answers().length").await;
    // Asked for before it is registered, and so answered when it is.
    page.eval("ask('BITCALL_CALL', 2, { number: '*43' })").await;
    page.eval("ask('BITCALL_CALL', 3, { number: '' })").await;
    page.eval("ask('BITCALL_DIAL', 4, { wrong: true })").await;
    page.eval("ask('BITCALL_TELEPORT', 5, {})").await;
    page.eval("ask('BITCALL_HANGUP', 6, { callId: 'nobody' })").await;
    page.eval("ask('BITCALL_TELEPORT', undefined, {})").await;
    page.until("answers().length >= 6").await;
    page.until("said.some((m) => m.type === 'BITCALL_CALL_STARTED')").await;
    let mut answers: Vec<Value> = serde_json::from_value(page.eval("answers()").await).unwrap();
    answers.sort_by_key(|answer| answer[0].as_u64());
    let expected = json!([
        [1, null],
        [2, null],
        [3, "BAD_NUMBER"],
        [4, "INVALID_COMMAND"],
        [5, "INVALID_COMMAND"],
        [6, "UNKNOWN_CALL"],
    ]);
    assert_eq!(json!(answers), expected);
    assert_eq!(page.eval("said[0]").await, json!({ "type": "BITCALL_READY", "payload": { "version": 2 } }));
}
