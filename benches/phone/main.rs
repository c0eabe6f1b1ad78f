//! The phone beside `JsSIP` and SIP.js, in one run: same Kamailio, same browser, rounds interleaved.
//!
//! All speak through the same tap (a WebSocket proxy on loopback), which says
//! when the INVITE came out, so a `SharedWorker` is timed as a page is. The peers
//! come from the npm registry into `target/` and are never part of this tree.
//!
//! `cargo bench --bench phone [rounds]`; with the word `waterfall` only what is fetched when, with `reloads` only
//! the sound after a reload.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/appliance.rs"]
mod appliance;
#[path = "../../build/budgets.rs"]
mod budgets;
mod endurance;
#[path = "../appliance/kernel.rs"]
#[allow(dead_code, reason = "the appliance's bench uses the rest")]
mod kernel;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod waterfall;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rig::bitcall::Bitcall;
use rig::browser::Browser;
use rig::browsing_context::BrowsingContext;
use rig::host::Host;
use rig::http;
use rig::kamailio::Kamailio;
use rig::office::Office;
use rig::sipp::Sipp;
use rig::tap::{Tap, now};
use rig::test_bed::{TestBed, TestPhone, page, signed_in_as};
use rig::wait::until;
use serde_json::json;

/// Two people each, and Kamailio knows twenty.
const ROUNDS: usize = 8;
/// So many after the first, which fills caches.
const WATERFALLS: usize = 2;

/// Resolves with the time when a connection has brought the first sound. A call may stay silent, with a peer, too.
const FIRST_SOUND: &str = "new Promise((heard, failed) => {
  setTimeout(() => failed(new Error('no sound within 30 s of the answer')), 30000);
  const sounds = (s) => s.type === 'inbound-rtp' && s.totalAudioEnergy > 0;
  const look = async () => {
    for (const connection of __rig.connections)
      if (connection.signalingState !== 'closed' && [...(await connection.getStats()).values()].some(sounds))
        return heard(performance.timeOrigin + performance.now());
    setTimeout(look, 5);
  };
  look();
})";

/// Milliseconds until a page is registered.
#[derive(Clone, Copy)]
struct Loading {
    /// From the page's `DOMContentLoaded`, as the host page sees it: all scripts and, for us, frame, configuration and
    /// WASM in between.
    from_host_page: f64,
    /// From where the page that holds the user agent is ready: for the peers that is their page's
    /// `DOMContentLoaded` too, for us the phone's own start in its frame (the mark `bitcall:started`, before it
    /// has drawn anything or heard who signs in).
    from_ready: f64,
}

/// Milliseconds of one round.
struct Round {
    /// Of a person's first page: the agent's worker starts, too.
    first_page: Loading,
    /// Of the page that follows in the same tab: the worker still runs, and its registration holds.
    next_page: Loading,
    /// From the click on "Connect", on a page that is ready, to the registration.
    connect: f64,
    /// From the first REGISTER on the wire to the registration.
    register: f64,
    /// From the click to the INVITE on the wire, first call of the page.
    first_invite: f64,
    /// The same with the microphone open already.
    warm_invite: f64,
    /// From the click on "Answer" to the 200 OK on the wire, and to the first sound of the far end.
    answered: f64,
    first_sound: f64,
    /// From the loss of the WebSocket to the registration over another one. SIP.js leaves that to its application.
    recovery: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(ROUNDS);
    if std::env::args().any(|argument| argument == "reloads") {
        return reloads(rounds).await;
    }
    if std::env::args().any(|argument| argument == "endurance") {
        endurance::conference().await;
        return endurance::calls_in_a_row().await;
    }
    let kamailio = Kamailio::start().await;
    let tap = Tap::start(&kamailio.ws()).await;
    let bitcall = Bitcall::demo().await;
    // A SharedWorker outlives its page: a person of its own in every round starts one of its own.
    let people = (0..2 * (rounds + 1)).map(|n| {
        let (username, password) = Kamailio::subscriber(subscriber(n));
        let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
        let fields = if n % 2 == 1 { fields.replace("autologin", "confirm") } else { fields };
        (format!("/bitcall/{n}"), with_clock(&page(&bitcall, &fields)))
    });
    let host = Host::start(people.chain([
        ("/jssip/0".to_owned(), with_clock(&jssip_page(&tap.url(), "start()"))),
        ("/jssip/1".to_owned(), with_clock(&jssip_page(&tap.url(), ""))),
        ("/jssip.js".to_owned(), std::fs::read_to_string(JSSIP.bundle()).unwrap()),
        ("/sipjs/0".to_owned(), with_clock(&sipjs_page(&tap.url(), "start()"))),
        ("/sipjs/1".to_owned(), with_clock(&sipjs_page(&tap.url(), ""))),
        ("/sipjs.js".to_owned(), std::fs::read_to_string(SIPJS.bundle()).unwrap()),
    ]))
    .await;
    bitcall
        .patch(json!({
            "origins": { "allowedOrigins": [host.origin()] },
            "sip": { "domain": Kamailio::DOMAIN },
            "wss": tap.url(),
        }))
        .await;
    let small_enough = sizes(&bitcall).await;

