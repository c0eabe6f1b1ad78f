//! A `call()` before the registration is queued for a limited time.

use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::test_bed::{TestBed, TestPhone, page, signed_in_as};

/// Shortens the phone's 30 s timer to one second, and not the loader's.
const SHORT_CALL_WAIT: &str = "() => {
    if (parent === window) return;
    const later = window.setTimeout;
    window.setTimeout = (act, ms, ...rest) => later(act, ms === 30000 ? 1000 : ms, ...rest);
}";

#[tokio::test]
async fn a_queued_call_that_times_out_is_reported_and_never_placed() {
    let mut test_bed = TestBed::open().await;
    let (username, password) = Kamailio::subscriber(1);
    let html = page(&test_bed.bitcall, &signed_in_as(&username, Kamailio::DOMAIN, &password));
    let at_once = html.strip_suffix("</script>").unwrap().to_owned() + "BitcallWebphone.call('+4930901820');</script>";
    let host = Host::start([("/", at_once)]).await;
    test_bed.bitcall.allow(&host.origin()).await;
    test_bed.browser.bidi().script().add_preload_script(SHORT_CALL_WAIT).await.unwrap();
    test_bed.kamailio.stop();

    // `init()` is in flight when `call()` comes.
    let phone = TestPhone::open(&test_bed.browser, &host.url("/")).await;
    phone.host_page.until("faults.some((f) => f.code === 'NOT_REGISTERED')").await;
    let number = phone.frame.property("textbox", "Phone number", "value").await;
    assert_eq!(number, "+4930901820", "whoever wanted the call can place it by hand");

    test_bed.kamailio.start_again().await;
    phone.ready().await;
    let codes = phone.host_page.eval("faults.map((fault) => fault.code).sort()").await;
    assert_eq!(codes, serde_json::json!(["NOT_REGISTERED", "SIP_UNREACHABLE"]));
    assert_eq!(phone.events("callStarted").await.len(), 0, "it would surprise people now");
}
