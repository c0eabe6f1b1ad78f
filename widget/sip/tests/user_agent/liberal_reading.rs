//! One bad header field must not cost the call: what is not needed is ignored, of what is needed everything
//! that can be understood is taken, and only what leaves transaction or dialog ambiguous is refused.

use bitcall_sip::message::{Header, Method, Request};
use bitcall_sip::ua::{Command, Event, InviteOptions, Output, Registration};
use proptest::prelude::*;

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent, text};

/// Header lines of a 200 to REGISTER, before and after those of the registrar.
fn registers(before: &str, after: &str, binding: &str) -> TestUserAgent {
    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Register);
    phone.connect();
    let register = phone.request("REGISTER");
    let uri = register.contact().unwrap().unwrap().uri_text.to_owned();
    let response = text(&register.response(200, "OK", Some("far")).to_bytes());
    let (start, rest) = response.split_once("\r\n").unwrap();
    let rest = rest.strip_suffix("\r\n").unwrap();
    let binding = binding.replace("{}", &format!("<{uri}>"));
    let raw = format!("{start}\r\n{before}{rest}{binding}\r\n{after}\r\n");
    phone.bytes(raw.as_bytes());
    let state = phone.event(|event| match event {
        Event::Registration(state @ (Registration::Registered { .. } | Registration::Reconnecting { .. })) => {
            Some(state.clone())
        }
        _ => None,
    });
    assert!(matches!(state, Registration::Registered { .. }), "{raw}: {state:?}");
    phone
}

/// The next REGISTER comes within 65 to 75 % of the expiry.
fn refreshes_after(mut phone: TestUserAgent, seconds: u64) {
    phone.wait(seconds * 640);
    phone.sends_nothing();
    phone.wait(seconds * 120);
    phone.request("REGISTER");
}

#[test]
fn a_fault_in_a_field_that_registering_does_not_need_is_ignored() {
    for line in [
        "Contact: <sip:bob smith@10.0.0.1>;expires=60",
        "Contact: <sip:bob@2001:db8::1>;expires=60",
        "Contact: <sip:bob@[fe80::1%eth0]:5060>;expires=60",
        "Contact: <sip:jürgen@bücher.example>;expires=60",
        "Contact: <sip:bob@10.0.0.1:99999>;expires=60",
        "Contact: <sip:bob@10.0.0.1:port>;expires=60",
        "Contact: \"Bob <sip:bob@10.0.0.1>;expires=60",
        "Contact: Doe, Bob & Söhne <sip:bob@10.0.0.1>;expires=60",
        "Contact: <sip:@10.0.0.1>, <sip:>, <>, sip:, ;expires=60, bob",
        "Contact: <sip:bob@10.0.0.1;expires=60",
        "Contact: <sip:bob@10.0.0.1>;+sip.instance=\"<urn:uuid:1>;expires=60",
        "Date: Fri, 01 Jan 2027 00:00:00 GMT\r\nDate: yesterday",
        "Expires: 600\r\nExpires: 3600",
        "Retry-After: Fri, 01 Jan 2027 00:00:00 GMT",
        "Retry-After: soon\r\nRetry-After: 5",
        "Min-Expires: a lot",
        "Service-Route: anywhere",
        "Service-Route: <sip:>;lr, junk",
        "Path: <sip:a b>, \"",
        "P-Associated-URI: <sip:anna smith@acme.test>, <<",
        "Route: ;;;\r\nRecord-Route: \"<",
        "Warning: 399 x \"unclosed\r\nServer: \u{7f}\u{1}",
        "Max-Forwards: many",
        "Content-Type: nothing/at/all\r\nContent-Type: text/plain",
        "Flow-Timer: sometimes",
        "Supported: \"\r\nAllow: ,,,;\r\nRequire: ",
        "Session-Expires: never\r\nMin-SE: x",
        "X Bad Name: 1\r\nno colon at all\r\n: no name",
    ] {
        let line = format!("{line}\r\n");
        for (before, after) in [(line.as_str(), ""), ("", line.as_str())] {
            let phone = registers(before, after, "Contact: {};expires=120");
            refreshes_after(phone, 120);
        }
    }
}

