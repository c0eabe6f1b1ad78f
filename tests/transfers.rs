//! Transfers: to somebody else, after asking first, and by the far end.

use std::time::Duration;

use serde_json::Value;

use crate::rig::baresip::Baresip;
use crate::rig::kamailio::Kamailio;
use crate::rig::sipp::Sipp;
use crate::rig::test_bed::{TestBed, TestPhone};
use crate::rig::wait::within;

/// The phone waits 32 s for the first NOTIFY (64 * T1).
const NO_RESULT_LIMIT: Duration = Duration::from_mins(1);

/// A response of sipp to the request that came last.
fn responds(status: &str) -> String {
    sends(&format!(
        "SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
         Contact: <sip:far@[local_ip]:[local_port]>\nContent-Length: 0\n\n"
    ))
}

/// A request of sipp in the call, which is answered with 200.
fn requests(method: &str, cseq: u32, headers: &str, body: &str) -> String {
    let request = sends(&format!(
        "{method} [next_url] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n[routes]\n\
         Max-Forwards: 70\nFrom:[$to];tag=[call_number]far\nTo:[$from]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n\
         Contact: <sip:far@[local_ip]:[local_port]>\n{headers}Content-Length: [len]\n\n{body}"
    ));
    format!("{request}<recv response=\"200\" />\n")
}

fn notifies(cseq: u32, event: &str, state: &str, status: &str) -> String {
    let headers = format!("Event: {event}\nSubscription-State: {state}\nContent-Type: message/sipfrag;version=2.0\n");
    requests("NOTIFY", cseq, &headers, &format!("SIP/2.0 {status}\n"))
}

fn sends(message: &str) -> String {
    format!("<send><![CDATA[\n\n{message}\n]]></send>\n")
}

/// Takes the call back, and waits for its end.
fn is_resumed() -> String {
    let answer = "SIP/2.0 200 OK\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
                  [last_CSeq:]\nContact: <sip:far@[local_ip]:[local_port]>\nContent-Type: application/sdp\n\
                  Content-Length: [len]\n\nv=0\no=far 1 3 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n\
                  m=audio [media_port] RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\n\
                  a=sendrecv\n";
    format!("<recv request=\"INVITE\" />\n{}<recv request=\"ACK\" />\n{}", sends(answer), is_ended())
}

fn is_ended() -> String {
    format!("<recv request=\"BYE\" />\n{}", responds("200 OK"))
}

/// Opens the transfer of the displayed call and types a number.
async fn types_target(phone: &TestPhone, target: &str) {
    phone.frame.click("button", "Transfer").await;
    phone.frame.fill("textbox", "Phone number", target).await;
}

/// Transfers the displayed call without asking.
async fn transfers(phone: &TestPhone, target: &str) {
    types_target(phone, target).await;
    phone.frame.click("button", "Transfer").await;
}

fn cause(ended: &Value) -> &str {
    ended["cause"].as_str().unwrap()
}

#[tokio::test]
async fn a_call_is_transferred_and_both_others_hear_each_other() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let anna = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    let bert = Baresip::start(&test_bed.kamailio, 4, 1_300, true).await;
    phone.dial(&anna.username).await;
    phone.frame.hears(900).await;
    anna.hears(TestBed::TONE).await;

    transfers(&phone, &bert.username).await;
    let ended = phone.event("callEnded", 1).await;
    assert_eq!(cause(&ended), "Transferred");
    let told = phone.events("transferState").await;
    let statuses: Vec<&str> = told.iter().map(|told| told["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["started", "accepted"]);
    assert_eq!((&told[0]["target"], &told[0]["callId"]), (&"agent4".into(), &ended["callId"]), "{told:?}");
    assert_eq!(told[0]["uri"], format!("sip:agent4@{}", Kamailio::DOMAIN));
    anna.hears(1_300).await;
    bert.hears(900).await;
    phone.ready().await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_transfer_that_is_refused_or_fails_gives_the_call_back() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let accepted = responds("202 Accepted");
    for (steps, said) in [
        (responds("603 Decline"), "204 was not reached: the other side refused the transfer."),
        // Without an id.
        (
            [&*accepted, &notifies(1, "refer", "terminated;reason=noresource", "486 Busy Here")].concat(),
            "204 was not reached: busy.",
        ),
        (
            [
                &*accepted,
                &notifies(1, "refer", "active;expires=60", "180 Ringing"),
                &notifies(2, "refer", "terminated;reason=noresource", "404 Not Found"),
            ]
            .concat(),
            "204 was not reached: number not found.",
        ),
    ] {
        let steps = [steps, is_resumed()].concat();
        let far = Sipp::called_with(&test_bed.kamailio, "answer-and-refer", &[("steps", &steps)]).await;
        phone.dial(&far.number).await;
        phone.frame.hears(TestBed::TONE).await;
        transfers(&phone, "204").await;
        let refer = far.receives(&["REFER sip:"]).await;
        assert!(refer.contains(&format!("Refer-To: <sip:204@{}>", Kamailio::DOMAIN)), "{refer}");
        phone.frame.sees(said).await;
        let failed = phone.events("transferState").await.pop().unwrap();
        assert_eq!((&failed["status"], &failed["message"]), (&"failed".into(), &said.into()), "{failed}");
        phone.frame.hears(TestBed::TONE).await;
        phone.frame.click("button", "Hang up").await;
        far.succeeds().await;
    }
}

#[tokio::test]
async fn a_far_end_that_hangs_up_first_ends_the_call_as_transferred() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let steps = [
        responds("202 Accepted"),
        requests("BYE", 1, "", ""),
        notifies(2, "refer", "terminated;reason=noresource", "200 OK"),
    ]
    .concat();
    let far = Sipp::called_with(&test_bed.kamailio, "answer-and-refer", &[("steps", &steps)]).await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    transfers(&phone, "204").await;
    assert_eq!(cause(&phone.event("callEnded", 1).await), "Transferred");
    far.succeeds().await;
    phone.ready().await;
}

