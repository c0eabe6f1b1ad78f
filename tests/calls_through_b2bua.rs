//! The phone pointed at a PBX with the habits of Asterisk 22: it ends every call itself, never transcodes, and makes one DTLS
//! handshake in a dialog.

use std::time::Instant;

use serde_json::json;

use crate::rig::browser::Browser;
use crate::rig::office::Office;
use crate::rig::test_bed::TestPhone;
use crate::rig::wait::until;

/// What the phone's microphone hears.
const TONE: u32 = Office::TONE;
/// What that of the phone on another computer hears.
const OTHER_TONE: u32 = 2_000;
/// How many times the time of opening the page and calling a call may be silent when its page is loaded again. Never, otherwise.
const RELOAD_FACTOR: u32 = 3;
/// How many times the time from the number to early media the sound of the answer may take.
const ANSWER_FACTOR: u32 = 3;

#[tokio::test]
async fn calls_both_ways_have_sound_while_the_server_asks_and_notifies() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    // Nobody has subscribed to it.
    b2bua.receives(1, &["SIP/2.0 200", " NOTIFY\r\n"]).await;
    b2bua.receives(2, &["SIP/2.0 200", " OPTIONS\r\n"]).await;

    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    let asked = b2bua.received(&["SIP/2.0 200", " OPTIONS\r\n"]).len();
    b2bua.receives(asked + 1, &["SIP/2.0 200", " OPTIONS\r\n"]).await;
    anna.refreshes();
    b2bua.receives(1, &["SIP/2.0 200", " UPDATE\r\n", "Session-Expires: 1800"]).await;
    phone.frame.hears(900).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;

    anna.calls();
    phone.frame.sees("Anna").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    anna.hangs_up();
    office.is_quiet_again(2).await;
    assert_eq!(phone.events("unregistered").await.len(), 0);
}

#[tokio::test]
async fn a_placed_call_keeps_its_sound_on_hold_and_after_a_lost_websocket() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;

    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hears_no_more(TONE).await;
    phone.frame.hears_silence().await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;

    let offers = b2bua.received(&["INVITE sip:", "m=audio"]).len();
    b2bua.cut_connections();
    b2bua.receives(offers + 1, &["INVITE sip:", "m=audio"]).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}

/// The codec that a leg moves to is that of the last answer, which therefore keeps the offer's order (RFC 3264 section 6.1).
#[tokio::test]
async fn an_answered_call_keeps_its_sound_on_hold_on_swap_and_after_a_lost_websocket() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    anna.calls();
    frame.click("button", "Answer").await;
    frame.hears(900).await;
    anna.hears(TONE).await;

    frame.click("button", "Hold").await;
    frame.pressed("Hold", true).await;
    anna.hears_no_more(TONE).await;
    frame.click("button", "Hold").await;
    frame.pressed("Hold", false).await;
    frame.hears(900).await;
    anna.hears(TONE).await;

    bert.calls();
    frame.click("button", "Hold & Answer").await;
    frame.hears_only(1_300).await;
    bert.hears(TONE).await;
    anna.hears_no_more(TONE).await;
    frame.click("button", "Switch to Anna").await;
    frame.hears_only(900).await;
    anna.hears(TONE).await;
    bert.hears_no_more(TONE).await;
    frame.click("button", "Switch to Bert").await;
    frame.hears_only(1_300).await;
    bert.hears(TONE).await;
    anna.hears_no_more(TONE).await;
    anna.hangs_up();
    phone.event("callEnded", 1).await;

    let offers = b2bua.received(&["INVITE sip:", "m=audio"]).len();
    b2bua.cut_connections();
    b2bua.receives(offers + 1, &["INVITE sip:", "m=audio"]).await;
    phone.host_page.until("BitcallWebphone.isRegistered()").await;
    frame.hears(1_300).await;
    bert.hears(TONE).await;
    bert.hangs_up();
    office.is_quiet_again(2).await;
}