#[test]
fn our_binding_is_found_beside_contacts_that_cannot_be_read() {
    for binding in [
        "Contact: \"Bob <sip:bob@10.0.0.1>, {};expires=120",
        "Contact: {};expires=120, \"Bob <sip:bob@10.0.0.1>",
        "Contact: <sip:bob@10.0.0.1, {};expires=120",
        "Contact: Doe, Bob <sip:b b@x>;q=high, {};expires=120, *",
        "m: <sip:jürgen müller@x>\r\nm: {};expires=120",
        "Contact: {};expires=\"120\"",
        "Contact: {};expires=120.0;q=x",
        "Contact: {}; expires = 120 ;junk=(",
        "Contact: {};expires=soon\r\nExpires: 120",
        "Contact: {}\r\nExpires: 120.0",
        "Contact: {}\r\nExpires: Fri, 01 Jan 2027 00:00:00 GMT\r\nExpires: 120 seconds",
    ] {
        refreshes_after(registers("", "", binding), 120);
    }
}

#[test]
fn an_expiry_that_cannot_be_read_at_all_is_the_requested_one() {
    // 600 s was asked for; RFC 3261 §10.3 has 3600 s only for registrars.
    for expires in ["later", "2027-01-01T00:00:00Z"] {
        refreshes_after(registers("", &format!("Expires: {expires}\r\n"), "Contact: {};expires=soon"), 600);
    }
}

#[test]
fn a_service_route_is_used_as_it_was_given() {
    for (given, sent) in [
        ("<sip:edge_1.acme.test:5060;lr;fs path=a|b>", "<sip:edge_1.acme.test:5060;lr;fs path=a|b>"),
        ("sip:edge.acme.test;lr", "<sip:edge.acme.test;lr>"),
        ("junk, <sip:edge.acme.test;lr>", "<sip:edge.acme.test;lr>"),
    ] {
        let mut phone = registers("", &format!("Service-Route: {given}\r\n"), "Contact: {}");
        phone.drain();
        phone.command(Command::Invite {
            call: "c".into(),
            target: "bob".into(),
            options: InviteOptions::default(),
            sdp: None,
        });
        let invite = phone.drain().into_iter().find_map(|output| match output {
            Output::Send { bytes, .. } => Some(text(&bytes)),
            _ => None,
        });
        let invite = invite.unwrap();
        assert!(invite.starts_with("INVITE sip:bob@acme.test SIP/2.0"), "the route is loose: {invite}");
        assert!(invite.contains(&format!("\r\nRoute: {sent}\r\n")), "{invite}");
    }
}

/// A 200 to our INVITE as text, with the answer.
fn accepted(invite: &Request) -> String {
    let mut response = invite.response(200, "OK", Some("far"));
    response.append(Header::Contact, "<sip:far@far.test;transport=ws>");
    response.set_body("application/sdp", ANSWER.as_bytes());
    text(&response.to_bytes())
}

/// Makes the bytes of another system out of a well-formed message.
type Change = Box<dyn Fn(&str) -> Vec<u8>>;

