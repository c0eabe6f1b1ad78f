//! A wrong password is said, not tried again and again.

use crate::rig::bitcall::Bitcall;
use crate::rig::browser::Browser;
use crate::rig::desk::{Desk, page, signed_in_as};
use crate::rig::host::Host;

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_then_works() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, "not-it");
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    bitcall.allow(&host.origin()).await;
    let browser = Browser::start(600).await;
    let desk = Desk::open(&browser, &host.url("/")).await;

    desk.phone.sees_in_any_case("wrong password").await;
    assert_eq!(desk.page.eval("BitcallWebphone.isRegistered()").await, false);
    assert_eq!(desk.events("registered").await.len(), 0);

    desk.phone.fill("textbox", "Password", &who.password).await;
    desk.phone.click("button", "Sign in").await;
    desk.ready().await;
    assert_eq!(desk.events("registered").await.len(), 1);
}
