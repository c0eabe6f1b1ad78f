//! The part of the phone's module that is loaded after the sign-in: settings, recents, transfers and the like.

use crate::rig::bitcall::Bitcall;
use crate::rig::fault_proxy::{Fault, FaultProxy};
use crate::rig::firefox::Firefox;
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone, page, signed_in_as};

/// Whether the browser has asked for the part.
const IS_ASKED_FOR: &str =
    "performance.getEntriesByType('resource').some((entry) => entry.name.includes('/secondary-'))";

/// The phone of subscriber 1 on a page that gets all files of the phone through a proxy with this fault.
async fn phone_with(test_bed: &TestBed, fault: Fault) -> (FaultProxy, Host, TestPhone) {
    let proxy = FaultProxy::start(&test_bed.bitcall, fault).await;
    let (username, password) = Kamailio::subscriber(1);
    let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
    let html = page(&test_bed.bitcall, &fields).replace(test_bed.bitcall.origin(), &proxy.origin());
    let host = Host::start([("/", html)]).await;
    test_bed.bitcall.allow(&host.origin()).await;
    let phone = TestPhone::open(&test_bed.browser, &host.url("/")).await;
    phone.ready().await;
    (proxy, host, phone)
}

#[tokio::test]
async fn the_part_comes_by_itself_after_the_sign_in_and_draws_recents_and_settings() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    phone.frame.until(IS_ASKED_FOR).await;
    phone.frame.click("tab", "Recents").await;
    phone.frame.sees("No calls yet").await;
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("Microphone").await;
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn firefox_loads_the_part_too() {
    let bitcall = Bitcall::demo().await;
    let who = &bitcall.ready.extensions[0];
    let fields = signed_in_as(&who.username, &bitcall.ready.sip.domain, &who.password);
    let host = Host::start([("/", page(&bitcall, &fields))]).await;
    bitcall.allow(&host.origin()).await;
    let firefox = Firefox::start().await;
    let page = firefox.open(&host.url("/")).await;
    page.until("BitcallWebphone.isRegistered()").await;
    let phone = page.phone().await;
    phone.until(IS_ASKED_FOR).await;
    phone.eval("document.querySelector('#tab-settings').click()").await;
    phone.sees("Microphone").await;
}

#[tokio::test]
async fn a_part_that_the_server_refused_once_works_at_the_next_try() {
    let test_bed = TestBed::open().await;
    let (proxy, _host, phone) = phone_with(&test_bed, Fault::PartUnavailable).await;
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("This did not load").await;
    proxy.set(Fault::None);
    phone.frame.click("button", "Try again").await;
    phone.frame.sees("Microphone").await;
}

#[tokio::test]
async fn a_page_from_before_an_upgrade_says_so_and_a_reload_of_its_phone_keeps_the_call() {
    let test_bed = TestBed::open().await;
    let (proxy, _host, phone) = phone_with(&test_bed, Fault::PartGone).await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("The phone was updated").await;
    proxy.set(Fault::None);
    phone.frame.click("button", "Reload the phone").await;
    phone.frame.click("tab", "Settings").await;
    phone.frame.sees("Microphone").await;
    phone.frame.click("tab", "Keypad").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