#[test]
fn the_frame_bounds_the_message_and_lines_may_end_with_lf() {
    let length = format!("Content-Length: {}", ANSWER.len());
    let (lengths, doubled) = (length.clone(), format!("{length}\r\nl: {}", ANSWER.len()));
    let changes: Vec<(&str, Change)> = vec![
        ("LF only", Box::new(|ok| ok.replace("\r\n", "\n").into_bytes())),
        (
            "LF in the header",
            Box::new(|ok| {
                let (head, body) = ok.split_once("\r\n\r\n").unwrap();
                [head.replace("\r\n", "\n"), "\n\n".into(), body.into()].concat().into_bytes()
            }),
        ),
        ("two CRs", Box::new(|ok| ok.replacen("\r\n", "\r\r\n", 3).into_bytes())),
        (
            "the same length twice, and more than it",
            Box::new({
                let length = length.clone();
                move |ok| [ok.replace(&length, &doubled), "a=more\r\n".into()].concat().into_bytes()
            }),
        ),
        (
            "another length first",
            Box::new(move |ok| ok.replace(&lengths, &format!("Content-Length: 3\r\n{lengths}")).into_bytes()),
        ),
        ("length too large", Box::new(move |ok| ok.replace(&length, "Content-Length: 4000").into_bytes())),
        ("no length", Box::new(|ok| ok.replace("Content-Length", "X-Length").into_bytes())),
        ("no number", Box::new(|ok| ok.replace("Content-Length: ", "l: about ").into_bytes())),
        ("two lengths", Box::new(|ok| ok.replace("\r\n\r\n", "\r\nl: 3\r\n\r\n").into_bytes())),
        ("folded", Box::new(|ok| ok.replace(";tag=far", "\r\n\t;tag=far").into_bytes())),
        ("folded, LF only", Box::new(|ok| ok.replace(";tag=far", "\r\n ;tag=far").replace("\r\n", "\n").into_bytes())),
        (
            "a line that is no header field, folded",
            Box::new(|ok| ok.replace("CSeq:", "no header field\r\n and its rest\r\nCSeq:").into_bytes()),
        ),
        ("a CR within a line", Box::new(|ok| ok.replace("To: ", "To: \"Far\rEnd\" ").into_bytes())),
        ("first line folded", Box::new(|ok| ok.replacen("\r\n", "\r\n continued\r\n", 1).into_bytes())),
        ("compact", Box::new(|ok| ok.replace("Via:", "v:").replace("To:", "T :").replace("Call-ID", "i").into_bytes())),
        ("spaces in the status line", Box::new(|ok| ok.replace("SIP/2.0 200 OK", "SIP/2.0  200   ").into_bytes())),
        ("no reason phrase", Box::new(|ok| ok.replace("SIP/2.0 200 OK", "sip/2.0 200").into_bytes())),
        ("empty lines before", Box::new(|ok| [b"\r\n\r\n", ok.as_bytes()].concat())),
        (
            "Latin-1",
            Box::new(|ok| {
                let (head, body) = ok.split_once("To: ").unwrap();
                [head.as_bytes(), b"To: M\xfcller ", body.as_bytes()].concat()
            }),
        ),
    ];
    for (name, change) in changes {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.bytes(&change(&accepted(&invite)));
        assert_eq!(phone.answered().unwrap().replace("\r\n", "\n"), ANSWER.replace("\r\n", "\n"), "{name}");
        assert_eq!(phone.request("ACK").uri_text(), "sip:far@far.test;transport=ws", "{name}");
        phone.hang_up("c");
        assert_eq!(phone.request("BYE").to().unwrap().tag(), Some("far"), "{name}");
    }
}

#[test]
fn a_message_without_the_empty_line_at_its_end_is_read() {
    for end in ["\r\n", ""] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        let response = text(&invite.response(486, "Busy Here", Some("far")).to_bytes());
        phone.bytes(format!("{}{end}", response.trim_end()).as_bytes());
        phone.request("ACK");
        assert_eq!(phone.ended("c").0, "Busy");
    }
}