/// The server keeps its DTLS association and says so, with which the new page can do nothing. It takes an INVITE with `Replaces`.
#[tokio::test]
async fn a_reloaded_page_picks_its_call_up_where_the_server_makes_no_second_dtls_handshake() {
    let mut office = Office::open().await;
    let anna = office.b2bua.far_end("201", "Anna", 900);
    for placed in [true, false] {
        let opening = Instant::now();
        office.phone.reload().await;
        office.phone.ready().await;
        if placed {
            office.phone.dial("201").await;
        } else {
            anna.calls();
            office.phone.frame.click("button", "Answer").await;
        }
        office.phone.frame.hears(900).await;
        anna.hears(TONE).await;
        let opened_and_called = opening.elapsed();

        let reloading = Instant::now();
        office.phone.reload().await;
        office.phone.frame.hears(900).await;
        anna.hears(TONE).await;
        let took = reloading.elapsed();
        let limit = RELOAD_FACTOR * opened_and_called;
        assert!(
            took < limit,
            "sound {took:?} after the reload; opening the page and calling takes {opened_and_called:?}"
        );
        assert_eq!(office.b2bua.calls(), 1, "the old dialog is over");

        office.phone.frame.click("button", "Hang up").await;
        office.phone.ready().await;
        office.phone.frame.gone("button", "Hang up").await;
        assert_eq!(office.b2bua.calls(), 0);
    }
}

/// Another device answers than the one that sent early media, or the same one with other keys.
#[tokio::test]
async fn an_answer_with_other_keys_than_the_early_media_has_sound_both_ways() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    for (n, forked) in [(1, true), (2, false)] {
        let number = format!("20{n}");
        let dora = b2bua.far_end_after_early_media(&number, "Dora", 1_300, 900, forked);
        let calling = Instant::now();
        phone.dial(&number).await;
        phone.frame.hears(900).await;
        let until_early_media = calling.elapsed();

        let answering = Instant::now();
        dora.answers();
        phone.frame.hears(1_300).await;
        dora.hears(TONE).await;
        let took = answering.elapsed();
        assert!(took < ANSWER_FACTOR * until_early_media, "{took:?} after the answer, {until_early_media:?} before it");
        let text = phone.frame.text().await;
        assert!(!text.contains("cannot play"), "{text}");
        phone.frame.click("button", "Hang up").await;
        office.is_quiet_again(n).await;
    }
}

/// A server that lets two devices talk with each other, and passes on that one of them is another one now.
#[tokio::test]
async fn a_far_end_that_moves_to_another_endpoint_is_heard_there() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    anna.moves();
    b2bua.receives(1, &["SIP/2.0 200", " INVITE\r\n"]).await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;

    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    anna.hears_no_more(TONE).await;
    // Also while it is on hold, which stays.
    anna.moves();
    b2bua.receives(2, &["SIP/2.0 200", " INVITE\r\n"]).await;
    anna.hears_no_more(TONE).await;
    phone.frame.plays_nothing().await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
}

/// Asterisk tells its caller about a person's decline by 403 with the cause "call rejected" (RFC 3326).
#[tokio::test]
async fn a_person_who_declines_is_not_a_call_that_is_not_allowed() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let _carl = b2bua.declining_far_end("203", "Carl");
    phone.dial("203").await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(ended["cause"], "Declined", "{ended}");
    phone.frame.sees("Declined").await;
    assert!(!phone.frame.text().await.contains("Not allowed"));
    office.is_quiet_again(1).await;
}

/// Connected line: after a transfer at the other side the call is one with somebody else.
#[tokio::test]
async fn an_update_with_another_identity_changes_who_the_call_is_with() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    anna.calls();
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    phone.frame.sees("Anna").await;

    anna.becomes("Beate Muster", "4711");
    b2bua.receives(1, &["SIP/2.0 200", " UPDATE\r\n"]).await;
    phone.frame.sees("Beate Muster").await;
    phone.frame.sees("4711").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(1).await;
    phone.frame.click("tab", "Recents").await;
    phone.frame.sees("Beate Muster").await;
}