    let browser = Browser::start(600).await;
    if std::env::args().any(|argument| argument == "waterfall") {
        for n in 0..=rounds.min(WATERFALLS) {
            let page = browser.open(&host.url(&format!("/bitcall/{}", 2 * n))).await;
            page.until("heard.some((h) => h[0] === 'registered')").await;
            waterfall::print(&browser, &page).await;
            page.eval("BitcallWebphone.destroy()").await;
            page.close().await;
        }
        return;
    }
    let mut measured: [Vec<Round>; 3] = Default::default();
    // The first round of each fills caches and is not counted.
    for n in 0..=rounds {
        let round = [
            bitcall_round(&browser, &host, n, &tap, &kamailio).await,
            peer_round("jssip", &browser, &host, &tap, &kamailio).await,
            peer_round("sipjs", &browser, &host, &tap, &kamailio).await,
        ];
        if n > 0 {
            measured.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
        }
    }
    println!("\nMedians of {rounds} interleaved rounds, ms          Bitcall    JsSIP   ratio   SIP.js   ratio");
    row("host page's DOMContentLoaded → registered", &measured, |r| Some(r.first_page.from_host_page));
    row("user agent's page ready → registered", &measured, |r| Some(r.first_page.from_ready));
    row("next page's DOMContentLoaded → registered", &measured, |r| Some(r.next_page.from_host_page));
    row("user agent's next page ready → registered", &measured, |r| Some(r.next_page.from_ready));
    row("Connect pressed → registered", &measured, |r| Some(r.connect));
    row("first REGISTER → registered", &measured, |r| Some(r.register));
    row("click → INVITE on the wire, first call", &measured, |r| Some(r.first_invite));
    row("click → INVITE on the wire, microphone open", &measured, |r| Some(r.warm_invite));
    row("click on Answer → 200 OK on the wire", &measured, |r| Some(r.answered));
    row("click on Answer → first sound", &measured, |r| Some(r.first_sound));
    row("WebSocket lost → registered", &measured, |r| r.recovery);
    reloads(rounds).await;
    endurance::idle(&host).await;
    endurance::conference().await;
    endurance::calls_in_a_row().await;
    assert!(small_enough, "the phone has grown too large");
}

/// A page that is loaded again during a call: from the command to the sound, which the far end sends all the time. One server
/// takes a re-INVITE, the other one an INVITE with Replaces.
async fn reloads(rounds: usize) {
    println!("\nMedians of {rounds} reloads during a call, ms                 Bitcall");
    let test_bed = TestBed::open().await;
    let mut phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    let reinvite = sound_after_reload(&mut phone, TestBed::TONE, rounds).await;
    println!("{:<46} {reinvite:>9.1}", "reload → sound, Kamailio and rtpengine");

    let mut office = Office::open().await;
    let _far = office.b2bua.far_end("201", "Anna", 900);
    office.phone.dial("201").await;
    office.phone.frame.hears(900).await;
    let replaces = sound_after_reload(&mut office.phone, 900, rounds).await;
    println!("{:<46} {replaces:>9.1}", "reload → sound, a server like Asterisk 22");
}

