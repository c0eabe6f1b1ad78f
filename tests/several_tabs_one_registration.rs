//! Several tabs share one agent and one registration.

use std::collections::HashSet;

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

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
