//! What becomes of calls when the WebSocket is lost, dead or bad, and that nothing of it leaves the phone stuck.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::rig::baresip::Baresip;
use crate::rig::office::Office;
use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::{TestBed, TestPhone};
use crate::rig::wait::until;

async fn tapped() -> (TestBed, Tap, TestPhone) {
    let test_bed = TestBed::open().await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(json!({ "wss": tap.url() })).await;
    let phone = test_bed.open_phone().await;
    (test_bed, tap, phone)
}

/// Nothing is left, and the phone can be used.
async fn is_free(test_bed: &TestBed, phone: &TestPhone) {
    phone.ready().await;
    phone.frame.find("textbox", "Phone number").await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_talk_and_a_held_call_survive_a_restart_of_the_server() {
    let mut test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let frame = &phone.frame;
    let mut anna = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    let mut bert = Baresip::start(&test_bed.kamailio, 4, 1_300, true).await;
    phone.dial(&anna.username).await;
    frame.hears_only(900).await;
    phone.host_page.eval("BitcallWebphone.call('agent4')").await;
    frame.hears_only(1_300).await;
    anna.hears_no_more(TestBed::TONE).await;

    test_bed.kamailio.stop();
    phone.host_page.until("!BitcallWebphone.isRegistered()").await;
    frame.sees("Reconnecting…").await;
    frame.hears_only(1_300).await;
    test_bed.kamailio.start_again().await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    until("both calls to be reached again", async || {
        let text = frame.text().await;
        if text.contains("Reconnecting") { Err(text) } else { Ok(()) }
    })
    .await;
    frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
    anna.hears_no_more(TestBed::TONE).await;

    frame.click("button", "Hang up").await;
    bert.event("CALL_CLOSED").await;
    frame.pressed("Hold", true).await;
    frame.click("button", "Hold").await;
    frame.hears_only(900).await;
    anna.hears(TestBed::TONE).await;
    frame.click("button", "Hang up").await;
    anna.event("CALL_CLOSED").await;
    phone.event("callEnded", 2).await;
    is_free(&test_bed, &phone).await;
}

#[tokio::test]
async fn a_call_that_was_lost_while_it_rang_rings_again_when_the_server_sends_it_again() {
    let (test_bed, tap, phone) = tapped().await;
    let invites = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&invites);
    tap.edit(move |message| {
        if message.starts_with("INVITE ") {
            seen.lock().unwrap().push(message.to_owned());
        }
        vec![message.to_owned()]
    });
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.find("button", "Answer").await;
    tap.cut();
    phone.event("callEnded", 1).await;
    phone.frame.gone("button", "Answer").await;
    phone.ready().await;

    let invite = invites.lock().unwrap()[0].clone();
    tap.say(Message::text(invite));
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    assert_eq!(phone.events("callIncoming").await.len(), 2);
    phone.event("callEnded", 2).await;
    is_free(&test_bed, &phone).await;
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_and_the_call_goes_on_over_another_one() {
    let (test_bed, tap, phone) = tapped().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    let (opened, _) = tap.connections();
    tap.freeze();
    // The person looks at the page again, which is a reason to check the connection.
    phone.frame.eval("dispatchEvent(new Event('online'))").await;
    until("another connection", async || match tap.connections().0 {
        n if n > opened => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    far.receives(&["INVITE sip:", "CSeq: 2 "]).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    is_free(&test_bed, &phone).await;
}

#[tokio::test]
async fn sound_and_hold_work_over_a_network_that_loses_and_delays_packets() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end_over_unsteady_network("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hears_no_more(Office::TONE).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(900).await;
    anna.hears(Office::TONE).await;
    anna.hangs_up();
    office.is_quiet_again(1).await;
}

/// The computer has moved to another network; its WebSocket still works, so only the media tells.
#[tokio::test]
async fn calls_go_on_by_an_ice_restart_where_the_way_of_their_media_is_gone() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    phone.dial("201").await;
    frame.hears_only(900).await;
    phone.host_page.eval("BitcallWebphone.call('202')").await;
    frame.hears_only(1_300).await;
    bert.hears(Office::TONE).await;

    anna.loses_path();
    bert.loses_path();
    bert.hears_no_more(Office::TONE).await;
    frame.hears_only(1_300).await;
    bert.hears(Office::TONE).await;
    anna.hears_no_more(Office::TONE).await;
    frame.click("button", "Switch to Anna").await;
    frame.hears_only(900).await;
    anna.hears(Office::TONE).await;
    bert.hears_no_more(Office::TONE).await;
    anna.hangs_up();
    bert.hangs_up();
    office.is_quiet_again(2).await;
}

#[tokio::test]
async fn a_far_end_that_hangs_up_a_held_call_leaves_nothing_behind() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hangs_up();
    office.is_quiet_again(1).await;
    phone.frame.find("textbox", "Phone number").await;
}
