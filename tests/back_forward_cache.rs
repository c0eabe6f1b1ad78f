//! Pages restored from the browser's back/forward cache.

use crate::rig::baresip::Baresip;
use crate::rig::browser::Browser;
use crate::rig::host::Host;
use crate::rig::test_bed::TestBed;
use crate::rig::wait::until;

/// A page with a shared worker, and nothing else, that counts how often it is shown.
const WORKER_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Working</title><script>
new SharedWorker('/worker.js');
window.shown = 0;
addEventListener('pageshow', () => ++shown);
</script>";

/// Whether the page was kept, or why not.
const KEPT: &str =
    "window.kept === true || JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)";

/// The page's state is frozen while it is cached; on return it has to ask for the server's.
#[tokio::test]
async fn a_page_restored_from_the_back_forward_cache_has_the_right_state_and_can_call() {
    let mut test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    // While the offer for the next call is still being created.
    phone.frame.until("__rig.connections.some((c) => c.signalingState === 'have-local-offer')").await;
    phone.host_page.eval("addEventListener('pageshow', (event) => (window.kept = event.persisted))").await;

    phone.host_page.goes_to(&test_bed.host.url("/elsewhere")).await;
    test_bed.kamailio.stop();
    phone.host_page.goes_back().await;
    if keeps_pages_with_workers(&test_bed.browser).await {
        // Nothing of the phone keeps the host's page out of the cache.
        until("the page to come out of the cache", async || match phone.host_page.try_eval(KEPT).await {
            Ok(kept) if kept == true => Ok(()),
            why => Err(format!("{why:?}")),
        })
        .await;
    }
    phone.host_page.until("!BitcallWebphone.isRegistered()").await;
    test_bed.kamailio.start_again().await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;

    // By the loader: the driver does not find the frames of a page that comes out of the cache.
    let mut far = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    phone.host_page.eval("BitcallWebphone.call('agent3')").await;
    far.hears(TestBed::TONE).await;
    phone.host_page.eval("BitcallWebphone.hangup()").await;
    far.event("CALL_CLOSED").await;
    phone.event("callEnded", 1).await;
    assert_eq!(phone.events("callEnded").await.len(), 1);
}

/// Whether this browser puts any page with a shared worker in that cache at all; Chromium began it after 150.
async fn keeps_pages_with_workers(browser: &Browser) -> bool {
    let host = Host::start([("/", WORKER_PAGE), ("/worker.js", ""), ("/elsewhere", "")]).await;
    let page = browser.open(&host.url("/")).await;
    page.until("window.shown").await;
    page.goes_to(&host.url("/elsewhere")).await;
    page.goes_back().await;
    let shown = page.until("location.pathname === '/' && window.shown").await;
    page.close().await;
    shown == 2
}
