//! The caller ID and further header fields of a call.

use bitcall_sip::message::{Header, Request, Response};
use bitcall_sip::ua::{CallerIdHeader, Command, Event, InviteOptions};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

fn call(phone: &mut TestUserAgent, call: &str, options: InviteOptions) -> Request {
    phone.command(Command::Invite { call: call.into(), target: "bob".into(), options, sdp: Some(OFFER.into()) });
    phone.request("INVITE")
}

fn caller_id(id: &str) -> InviteOptions {
    InviteOptions { caller_id: Some(id.into()), ..InviteOptions::default() }
}

/// The header field with the caller ID, and its value.
fn presented(invite: &Request) -> (&'static str, String) {
    let names = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];
    let mut found = names.into_iter().filter_map(|name| Some((name, invite.value(name)?.to_owned())));
    let first = found.next();
    assert!(found.next().is_none(), "two of them");
    first.unwrap_or_else(|| ("From", invite.from().unwrap().uri_text.to_owned()))
}

/// Refuses the INVITE and takes the next one, if there is one.
fn refused(
    phone: &mut TestUserAgent,
    invite: &Request,
    status: u16,
    fill: impl FnOnce(&mut Response),
) -> Option<Request> {
    phone.reply(invite, status, fill);
    phone.request("ACK");
    (!phone.has_ended()).then(|| phone.request("INVITE"))
}

#[test]
fn a_refused_caller_id_is_sent_in_the_next_header_field_each_once() {
    let mut phone = TestUserAgent::registered();
    let first = call(&mut phone, "c", caller_id("+15550100"));
    assert_eq!(presented(&first), ("P-Asserted-Identity", "<sip:+15550100@acme.test>".into()));
    let second = refused(&mut phone, &first, 403, |_| {}).unwrap();
    assert_eq!(presented(&second), ("P-Preferred-Identity", "<sip:+15550100@acme.test>".into()));
    let third = refused(&mut phone, &second, 433, |_| {}).unwrap();
    assert_eq!(presented(&third).0, "Remote-Party-ID");
    let last =
        refused(&mut phone, &third, 488, |response| response.append(Header::Warning, "399 x \"caller\"")).unwrap();
    assert_eq!(presented(&last), ("From", "sip:+15550100@acme.test".into()));
    let tag = |invite: &Request| invite.from().unwrap().tag().unwrap().to_owned();
    assert_eq!((last.value(Header::CallId), tag(&last)), (first.value(Header::CallId), tag(&first)));
    assert!(refused(&mut phone, &last, 403, |_| {}).is_none());
    assert_eq!(phone.ended("c"), ("Not allowed".into(), Some(403)));
}

#[test]
fn the_header_field_that_a_server_took_is_the_first_one_of_the_next_call() {
    let mut phone = TestUserAgent::with(|config| config.caller_id_header = CallerIdHeader::RemotePartyId);
    phone.register();
    let first = call(&mut phone, "c", caller_id("100"));
    assert_eq!(
        presented(&first),
        ("Remote-Party-ID", "<sip:100@acme.test>;party=calling;privacy=off;screen=no".into())
    );
    let second = refused(&mut phone, &first, 403, |_| {}).unwrap();
    assert_eq!(presented(&second).0, "P-Asserted-Identity");
    phone.reply_sdp(&second, 200, ANSWER);
    phone.request("ACK");
    let next = call(&mut phone, "d", caller_id("200"));
    assert_eq!(presented(&next), ("P-Asserted-Identity", "<sip:200@acme.test>".into()));
}

