//! DTMF by RFC 4733 and by SIP INFO, as the tenant chooses.

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
