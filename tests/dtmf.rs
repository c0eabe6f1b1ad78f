//! DTMF by RFC 4733 and by SIP INFO, as the tenant chooses.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::baresip::Baresip;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

/// Name of the key, and what the far end gets.
const DIGITS: [(&str, &str); 4] = [("1", "1"), ("9", "9"), ("Star", "*"), ("Hash", "#")];

/// Presses the digits on the keypad of the call.
async fn press(phone: &crate::rig::browsing_context::BrowsingContext) {
    phone.click("button", "Keypad").await;
    for (key, _) in DIGITS {
        phone.click("button", key).await;
    }
}

/// RFC 4733 `telephone-event`, decoded by a softphone of another make.
#[tokio::test]
async fn dtmf_is_sent_as_telephone_event() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let mut far = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    phone.dial("agent3").await;
    phone.frame.hears(900).await;
    press(&phone.frame).await;
    for (_, digit) in DIGITS {
        far.hears_digit(digit).await;
    }
    phone.frame.click("button", "Hang up").await;
    far.event("CALL_CLOSED").await;
}

#[tokio::test]
async fn dtmf_is_sent_by_info_when_the_tenant_chooses_it() {
    let test_bed = TestBed::open_with(&[], json!({ "sip": { "dtmf": "info" } })).await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    press(&phone.frame).await;
    for (_, digit) in DIGITS {
        far.receives(&["INFO sip:", "application/dtmf-relay", &format!("Signal={digit}")]).await;
    }
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// As Ctrl+V does it.
fn paste(text: &str) -> String {
    format!(
        "(() => {{ const clipboardData = new DataTransfer(); clipboardData.setData('text/plain', '{text}');
         document.body.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData, bubbles: true }})); }})()"
    )
}

#[tokio::test]
async fn digits_with_pauses_are_sent_in_order_and_none_into_a_call_on_hold() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let mut far = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    // Dialled with the number: sent after the answer.
    phone.dial("agent3,1,2;3").await;
    far.hears_digit("1").await;
    let first = Instant::now();
    far.hears_digit("2").await;
    // Without the pause it would be a quarter of a second.
    assert!(first.elapsed() > Duration::from_secs(1), "{:?}", first.elapsed());
    // The key that ends the wait is not sent.
    phone.frame.sees("Press any key to send 3.").await;
    phone.frame.click("button", "9").await;
    far.hears_digit("3").await;

    phone.frame.eval(&paste("4-5")).await;
    far.hears_digit("4").await;
    far.hears_digit("5").await;
    phone.frame.eval(&paste("6 o")).await;
    phone.frame.sees("“o” is not a key of a telephone.").await;

    phone.frame.click("button", "Keypad").await;
    phone.frame.click("button", "Hold").await;
    phone.frame.until("document.querySelector('.state-text').textContent === 'On hold'").await;
    phone.frame.click("button", "Keypad").await;
    phone.frame.click("button", "6").await;
    phone.frame.sees("Digits are not sent: the call is on hold.").await;
    phone.frame.click("button", "Keypad").await;
    phone.frame.click("button", "Hold").await;
    phone.frame.until("document.querySelector('.state-text').textContent === ''").await;
    phone.frame.click("button", "Keypad").await;
    phone.frame.click("button", "7").await;
    far.hears_digit("7").await;
    assert_eq!(phone.frame.eval("document.querySelector('.sent-digits').textContent").await, "123457");
    phone.frame.click("button", "Hang up").await;
    far.event("CALL_CLOSED").await;
}