#[tokio::test]
async fn the_person_asks_first_and_talks_with_both_in_turn() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let frame = &phone.frame;
    let anna = Baresip::start(&test_bed.kamailio, 3, 900, true).await;
    let bert = Baresip::start(&test_bed.kamailio, 4, 1_300, true).await;
    phone.dial(&anna.username).await;
    frame.hears(900).await;
    types_target(&phone, &bert.username).await;
    frame.click("button", "Ask first").await;
    frame.hears_only(1_300).await;
    anna.hears_no_more(TestBed::TONE).await;
    frame.click("button", "Switch to agent3").await;
    frame.hears_only(900).await;
    frame.click("button", "Switch to agent4").await;
    frame.hears_only(1_300).await;
    // Bert is not the right one: back to Anna.
    frame.click("button", "Back to agent3").await;
    frame.hears_only(900).await;
    anna.hears(TestBed::TONE).await;
    phone.event("callEnded", 1).await;
}

#[tokio::test]
async fn who_was_asked_first_is_connected_in_the_place_of_the_person() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let steps = [
        responds("202 Accepted"),
        notifies(1, "refer", "active;expires=60", "100 Trying"),
        notifies(2, "refer", "terminated;reason=noresource", "200 OK"),
        is_ended(),
    ]
    .concat();
    let far = Sipp::called_with(&test_bed.kamailio, "answer-and-refer", &[("steps", &steps)]).await;
    let asked = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    types_target(&phone, &asked.number).await;
    phone.frame.click("button", "Ask first").await;
    phone.event("callAnswered", 2).await;
    phone.frame.hears_only(TestBed::TONE).await;
    phone.frame.click("button", "Transfer").await;
    let refer = far.receives(&["REFER sip:"]).await;
    let invite = asked.received(&["INVITE sip:"]).remove(0);
    let call_id = invite.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap().trim();
    let named = format!("<sip:{}@{}?Replaces={call_id}%3Bto-tag%3D", asked.number, Kamailio::DOMAIN);
    assert!(refer.contains(&named), "{named} in {refer}");
    // Both calls end; the far end of the second one does not do it itself.
    for n in 1..=2 {
        assert_eq!(cause(&phone.event("callEnded", n).await), "Transferred");
    }
    far.succeeds().await;
    asked.succeeds().await;
    phone.ready().await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
}

#[tokio::test]
async fn the_far_end_connects_the_person_with_somebody_else() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let mut anna = Baresip::start(&test_bed.kamailio, 3, 900, false).await;
    let bert = Baresip::start(&test_bed.kamailio, 4, 1_300, true).await;
    anna.dials("agent1").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    anna.transfers(&bert.username).await;
    phone.frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
    assert_eq!(cause(&phone.event("callEnded", 1).await), "Transferred");
    phone.frame.sees("agent4").await;
    phone.frame.click("button", "Hang up").await;
    phone.event("callEnded", 2).await;
}

#[tokio::test]
async fn the_person_is_asked_before_a_call_is_connected_with_somebody_else() {
    let settings = serde_json::json!({ "behavior": { "calls": { "referrals": "ask" } } });
    let test_bed = TestBed::open_with(&[], settings).await;
    let phone = test_bed.open_phone().await;
    let mut anna = Baresip::start(&test_bed.kamailio, 3, 900, false).await;
    let bert = Baresip::start(&test_bed.kamailio, 4, 1_300, true).await;
    anna.dials("agent1").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(900).await;
    anna.transfers(&bert.username).await;
    phone.frame.sees("The other side wants to connect you with agent4.").await;
    phone.frame.click("button", "Connect").await;
    phone.frame.hears_only(1_300).await;
    bert.hears(TestBed::TONE).await;
}

#[tokio::test]
async fn a_transfer_without_any_result_gives_the_call_back() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let steps = [responds("202 Accepted"), is_resumed()].concat();
    let far = Sipp::called_with(&test_bed.kamailio, "answer-and-refer", &[("steps", &steps)]).await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    transfers(&phone, "204").await;
    let said = "204 was not reached: the other side did not report a result.";
    within(NO_RESULT_LIMIT, said, async || {
        let text = phone.frame.text().await;
        if text.contains(said) { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(phone.events("transferState").await.pop().unwrap()["status"], "failed");
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.ready().await;
}

#[tokio::test]
async fn an_invite_with_replaces_takes_the_place_of_the_call_on_the_same_screen() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let first = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    let accepted = first.receives(&["SIP/2.0 200"]).await;
    let value = |name: &str| accepted.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let tag = |name: &str| value(name).split(";tag=").nth(1).unwrap();
    let headers = format!(
        "Replaces: {};to-tag={};from-tag={}\n\t\t\tP-Asserted-Identity: \"Clara\" <sip:204@sip.test>",
        value("Call-ID: "),
        tag("To: "),
        tag("From: ")
    );
    let second = Sipp::calls_with(&test_bed.kamailio, "agent1", "call", &[("headers", &headers)]);
    // The server's side ends the replaced call, and no second one rings.
    first.succeeds().await;
    phone.frame.sees("Clara").await;
    phone.frame.hears(TestBed::TONE).await;
    assert_eq!(phone.events("callIncoming").await.len(), 1);
    assert_eq!(phone.events("callEnded").await.len(), 0);
    phone.frame.click("button", "Hang up").await;
    second.succeeds().await;
    phone.event("callEnded", 1).await;
    phone.ready().await;
    assert_eq!(phone.frame.heard().await.unwrap().len(), 0, "no connection is left");
}
