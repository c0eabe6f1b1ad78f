//! Texts that the person sends.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, TextMessage, message_failure_text};

use crate::test_user_agent::TestUserAgent;

fn send(phone: &mut TestUserAgent, call: Option<&str>, text: &str) -> Request {
    let message = TextMessage { call: call.map(str::to_owned), target: "200".into(), text: text.into() };
    phone.command(Command::SendMessage(message));
    phone.request("MESSAGE")
}

fn challenge(phone: &mut TestUserAgent, request: &Request) -> Request {
    phone.reply(request, 401, |response| {
        response.append(Header::WwwAuthenticate, "Digest realm=\"acme\", nonce=\"n1\"");
    });
    phone.request("MESSAGE")
}

fn is_answered(phone: &mut TestUserAgent, status: u16) {
    phone.emits(&Event::MessageAnswered { target: "200".into(), status });
}

#[test]
fn a_text_outside_of_a_call_goes_to_the_number_with_credentials_where_they_are_asked_for() {
    let mut phone = TestUserAgent::registered();
    let first = send(&mut phone, None, "Grüße");
    assert_eq!(first.uri_text(), "sip:200@acme.test");
    assert_eq!(first.value(Header::To), Some("<sip:200@acme.test>"));
    assert_eq!(first.content_type(), Some("text/plain"));
    assert_eq!(first.body(), "Grüße".as_bytes());
    let second = challenge(&mut phone, &first);
    assert!(second.has(Header::Authorization));
    assert_eq!(second.body(), "Grüße".as_bytes());
    phone.reply(&second, 202, |_| {});
    is_answered(&mut phone, 202);
    assert_eq!(message_failure_text(202), None);
}

#[test]
fn a_text_within_a_call_is_one_of_its_requests() {
    let mut phone = TestUserAgent::registered();
    let invite = phone.outgoing_call();
    let first = send(&mut phone, Some("c"), "Thank you");
    assert_eq!(first.call_id(), invite.call_id());
    let second = challenge(&mut phone, &first);
    assert_eq!(second.call_id(), invite.call_id());
    assert!(second.cseq().unwrap().number > first.cseq().unwrap().number);
    phone.reply(&second, 200, |_| {});
    is_answered(&mut phone, 200);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
    // After its end the text goes to the number.
    phone.hang_up("c");
    phone.drain();
    assert_ne!(send(&mut phone, Some("c"), "Bye").call_id(), invite.call_id());
}

#[test]
fn each_text_is_reported_once_whatever_becomes_of_it() {
    let mut phone = TestUserAgent::registered();
    for (status, text) in [(404, "Number not found"), (405, "The other side takes no messages"), (486, "Busy")] {
        let request = send(&mut phone, None, "Hello");
        phone.reply(&request, 100, |_| {});
        phone.reply(&request, status, |_| {});
        is_answered(&mut phone, status);
        assert_eq!(message_failure_text(status), Some(text));
    }
    send(&mut phone, None, "No answer");
    phone.wait(32_000);
    is_answered(&mut phone, 408);
    send(&mut phone, None, "The connection is lost");
    phone.lose_connection();
    is_answered(&mut phone, 408);
    phone.drain();
    let message = TextMessage { call: None, target: "200".into(), text: "No connection".into() };
    phone.command(Command::SendMessage(message));
    phone.wait(1);
    is_answered(&mut phone, 408);
    let message = TextMessage { call: None, target: " ".into(), text: "To nobody".into() };
    phone.command(Command::SendMessage(message));
    phone.emits(&Event::MessageAnswered { target: " ".into(), status: 404 });
}