#[test]
fn a_refusal_ends_the_call_whatever_its_other_fields_say() {
    for (name, value) in [
        ("Retry-After", "Fri, 01 Jan 2027 00:00:00 GMT"),
        ("Retry-After", "in a while"),
        ("Contact", "<sip:bob smith@x:y>"),
        ("Warning", "\""),
        ("Reason", "Q.850;cause=\"no"),
        ("Date", "x"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.reply(&invite, 503, |response| {
            response.append(name, value);
            response.append(name, value);
        });
        phone.request("ACK");
        assert_eq!(phone.ended("c"), ("Service unavailable".into(), Some(503)), "{name}: {value}");
    }
}

#[test]
fn the_caller_is_read_out_of_any_from() {
    for (from, name, number) in [
        ("Doe, Bob <sip:200@acme.test>;tag=1", Some("Doe, Bob"), "200"),
        ("Bob & Sons <sip:200@acme.test>;tag=1", Some("Bob & Sons"), "200"),
        ("bob@work <sip:200@acme.test>;tag=1", Some("bob@work"), "200"),
        ("Sales/Support <sip:200@acme.test>;tag=1", Some("Sales/Support"), "200"),
        ("Bob \"the Builder\" B. <sip:200@acme.test>;tag=1", Some("Bob \"the Builder\" B."), "200"),
        ("\"Bob <sip:200@acme.test>;tag=1", Some("Bob"), "200"),
        ("Bob\" <sip:200@acme.test>;tag=1", Some("Bob"), "200"),
        ("\"Bob\" B. (Berlin) <sip:200@acme.test>;tag=1", Some("\"Bob\" B. (Berlin)"), "200"),
        ("\"B\\\"ob\" <sip:200@acme.test>;tag=1", Some("B\"ob"), "200"),
        ("Bob <sip:@acme.test>;tag=1", Some("Bob"), "sip:acme.test"),
        ("<sip:bob smith@acme.test>;tag=1", None, "bob smith"),
        ("<sip:bob|200@acme.test>;tag=1", None, "bob|200"),
        ("<sip:200@2001:db8::1>;tag=1", None, "200"),
        ("<sip:200@[fe80::1%25eth0]:5060>;tag=1", None, "200"),
        ("<sip:200@fe80::1%eth0>;tag=1", None, "200"),
        ("<sip:bob@home@acme.test>;tag=1", None, "bob@home"),
        ("<sip:200@bücher.example>;tag=1", None, "200"),
        ("<sip:200@acme.test:70000>;tag=1", None, "200"),
        ("< sip:200@acme.test >;tag=1", None, "200"),
        ("<200@acme.test>;tag=1", None, "200"),
        ("<sip:200@acme.test;tag=1", None, "200"),
        ("Bob sip:200@acme.test;tag=1", Some("Bob"), "200"),
        ("sip:200@acme.test;tag=1", None, "200"),
        ("sip:200@acme.test?Subject=x;tag=1", None, "200"),
        ("200@acme.test;tag=1", None, "200"),
        ("Bob 200@acme.test;tag=1", Some("Bob"), "200"),
        ("<sip:bob smith@acme.test?Subject=x>;tag=1", None, "bob smith"),
        ("Bob <sip:200@acme.test>;x=\"y;tag=1", Some("Bob"), "200"),
        ("Bob <sip:200@acme.test> (comment);;tag=1;x={}", Some("Bob"), "200"),
        ("Bob B.;tag=1", None, "sip:unreadable.invalid"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.remote_request("INVITE", 1, |request| {
            request.set(Header::From, from);
            request.set_body("application/sdp", OFFER.as_bytes());
        });
        let (call, caller, _) = phone.rings();
        assert_eq!((caller.display_name.as_deref(), caller.number.as_str()), (name, number), "{from}");
        assert_eq!(phone.response(180).from().unwrap().tag(), Some("1"), "{from}");
        // The dialog works in both directions.
        phone.command(Command::Answer { call: call.clone(), sdp: ANSWER.into() });
        let ok = phone.response(200);
        phone.ack(&invite, &ok);
        phone.event(|event| matches!(event, Event::Confirmed { .. }).then_some(()));
        phone.hang_up(&call);
        assert_eq!(phone.request("BYE").to().unwrap().tag(), Some("1"), "{from}");
    }
}

#[test]
fn a_latin_1_name_is_shown_as_it_was_meant() {
    let mut phone = TestUserAgent::registered();
    let invite = "INVITE sip:anna@x.invalid SIP/2.0\r\nVia: SIP/2.0/WSS far.test;branch=z9hG4bK1\r\n\
         From: \"M#ller\" <sip:200@acme.test>;tag=1\r\nTo: <sip:anna@acme.test>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:200@far.test>\r\n\r\n";
    let bytes: Vec<u8> = invite.bytes().map(|byte| if byte == b'#' { 0xfc } else { byte }).collect();
    phone.bytes(&bytes);
    let (_, from, _) = phone.rings();
    assert_eq!(from.display_name.as_deref(), Some("Müller"));
}

#[test]
fn an_invite_rings_whatever_its_other_fields_say() {
    for lines in [
        "Date: a\r\nDate: b",
        "Session-Expires: 1800\r\nSession-Expires: 90;refresher=uas",
        "Session-Expires: 1800;refresher=me\r\nSupported: timer",
        "Min-SE: x\r\nExpires: never\r\nExpires: 3",
        "Max-Forwards: lots",
        "Content-Disposition: ;;;\r\nContent-Disposition: session",
        "Record-Route: <sip:proxy;lr\r\nRoute: junk",
        "P-Asserted-Identity: \"\r\nRemote-Party-ID: <",
        "Alert-Info: <\r\nCall-Info: \"\r\nHistory-Info: <sip:x?Reason=SIP%3bcause%3d302>;index=1, \"",
        "Refer-To: a\r\nRefer-To: b\r\nEvent: a\r\nEvent: b\r\nRAck: 1\r\nRSeq: -1",
        "Contact: <sip:bob smith@far test>",
        "Via: SIP/2.0/UDP bad host:port;branch=z9hG4bKbelow",
    ] {
        let mut phone = TestUserAgent::registered();
        let mut request = Request::new(Method::Invite, "sip:anna@x.invalid");
        for (name, value) in [
            ("Via", "SIP/2.0/WSS far.test;branch=z9hG4bK1"),
            ("From", "<sip:bob@acme.test>;tag=1"),
            ("To", "<sip:anna@acme.test>"),
            ("Call-ID", "1"),
            ("CSeq", "1 INVITE"),
        ] {
            request.append(name, value);
        }
        if !lines.starts_with("Contact") {
            request.append(Header::Contact, "<sip:bob@far.test>");
        }
        let raw = text(&request.to_bytes()).replace("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"));
        phone.bytes(raw.as_bytes());
        let sent = phone.drain();
        assert!(
            sent.iter().any(|output| matches!(output, Output::Event(Event::Incoming { .. }))),
            "{lines}: {sent:#?}"
        );
    }
}

#[test]
fn what_is_ignored_is_logged() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| request.append(Header::SessionExpires, "never"));
    phone.response(180);
    phone.emits(&Event::Dropped { reason: "ignored in a message: Bad Session-Expires".into() });
}

