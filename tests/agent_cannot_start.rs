//! A phone that cannot start says so.

use thirtyfour::bidi::BiDi;

use crate::rig::desk::{Desk, Office, page, signed_in_as};
use crate::rig::faulty::{Fault, Faulty};
use crate::rig::host::Host;
use crate::rig::kamailio::Kamailio;
use crate::rig::sipp::Sipp;

/// Before every document's own scripts.
async fn break_agent(bidi: &BiDi, script: &str) {
    bidi.script().add_preload_script(script).await.unwrap();
}

const SAID: &str = "The phone could not start. Try again, or reload the page.";

#[tokio::test]
async fn an_agent_whose_script_is_gone_or_broken_is_said() {
    let office = Office::open().await;
    // After an upgrade of the server: neither the shared worker nor the page finds the script.
    break_agent(
        office.browser.bidi(),
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
    let gone = Desk::open(&office.browser, &office.host.url("/")).await;
    gone.phone.sees(SAID).await;

    // The script is there, but its module does not run.
    let office = Office::open().await;
    break_agent(
        office.browser.bidi(),
        "() => {
            delete window.SharedWorker;
            crypto.getRandomValues = () => { throw new Error('no randomness'); };
        }",
    )
    .await;
    let broken = Desk::open(&office.browser, &office.host.url("/")).await;
    broken.phone.sees(SAID).await;
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_given_up() {
    let office = Office::open().await;
    break_agent(
        office.browser.bidi(),
        "() => {
            window.SharedWorker = function () {
                const silent = new EventTarget();
                silent.port = new MessageChannel().port1;
                return silent;
            };
        }",
    )
    .await;
    let desk = Desk::open(&office.browser, &office.host.url("/")).await;
    desk.phone.sees(SAID).await;
}

/// A module that only workers cannot get: the phone goes on without them. One that nobody gets is said,
/// with a button, and the phone works as soon as it is there.
#[tokio::test]
async fn a_module_that_does_not_load_is_done_without_or_tried_again() {
    let office = Office::open().await;
    let proxy = Faulty::before(&office.bitcall, Fault::GoneForWorkers).await;
    let (username, password) = Kamailio::subscriber(1);
    let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
    let html = page(&office.bitcall, &fields).replace(office.bitcall.origin(), &proxy.origin());
    let host = Host::start([("/", html)]).await;
    office.bitcall.allow(&host.origin()).await;

    let desk = Desk::open(&office.browser, &host.url("/")).await;
    desk.ready().await;
    takes_a_call(&office, &desk, "agent1").await;
    desk.page.close().await;

    for fault in [Fault::Gone, Fault::Garbage] {
        proxy.set(fault);
        let desk = Desk::open(&office.browser, &host.url("/")).await;
        desk.phone.sees("The phone could not start.").await;
        proxy.set(Fault::None);
        desk.phone.click("button", "Try again").await;
        desk.ready().await;
        takes_a_call(&office, &desk, "agent1").await;
        desk.page.close().await;
    }
}

async fn takes_a_call(office: &Office, desk: &Desk, user: &str) {
    let far = Sipp::calls(&office.kamailio, user, "call");
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
