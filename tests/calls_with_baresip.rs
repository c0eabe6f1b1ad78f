//! A softphone of another make at the other end, with a tone of its own.

use crate::rig::baresip::Baresip;
use crate::rig::desk::Office;

#[tokio::test]
async fn bitcall_and_baresip_call_and_hear_each_other() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let mut far = Baresip::start(&office.kamailio, 3, 900, true).await;

    desk.dial("agent3").await;
    desk.phone.hears(900).await;
    far.hears(Office::TONE).await;
    far.hangs_up().await;
    desk.phone.gone("button", "Hang up").await;
    desk.event("callEnded", 1).await;

    far.dials("agent1").await;
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(900).await;
    far.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.event("CALL_CLOSED").await;
    desk.ready().await;
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}
