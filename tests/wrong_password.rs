//! A wrong password.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::{TestPhone, page, signed_in_as};

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_then_works() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, "not-it");
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(600).await;
    let phone = TestPhone::open(&browser, &host.url("/")).await;

    phone.frame.sees_in_any_case("wrong password").await;
    assert_eq!(phone.host_page.eval("BitcallWebphone.isRegistered()").await, false);
    assert_eq!(phone.events("registered").await.len(), 0);
    let codes = phone.host_page.until("faults.length && faults.map((fault) => fault.code)").await;
    assert_eq!(codes, serde_json::json!(["SIGN_IN_FAILED"]));

    phone.frame.fill("textbox", "Password", &who.password).await;
    phone.frame.click("button", "Sign in").await;
    phone.ready().await;
    assert_eq!(phone.events("registered").await.len(), 1);
}
