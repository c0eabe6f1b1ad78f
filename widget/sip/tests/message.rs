//! Parsing, creating and changing messages through the public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitcall_sip::message::{Contact, Header, Message, MessageErrorKind, Method, Request, Response, quote};
use bitcall_sip::uri::{Uri, escape_user};

const INVITE: &str = "INVITE sip:bob@example.com;user=phone SIP/2.0\r\n\
    v: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport, SIP/2.0/UDP 192.0.2.1:5061\r\n\
    VIA : SIP/2.0/TCP [2001:db8::9]:5062;received=192.0.2.7\r\n\
    Max-Forwards:  70 \r\n\
    f: \"A. \\\"Lice\\\" <x>, Jr\" <sip:alice@example.com;x=1>;tag=a1;q=\"a;b\"\r\n\
    To: sip:bob@example.com;tag=b2\r\n\
    i: 1@df7jal23ls0d.invalid\r\n\
    CSeq:\r\n 4711\t \r\n\tINVITE\r\n\
    m: <sip:alice@df7jal23ls0d.invalid;transport=ws;ob>;expires=60;q=0.5,\r\n  <sip:c2@h>\r\n\
    Supported: path , gruu,,outbound\r\n\
    k: 100rel\r\n\
    X-Queue: Sales\r\n\
    Session-Expires: 1800 ; refresher=uac\r\n\
    c: application/sdp ; charset=x\r\n\
    l: 5\r\n\
    \r\nv=0\r\n";

