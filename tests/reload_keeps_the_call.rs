//! A page that is loaded again picks its call up where it was.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

#[tokio::test]
async fn a_call_survives_the_reload_of_its_page() {
    let office = Office::open().await;
    let mut desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;

    desk.again().await;
    desk.phone.hears(Office::TONE).await;
    assert_eq!(far.received(&["BYE sip:"]).len(), 0);
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
    desk.ready().await;
}

#[tokio::test]
async fn a_muted_call_is_muted_after_the_reload_too() {
    let office = Office::open().await;
    let mut desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Mute").await;

    desk.again().await;
    // The far end sends back what it hears; what it hears now is silence.
    desk.phone
        .until("__rig.hear().then((all) => all.some((c) => c.received > 50 && c.sent > 50 && c.pitch === 0))")
        .await;
    desk.phone.click("button", "Mute").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