/// `Transfer()` of the dialplan, with the number alone where RFC 3515 wants a URI.
#[tokio::test]
async fn the_server_sends_the_phone_to_another_number() {
    let office = Office::open_with(json!({ "behavior": { "calls": { "referrals": "own-domain" } } })).await;
    let Office { phone, b2bua, .. } = &office;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    phone.dial("201").await;
    phone.frame.hears(900).await;
    anna.transfers_to("202");
    phone.frame.hears_only(1_300).await;
    bert.hears(TONE).await;
    assert_eq!(phone.event("callEnded", 1).await["cause"], "Transferred");
    assert_eq!(b2bua.calls(), 1);
    phone.frame.sees("Bert").await;
    bert.hangs_up();
    office.is_quiet_again(2).await;
}

#[tokio::test]
async fn a_call_is_parked_and_picked_up() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    phone.dial("201").await;
    phone.frame.hears(900).await;
    phone.frame.click("button", "Transfer").await;
    phone.frame.fill("textbox", "Phone number", "700").await;
    phone.frame.click("button", "Transfer").await;
    office.is_quiet_again(1).await;
    phone.dial("701").await;
    phone.frame.hears(900).await;
    anna.hears(TONE).await;
    phone.frame.sees("Anna").await;
    phone.frame.click("button", "Hang up").await;
    office.is_quiet_again(2).await;
}

#[tokio::test]
async fn calls_end_in_words_when_the_server_has_restarted_and_the_phone_calls_again() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    let mut ended = 0;
    for with_a_held_one in [false, true] {
        phone.dial("201").await;
        frame.hears(900).await;
        if with_a_held_one {
            bert.calls();
            frame.click("button", "Hold & Answer").await;
            frame.hears_only(1_300).await;
        }
        b2bua.restarts();
        ended += 1 + usize::from(with_a_held_one);
        office.is_quiet_again(ended).await;
        let last = phone.event("callEnded", ended).await;
        assert_eq!(last["cause"], "The call had ended", "{last}");
    }
    anna.calls();
    frame.click("button", "Answer").await;
    frame.hears(900).await;
    anna.hears(TONE).await;
    frame.click("button", "Hang up").await;
    office.is_quiet_again(ended + 1).await;
}

/// At most one far end hears the person, and is heard, however the calls came about.
#[tokio::test]
async fn only_one_far_end_hears_the_person() {
    let office = Office::open().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let (anna, bert) = (b2bua.ringing_far_end("200", "Anna", 900), b2bua.ringing_far_end("202", "Bert", 1_300));
    let carl = b2bua.far_end_that_refuses_hold("300", "Carl", 1_700);

    // A call that rings at the far end, one that is answered here, and then the first picks up.
    phone.dial("200").await;
    b2bua.receives(1, &["INVITE sip:200"]).await;
    carl.calls();
    frame.click("button", "Hold & Answer").await;
    frame.hears_only(1_700).await;
    carl.hears(TONE).await;
    anna.answers();
    phone.event("callAnswered", 2).await;
    frame.sees("waits on hold").await;
    frame.hears_only(1_700).await;
    carl.hears(TONE).await;
    anna.hears_no_more(TONE).await;

    // Carl's side refuses to be held, and hears nothing of the microphone all the same.
    frame.click("button", "Switch to Anna").await;
    frame.hears_only(900).await;
    anna.hears(TONE).await;
    carl.hears_no_more(TONE).await;
    frame.click("button", "Switch to Carl").await;
    frame.hears_only(1_700).await;
    carl.hears(TONE).await;
    anna.hears_no_more(TONE).await;
    anna.hangs_up();
    carl.hangs_up();
    office.is_quiet_again(2).await;

    // Two calls that ring at once, and both are answered. A second click places no third.
    let invites = b2bua.received(&["INVITE sip:", "Authorization"]).len();
    phone.host_page.eval("['200', '202', '202'].forEach((number) => BitcallWebphone.call(number))").await;
    b2bua.receives(invites + 2, &["INVITE sip:", "Authorization"]).await;
    anna.answers();
    frame.hears_only(900).await;
    anna.hears(TONE).await;
    bert.answers();
    phone.event("callAnswered", 4).await;
    frame.hears_only(900).await;
    anna.hears(TONE).await;
    bert.hears_no_more(TONE).await;
    assert_eq!(b2bua.calls(), 2);
    anna.hangs_up();
    bert.hangs_up();
    office.is_quiet_again(4).await;
}