/// In ms; the first one, in which the phone learns what the server needs, is not counted.
async fn sound_after_reload(phone: &mut TestPhone, hz: u32, rounds: usize) -> f64 {
    let mut took = Vec::new();
    for _ in 0..=rounds {
        let reloading = Instant::now();
        phone.reload().await;
        phone.frame.hears(hz).await;
        took.push(reloading.elapsed().as_secs_f64() * 1_000.0);
    }
    took.remove(0);
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

/// Ours, and each peer's with how much of it ours is.
fn row(name: &str, measured: &[Vec<Round>; 3], value: fn(&Round) -> Option<f64>) {
    let [ours, peers @ ..] = measured.each_ref().map(|rounds| {
        let mut values: Vec<f64> = rounds.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    });
    print!("{name:<46} {:>9.1}", ours.unwrap());
    for peer in peers {
        match peer {
            Some(peer) => print!(" {peer:>8.1} {:>7.2}", ours.unwrap() / peer),
            None => print!(" {:>8} {:>7}", "—", "—"),
        }
    }
    println!();
}

async fn bitcall_round(browser: &Browser, host: &Host, n: usize, tap: &Tap, kamailio: &Kamailio) -> Round {
    let started = now();
    let url = host.url(&format!("/bitcall/{}", 2 * n));
    let page = browser.open(&url).await;
    let first_page = bitcall_loading(&page).await;
    let register = register(&page, tap, started).await;
    page.goes_to(&url).await;
    let next_page = bitcall_loading(&page).await;
    page.eval("BitcallWebphone.destroy()").await;
    page.close().await;

    let page = browser.open(&host.url(&format!("/bitcall/{}", 2 * n + 1))).await;
    let phone = page.phone().await;
    page.eval("BitcallWebphone.toggle()").await;
    phone.find("button", "Connect").await;
    let connect = connect(&page, &phone).await;
    let mut invites = Vec::new();
    for warm in [false, true] {
        if warm {
            open_microphone(&phone).await;
        }
        let far = Sipp::called(kamailio, "answer").await;
        phone.fill("textbox", "Phone number", &far.number).await;
        phone.click("button", "Call").await;
        invites.push(invite(&phone, tap).await);
        phone.hears(600).await;
        phone.click("button", "Hang up").await;
        far.succeeds().await;
        phone.gone("button", "Hang up").await;
    }
    let user = Kamailio::subscriber(subscriber(2 * n + 1)).0;
    let (answered, first_sound) = answer(&phone, tap, kamailio, &user).await;
    phone.click("button", "Hang up").await;
    phone.gone("button", "Hang up").await;
    let recovery = Some(recovery(&page, tap).await);
    page.eval("BitcallWebphone.destroy()").await;
    page.close().await;
    Round {
        first_page,
        next_page,
        connect,
        register,
        first_invite: invites[0],
        warm_invite: invites[1],
        answered,
        first_sound,
        recovery,
    }
}

/// One of the peers', whose pages have the same buttons and functions.
async fn peer_round(peer: &str, browser: &Browser, host: &Host, tap: &Tap, kamailio: &Kamailio) -> Round {
    let started = now();
    let url = host.url(&format!("/{peer}/0"));
    let page = browser.open(&url).await;
    let first_page = peer_loading(&page).await;
    let register = register(&page, tap, started).await;
    page.goes_to(&url).await;
    let next_page = peer_loading(&page).await;
    page.close().await;

    let page = browser.open(&host.url(&format!("/{peer}/1"))).await;
    let connect = connect(&page, &page).await;
    let mut invites = Vec::new();
    for warm in [false, true] {
        if warm {
            open_microphone(&page).await;
        }
        let far = Sipp::called(kamailio, "answer").await;
        page.eval(&format!("window.target = 'sip:{}@sip.test'", far.number)).await;
        page.click("button", "Call").await;
        invites.push(invite(&page, tap).await);
        page.hears(600).await;
        page.eval("hangUp()").await;
        far.succeeds().await;
    }
    let (answered, first_sound) = answer(&page, tap, kamailio, "agent2").await;
    page.eval("hangUp()").await;
    let recovery = if page.eval("reconnects").await == json!(true) { Some(recovery(&page, tap).await) } else { None };
    page.eval("ua.stop()").await;
    page.close().await;
    Round {
        first_page,
        next_page,
        connect,
        register,
        first_invite: invites[0],
        warm_invite: invites[1],
        answered,
        first_sound,
        recovery,
    }
}

/// The number of Kamailio's subscriber on page `n`.
fn subscriber(n: usize) -> u8 {
    u8::try_from(n + 3).unwrap()
}

/// Somebody calls `user`, who answers: from the click to the 200 OK and to the first sound.
async fn answer(view: &BrowsingContext, tap: &Tap, kamailio: &Kamailio, user: &str) -> (f64, f64) {
    let _far = Sipp::calls(kamailio, user, "call");
    view.click("button", "Answer").await;
    let heard = view.eval(FIRST_SOUND).await.as_f64().unwrap();
    let clicked = view.eval("window.clickedAt").await.as_f64().unwrap();
    let accepts = |text: &str| text.starts_with("SIP/2.0 200 ") && text.contains(" INVITE\r\n");
    let answered = tap.frames().iter().find(|frame| frame.at >= clicked && accepts(&frame.text)).unwrap().at;
    (answered - clicked, heard - clicked)
}

/// The WebSocket is lost: from there to the registration over another one.
async fn recovery(page: &BrowsingContext, tap: &Tap) -> f64 {
    let before = page.eval("registrations.length").await.as_u64().unwrap();
    let cut = now();
    tap.cut();
    page.until(&format!("registrations.length > {before}")).await;
    page.eval(&format!("registrations[{before}]")).await.as_f64().unwrap() - cut
}

async fn bitcall_loading(page: &BrowsingContext) -> Loading {
    let loading = peer_loading(page).await;
    let began = "performance.timeOrigin + performance.getEntriesByName('bitcall:started')[0].startTime";
    let began = page.phone().await.eval(began).await.as_f64().unwrap();
    Loading { from_ready: page.eval("window.registeredAt").await.as_f64().unwrap() - began, ..loading }
}

async fn peer_loading(page: &BrowsingContext) -> Loading {
    let registered = page.until("window.registeredAt").await.as_f64().unwrap();
    let from_host_page = registered - page.eval("window.readyAt").await.as_f64().unwrap();
    Loading { from_host_page, from_ready: from_host_page }
}

/// From the first REGISTER since then to the registration of this page.
async fn register(page: &BrowsingContext, tap: &Tap, started: f64) -> f64 {
    page.eval("window.registeredAt").await.as_f64().unwrap() - tap.first_after(started, "REGISTER ").unwrap()
}

/// Presses "Connect" and waits: from the click to the registration.
async fn connect(page: &BrowsingContext, phone: &BrowsingContext) -> f64 {
    clock_clicks(phone).await;
    phone.click("button", "Connect").await;
    let registered = page.until("window.registeredAt").await.as_f64().unwrap();
    registered - phone.eval("window.clickedAt").await.as_f64().unwrap()
}

async fn clock_clicks(view: &BrowsingContext) {
    view.eval("addEventListener('click', (e) => window.clickedAt = performance.timeOrigin + e.timeStamp, true)").await;
}

/// Another stream of the same device: whoever opens it now gets it at once.
async fn open_microphone(view: &BrowsingContext) {
    view.eval("navigator.mediaDevices.getUserMedia({ audio: true }).then((s) => { window.kept = s; })").await;
}

async fn invite(view: &BrowsingContext, tap: &Tap) -> f64 {
    let clicked = view.eval("window.clickedAt").await.as_f64().unwrap();
    let sent = until("the INVITE", async || tap.first_after(clicked, "INVITE ").ok_or_else(String::new)).await;
    sent - clicked
}

/// Notes when the page was ready and when it was registered.
fn with_clock(page: &str) -> String {
    page.replacen(
        "<h1>",
        "<script>const clock = () => performance.timeOrigin + performance.now(), registrations = [];
         const noteRegistration = () => { registrations.push(clock()); window.registeredAt ??= clock(); };
         addEventListener('DOMContentLoaded', () => window.readyAt = clock());</script><h1>",
        1,
    )
    .replace("</script>\n<script>\n", "</script>\n<script>\nBitcallWebphone.on('registered', noteRegistration);\n")
}

fn peer_page(name: &str, script: &str, start: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><h1>{name}</h1>
         <button>Call</button><button>Connect</button><button disabled>Answer</button><audio autoplay></audio>
         <script src=/{name}.js></script><script>
         const [call, connect, answer] = document.querySelectorAll('button');
         const play = (connection) => connection.ontrack = (e) =>
           document.querySelector('audio').srcObject = new MediaStream([e.track]);
         let session;
         {script}
         connect.onclick = start;
         {start};
         </script>"
    )
}

