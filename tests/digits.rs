//! Digits pressed in a call arrive, by the way that the tenant chose.

use serde_json::json;

use crate::rig::baresip::Baresip;
use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

/// Name of the key, and what the far end gets.
const DIGITS: [(&str, &str); 4] = [("1", "1"), ("9", "9"), ("Star", "*"), ("Hash", "#")];

/// Presses the digits on the keypad of the call.
async fn press(phone: &crate::rig::view::View) {
    phone.click("button", "Keypad").await;
    for (key, _) in DIGITS {
        phone.click("button", key).await;
    }
}

/// RFC 4733 `telephone-event`, decoded by a softphone of another make.
#[tokio::test]
async fn digits_travel_in_the_media() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let mut far = Baresip::start(&office.kamailio, 3, 900, true).await;
    desk.dial("agent3").await;
    desk.phone.hears(900).await;
    press(&desk.phone).await;
    for (_, digit) in DIGITS {
        far.hears_digit(digit).await;
    }
    desk.phone.click("button", "Hang up").await;
    far.event("CALL_CLOSED").await;
}

#[tokio::test]
async fn digits_travel_by_info_when_the_tenant_says_so() {
    let office = Office::open_with(&[], json!({ "sip": { "dtmf": "info" } })).await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;
    press(&desk.phone).await;
    for (_, digit) in DIGITS {
        far.receives(&["INFO sip:", "application/dtmf-relay", &format!("Signal={digit}")]).await;
    }
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
