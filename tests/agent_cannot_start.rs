//! A phone that cannot start says so.

use thirtyfour::bidi::BiDi;

use crate::rig::desk::{Desk, Office};

/// Before every document's own scripts.
async fn break_agent(bidi: &BiDi, script: &str) {
    bidi.script().add_preload_script(script).await.unwrap();
}

const SAID: &str = "The phone could not start. Reload the page.";

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
