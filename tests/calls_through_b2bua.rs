//! The phone pointed at a PBX with the habits of Asterisk 22: it ends every call itself, never transcodes, and makes one DTLS
//! handshake in a dialog.

use serde_json::json;

use crate::rig::b2bua::B2bua;
use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

/// What the phone's microphone hears.
const TONE: u32 = 600;

struct Office {
    phone: TestPhone,
    b2bua: B2bua,
    browser: Browser,
    _bitcall: Bitcall,
    _host: Host,
}

impl Office {
    /// With one phone, registered.
    async fn open() -> Self {
        let b2bua = B2bua::start().await;
        let bitcall = Bitcall::demo().await;
        let fields = signed_in_as(B2bua::USERNAME, B2bua::DOMAIN, B2bua::PASSWORD);
        let host = Host::start([("/", page(&bitcall, &fields))]).await;
        let settings = json!({
            "origins": { "allowedOrigins": [host.origin()] },
            "sip": { "domain": B2bua::DOMAIN },
            "wss": b2bua.ws(),
        });
        bitcall.patch(settings).await;
        let browser = Browser::start(TONE).await;
        let phone = TestPhone::open(&browser, &host.url("/")).await;
        phone.ready().await;
        Self { phone, b2bua, browser, _bitcall: bitcall, _host: host }
    }

    /// The phone's call number `n` has ended, and nothing is left of it.
    async fn is_quiet_again(&self, n: usize) {
        self.phone.event("callEnded", n).await;
        self.phone.ready().await;
        assert_eq!(self.b2bua.calls(), 0);
        assert_eq!(self.phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
        assert_eq!(self.browser.errors(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn calls_both_ways_have_sound_while_the_server_asks_and_notifies() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    // Nobody has subscribed to it.
    b2bua.receives(1, &["SIP/2.0 200", " NOTIFY\r\n"]).await;
    b2bua.receives(2, &["SIP/2.0 200", " OPTIONS\r\n"]).await;

    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    let asked = b2bua.received(&["SIP/2.0 200", " OPTIONS\r\n"]).len();
    b2bua.receives(asked + 1, &["SIP/2.0 200", " OPTIONS\r\n"]).await;
    phone.frame.hears(900).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;

    anna.calls();
    phone.frame.sees("Anna").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    anna.hangs_up();
    office.is_quiet_again(2).await;
    assert_eq!(phone.events("unregistered").await.len(), 0);
}

#[tokio::test]
async fn a_placed_call_keeps_its_sound_on_hold_and_after_a_lost_websocket() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;

    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hears_no_more(TONE).await;
    phone.frame.hears_silence().await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;

    let offers = b2bua.received(&["INVITE sip:", "m=audio"]).len();
    b2bua.cut_connections();
    b2bua.receives(offers + 1, &["INVITE sip:", "m=audio"]).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}
