//! The torture messages of RFC 4475, each with the result that the RFC requires.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bitcall_sip::digest::Credentials;
use bitcall_sip::message::{Contact, Header, Message, MessageErrorKind, Method, ParseError, Request, Response};
use bitcall_sip::uri::Scheme;
use support::torture;

fn bytes(name: &str) -> Vec<u8> {
    torture().into_iter().find(|(other, _)| *other == name).expect(name).1
}

/// A message that the RFC calls valid: it passes validation and is written unchanged.
fn accepted(name: &str) -> Message {
    let bytes = bytes(name);
    let message = Message::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    message.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(bytes.starts_with(&message.to_bytes()), "{name}");
    message
}

fn request(name: &str) -> Request {
    match accepted(name) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("{name} is a request"),
    }
}

fn response(name: &str) -> Response {
    match accepted(name) {
        Message::Response(response) => response,
        Message::Request(_) => panic!("{name} is a response"),
    }
}

/// A request that is refused: the kind of error, its header field, and the response.
fn refused(name: &str) -> (MessageErrorKind, Option<Header>, Response) {
    match Message::parse(&bytes(name)) {
        Ok(Message::Request(request)) => {
            let error = request.validate().expect_err(name);
            (error.kind, error.header, request.error_response(&error).expect(name))
        }
        Ok(Message::Response(_)) => panic!("{name} is a request"),
        Err(error) => (error.error.kind, error.error.header, error.response().expect(name)),
    }
}

/// A request that is refused with 400 because of one header field.
fn bad(name: &str, header: Header) {
    let (kind, error_header, response) = refused(name);
    assert_eq!((kind, error_header, response.status()), (MessageErrorKind::Value, Some(header), 400), "{name}");
}

#[test]
fn all_49_torture_messages_are_loaded() {
    assert_eq!(torture().len(), 49);
}

#[test]
fn wsinv_with_unusual_white_space_is_parsed() {
    let invite = request("wsinv");
    assert_eq!(invite.uri().unwrap().params.get("unknownparam"), Some(""));
    assert_eq!(invite.to().unwrap().tag(), Some("1918181833n"));
    let from = invite.from().unwrap();
    assert_eq!((from.display_name().as_ref(), from.tag()), ("J Rosenberg \\\"", Some("98asjd8")));
    assert_eq!(invite.max_forwards(), Ok(Some(68)));
    assert_eq!(invite.content_length(), Ok(Some(150)));
    assert_eq!(invite.cseq().unwrap().number, 9);
    let vias: Vec<_> = invite.vias().map(Result::unwrap).collect();
    let parsed: Vec<_> = vias.iter().map(|via| (via.transport, via.host, via.branch())).collect();
    assert_eq!(
        parsed,
        [
            ("UDP", "192.0.2.2", Some("390skdjuw")),
            ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8")),
            ("UDP", "192.168.255.111", Some("z9hG4bK30239")),
        ]
    );
    assert_eq!(invite.value(Header::Subject), Some(""));
    assert_eq!(invite.value("NewFangledHeader"), Some("newfangled value continued newfangled value"));
    assert_eq!(invite.value("unknownheaderwithunusualvalue"), Some(";;,,;;,;"));
    let route = invite.routes().next().unwrap().unwrap().uri().unwrap();
    assert!(route.is_loose_router());
    assert_eq!(route.params.get("unknownwith"), Some("value"));
    let contact = invite.contact().unwrap().unwrap();
    assert_eq!(contact.display_name(), "Quoted string \"\"");
    assert_eq!((contact.params.get("newparam"), contact.params.get("secondparam")), (Some("newvalue"), Some("")));
    assert_eq!(contact.q(), 330);
    assert_eq!(invite.body().len(), 150);
}

