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
    let pages = (1..=5).map(|n| {
        let (username, password) = Kamailio::subscriber(n);
        let fields = signed_in_as(&username, Kamailio::DOMAIN, &password);
        (format!("/agent{n}"), page(&office.bitcall, &fields).replace(office.bitcall.origin(), &proxy.origin()))
    });
    let host = Host::start(pages).await;
    office.bitcall.allow(&host.origin()).await;

    let desk = Desk::open(&office.browser, &host.url("/agent1")).await;
    desk.ready().await;
    takes_a_call(&office, &desk, "agent1").await;

    // Another person for every round: an agent that runs already needs no module.
    let recovers = async |user: &str, fault: Fault| {
        proxy.set(fault);
        let desk = Desk::open(&office.browser, &host.url(&format!("/{user}"))).await;
        desk.phone.sees(SAID).await;
        desk.phone.click("button", "Try now").await;
        desk.phone.sees(SAID).await;
        proxy.set(Fault::None);
        desk.phone.click("button", "Try now").await;
        desk.ready().await;
        takes_a_call(&office, &desk, user).await;
    };
    recovers("agent2", Fault::Gone).await;
    recovers("agent3", Fault::Garbage).await;
    break_agent(office.browser.bidi(), "() => { delete window.SharedWorker; }").await;
    recovers("agent4", Fault::Gone).await;
    recovers("agent5", Fault::Garbage).await;
}

async fn takes_a_call(office: &Office, desk: &Desk, user: &str) {
    let far = Sipp::calls(&office.kamailio, user, "call");
    desk.phone.click("button", "Answer").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
