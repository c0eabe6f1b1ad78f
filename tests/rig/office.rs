//! A phone whose server is the [`B2bua`].

use serde_json::{Value, json};

use super::b2bua::B2bua;
use super::bitcall::Bitcall;
use super::browser::Browser;
use super::host::Host;
use super::test_bed::{TestPhone, page, signed_in_as};

/// A phone, registered at a [`B2bua`].
pub struct Office {
    pub phone: TestPhone,
    pub b2bua: B2bua,
    pub browser: Browser,
    pub bitcall: Bitcall,
    host: Host,
}

impl Office {
    /// What the phone's microphone hears.
    pub const TONE: u32 = 600;

    pub async fn open() -> Self {
        Self::open_with(json!({})).await
    }

    /// With further settings of the tenant.
    pub async fn open_with(more: Value) -> Self {
        Self::open_on_plan("free", more).await
    }

    /// With a plan and further settings of the tenant.
    pub async fn open_on_plan(plan: &str, more: Value) -> Self {
        Self::open_in(Browser::start(Self::TONE).await, plan, more).await
    }

    /// In this browser.
    pub async fn open_in(browser: Browser, plan: &str, more: Value) -> Self {
        let b2bua = B2bua::start().await;
        let (bitcall, host) = Self::serve(&b2bua, plan, more).await;
        let phone = TestPhone::open(&browser, &host.url("/")).await;
        phone.ready().await;
        Self { phone, b2bua, browser, bitcall, host }
    }

    /// What serves phones of this server, and the page around them.
    pub async fn serve(b2bua: &B2bua, plan: &str, more: Value) -> (Bitcall, Host) {
        let bitcall = Bitcall::demo().await;
        let fields = signed_in_as(B2bua::USERNAME, B2bua::DOMAIN, B2bua::PASSWORD);
        let host = Host::start([("/", page(&bitcall, &fields))]).await;
        let settings = json!({
            "origins": { "allowedOrigins": [host.origin()] },
            "sip": { "domain": B2bua::DOMAIN },
            "wss": b2bua.ws(),
        });
        bitcall.patch(settings).await;
        bitcall.patch(more).await;
        bitcall.change_plan(plan).await;
        (bitcall, host)
    }

    /// The same phone in another tab.
    pub async fn another_page(&self) -> TestPhone {
        let phone = self.unready_page().await;
        phone.ready().await;
        phone
    }

    /// The same, which may have a call at once.
    pub async fn unready_page(&self) -> TestPhone {
        self.page_in(&self.browser).await
    }

    /// The phone on another computer, which may have to wait for its place.
    pub async fn page_in(&self, browser: &Browser) -> TestPhone {
        TestPhone::open(browser, &self.host.url("/")).await
    }

    /// The phone's call number `n` has ended, and nothing is left of it.
    pub async fn is_quiet_again(&self, n: usize) {
        self.phone.event("callEnded", n).await;
        self.phone.ready().await;
        assert_eq!(self.b2bua.calls(), 0);
        assert_eq!(self.phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
        assert_eq!(self.browser.errors(), Vec::<String>::new());
    }
}