fn jssip_page(server: &str, start: &str) -> String {
    let script = format!(
        "const ua = new JsSIP.UA({{ sockets: [new JsSIP.WebSocketInterface('{server}')],
           uri: 'sip:agent2@sip.test', password: 'secret2' }});
         const reconnects = true;
         const start = () => ua.start(), hangUp = () => session.terminate();
         ua.on('registered', noteRegistration);
         call.onclick = () => {{
           session = ua.call(window.target, {{ mediaConstraints: {{ audio: true }} }});
           play(session.connection);
         }};
         ua.on('newRTCSession', (made) => {{
           if (made.originator === 'local') return;
           session = made.session;
           session.on('peerconnection', ({{ peerconnection }}) => play(peerconnection));
           answer.disabled = false;
         }});
         answer.onclick = () => session.answer({{ mediaConstraints: {{ audio: true }} }});"
    );
    peer_page("jssip", &script, start)
}

fn sipjs_page(server: &str, start: &str) -> String {
    let script = format!(
        "const options = {{ sessionDescriptionHandlerOptions: {{ constraints: {{ audio: true, video: false }} }} }};
         const reconnects = false;
         const ua = new SIP.UserAgent({{ uri: SIP.UserAgent.makeURI('sip:agent2@sip.test'),
           authorizationUsername: 'agent2', authorizationPassword: 'secret2', logLevel: 'error',
           transportOptions: {{ server: '{server}' }},
           delegate: {{ onInvite: (invitation) => {{ session = invitation; hear(); answer.disabled = false; }} }} }});
         const registerer = new SIP.Registerer(ua);
         registerer.stateChange.addListener((state) => state === 'Registered' && noteRegistration());
         const hear = () => session.delegate = {{ onSessionDescriptionHandler: (handler) => play(handler.peerConnection) }};
         const start = () => ua.start().then(() => registerer.register());
         const hangUp = () => {{ session.bye(); }};
         call.onclick = () => {{
           session = new SIP.Inviter(ua, SIP.UserAgent.makeURI(window.target), options);
           hear();
           session.invite();
         }};
         answer.onclick = () => session.accept(options);"
    );
    peer_page("sipjs", &script, start)
}

