//! The SIP edge from outside: phones on web sockets against `bitcall demo`, and
//! the echo by a real ICE, DTLS and SRTP peer over UDP.

#[path = "edge/browser.rs"]
mod browser;
#[path = "edge/demo.rs"]
mod demo;
#[path = "edge/fairness.rs"]
mod fairness;
#[path = "edge/media.rs"]
mod media;
#[path = "edge/sip_client.rs"]
mod sip_client;

use bitcall_sip::message::{Header, Method};

use browser::Browser;
use demo::Demo;
use media::Media;
use serde_json::json;
use sip_client::SipClient;

use crate::installation::{refusal, send};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";

#[tokio::test]
async fn two_extensions_register_call_each_other_and_hang_up() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    let mut bob = SipClient::register(&demo, 1).await;

    let invite = alice.invite(&bob.address(), SDP).await;
    let rings = bob.expect_request(Method::Invite).await;
    assert_eq!(rings.body(), SDP.as_bytes());
    assert!(rings.value(Header::ProxyAuthorization).is_none());
    bob.respond(&rings, 180, "").await;
    assert_eq!(alice.final_or(180, &invite).await.status(), 180);
    bob.respond(&rings, 200, SDP).await;
    let ok = alice.answer_to(&invite).await;
    assert_eq!(ok.status(), 200);
    alice.send_in_dialog(Method::Ack, &ok).await;
    bob.expect_request(Method::Ack).await;

    let bye = alice.send_in_dialog(Method::Bye, &ok).await;
    let request = bob.expect_request(Method::Bye).await;
    bob.respond(&request, 200, "").await;
    assert_eq!(alice.answer_to(&bye).await.status(), 200);
}

#[tokio::test]
async fn a_phone_that_has_signed_in_reports_its_calls_until_its_password_is_changed() {
    let demo = Demo::start().await;
    let origin = demo.url.trim_end_matches('/');
    let address = origin.strip_prefix("http://").unwrap();
    let mut alice = SipClient::connect(&demo, 0).await;
    let registered = alice.try_register().await;
    let session = registered.value("X-Bitcall-Session").unwrap();
    let call = json!({ "callId": "1", "direction": "outbound", "state": "active", "seconds": 1 });
    let report = async |session: &str, client: usize| {
        let body = json!({ "session": session, "clientId": client.to_string(), "sequence": 1, "calls": [call] });
        let headers = [("x-bitcall-key", demo.key.as_str()), ("content-type", "application/json")];
        send(address, "POST", "/api/webphone/live-calls", &headers, &body.to_string()).await.unwrap()
    };
    let mut bob = SipClient::connect(&demo, 1).await;
    let of_bob = bob.try_register().await.value("X-Bitcall-Session").unwrap().to_owned();
    assert_ne!(session, of_bob);
    assert_eq!(refusal(&report(&session.replace(&demo.extensions[0].0, &demo.extensions[1].0), 0).await).0, 403);
    for client in 0..30 {
        assert_eq!(report(session, client).await.status, 200);
    }
    assert_eq!(refusal(&report(session, 30).await), (429, "TOO_MANY_CLIENTS".into()), "one agent has so many pages");
    assert_eq!(report(&of_bob, 0).await.status, 200);

    let reset = json!({ "tenantId": demo.tenant_id, "username": demo.extensions[0].0, "resetPassword": true });
    let headers = [("x-bitcall-panel-key", demo.panel_key.as_str()), ("content-type", "application/json")];
    let answer = send(address, "POST", "/api/tenant/extensions", &headers, &reset.to_string()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(refusal(&report(session, 0).await), (403, "PHONE_SESSION_INVALID".into()));
}

#[tokio::test]
async fn all_devices_ring_and_the_others_get_cancel_with_reason_200() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    let mut phone = SipClient::register(&demo, 1).await;
    let mut mobile = SipClient::register(&demo, 1).await;

    let invite = alice.invite(&phone.address(), SDP).await;
    let on_desk = phone.expect_request(Method::Invite).await;
    let on_mobile = mobile.expect_request(Method::Invite).await;
    mobile.respond(&on_mobile, 180, "").await;
    alice.final_or(180, &invite).await;
    phone.respond(&on_desk, 200, SDP).await;
    assert_eq!(alice.answer_to(&invite).await.status(), 200);
    let cancel = mobile.expect_request(Method::Cancel).await;
    assert!(cancel.value(Header::Reason).unwrap().contains("cause=200"));
}

#[tokio::test]
async fn unregistered_callers_and_wrong_passwords_are_refused() {
    let demo = Demo::start().await;
    let mut bob = SipClient::register(&demo, 1).await;

    let mut stranger = SipClient::connect(&demo, 0).await;
    let invite = stranger.request(Method::Invite, &bob.address());
    stranger.send(&invite).await;
    assert_eq!(stranger.answer_to(&invite).await.status(), 407);

    stranger.password = "wrong".to_owned();
    assert_eq!(stranger.try_register().await.status(), 401);

    let mut alice = SipClient::register(&demo, 0).await;
    let abroad = alice.request(Method::Invite, "sip:bob@example.com");
    assert_eq!(alice.ask(&abroad).await.status(), 403);
    // Bob has heard of none of it: the first that reaches him is this.
    alice.invite(&bob.address(), SDP).await;
    bob.expect_request(Method::Invite).await;
}

