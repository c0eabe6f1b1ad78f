//! What the phone says about its registration is so.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn the_state_follows_the_server_away_and_back() {
    let mut office = Office::open().await;
    let desk = office.desk().await;
    let event = desk.event("registered", 1).await;
    assert_eq!(event["username"], "agent1");
    assert_eq!(event["domain"], "sip.test");
    assert_eq!(event["userKey"], "agent1@sip.test");

    office.kamailio.stop();
    desk.page.until("!BitcallWebphone.isRegistered()").await;
    desk.phone.sees("Reconnecting").await;
    let event = desk.event("unregistered", 1).await;
    assert_ne!(event["reason"], "");

    // The server has forgotten everybody: only a new REGISTER makes calls arrive.
    office.kamailio.start_again().await;
    desk.ready().await;
    let far = Sipp::calls(&office.kamailio, "agent1", "call");
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(desk.events("registered").await.len(), 2);
    assert_eq!(desk.events("unregistered").await.len(), 1);
}

/// The server dies in the middle of a call: the sound goes on, and when the
/// server is back the call can still be ended properly.
#[tokio::test]
async fn a_call_outlives_the_loss_of_its_server() {
    let mut office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;

    office.kamailio.stop();
    desk.page.until("!BitcallWebphone.isRegistered()").await;
    desk.phone.hears(Office::TONE).await;
    office.kamailio.start_again().await;
    desk.page.until("BitcallWebphone.isRegistered()").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    desk.ready().await;
}
