//! Several tabs share one agent and one registration.

use std::collections::HashSet;

use crate::rig::office::Office;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone};

#[tokio::test]
async fn two_tabs_share_one_registration_and_one_call() {
    let test_bed = TestBed::open().await;
    let first = test_bed.open_phone().await;
    let second = test_bed.open_phone().await;
    let log = test_bed.kamailio.log();
    let registrations: HashSet<&str> =
        log.lines().filter_map(|l| l.split("REGISTER of agent1, call ").nth(1)).collect();
    assert_eq!(registrations.len(), 1, "{registrations:?}");

    // Both show the call; the one that answers has it, the other is quiet.
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    first.frame.find("button", "Answer").await;
    second.frame.click("button", "Answer").await;
    second.frame.hears(TestBed::TONE).await;
    first.frame.gone("button", "Answer").await;
    assert_eq!(first.frame.heard().await.unwrap().len(), 0);

    // The other tab may go; the call stays.
    first.host_page.close().await;
    second.frame.hears(TestBed::TONE).await;
    second.frame.click("button", "Hang up").await;
    far.succeeds().await;
    second.ready().await;
}

/// The call is in the second of these tabs from now on, and only there.
async fn takes_over(from: &TestPhone, to: &TestPhone, hz: u32) {
    to.frame.sees("In another window").await;
    to.frame.click("button", "Take over here").await;
    to.frame.hears(hz).await;
    from.frame.find("button", "Take over here").await;
    assert_eq!(from.frame.heard().await.unwrap().len(), 0, "the call is heard in one tab");
}

#[tokio::test]
async fn a_call_is_taken_over_by_another_tab_and_back_again() {
    let test_bed = TestBed::open().await;
    let (first, second) = (test_bed.open_phone().await, test_bed.open_phone().await);
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    first.dial(&far.number).await;
    first.frame.hears(TestBed::TONE).await;
    takes_over(&first, &second, TestBed::TONE).await;
    takes_over(&second, &first, TestBed::TONE).await;
    assert_eq!(far.received(&["BYE sip:"]).len(), 0);
    first.frame.click("button", "Hang up").await;
    far.succeeds().await;
    for phone in [&first, &second] {
        phone.event("callEnded", 1).await;
        phone.ready().await;
        let told = (phone.events("callStarted").await.len(), phone.events("callEnded").await.len());
        assert_eq!(told, (1, 1), "each page hears of the call once");
    }
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn another_tab_takes_over_where_the_server_makes_no_second_dtls_handshake() {
    let office = Office::open().await;
    let second = office.another_page().await;
    let anna = office.b2bua.far_end("201", "Anna", 900);
    anna.calls();
    office.phone.frame.click("button", "Answer").await;
    office.phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;
    takes_over(&office.phone, &second, 900).await;
    anna.hears(Office::TONE).await;
    second.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}
