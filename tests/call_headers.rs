//! What a call's header fields say: to and from the host page, for whom the caller called, and that it is to be answered by
//! itself.

use serde_json::json;

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn a_host_page_sets_header_fields_of_a_call_and_no_others() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    let call = |headers: &str| format!("BitcallWebphone.call('{}', {{ headers: {headers} }})", far.number);
    for (n, headers) in ["{ Via: 'SIP/2.0/WSS x' }", "{ 'X-A': 'a\\r\\nVia: SIP/2.0/WSS x' }"].iter().enumerate() {
        phone.host_page.eval(&call(headers)).await;
        phone.host_page.until(&format!("faults.filter((fault) => fault.code === 'BAD_HEADERS').length > {n}")).await;
    }
    assert!(phone.events("callStarted").await.is_empty());
    phone.host_page.eval(&call("{ 'X-Ticket': 42, 'User-to-User': '56a3;encoding=hex' }")).await;
    far.receives(&["INVITE sip:", "X-Ticket: 42", "User-to-User: 56a3;encoding=hex"]).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

#[tokio::test]
async fn an_incoming_call_says_for_whom_it_is_and_gives_its_header_fields_to_the_host_page() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let headers = "X-Queue: 7\nSubject: hello\nDiversion: \"Sales\" <sip:500@sip.test>;reason=no-answer";
    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call", &[("headers", headers)]);
    let incoming = phone.event("callIncoming", 1).await;
    assert_eq!(incoming["headers"], json!({ "X-Queue": "7" }));
    assert_eq!(incoming["divertedFrom"], "Sales");
    phone.frame.sees("for Sales").await;
    phone.frame.click("button", "Answer").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.frame.click("tab", "Recents").await;
    phone.frame.sees("for Sales").await;
}

#[tokio::test]
async fn a_call_is_answered_by_itself_where_its_caller_asks_and_the_tenant_allows_it() {
    let settings = json!({ "behavior": { "calls": { "autoAnswer": true } } });
    let test_bed = TestBed::open_with(&[], settings).await;
    let phone = test_bed.open_phone().await;
    // Browsers give no sound, and so no tone, before a gesture.
    phone.frame.click("tab", "Keypad").await;
    let headers = "Call-Info: <sip:gate.test>;answer-after=0";
    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call", &[("headers", headers)]);
    phone.event("callAnswered", 1).await;
    phone.frame.sees("Answered automatically").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