#[tokio::test]
async fn a_reset_password_disconnects_whoever_signed_in_by_the_old_one() {
    let demo = Demo::start().await;
    let mut thief = SipClient::register(&demo, 0).await;
    let mut bob = SipClient::register(&demo, 1).await;
    let body = json!({ "tenantId": "demo", "username": demo.extensions[0].0, "resetPassword": true }).to_string();
    let headers = [("x-bitcall-panel-key", demo.panel_key.as_str()), ("content-type", "application/json")];
    let address = demo.url.strip_prefix("http://").unwrap();
    let answer = send(address, "POST", "/api/tenant/extensions", &headers, &body).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(thief.receive().await, None, "closed");
    assert_eq!(bob.try_register().await.status(), 200, "the others stay");
}

#[tokio::test]
async fn malformed_messages_are_answered_and_too_many_close_the_connection() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    alice.send_text("not SIP at all").await;
    alice.send_text("INVITE sip:x SIP/2.0\r\n\r\n").await;
    alice.send_text("\r\n\r\n").await;
    assert_eq!(alice.receive().await.unwrap(), b"\r\n");
    alice.send_text(&"x".repeat(70_000)).await;
    while alice.receive().await.is_some() {}
}

#[tokio::test]
async fn a_websocket_without_the_subprotocol_sip_is_refused() {
    let demo = Demo::start().await;
    assert!(demo.open_socket("sip").await.is_ok());
    assert!(demo.open_socket("chat").await.is_err());
}

#[tokio::test]
async fn the_echo_sends_back_what_it_hears_also_to_a_reloaded_page_until_bye() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    let mut media = Media::bind();

    let invite = alice.invite(&format!("sip:*43@{}", demo.domain), &media.offer()).await;
    let ok = alice.answer_to(&invite).await;
    assert_eq!(ok.status(), 200);
    media.answer(std::str::from_utf8(ok.body()).unwrap());
    alice.send_in_dialog(Method::Ack, &ok).await;
    media.hear_oneself(50).await;

    // A page that was reloaded has a new certificate and continues the same call.
    let mut media = Media::bind();
    let again = alice.offer_in_dialog(&ok, &media.offer()).await;
    let answer = alice.answer_to(&again).await;
    assert_eq!(answer.status(), 200);
    media.answer(std::str::from_utf8(answer.body()).unwrap());
    alice.send_in_dialog(Method::Ack, &ok).await;
    media.hear_oneself(50).await;

    let bye = alice.send_in_dialog(Method::Bye, &ok).await;
    assert_eq!(alice.answer_to(&bye).await.status(), 200);
    media.closed().await;
}

#[tokio::test]
async fn the_echo_offers_an_address_that_a_browser_without_flags_can_use() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    let mut media = Media::bind();
    let invite = alice.invite(&format!("sip:*43@{}", demo.domain), &media.offer()).await;
    let ok = alice.answer_to(&invite).await;
    let sdp = String::from_utf8(ok.body().to_vec()).unwrap();
    let offered: Vec<&str> =
        sdp.lines().filter(|line| line.starts_with("a=candidate:")).filter_map(|line| line.split(' ').nth(4)).collect();
    let own: Vec<String> = if_addrs::get_if_addrs()
        .unwrap()
        .iter()
        .filter(|interface| !interface.is_loopback() && interface.is_oper_up() && !interface.is_link_local())
        .map(|interface| interface.ip().to_string())
        .collect();
    for address in own {
        assert!(offered.contains(&address.as_str()), "{address} in {sdp}");
    }
    assert!(offered.contains(&"127.0.0.1"), "{sdp}");
}

#[tokio::test]
async fn an_ordinary_browser_hears_itself_in_the_echo() {
    let demo = Demo::start().await;
    let mut alice = SipClient::register(&demo, 0).await;
    let browser = Browser::open(&demo.url).await;
    let invite = alice.invite(&format!("sip:*43@{}", demo.domain), &browser.offer().await).await;
    let ok = alice.answer_to(&invite).await;
    assert_eq!(ok.status(), 200);
    browser.answer(std::str::from_utf8(ok.body()).unwrap()).await;
    alice.send_in_dialog(Method::Ack, &ok).await;
    let heard = browser.hear_sound().await;
    assert!(!heard.address.starts_with("127."), "{heard:?}");
    let bye = alice.send_in_dialog(Method::Bye, &ok).await;
    assert_eq!(alice.answer_to(&bye).await.status(), 200);
    browser.close().await;
}
