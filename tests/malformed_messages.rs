//! Malformed messages from the SIP server.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::TestBed;

#[tokio::test]
async fn malformed_messages_from_the_server_are_dropped_and_calls_go_on() {
    let test_bed = TestBed::open().await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(json!({ "wss": tap.url() })).await;
    let phone = test_bed.open_phone().await;

    let long = format!("INVITE sip:a SIP/2.0\r\nSubject: {}\r\n\r\n", "x".repeat(60_000));
    let frames = [
        "",
        "\r\n\r\n",
        "\0",
        "hello",
        "SIP/2.0",
        "SIP/2.0 999999999999 \r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/WS x;branch=z9hG4bKnone\r\nCSeq: 1 REGISTER\r\nCall-ID: x\r\n\r\n",
        "INVITE sip:agent1@sip.test SIP/2.0\r\n\r\n",
        "INVITE sip:agent1@sip.test SIP/2.0\r\nCSeq: 4294967296 INVITE\r\nContent-Length: -1\r\n\r\n",
        "BYE sip:agent1@sip.test SIP/2.0\r\nVia: SIP/2.0/WS a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:c@d>;tag=2\r\nCall-ID: unknown\r\nCSeq: 1 BYE\r\nContent-Length: 99999\r\n\r\n",
        &long,
    ];
    for frame in frames {
        tap.say(Message::text(frame));
    }
    tap.say(Message::binary(vec![0xff, 0xfe, 0x00, 0x80]));
    tap.say(Message::binary((0..=255).collect::<Vec<u8>>()));

    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    for frame in frames {
        tap.say(Message::text(frame));
    }
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.ready().await;
    assert_eq!(phone.events("callIncoming").await.len(), 0, "nobody called");
}
