//! A `call()` that comes before the phone is connected waits, but not for ever.

use crate::rig::desk::{Desk, Office, page, signed_in_as};
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;

/// Half a minute passes in a second.
const HASTE: &str = "() => {
    const later = window.setTimeout;
    window.setTimeout = (act, ms, ...rest) => later(act, ms === 30000 ? 1000 : ms, ...rest);
}";

#[tokio::test]
async fn a_call_that_cannot_be_made_in_time_is_given_up_and_not_made_later() {
    let mut office = Office::open().await;
    let (username, password) = Kamailio::subscriber(1);
    let html = page(&office.bitcall, &signed_in_as(&username, Kamailio::DOMAIN, &password));
    let at_once = html.strip_suffix("</script>").unwrap().to_owned() + "BitcallWebphone.call('+4930901820');</script>";
    let host = Host::start([("/", at_once)]).await;
    office.bitcall.allow(&host.origin()).await;
    office.browser.bidi().script().add_preload_script(HASTE).await.unwrap();
    office.kamailio.stop();

    // `init()` is in flight when `call()` comes.
    let desk = Desk::open(&office.browser, &host.url("/")).await;
    desk.page.until("faults.some((f) => f.code === 'NOT_REGISTERED')").await;
    let number = desk.phone.property("textbox", "Phone number", "value").await;
    assert_eq!(number, "+4930901820", "whoever wanted the call can place it by hand");

    office.kamailio.start_again().await;
    desk.ready().await;
    assert_eq!(desk.page.eval("faults.length").await, 1);
    assert_eq!(desk.events("callStarted").await.len(), 0, "it would surprise people now");
}