#[test]
fn a_request_whose_start_line_or_via_is_odd_is_answered() {
    for (start, via) in [
        ("OPTIONS  sip:anna@x.invalid  SIP/2.0 ", "SIP/2.0/WSS far.test;branch=z9hG4bK1"),
        ("OPTIONS <sip:anna smith@x> SIP/2.0", "SIP/2.0/WSS far.test;branch=z9hG4bK1"),
        ("OPTIONS anna SIP/2.0", "SIP/2.0/WSS far.test;branch=z9hG4bK1"),
        ("OPTIONS sip:anna@x SIP/2.0", "SIP/2.0/WSS 2001:db8::1;branch=z9hG4bK1"),
        ("OPTIONS sip:anna@x SIP/2.0", "SIP/2.0/WSS far.test:99999;branch=z9hG4bK1"),
        ("OPTIONS sip:anna@x SIP/2.0", "SIP / 2.0 / WSS far_1.test ; branch = z9hG4bK1"),
    ] {
        let mut phone = TestUserAgent::registered();
        let request = format!(
            "{start}\r\nVia: {via}\r\nFrom: <sip:b@c>;tag=1\r\nTo: <sip:anna@acme.test>\r\nCall-ID: 1\r\n\
             CSeq: 1  OPTIONS  x\r\n\r\n"
        );
        phone.bytes(request.as_bytes());
        let sent = phone.drain().into_iter().find_map(|output| match output {
            Output::Send { bytes, .. } => Some(text(&bytes)),
            _ => None,
        });
        let sent = sent.unwrap_or_else(|| panic!("not answered: {request}"));
        assert!(sent.starts_with("SIP/2.0 200 "), "{sent}");
        assert!(sent.contains(&format!("\r\nVia: {via}\r\n")), "the Via goes back as it came: {sent}");
    }
}

fn refuses_with_400(phone: &mut TestUserAgent, name: Header) {
    let outputs = phone.drain();
    let refused = |output: &Output| matches!(output, Output::Send { bytes, .. } if bytes.starts_with(b"SIP/2.0 400"));
    assert!(outputs.iter().any(refused), "{name:?}: {outputs:#?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Event(Event::Incoming { .. }))), "{name:?}");
}

#[test]
fn what_names_transaction_or_dialog_twice_or_not_at_all_is_refused() {
    for (name, value) in [
        (Header::CallId, "other"),
        (Header::From, "<sip:bob@acme.test>;tag=other"),
        (Header::To, "<sip:anna@acme.test>;tag=other"),
        (Header::CSeq, "2 INVITE"),
    ] {
        let mut phone = TestUserAgent::registered();
        phone.remote_request("INVITE", 1, |request| request.append(name, value));
        refuses_with_400(&mut phone, name);
        phone.remote_request("INVITE", 1, |request| {
            request.remove(name);
        });
        refuses_with_400(&mut phone, name);
        // The same twice is no ambiguity.
        phone.remote_request("INVITE", 1, |request| {
            let value = request.value(name).unwrap().to_owned();
            request.append(name, &value);
        });
        phone.response(180);
    }
}

#[test]
fn the_description_in_a_multipart_body_is_used() {
    const BOUNDARY: &str = "multipart/mixed;boundary=\"a b\"";
    let body = |sdp: &str| {
        format!(
            "--a b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--a b\r\nContent-Type: application/sdp\r\n\r\n{sdp}--a b--\r\n"
        )
    };
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| request.set_body(BOUNDARY, body(OFFER).as_bytes()));
    phone.response(180);
    assert_eq!(phone.rings().2.as_deref(), Some(OFFER));
    let invite = phone.invite();
    phone.reply(&invite, 200, |response| response.set_body(BOUNDARY, body(ANSWER).as_bytes()));
    phone.request("ACK");
    assert_eq!(phone.answered().as_deref(), Some(ANSWER));
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn of_several_descriptions_the_first_counts_and_of_alternatives_the_last() {
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nnot the boundary:\r\n--bc\r\nContent-Type: application/sdp\r\n\r\nv=1\r\n\
         --b\r\nContent-Type: application/sdp\r\n\r\n{OFFER}--b\r\nContent-Type: application/sdp\r\n\r\n{ANSWER}--b--\r\n"
    );
    for (subtype, counts) in [("mixed", OFFER), ("related", OFFER), ("alternative", ANSWER)] {
        let mut phone = TestUserAgent::registered();
        let content_type = format!("multipart/{subtype};boundary=b");
        phone.remote_request("INVITE", 1, |request| request.set_body(&content_type, body.as_bytes()));
        assert_eq!(phone.rings().2.as_deref(), Some(counts), "{subtype}");
    }
}

