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
