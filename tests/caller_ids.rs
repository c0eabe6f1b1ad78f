//! Caller IDs of a person: added, chosen and deleted in the settings, and chosen at the dialler.

use crate::rig::office::Office;

const CHOSEN: &str = "P-Asserted-Identity: <sip:+15550100200@sip.test>";

/// Calls, by hand or by this expression of the host page. The INVITE.
async fn invite(office: &Office, script: Option<&str>) -> String {
    let Office { phone, b2bua, .. } = office;
    let ended = phone.events("callEnded").await.len();
    if let Some(script) = script {
        phone.host_page.eval(script).await;
    } else {
        phone.frame.click("tab", "Keypad").await;
        phone.dial("201").await;
    }
    phone.event("callAnswered", ended + 1).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(ended + 1).await;
    b2bua.received(&["INVITE sip:201"]).pop().unwrap()
}

#[tokio::test]
async fn a_chosen_caller_id_is_sent_and_remembered_and_the_host_page_overrides_it_once() {
    let mut office = Office::open().await;
    let _anna = office.b2bua.far_end("201", "Anna", 900);
    let own = invite(&office, None).await;
    assert!(!own.contains("P-Asserted-Identity") && !own.contains("Privacy"), "{own}");

    let frame = &office.phone.frame;
    frame.click("tab", "Settings").await;
    frame.fill("textbox", "New caller ID", "1+2").await;
    frame.click("button", "Add").await;
    frame.sees("“+” may only stand at the beginning.").await;
    for typed in ["+1 (555) 010-0200", "777"] {
        frame.fill("textbox", "New caller ID", typed).await;
        frame.click("button", "Add").await;
    }
    frame.find("button", "Delete 777").await;
    frame.click("radio", "+1 555 010 0200").await;
    let chosen = invite(&office, None).await;
    assert!(chosen.contains(CHOSEN), "{chosen}");

    let once = invite(&office, Some("BitcallWebphone.call('201', { callerId: '888' })")).await;
    assert!(once.contains("P-Asserted-Identity: <sip:888@sip.test>") && !once.contains(CHOSEN), "{once}");

    office.phone.reload().await;
    office.phone.ready().await;
    let frame = &office.phone.frame;
    frame.sees("+1 555 010 0200").await;
    let again = invite(&office, Some("BitcallWebphone.call('201')")).await;
    assert!(again.contains(CHOSEN), "{again}");

    // At the dialler.
    frame.click("button", "Calling as").await;
    frame.pressed("+1 555 010 0200", true).await;
    frame.click("button", "Private").await;
    frame.gone("button", "Account and caller IDs").await;
    frame.sees("Private").await;
    let private = invite(&office, None).await;
    assert!(private.contains("Privacy: id") && !private.contains("5550100200"), "{private}");

    // Without the chosen one, calls are made with that of the account.
    frame.click("tab", "Settings").await;
    frame.click("radio", "777").await;
    frame.click("button", "Delete 777").await;
    frame.gone("radio", "777").await;
    let own = invite(&office, None).await;
    assert!(!own.contains("P-Asserted-Identity") && !own.contains("Privacy"), "{own}");
}
