//! An agent or module that cannot start is reported with a remedy.

use thirtyfour::bidi::BiDi;

use crate::rig::fault_proxy::{Fault, FaultProxy};
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone, page, signed_in_as};

/// Before every document's own scripts.
async fn break_agent(bidi: &BiDi, script: &str) {
    bidi.script().add_preload_script(script).await.unwrap();
}

const CANNOT_START_MESSAGE: &str = "The phone could not start. Try again, or reload the page.";

#[tokio::test]
async fn a_missing_or_broken_agent_script_is_shown_with_a_retry() {
    let test_bed = TestBed::open().await;
    // After an upgrade of the server: neither the shared worker nor the page finds the script.
    break_agent(
        test_bed.browser.bidi(),
        "() => {
            const Shared = window.SharedWorker;
            window.SharedWorker = function (url, options) {
                return new Shared(url.replace('worker-', 'gone-'), options);
            };
            const script = Object.getOwnPropertyDescriptor(HTMLScriptElement.prototype, 'src');
            Object.defineProperty(HTMLScriptElement.prototype, 'src', {
                ...script,
                set(url) { script.set.call(this, String(url).replace('worker-', 'gone-')); },
            });
        }",
    )
    .await;
    let gone = TestPhone::open(&test_bed.browser, &test_bed.host.url("/")).await;
    gone.frame.sees(CANNOT_START_MESSAGE).await;

    // The script is there, but its module does not run.
    let test_bed = TestBed::open().await;
    break_agent(
        test_bed.browser.bidi(),
        "() => {
            delete window.SharedWorker;
            crypto.getRandomValues = () => { throw new Error('no randomness'); };
        }",
    )
    .await;
    let broken = TestPhone::open(&test_bed.browser, &test_bed.host.url("/")).await;
    broken.frame.sees(CANNOT_START_MESSAGE).await;
}

#[tokio::test]
async fn an_agent_that_never_answers_times_out() {
    let test_bed = TestBed::open().await;
    break_agent(
        test_bed.browser.bidi(),
        "() => {
            window.SharedWorker = function () {
                const silent = new EventTarget();
                silent.port = new MessageChannel().port1;
                return silent;
            };
        }",
    )
    .await;
    let phone = TestPhone::open(&test_bed.browser, &test_bed.host.url("/")).await;
    phone.frame.sees(CANNOT_START_MESSAGE).await;
}

/// A module that only workers cannot get: the phone goes on without them. One that nobody gets is said,
/// with a button, and the phone works as soon as it is there.
#[tokio::test]
async fn a_wasm_module_that_fails_in_the_worker_falls_back_to_the_page_and_else_offers_a_retry() {
    let test_bed = TestBed::open().await;
    let proxy = FaultProxy::start(&test_bed.bitcall, Fault::ModuleGoneForWorkers).await;
    let (username, password) = Kamailio::subscriber(1);
    let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
    let html = page(&test_bed.bitcall, &fields).replace(test_bed.bitcall.origin(), &proxy.origin());
    let host = Host::start([("/", html)]).await;
    test_bed.bitcall.allow(&host.origin()).await;

    let phone = TestPhone::open(&test_bed.browser, &host.url("/")).await;
    phone.ready().await;
    takes_a_call(&test_bed, &phone, "agent1").await;
    phone.host_page.close().await;

    for fault in [Fault::ModuleGone, Fault::ModuleGarbage] {
        proxy.set(fault);
        let phone = TestPhone::open(&test_bed.browser, &host.url("/")).await;
        phone.frame.sees("The phone could not start.").await;
        proxy.set(Fault::None);
        phone.frame.click("button", "Try again").await;
        phone.ready().await;
        takes_a_call(&test_bed, &phone, "agent1").await;
        phone.host_page.close().await;
    }
}

async fn takes_a_call(test_bed: &TestBed, phone: &TestPhone, user: &str) {
    let far = Sipp::calls(&test_bed.kamailio, user, "call");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
