//! Several pages of one person are one phone.

use std::collections::HashSet;

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn two_tabs_share_one_registration_and_one_call() {
    let office = Office::open().await;
    let first = office.desk().await;
    let second = office.desk().await;
    let log = office.kamailio.log();
    let registrations: HashSet<&str> =
        log.lines().filter_map(|l| l.split("REGISTER of agent1, call ").nth(1)).collect();
    assert_eq!(registrations.len(), 1, "{registrations:?}");

    // Both show the call; the one that answers has it, the other is quiet.
    let far = Sipp::calls(&office.kamailio, "agent1", "call");
    first.phone.find("button", "Answer").await;
    second.phone.click("button", "Answer").await;
    second.phone.hears(Office::TONE).await;
    first.phone.gone("button", "Answer").await;
    assert_eq!(first.phone.heard().await.unwrap().len(), 0);

    // The other tab may go; the call stays.
    first.page.close().await;
    second.phone.hears(Office::TONE).await;
    second.phone.click("button", "Hang up").await;
    far.succeeds().await;
    second.ready().await;
}