#[test]
fn header_fields_in_a_contact_are_not_sent_to_it() {
    for (contact, target) in [
        ("<sip:far@far.test?Subject=x>", "sip:far@far.test"),
        ("<sip:far@far.test;transport=ws?>", "sip:far@far.test;transport=ws"),
        ("<sip:far end@far.test;transport=ws?Subject=x>", "sip:far%20end@far.test;transport=ws"),
    ] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.bytes(accepted(&invite).replace("<sip:far@far.test;transport=ws>", contact).as_bytes());
        assert_eq!(phone.request("ACK").uri_text(), target, "{contact}");
    }
}

#[test]
fn a_retry_after_with_a_comment_or_parameters_is_no_fault() {
    for value in ["30 (maintenance)", "30;duration=60", "30 ;duration=60 (maintenance)"] {
        let mut phone = TestUserAgent::unregistered();
        phone.command(Command::Register);
        phone.connect();
        let register = phone.request("REGISTER");
        phone.reply(&register, 503, |response| response.append(Header::RetryAfter, value));
        phone.emits_no(|event| matches!(event, Event::Dropped { .. }));
        phone.wait(29_900);
        phone.sends_nothing();
        phone.wait(100);
        phone.request("REGISTER");
    }
}

#[test]
fn a_description_with_a_transfer_encoding_is_decoded() {
    let encoded = |encoding: &str, sdp: &str| {
        format!(
            "--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{sdp}\r\n--b--\r\n"
        )
    };
    // ANSWER, in lines as mail systems write it.
    let base64 = "dj0wDQpvPS0gMiAxIElOIElQNCAyLjIuMi4yDQpzPS0NCnQ9MCAwDQptPWF1\r\nZGlvIDkgUlRQL0FWUCAwDQo=";
    let quoted = ANSWER.replace('=', "=3D").replace("RTP/", "RTP=\r\n/");
    let quoted = quoted.trim_end();
    for body in [encoded("BASE64", base64), encoded("quoted-printable", quoted), encoded("8bit", ANSWER.trim_end())] {
        let mut phone = TestUserAgent::registered();
        let invite = phone.invite();
        phone.reply(&invite, 200, |response| response.set_body("multipart/mixed;boundary=b", body.as_bytes()));
        phone.request("ACK");
        assert_eq!(phone.answered().as_deref(), Some(ANSWER), "{body}");
    }
    // One that is not known, or not kept, is no description.
    for body in [encoded("x-uuencode", base64), encoded("base64", "v=0!")] {
        let mut phone = TestUserAgent::registered();
        phone.remote_request("INVITE", 1, |request| {
            request.set_body("multipart/mixed;boundary=b", body.as_bytes());
        });
        phone.response(415);
    }
}