/// A peer from the npm registry.
struct Peer {
    package: &'static str,
    version: &'static str,
    main: &'static str,
    global: &'static str,
}

const JSSIP: Peer = Peer { package: "jssip", version: "3.13", main: "lib/JsSIP.js", global: "JsSIP" };
const SIPJS: Peer = Peer { package: "sip.js", version: "0.21.2", main: "lib/index.js", global: "SIP" };

impl Peer {
    /// As one script, made once.
    fn bundle(&self) -> PathBuf {
        let Self { package, version, main, global } = self;
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(package);
        let bundle = dir.join("bundle.js");
        if !bundle.exists() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("package.json"), "{}").unwrap();
            println!("Fetching {package} {version} and esbuild from the npm registry");
            let (wanted, main) = (format!("{package}@{version}"), format!("node_modules/{package}/{main}"));
            run(Command::new("npm")
                .current_dir(&dir)
                .args(["install", "--no-fund", "--no-audit", "--silent"])
                .args([&wanted, "esbuild"]));
            run(Command::new("npx")
                .current_dir(&dir)
                .args(["esbuild", &main, "--bundle", "--minify", "--outfile=bundle.js", "--log-level=warning"])
                .arg(format!("--global-name={global}")));
        }
        bundle
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e} (npm is needed for the peers)"));
    assert!(status.success(), "{command:?}: {status}");
}

/// What a browser transfers, as served. False when it is too much.
async fn sizes(bitcall: &Bitcall) -> bool {
    let origin = bitcall.origin();
    println!("\nTransfer sizes (brotli), bytes");
    let loader = size(origin, "/webphone/loader.js").await.0;
    let (mut first, mut later) = (loader, 0);
    // Every hashed file is named in the page, or in a script that is.
    let mut names = BTreeSet::from(["/webphone/".to_owned()]);
    let mut done = BTreeSet::new();
    while let Some(path) = names.difference(&done).next().cloned() {
        let (bytes, text) = size(origin, &path).await;
        println!("  {path:<44} {bytes:>9}");
        if path.contains("/secondary-") {
            later += bytes;
        } else {
            first += bytes;
        }
        names.extend(hashed_names(&text));
        done.insert(path);
    }
    let rows = [
        ("loader", loader, budgets::LOADER),
        ("first load (loader, HTML, CSS, JS, main part)", first, budgets::FIRST_LOAD),
        ("with the part that is loaded later", first + later, budgets::WHOLE),
    ];
    for (name, bytes, budget) in rows {
        println!("{name:<46} {bytes:>9}   ≤ {budget}");
    }
    rows.iter().all(|(_, bytes, budget)| bytes <= budget)
}

/// The transferred size, and the text behind it.
async fn size(origin: &str, path: &str) -> (usize, String) {
    let url = format!("{origin}{path}");
    let packed = http::send("GET", &url, &[("accept-encoding", "br")], None).await;
    let plain = http::send("GET", &url, &[], None).await;
    assert!(packed.status.is_success(), "{url}: {}", packed.status);
    (packed.body.len(), String::from_utf8_lossy(&plain.body).into_owned())
}

fn hashed_names(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .filter(|word| {
            let known = ["phone-", "bitcall-", "secondary-", "worker-", "start-"].iter().any(|p| word.starts_with(p));
            known && [".js", ".wasm", ".css"].iter().any(|e| word.ends_with(e))
        })
        .map(|name| format!("/webphone/{name}"))
        .collect()
}