#[test]
fn intmeth_with_unusual_characters_is_parsed() {
    let request = request("intmeth");
    assert_eq!(request.method(), Method::Other("!interesting-Method0123456789_*+`.%indeed'~"));
    let uri = request.uri().unwrap();
    assert_eq!(uri.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password, Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(uri.host, "example.com");
    assert_eq!(request.via().unwrap().branch(), Some("z9hG4bK-.!%66*_+`'~"));
    assert_eq!(request.to().unwrap().display_name(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    let from = request.from().unwrap();
    assert_eq!(from.display_name(), "token1~` token2'+_ token3*%!.-");
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(from.params.text("fromparam''~+*_!.-%").unwrap(), "работающий");
    assert_eq!(request.call_id(), Ok("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"));
    assert_eq!(request.value("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));
    assert_eq!(request.max_forwards(), Ok(Some(255)));
}

#[test]
fn esc01_escaped_characters_are_not_delimiters() {
    let invite = request("esc01");
    let uri = invite.uri().unwrap();
    assert_eq!((uri.user, uri.host), (Some("sips%3Auser%40example.com"), "example.net"));
    assert_eq!(uri.user_name(), "sips:user@example.com");
    assert_eq!(invite.to().unwrap().uri().unwrap().user_name(), "user");
    assert_eq!(invite.from().unwrap().uri().unwrap().user_name(), "I have spaces");
    let contact = invite.contact().unwrap().unwrap().uri().unwrap();
    assert_eq!(contact.user_name(), "caller");
    // Escaped parameter names are not unescaped: %6C%72 is not lr.
    assert!(contact.params.has("%6C%72") && !contact.is_loose_router());
    assert_eq!(contact.params.get("n%61me"), Some("v%61lue%25%34%31"));
}

#[test]
fn escnull_with_escaped_nulls_is_parsed() {
    let register = request("escnull");
    assert_eq!(register.to().unwrap().uri().unwrap().user_name(), "null-\0-null");
    let users: Vec<_> = register.contacts().map(Result::unwrap).collect();
    let [Contact::Address(one), Contact::Address(two)] = users[..] else { panic!("{users:?}") };
    assert_eq!(one.uri().unwrap().user_name(), "\0");
    assert_eq!(two.uri().unwrap().user_name(), "\0\0");
    assert!(!one.uri().unwrap().is_equivalent(&two.uri().unwrap()));
}

#[test]
fn esc02_percent_signs_outside_of_uris_are_not_escapes() {
    let request = request("esc02");
    assert_eq!(request.method(), Method::Other("RE%47IST%45R"));
    assert_eq!(request.to().unwrap().display_name(), "%Z%45");
    assert_eq!(request.contacts().count(), 2);
    assert!(request.has("C%6Fntact"));
}

#[test]
fn lwsdisp_needs_no_space_before_the_angle_bracket() {
    let request = request("lwsdisp");
    let from = request.from().unwrap();
    assert_eq!((from.display_name().as_ref(), from.uri_text), ("caller", "sip:caller@example.com"));
}

#[test]
fn longreq_with_long_values_is_parsed() {
    let invite = request("longreq");
    assert_eq!(invite.vias().flatten().count(), 34);
    assert_eq!(invite.via().unwrap().host, "sip33.example.com");
    assert_eq!(invite.to().unwrap().display_name().len(), 22 + 70 + 11);
    assert_eq!(invite.to().unwrap().uri().unwrap().port, Some(6000));
    assert_eq!(invite.from().unwrap().tag().unwrap().len(), 2 + 150 + 3);
    assert_eq!(invite.call_id().unwrap().len(), 11 + 120 + 10);
    assert_eq!(invite.body().len(), 150);
}

#[test]
fn dblreq_ends_where_its_content_length_says() {
    let register = request("dblreq");
    assert_eq!((register.method(), register.body()), (Method::Register, &b""[..]));
    assert!(register.to_bytes().len() < bytes("dblreq").len() / 2);
}

#[test]
fn semiuri_has_a_semicolon_in_its_user_part() {
    let options = request("semiuri");
    let uri = options.uri().unwrap();
    assert_eq!((uri.user, uri.params.as_str()), (Some("user;par=u%40example.net"), ""));
    assert_eq!(uri.user_name(), "user;par=u@example.net");
    assert_eq!(options.items(Header::Accept).count(), 6);
}

#[test]
fn transports_may_be_unknown() {
    let options = request("transports");
    let transports: Vec<_> = options.vias().map(|via| via.unwrap().transport).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

#[test]
fn mpart01_with_a_binary_body_is_parsed() {
    let message = request("mpart01");
    assert_eq!(message.body().len(), 553);
    assert!(message.body().contains(&0));
    assert_eq!(message.content_type(), Some("multipart/mixed"));
}

#[test]
fn unreason_and_noreason_with_unusual_reason_phrases_are_accepted() {
    let unusual = response("unreason");
    assert_eq!(unusual.status(), 200);
    assert_eq!(unusual.reason_phrase(), "= 2**3 * 5**2 но сто девяносто девять - простое");
    let none = response("noreason");
    assert_eq!((none.status(), none.reason_phrase()), (100, ""));
}

#[test]
fn requests_with_a_malformed_header_field_are_refused_with_400() {
    bad("badinv01", Header::Via);
    bad("ncl", Header::ContentLength);
    bad("scalar02", Header::CSeq);
    bad("quotbal", Header::To);
    bad("regbadct", Header::Contact);
    bad("badaspec", Header::To);
    bad("baddn", Header::From);
}

#[test]
fn too_large_numbers_do_not_wrap_around() {
    let Ok(Message::Request(register)) = Message::parse(&bytes("scalar02")) else { panic!() };
    assert_eq!(register.expires(), Some(u32::MAX));
    assert_eq!(register.max_forwards(), Ok(Some(255)));
    assert_eq!(register.contact().unwrap().unwrap().expires(), Some(u32::MAX));
}

#[test]
fn clerr_with_a_truncated_body_is_refused() {
    let (kind, _, response) = refused("clerr");
    assert_eq!((kind, response.status()), (MessageErrorKind::BodyShort, 400));
    assert_eq!(response.call_id(), Ok("clerr.0ha0isndaksdjweiafasdk3"));
}

#[test]
fn malformed_request_lines_are_refused_with_400() {
    for (name, expected) in [
        ("ltgtruri", MessageErrorKind::RequestUri),
        ("lwsruri", MessageErrorKind::RequestUri),
        ("lwsstart", MessageErrorKind::RequestUri),
        ("trws", MessageErrorKind::StartLine),
        ("escruri", MessageErrorKind::RequestUri),
    ] {
        let (kind, _, response) = refused(name);
        assert_eq!((kind, response.status()), (expected, 400), "{name}");
        assert!(response.call_id().unwrap().starts_with(name), "{name}");
    }
}

#[test]
fn baddate_is_accepted_because_date_is_not_used() {
    // §3.1.2.12: an element should refuse it only if it needs Date.
    assert_eq!(request("baddate").value(Header::Date), Some("Fri, 01 Jan 2010 16:00:00 EST"));
}

#[test]
fn badvers_is_refused_with_505() {
    let (kind, _, response) = refused("badvers");
    assert_eq!((kind, response.status()), (MessageErrorKind::Version, 505));
}

#[test]
fn a_cseq_method_that_differs_is_refused_with_400() {
    for name in ["mismatch01", "mismatch02"] {
        let (kind, _, response) = refused(name);
        assert_eq!((kind, response.status()), (MessageErrorKind::MethodMismatch, 400), "{name}");
    }
}

#[test]
fn malformed_responses_are_dropped() {
    let ParseError { error, request } = Message::parse(&bytes("bigcode")).unwrap_err();
    assert_eq!((error.kind, request.is_none()), (MessageErrorKind::StatusCode, true));
    let scalarlg = Message::parse(&bytes("scalarlg")).unwrap();
    assert_eq!(scalarlg.validate().unwrap_err().header, Some(Header::CSeq));
    assert!(scalarlg.headers().retry_after().is_err());
}

#[test]
fn badbranch_with_only_the_magic_cookie_is_accepted() {
    assert_eq!(request("badbranch").via().unwrap().branch(), Some("z9hG4bK"));
}

#[test]
fn insuf_without_required_header_fields_is_answered_with_400() {
    let (kind, header, response) = refused("insuf");
    assert_eq!((kind, header, response.status()), (MessageErrorKind::Missing, Some(Header::CallId), 400));
    assert_eq!(response.via().unwrap().branch(), Some("z9hG4bKkdj.insuf"));
}

#[test]
fn unknown_schemes_of_the_request_uri_are_answered_with_416() {
    for (name, scheme) in [("unkscm", "nobodyKnowsThisScheme"), ("novelsc", "soap.beep")] {
        let request = request(name);
        assert_eq!(request.uri().unwrap().scheme, Scheme::Other(scheme));
        let error = request.sip_uri().unwrap_err();
        assert_eq!(request.error_response(&error).unwrap().status(), 416);
    }
}

#[test]
fn unksm2_with_unknown_schemes_in_from_and_to_is_accepted() {
    let register = request("unksm2");
    assert_eq!(register.to().unwrap().uri().unwrap().scheme, Scheme::Other("isbn"));
    assert_eq!(register.from().unwrap().uri().unwrap().scheme, Scheme::Other("http"));
    assert_eq!(register.contact().unwrap().unwrap().uri().unwrap().rest, "John_Smith");
    assert!(register.sip_uri().is_ok());
}

#[test]
fn bext01_is_answered_with_420_and_unsupported() {
    let options = request("bext01");
    assert_eq!(
        options.unsupported(Header::Require, &["path", "NothingSupportsThis"]).as_deref(),
        Some("nothingSupportsThisEither")
    );
    assert_eq!(
        options.unsupported(Header::ProxyRequire, &[]).as_deref(),
        Some("noProxiesSupportThis, norDoAnyProxiesSupportThis")
    );
    assert_eq!(request("sdp01").unsupported(Header::Require, &[]), None);
}

#[test]
fn the_media_types_of_invut_and_sdp01_are_parsed() {
    let invite = request("invut");
    assert_eq!((invite.content_type(), invite.body().len()), (Some("application/unknownformat"), 40));
    assert!(!request("sdp01").lists(Header::Accept, "application/sdp"));
}

#[test]
fn regaut01_with_an_unknown_scheme_has_no_credentials() {
    let register = request("regaut01");
    assert!(register.values(Header::Authorization).all(|value| Credentials::parse(value).is_none()));
}

#[test]
fn repeated_single_header_fields_are_refused_with_400() {
    for (name, repeated) in [("multi01", Header::CSeq), ("mcl01", Header::ContentLength)] {
        let (kind, header, response) = refused(name);
        assert_eq!((kind, header, response.status()), (MessageErrorKind::Repeated, Some(repeated), 400), "{name}");
    }
}

#[test]
fn bcast_with_a_broadcast_via_is_accepted() {
    // A user agent drops it, because the response has more than one Via (RFC 3261 §8.1.3.3).
    let response = response("bcast");
    assert_eq!(response.vias().count(), 2);
    assert_eq!(response.vias().nth(1).unwrap().unwrap().host, "255.255.255.255");
}

#[test]
fn zeromf_is_not_forwarded() {
    let mut options = request("zeromf");
    assert_eq!(options.decrement_max_forwards(), None);
    assert_eq!(options.to_bytes(), bytes("zeromf"));
}

#[test]
fn contact_parameters_are_distinct_from_uri_parameters() {
    let register = request("cparam01");
    let contact = register.contact().unwrap().unwrap();
    assert!(contact.params.has("unknownparam") && !contact.uri().unwrap().params.has("unknownparam"));
    let register = request("cparam02");
    let contact = register.contact().unwrap().unwrap();
    assert!(!contact.params.has("unknownparam") && contact.uri().unwrap().params.has("unknownparam"));
}

#[test]
fn regescrt_with_a_header_field_in_the_contact_uri_is_parsed() {
    let register = request("regescrt");
    let uri = register.contact().unwrap().unwrap().uri().unwrap();
    assert_eq!(uri.headers, "Route=%3Csip:sip.example.com%3E");
}

#[test]
fn inv2543_of_an_rfc_2543_client_is_accepted() {
    let invite = request("inv2543");
    assert_eq!(invite.via().unwrap().branch(), None);
    assert_eq!(invite.from().unwrap().tag(), None);
    assert_eq!(invite.to().unwrap().uri_text, "sip:+16505552222@ss1.example.net");
    assert_eq!((invite.contact(), invite.max_forwards()), (Ok(None), Ok(None)));
    assert!(!invite.body().is_empty());
}