/// Many servers answer 403 to everything that they do not allow.
#[test]
fn a_bare_403_is_taken_for_the_caller_id_once_for_a_server_and_at_once() {
    // Every form was refused: the next call is not tried again, except where the server says that it is for the caller ID.
    let mut phone = TestUserAgent::registered();
    let mut invite = call(&mut phone, "c", caller_id("100"));
    for _ in 0..3 {
        invite = refused(&mut phone, &invite, 403, |_| {}).unwrap();
    }
    assert!(refused(&mut phone, &invite, 403, |_| {}).is_none());
    phone.ended("c");
    let next = call(&mut phone, "d", caller_id("100"));
    assert!(refused(&mut phone, &next, 403, |_| {}).is_none());
    phone.ended("d");
    let last = call(&mut phone, "e", caller_id("100"));
    assert!(refused(&mut phone, &last, 403, |response| response.append(Header::Warning, "399 x \"caller\"")).is_some());

    // The server has taken a caller ID before.
    let mut phone = TestUserAgent::registered();
    let invite = call(&mut phone, "c", caller_id("100"));
    phone.reply_sdp(&invite, 200, ANSWER);
    phone.request("ACK");
    let next = call(&mut phone, "d", caller_id("100"));
    assert!(refused(&mut phone, &next, 403, |_| {}).is_none());

    // It rang.
    let mut phone = TestUserAgent::registered();
    let invite = call(&mut phone, "c", caller_id("100"));
    phone.reply(&invite, 180, |_| {});
    assert!(refused(&mut phone, &invite, 403, |_| {}).is_none());

    // The person waits already.
    let mut phone = TestUserAgent::registered();
    let invite = call(&mut phone, "c", caller_id("100"));
    phone.reply(&invite, 100, |_| {});
    phone.wait(2_500);
    assert!(refused(&mut phone, &invite, 403, |_| {}).is_none());
}

#[test]
fn the_header_field_of_an_earlier_session_comes_first_and_a_new_one_is_told() {
    let server = "wss://edge.test";
    let mut phone = TestUserAgent::with(|config| {
        config.servers = vec![server.into()];
        config.caller_id_headers = vec![(server.into(), CallerIdHeader::RemotePartyId)];
    });
    phone.register();
    let invite = call(&mut phone, "c", caller_id("100"));
    assert_eq!(presented(&invite).0, "Remote-Party-ID");
    let next = refused(&mut phone, &invite, 433, |_| {}).unwrap();
    phone.reply_sdp(&next, 200, ANSWER);
    phone.request("ACK");
    phone.emits(&Event::CallerIdTaken { server: server.into(), header: CallerIdHeader::PAssertedIdentity });
    let again = call(&mut phone, "d", caller_id("100"));
    phone.reply_sdp(&again, 200, ANSWER);
    phone.emits_no(|event| matches!(event, Event::CallerIdTaken { .. }));
}

#[test]
fn a_refusal_for_another_reason_is_not_tried_again() {
    for (status, header, value) in
        [(403, "Reason", "Q.850;cause=21"), (486, "X", "x"), (488, "X", "x"), (603, "Warning", "399 x \"y\"")]
    {
        let mut phone = TestUserAgent::registered();
        let invite = call(&mut phone, "c", caller_id("100"));
        assert!(refused(&mut phone, &invite, status, |response| response.append(header, value)).is_none());
    }
    let mut phone = TestUserAgent::registered();
    let invite = phone.invite();
    assert!(refused(&mut phone, &invite, 403, |_| {}).is_none(), "no caller ID was asked for");
}

#[test]
fn a_private_call_asks_the_network_not_to_tell_who_calls() {
    let mut phone = TestUserAgent::registered();
    let invite = call(&mut phone, "c", InviteOptions { is_private: true, ..InviteOptions::default() });
    assert_eq!(invite.value(Header::Privacy), Some("id"));
    assert_eq!(presented(&invite), ("From", "sip:anna@acme.test".into()));
}

#[test]
fn further_header_fields_are_sent_and_cannot_add_others() {
    let mut phone = TestUserAgent::registered();
    let headers = vec![
        ("X-Ticket".to_owned(), "42".to_owned()),
        ("User-to-User".to_owned(), "56a3;encoding=hex\r\nVia: x".to_owned()),
    ];
    let invite = call(&mut phone, "c", InviteOptions { headers, ..InviteOptions::default() });
    assert_eq!(invite.value("X-Ticket"), Some("42"));
    assert_eq!(invite.value("User-to-User"), Some("56a3;encoding=hex  Via: x"));
    assert_eq!(invite.values(Header::Via).count(), 1);
}

#[test]
fn the_header_fields_for_applications_are_told_with_an_incoming_call() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| {
        request.append("x-queue", "Sales");
        request.append("User-to-User", "56a3;encoding=hex");
        request.append("Subject", "not for them");
        request.append("X-Long", &"a".repeat(513));
        for _ in 0..20 {
            request.append("X-Many", "1");
        }
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let told = phone.event(|event| match event {
        Event::Incoming { headers, .. } => Some(headers.clone()),
        _ => None,
    });
    assert_eq!(told.len(), 16);
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["x-queue", "User-to-User", "X-Many"]);
    assert_eq!(told[1].1, "56a3;encoding=hex");
}
