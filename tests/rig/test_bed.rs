//! A phone embedded in a customer's page, and the servers it needs around it.

use serde_json::{Value, json};

use super::bitcall::Bitcall;
use super::browser::Browser;
use super::browsing_context::BrowsingContext;
use super::firefox::Firefox;
use super::host::Host;
use super::kamailio::Kamailio;
use super::wait::until;

/// Notes every event of the loader in `window.heard`, as `[name, payload]`.
const RECORDER: &str = "window.heard = [];
for (const name of ['callStarted', 'callIncoming', 'callAnswered', 'callUpdated', 'callEnded', 'transferState', 'recordingState', 'registered', 'unregistered'])
  BitcallWebphone.on(name, (payload) => heard.push([name, payload]));
window.faults = [];";

/// A page without a phone.
const ELSEWHERE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Elsewhere</title><h1>Elsewhere</h1>";

pub struct TestPhone {
    /// The customer's page.
    pub host_page: BrowsingContext,
    /// The phone's frame in it.
    pub frame: BrowsingContext,
}

/// HTML of a page that embeds the phone and notes what the loader says.
/// `fields` are those of `init` besides `key`, as JavaScript.
pub fn page(bitcall: &Bitcall, fields: &str) -> String {
    let (origin, key) = (bitcall.origin(), &bitcall.ready.api_key);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Shop</title><h1>Shop</h1>\n\
         <script src=\"{origin}/webphone/loader.js\"></script>\n\
         <script>\n{RECORDER}\nBitcallWebphone.init({{ key: '{key}', onError: (e) => faults.push(e), {fields} }});\n\
         </script>"
    )
}

/// `init` fields that sign in at once.
pub fn signed_in_as(username: &str, domain: &str, password: &str) -> String {
    format!(
        "sip: {{ username: '{username}', domain: '{domain}', password: '{password}' }}, \
         behavior: {{ host: {{ mode: 'autologin' }} }}"
    )
}

impl TestPhone {
    /// Opens the page, and the phone's panel on it.
    pub async fn open(browser: &Browser, url: &str) -> Self {
        Self::on(browser.open(url).await).await
    }

    /// The same in Firefox, and the phone is registered.
    pub async fn open_in_firefox(firefox: &Firefox, url: &str) -> Self {
        let phone = Self::on(firefox.open(url).await).await;
        phone.host_page.until("BitcallWebphone.isRegistered()").await;
        phone
    }

    async fn on(host_page: BrowsingContext) -> Self {
        let frame = host_page.phone().await;
        host_page.eval("BitcallWebphone.toggle()").await;
        Self { host_page, frame }
    }

    /// Reloads the host page and opens the phone's panel on it again.
    pub async fn reload(&mut self) {
        self.host_page.reload().await;
        self.open_panel().await;
    }

    /// Goes to another host page in the same tab and opens the phone's panel on it.
    pub async fn goes_to(&mut self, url: &str) {
        self.host_page.goes_to(url).await;
        self.open_panel().await;
    }

    async fn open_panel(&mut self) {
        self.frame = self.host_page.phone().await;
        self.host_page.eval("BitcallWebphone.toggle()").await;
    }

    /// Waits until the phone is registered and says so.
    pub async fn ready(&self) {
        self.host_page.until("BitcallWebphone.isRegistered()").await;
        self.frame.sees("Ready").await;
    }

    /// Calls by hand: number field, call button.
    pub async fn dial(&self, number: &str) {
        self.frame.fill("textbox", "Phone number", number).await;
        self.frame.click("button", "Call").await;
    }

    /// Payloads of the loader's events of this name so far.
    pub async fn events(&self, name: &str) -> Vec<Value> {
        let all = self.host_page.eval("heard").await;
        let all = all.as_array().unwrap();
        all.iter().filter(|e| e[0] == name).map(|e| e[1].clone()).collect()
    }

    /// The `n`th event (from 1) of this name, once it has come.
    pub async fn event(&self, name: &str, n: usize) -> Value {
        until(&format!("event {name} number {n}"), async || {
            let all = self.host_page.try_eval("[heard, faults]").await?;
            let heard = all[0].as_array().ok_or("no recorder")?;
            let mut named = heard.iter().filter(|e| e[0] == name);
            named.nth(n - 1).map(|e| e[1].clone()).ok_or_else(|| all.to_string())
        })
        .await
    }
}

/// Bitcall whose demo tenant uses Kamailio as its SIP server, a customer's page `/` for
/// subscriber 1 and one `/elsewhere` without a phone, and a browser whose microphone hears [`TestBed::TONE`].
pub struct TestBed {
    pub bitcall: Bitcall,
    pub kamailio: Kamailio,
    pub browser: Browser,
    pub host: Host,
}

impl TestBed {
    pub const TONE: u32 = 600;

    pub async fn open() -> Self {
        Self::open_with(&[], json!({})).await
    }

    /// With switches of `kamailio.cfg` and further tenant settings.
    pub async fn open_with(switches: &[&str], settings: Value) -> Self {
        let kamailio = Kamailio::start_with(switches).await;
        let bitcall = Bitcall::demo().await;
        let (username, password) = Kamailio::subscriber(1);
        let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
        let host = Host::start([("/", page(&bitcall, &fields)), ("/elsewhere", ELSEWHERE.to_owned())]).await;
        let mut change = json!({
            "origins": { "allowedOrigins": [host.origin()] },
            "sip": { "domain": Kamailio::DOMAIN },
            "wss": kamailio.wss(),
        });
        merge(&mut change, settings);
        bitcall.patch(change).await;
        let browser = Browser::start(Self::TONE).await;
        Self { bitcall, kamailio, browser, host }
    }

    /// The phone of subscriber 1, registered.
    pub async fn open_phone(&self) -> TestPhone {
        let phone = TestPhone::open(&self.browser, &self.host.url("/")).await;
        phone.ready().await;
        phone
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