#[test]
fn the_first_of_two_session_expires_counts() {
    let mut phone = TestUserAgent::registered();
    phone.remote_request("INVITE", 1, |request| {
        request.append(Header::SessionExpires, "1800 ; refresher = \"uas\"");
        request.append(Header::SessionExpires, "90");
        request.append(Header::Supported, "timer");
        request.set_body("application/sdp", OFFER.as_bytes());
    });
    let (call, ..) = phone.rings();
    phone.response(180);
    phone.command(Command::Answer { call, sdp: ANSWER.into() });
    assert_eq!(phone.response(200).value(Header::SessionExpires), Some("1800;refresher=uas"));
}

// Every fault at once: no line that is not needed changes what the user agent does.

/// Header fields that a user agent needs neither in a 200 to REGISTER or INVITE, nor in an INVITE or BYE.
const UNNEEDED: [&str; 24] = [
    "Date",
    "Server",
    "User-Agent",
    "Warning",
    "P-Associated-URI",
    "Path",
    "Route",
    "Max-Forwards",
    "Min-Expires",
    "Subject",
    "Alert-Info",
    "Call-Info",
    "Timestamp",
    "Event",
    "Refer-To",
    "u",
    "X-Foo",
    "History-Info",
    "Diversion",
    "Organization",
    "Content-Language",
    "RSeq",
    "RAck",
    "Error-Info",
];

/// A line for the place after the line of this number.
type ExtraLine = (usize, Vec<u8>);

fn with_line(message: &str, extra: Option<&ExtraLine>) -> Vec<u8> {
    let Some((place, line)) = extra else {
        return message.as_bytes().to_vec();
    };
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.split("\r\n").collect();
    let place = 1 + place % lines.len();
    let (before, after) = lines.split_at(place);
    let mut bytes = before.join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(line);
    for line in after {
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// What the user agent puts out over two calls, with this line in each message that it receives.
fn everything(extra: Option<&ExtraLine>) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut phone = TestUserAgent::unregistered();
    phone.command(Command::Register);
    phone.connect();
    let register = phone.request("REGISTER");
    let mut response = register.response(200, "OK", Some("far"));
    response.append(Header::Contact, &format!("<{}>;expires=300", register.contact().unwrap().unwrap().uri_text));
    phone.bytes(&with_line(&text(&response.to_bytes()), extra));
    outputs.extend(phone.drain());
    let invite = phone.invite();
    phone.bytes(&with_line(&accepted(&invite), extra));
    outputs.extend(phone.drain());
    let incoming = |method: &str, to: &str| {
        let body = if method == "INVITE" { OFFER } else { "" };
        format!(
            "{method} sip:anna@x.invalid SIP/2.0\r\nVia: SIP/2.0/WSS far.test;branch=z9hG4bK{method}\r\n\
             From: \"Bob\" <sip:bob@acme.test>;tag=bobs\r\nTo: {to}\r\nCall-ID: in\r\nCSeq: {} {method}\r\n\
             Contact: <sip:bob@far.test>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            if method == "BYE" { 2 } else { 1 },
            body.len()
        )
    };
    phone.bytes(&with_line(&incoming("INVITE", "<sip:anna@acme.test>"), extra));
    let (call, ..) = phone.rings();
    outputs.extend(phone.drain());
    phone.command(Command::Answer { call, sdp: ANSWER.into() });
    let ok = phone.response(200);
    let to = ok.value(Header::To).unwrap().to_owned();
    phone.bytes(&with_line(&incoming("ACK", &to), extra));
    phone.bytes(&with_line(&incoming("BYE", &to), extra));
    outputs.extend(phone.drain());
    phone.wait(1_000_000);
    outputs.extend(phone.drain());
    outputs.retain(|output| !matches!(output, Output::Event(Event::Dropped { .. })));
    outputs
}

/// Any bytes but line breaks, and what faults are made of.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            "<", ">", "\"", "\\", ",", ";", "=", "sip:", "@", "tag=", "branch=", ":", " ", "1", "\t"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..8)
        .prop_map(|pieces| pieces.concat().into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_field_that_is_not_needed_changes_nothing(place in 0usize..12, name in 0..=UNNEEDED.len(), value in value()) {
        let mut line = UNNEEDED.get(name).map_or_else(|| b"(no field".to_vec(), |name| [name.as_bytes(), b":"].concat());
        line.extend_from_slice(&value);
        if name == UNNEEDED.len() {
            line.retain(|byte| *byte != b':');
        }
        prop_assert_eq!(everything(None), everything(Some(&(place, line))));
    }
}