fn request(text: &str) -> Request {
    match Message::parse(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn text(message: &bitcall_sip::message::Headers) -> String {
    String::from_utf8(message.to_bytes()).unwrap()
}

#[test]
fn header_fields_are_parsed_in_any_case_compact_or_folded() {
    let invite = request(INVITE);
    invite.validate().unwrap();
    assert_eq!(invite.method(), Method::Invite);
    assert_eq!(invite.uri().unwrap().user, Some("bob"));
    let vias: Vec<_> = invite.vias().map(Result::unwrap).collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[0], invite.via().unwrap());
    assert_eq!((vias[0].transport, vias[0].host, vias[0].port), ("WSS", "df7jal23ls0d.invalid", None));
    assert_eq!(vias[0].rport(), Some(None));
    assert_eq!((vias[1].port, vias[1].branch()), (Some(5061), None));
    assert_eq!((vias[2].host, vias[2].received()), ("[2001:db8::9]", Some("192.0.2.7")));
    let from = invite.from().unwrap();
    assert_eq!(from.display_name(), "A. \"Lice\" <x>, Jr");
    assert_eq!((from.tag(), from.uri_text), (Some("a1"), "sip:alice@example.com;x=1"));
    assert_eq!(from.params.text("q").unwrap(), "a;b");
    let to = invite.to().unwrap();
    assert_eq!((to.uri_text, to.tag()), ("sip:bob@example.com", Some("b2")));
    assert_eq!(invite.call_id().unwrap(), "1@df7jal23ls0d.invalid");
    assert_eq!(invite.cseq().unwrap().number, 4711);
    assert_eq!(invite.cseq().unwrap().method, Method::Invite);
    assert_eq!(invite.max_forwards().unwrap(), Some(70));
    let contacts: Vec<_> = invite.contacts().map(Result::unwrap).collect();
    let [Contact::Address(first), Contact::Address(second)] = contacts[..] else { panic!() };
    assert_eq!((first.expires(), first.q()), (Some(60), 500));
    assert_eq!(first.uri().unwrap().transport(), Some("ws"));
    assert_eq!((second.uri_text, second.q()), ("sip:c2@h", 1000));
    assert_eq!(invite.contact().unwrap(), Some(first));
    assert!(invite.lists(Header::Supported, "100REL") && invite.lists(Header::Supported, "outbound"));
    assert_eq!(invite.items(Header::Supported).count(), 4);
    assert_eq!(invite.value("x-queue"), Some("Sales"));
    assert_eq!(invite.session_expires().unwrap().unwrap().interval, 1800);
    assert_eq!(invite.content_type(), Some("application/sdp"));
    assert_eq!(invite.body(), b"v=0\r\n");
    assert_eq!(text(&invite), INVITE);
}

#[test]
fn a_proxy_leaves_all_other_lines_unchanged() {
    let mut invite = request(INVITE);
    invite.push_via("SIP/2.0/WSS edge.invalid;branch=z9hG4bKedge");
    invite.push_record_route("<sip:edge.invalid;lr>");
    assert_eq!(invite.decrement_max_forwards(), Some(69));
    invite.set_uri("sip:bob@192.0.2.4:5060;transport=ws");
    invite.remove("X-Queue");
    let expected = INVITE
        .replace("INVITE sip:bob@example.com;user=phone", "INVITE sip:bob@192.0.2.4:5060;transport=ws")
        .replace("v: SIP", "Via: SIP/2.0/WSS edge.invalid;branch=z9hG4bKedge\r\nv: SIP")
        .replace("Max-Forwards:  70 ", "Record-Route: <sip:edge.invalid;lr>\r\nMax-Forwards: 69")
        .replace("X-Queue: Sales\r\n", "");
    assert_eq!(text(&invite), expected);
    assert!(invite.pop_via());
    assert_eq!(invite.via().unwrap().branch(), Some("z9hG4bK56sdasks"));
    assert!(invite.pop_via());
    assert_eq!(invite.via().unwrap().port, Some(5061));
    assert!(invite.pop_via() && invite.pop_via() && !invite.pop_via());
}

#[test]
fn the_source_address_is_added_to_the_topmost_via() {
    let mut invite = request(INVITE);
    invite.stamp_via("198.51.100.3:4444".parse().unwrap());
    let via = invite.via().unwrap();
    assert_eq!((via.received(), via.rport()), (Some("198.51.100.3"), Some(Some(4444))));
    assert_eq!(via.branch(), Some("z9hG4bK56sdasks"));
    assert_eq!(invite.vias().count(), 3);
}

#[test]
fn routes_are_pushed_and_popped_in_order() {
    let mut bye = request(&INVITE.replace("X-Queue: Sales", "Route: <sip:a;lr> , <sip:b;lr>"));
    bye.push_route("<sip:c;lr>");
    assert_eq!(bye.routes().count(), 3);
    for expected in [Some("<sip:c;lr>"), Some("<sip:a;lr>"), Some("<sip:b;lr>"), None] {
        assert_eq!(bye.pop_route().as_deref(), expected);
    }
}

#[test]
fn a_response_copies_the_header_fields_of_rfc_3261_8_2_6() {
    let without_tag = INVITE.replace(";tag=b2", "").replace("X-Queue: Sales", "Record-Route: <sip:e;lr>");
    let response = request(&without_tag).response(180, "Ringing", Some("mine"));
    assert_eq!(response.vias().count(), 3);
    assert_eq!(response.to().unwrap().tag(), Some("mine"));
    assert_eq!(response.cseq().unwrap().number, 4711);
    assert_eq!(response.record_routes().count(), 1);
    let bytes = response.to_bytes();
    let Ok(Message::Response(reparsed)) = Message::parse(&bytes) else { panic!() };
    reparsed.validate().unwrap();
    assert_eq!((reparsed.status(), reparsed.reason_phrase()), (180, "Ringing"));
    assert_eq!(reparsed.to_bytes(), bytes);
    assert!(text(&reparsed).contains("\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(request(INVITE).response(200, "OK", Some("no")).to().unwrap().tag(), Some("b2"));
}

#[test]
fn values_cannot_inject_header_lines() {
    let mut options = Request::new(Method::Options, "sip:a b\r\nEvil: 1@example.com");
    options.append(Header::From, "<sip:a@b>;tag=1\r\nEvil: 2");
    options.append("X-\r\nEvil: 3\r\nX", "4\0\n");
    options.set(Header::To, &format!("{} <sip:x@y>", quote("\"\r\nEvil: 5")));
    let response = Response::new(200, "OK\r\nEvil: 6");
    for message in [text(&options), text(&response)] {
        let lines: Vec<_> = message.split("\r\n").collect();
        assert!(lines.iter().all(|line| !line.starts_with("Evil")), "{message}");
        assert!(!message.replace("\r\n", "").contains(['\r', '\n', '\0']));
    }
    assert_eq!(options.uri_text(), "sip:a%20b%0D%0AEvil:%201@example.com");
}

#[test]
fn errors_have_a_status_and_name_the_malformed_part() {
    let error = |message: &str| match Message::parse(message.as_bytes()) {
        Ok(message) => message.validate().unwrap_err(),
        Err(error) => error.error,
    };
    let broken = |from: &str, to: &str| error(&INVITE.replace(from, to));
    assert_eq!(broken("4711", "x").reason(), "Bad CSeq");
    assert_eq!(broken("i: 1@df7jal23ls0d.invalid\r\n", "").reason(), "Missing Call-ID");
    assert_eq!(broken("To: ", "f: <sip:a@b>\r\nTo: ").reason(), "Repeated From");
    assert_eq!(broken("\tINVITE", "\tBYE").kind, MessageErrorKind::MethodMismatch);
    assert_eq!(broken("l: 5", "l: 6").kind, MessageErrorKind::BodyShort);
    assert_eq!(broken("l: 5", "l: -1").reason(), "Bad Content-Length");
    assert_eq!(broken("X-Queue: Sales", "X-Queue Sales").kind, MessageErrorKind::HeaderLine);
    assert_eq!(broken("Sales", "Sales\nEvil: 1").kind, MessageErrorKind::LineBreak);
    assert_eq!(broken("SIP/2.0\r\nv", "SIP/3.0\r\nv").status(), Some(505));
    assert_eq!(error("\r\n\r\n").status(), None);
    let error = Message::parse(INVITE.replace("l: 5", "l: 9").as_bytes()).unwrap_err();
    let response = error.response().unwrap();
    assert_eq!((response.status(), response.call_id()), (400, Ok("1@df7jal23ls0d.invalid")));
    let ack = INVITE.replace("INVITE", "ACK").replace("l: 5", "l: 9");
    assert!(Message::parse(ack.as_bytes()).unwrap_err().response().is_none());
}

#[test]
fn bytes_that_are_not_utf8_pass_through_unchanged() {
    let mut bytes = INVITE.as_bytes().to_vec();
    let at = INVITE.find("Sales").unwrap();
    bytes[at + 1] = 0xe9;
    let Ok(Message::Request(mut invite)) = Message::parse(&bytes) else { panic!() };
    assert_eq!(invite.value("X-Queue"), Some("S?les"));
    assert_eq!(invite.to_bytes(), bytes);
    invite.push_via("SIP/2.0/WSS e;branch=z9hG4bK1");
    invite.pop_via();
    assert_eq!(invite.to_bytes(), bytes);
}

#[test]
fn uris_are_compared_as_in_rfc_3261_19_1_4() {
    let same = |one: &str, two: &str| {
        let (one, two) = (Uri::parse(one).unwrap(), Uri::parse(two).unwrap());
        assert_eq!(one.is_equivalent(&two), two.is_equivalent(&one));
        one.is_equivalent(&two)
    };
    // The examples of RFC 3261 §19.1.4.
    for (one, two) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ] {
        assert!(same(one, two), "{one} = {two}");
    }
    for (one, two) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ] {
        assert!(!same(one, two), "{one} ≠ {two}");
    }
}

#[test]
fn parsed_uris_are_written_unchanged() {
    for uri in [
        "sip:*43@example.com",
        "sips:a:pw@[2001:db8::1]:5061;transport=wss;lr?subject=x",
        "tel:+49301234;ext=5",
        "sip:example.com",
        "sip:sip%3Auser%40x;a=b@example.com",
    ] {
        assert_eq!(Uri::parse(uri).unwrap().to_string(), uri);
    }
    for uri in ["", "bob", "sip:", "sip:@x", "sip:a@", "sip:a b@c", "sip:a@b:99999", "sip:a@[::g]", "sip:a%4@b"] {
        assert!(Uri::parse(uri).is_err(), "{uri}");
    }
    assert_eq!(escape_user("a b@c:é"), "a%20b%40c%3A%C3%A9");
    assert_eq!(escape_user("*43#"), "*43%23");
}

#[test]
fn a_stray_line_break_is_not_copied_into_the_response() {
    let broken = INVITE.replace("f: ", "f: x\n ");
    let response = Message::parse(broken.as_bytes()).unwrap_err().response().unwrap();
    assert!(Message::parse(&response.to_bytes()).is_ok());
}

#[test]
fn the_first_of_repeated_uri_parameters_is_used() {
    let uri = Uri::parse("sip:a@b;s=1;s=2").unwrap();
    assert!(uri.is_equivalent(&uri));
    assert!(!uri.is_equivalent(&Uri::parse("sip:a@b;s=2").unwrap()));
}