/// The voice is one over all tabs of the phone.
#[tokio::test]
async fn of_two_pages_with_a_call_each_only_one_talks_and_is_heard() {
    let office = Office::open().await;
    let Office { phone: first, b2bua, .. } = &office;
    let second = office.another_page().await;
    let (anna, bert) = (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300));
    first.dial("201").await;
    first.frame.hears(900).await;
    anna.hears(TONE).await;

    bert.calls();
    second.frame.click("button", "Hold & Answer").await;
    second.frame.hears_only(1_300).await;
    bert.hears(TONE).await;
    first.frame.plays_nothing().await;
    anna.hears_no_more(TONE).await;

    first.frame.click("button", "Switch to Anna").await;
    first.frame.hears_only(900).await;
    anna.hears(TONE).await;
    second.frame.plays_nothing().await;
    bert.hears_no_more(TONE).await;
    anna.hangs_up();
    bert.hangs_up();
    second.event("callEnded", 1).await;
    // For the first page Bert's call was over when the other one answered it.
    office.is_quiet_again(2).await;
}

#[tokio::test]
async fn a_queue_rings_on_all_devices_of_an_account_and_one_has_the_call() {
    let office = Office::open().await;
    let Office { phone: desk, b2bua, .. } = &office;
    let anna = b2bua.far_end("201", "Anna", 900);
    let browser = Browser::start(OTHER_TONE).await;
    b2bua.limits_contacts(1);
    let home = office.page_in(&browser).await;
    home.frame.sees("too many devices").await;
    b2bua.limits_contacts(2);
    home.frame.click("button", "Try now").await;
    home.ready().await;

    anna.calls();
    desk.frame.sees("Anna").await;
    home.frame.sees("Anna").await;
    home.frame.click("button", "Answer").await;
    home.frame.hears(900).await;
    anna.hears(OTHER_TONE).await;
    assert_eq!(desk.event("callEnded", 1).await["cause"], "Answered elsewhere");
    desk.ready().await;
    anna.hangs_up();
    home.event("callEnded", 1).await;
    home.ready().await;

    // Who declines leaves the call to the others.
    anna.calls();
    home.frame.click("button", "Decline").await;
    home.event("callEnded", 2).await;
    desk.frame.click("button", "Answer").await;
    desk.frame.hears(900).await;
    anna.hears(TONE).await;
    anna.hangs_up();
    office.is_quiet_again(2).await;

    // Both take the call at the same moment.
    anna.calls();
    desk.frame.sees("Anna").await;
    home.frame.sees("Anna").await;
    tokio::join!(desk.frame.click("button", "Answer"), home.frame.click("button", "Answer"));
    let ended = async |phone: &TestPhone| phone.events("callEnded").await.len() == 3;
    let (talking, tone, other) =
        until("one phone to have lost the call", async || match (ended(desk).await, ended(&home).await) {
            (false, true) => Ok((desk, TONE, &home)),
            (true, false) => Ok((&home, OTHER_TONE, desk)),
            both => Err(format!("{both:?}")),
        })
        .await;
    talking.frame.hears_only(900).await;
    anna.hears(tone).await;
    other.ready().await;
    other.frame.plays_nothing().await;
    anna.hangs_up();
    office.is_quiet_again(3).await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn end_and_answer_leaves_who_waits_on_hold_waiting() {
    let office = Office::open_on_plan("enterprise", json!({})).await;
    let Office { phone, b2bua, .. } = &office;
    let (anna, bert, carl) =
        (b2bua.far_end("201", "Anna", 900), b2bua.far_end("202", "Bert", 1_300), b2bua.far_end("203", "Carl", 1_700));
    phone.dial("201").await;
    phone.frame.hears(900).await;
    bert.calls();
    phone.frame.click("button", "Hold & Answer").await;
    phone.frame.hears_only(1_300).await;
    carl.calls();
    phone.frame.click("button", "End & Answer").await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!((&ended["number"], b2bua.calls()), (&json!("202"), 2), "{ended}");
    phone.frame.hears_only(1_700).await;
    carl.hears(TONE).await;
    phone.frame.click("button", "Switch to Anna").await;
    phone.frame.hears_only(900).await;
    anna.hears(TONE).await;
    carl.hears_no_more(TONE).await;
}
