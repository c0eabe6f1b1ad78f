//! Invariants that hold for any input bytes. Shared by the property tests and the fuzz target.

use bitcall_sip::digest::{Credentials, challenges};
use bitcall_sip::message::{Contact, Header, Headers, Message, Method, Request};
use bitcall_sip::uri::Uri;

const VIA: &str = "SIP/2.0/WSS edge.invalid;branch=z9hG4bKedge";
const ROUTE: &str = "<sip:edge.invalid;lr>";

/// Panics if an invariant does not hold.
pub fn check_invariants(input: &[u8]) {
    let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    match Message::parse(input) {
        Ok(message) => {
            let bytes = message.to_bytes();
            assert!(input[skipped..].starts_with(&bytes), "a parsed message is written unchanged");
            let reparsed = Message::parse(&bytes).expect("a written message can be parsed");
            assert_eq!(reparsed.to_bytes(), bytes);
            assert_eq!(reparsed.validate(), message.validate(), "a written message has the same validity");
            call_all_accessors(message.headers());
            let usable = message.validate().is_ok();
            match message {
                Message::Request(request) => {
                    forward(&request, &bytes);
                    answer(&request, usable);
                }
                Message::Response(mut response) => {
                    assert!((100..=699).contains(&response.status()));
                    // A proxy removes its own Via and leaves the rest unchanged.
                    response.push_via(VIA);
                    response.pop_via();
                    assert_eq!(response.to_bytes(), bytes);
                }
            }
        }
        Err(error) => {
            assert!(error.error.offset as usize <= input.len().max(1));
            assert!(!error.to_string().is_empty() && !error.error.reason().contains(['\r', '\n']));
            if let Some(response) = error.response() {
                assert_parses(&response.to_bytes());
            }
        }
    }
}

/// No accessor panics, for any header field values.
fn call_all_accessors(headers: &Headers) {
    let _ = (headers.via(), headers.from(), headers.to(), headers.call_id(), headers.cseq());
    let _ = (headers.max_forwards(), headers.expires(), headers.min_expires(), headers.retry_after());
    let _ = (headers.session_expires(), headers.min_se(), headers.rseq(), headers.rack());
    let _ = (headers.content_type(), headers.content_length(), headers.reasons().count());
    for via in headers.vias().flatten() {
        let _ = (via.branch(), via.received(), via.rport(), via.maddr());
    }
    for contact in headers.contacts().flatten() {
        if let Contact::Address(address) = contact {
            let _ = (address.display_name(), address.tag(), address.expires(), address.q());
            uri(address.uri_text);
        }
    }
    for header in [Header::Route, Header::RecordRoute, Header::Path, Header::ServiceRoute, Header::From] {
        for address in headers.addresses(header).flatten() {
            uri(address.uri_text);
        }
    }
    for (_, value) in headers.iter() {
        assert!(!value.contains(['\r', '\n']), "a value is one line");
        let _ = challenges(value).count();
        let _ = Credentials::parse(value);
        uri(value);
    }
}

fn uri(text: &str) {
    if let Ok(uri) = Uri::parse(text) {
        let _ = (uri.user_name(), uri.transport(), uri.is_loose_router());
        let written = uri.to_string();
        let reparsed = Uri::parse(&written).expect("a written URI can be parsed");
        assert!(uri.is_equivalent(&reparsed) && reparsed.is_equivalent(&uri), "{text} and {written} are the same");
    }
}

/// The changes of a proxy affect no other lines.
fn forward(request: &Request, bytes: &[u8]) {
    let mut pushed = request.clone();
    pushed.push_via(VIA);
    assert_eq!(pushed.via().ok().and_then(|via| via.branch()), Some("z9hG4bKedge"));
    pushed.pop_via();
    assert_eq!(pushed.to_bytes(), bytes);

    let mut changed = request.clone();
    changed.push_via(VIA);
    changed.push_record_route(ROUTE);
    changed.stamp_via(([192, 0, 2, 9], 5060).into());
    changed.push_route(ROUTE);
    changed.set_uri("sip:a@b;transport=ws");
    let hops = request.max_forwards();
    let left = changed.decrement_max_forwards();
    assert_eq!(left.is_none(), matches!(hops, Ok(Some(0)) | Err(_)));
    let Ok(Message::Request(changed)) = Message::parse(&changed.to_bytes()) else {
        panic!("a forwarded request can be read")
    };
    assert_eq!((changed.method(), changed.uri_text()), (request.method(), "sip:a@b;transport=ws"));
    assert_eq!(changed.body(), request.body());
    let rest = |request: &Request| {
        let ours = [Header::Via, Header::RecordRoute, Header::Route, Header::MaxForwards];
        let mut kept = request.clone();
        for header in ours {
            kept.remove(header);
        }
        kept.set_uri("sip:same");
        kept.to_bytes()
    };
    assert_eq!(rest(&changed), rest(request), "all other lines are unchanged");
}

fn answer(request: &Request, usable: bool) {
    let response = request.response(200, "OK", Some("t"));
    assert_parses(&response.to_bytes());
    if usable {
        assert_eq!(response.validate(), Ok(()));
        assert_eq!(response.call_id(), request.call_id());
        assert_eq!(response.vias().count(), request.vias().count());
        assert!(response.to().is_ok_and(|to| to.tag().is_some()));
    } else if let Err(error) = request.validate() {
        let refusal = request.error_response(&error);
        assert!(refusal.is_none() || request.method() != Method::Ack);
        if let Some(refusal) = refusal {
            assert_parses(&refusal.to_bytes());
        }
    }
}

fn assert_parses(bytes: &[u8]) {
    Message::parse(bytes).expect("a generated message can be parsed");
}
