//! Whatever arrives, the edge neither panics nor breaks for others.

use proptest::prelude::*;

use super::*;

#[test]
fn malformed_requests_get_a_4xx_that_names_the_fault_and_malformed_responses_are_dropped() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let request = edge.new_request(phone, Method::Invite, "sip:102@acme.sip.test");
    let text = String::from_utf8(request.to_bytes()).unwrap();
    for (from, to, status) in [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("Max-Forwards: 70", "Max-Forwards: lots", 400),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 505),
        ("Contact: <", "Contact: <<", 400),
        ("branch=", "branche=", 400),
    ] {
        assert!(text.contains(from));
        edge.raw(phone, text.replace(from, to).as_bytes());
        assert_eq!(edge.response(phone).status(), status, "{from} -> {to}");
    }
    edge.raw(phone, b"SIP/2.0 200 OK\r\n\r\n");
    edge.raw(phone, b"SIP/2.0 2x0 OK\r\nVia: \r\n\r\n");
    edge.raw(phone, b"\0\xff");
    assert_eq!(edge.inbox(phone).len(), 0);
}

#[test]
fn a_connection_that_sends_only_malformed_messages_is_closed() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    for _ in 0..100 {
        edge.raw(phone, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    assert_eq!(edge.closed.get(&phone.connection), Some(&CloseReason::Malformed));
}

#[test]
fn a_head_that_is_too_large_is_refused_and_a_large_body_is_not() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let mut request = edge.new_request(caller, Method::Invite, "sip:102@acme.sip.test");
    request.append("X-Large", &"x".repeat(17_000));
    edge.send(caller, &request);
    assert_eq!(edge.response(caller).status(), 513);
    let mut request = edge.new_request(caller, Method::Message, "sip:102@acme.sip.test");
    request.set_body("text/plain", &vec![b'x'; 30_000]);
    edge.send_signed(caller, &request);
    assert_eq!(edge.request(callee).body().len(), 30_000);
}

/// Pieces that messages are made of, valid and not, to get past the parser as often as not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("REGISTER sip:acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("INVITE sip:102@acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("INVITE sip:*43@acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("ACK sip:*43@acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("CANCEL sip:102@acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("OPTIONS sip:acme.sip.test SIP/2.0\r\n".to_owned()),
        Just("SIP/2.0 200 OK\r\n".to_owned()),
        "SIP/2.0 [1-6][0-9]{2} \r\n",
        Just("Via: SIP/2.0/WSS a.invalid;branch=z9hG4bKa\r\n".to_owned()),
        "Via: SIP/2.0/WS edge.invalid;branch=z9hG4bK[0-9a-f]{16}\r\n",
        Just("Max-Forwards: 70\r\nFrom: <sip:101@acme.sip.test>;tag=a\r\nTo: <sip:102@acme.sip.test>\r\n".to_owned()),
        Just("To: <sip:101@acme.sip.test>;tag=b\r\n".to_owned()),
        Just("Call-ID: a\r\n".to_owned()),
        "CSeq: [0-9]{1,10} (INVITE|REGISTER|ACK|CANCEL|OPTIONS)\r\n",
        "Contact: (\\*|<sip:a@b.invalid>;expires=[0-9]{0,12})\r\n",
        "Route: <sip:[dc]{0,1}[0-9a-f§]{0,18}-[dc§]{0,1}[0-9a-f]{0,17}@acme.sip.test;lr>\r\n",
        "Authorization: Digest username=\"101\", realm=\"acme.sip.test\", nonce=\"[A-Za-z0-9_-]{0,50}\", uri=\"sip:acme.sip.test\", response=\"[0-9a-f]{0,64}\", qop=auth, nc=[0-9a-f]{0,9}, cnonce=\"x\"\r\n",
        Just("Content-Type: application/sdp\r\n".to_owned()),
        "Content-Length: [0-9]{1,6}\r\n",
        "\\PC{0,40}\r\n",
        Just("\r\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_and_everybody_else_still_calls(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
        texts in prop::collection::vec(prop::collection::vec(piece(), 0..14), 0..8),
        seconds in 0_u64..300,
    ) {
        let mut edge = TestEdge::new();
        let rogue = edge.phone("103", 9);
        for bytes in &noise {
            edge.raw(rogue, bytes);
        }
        for pieces in &texts {
            edge.raw(rogue, pieces.concat().as_bytes());
        }
        edge.wait(seconds);
        let caller = edge.phone("101", 1);
        let callee = edge.phone("102", 2);
        edge.call(caller, callee);
        edge.disconnect(rogue);
        edge.disconnect(caller);
        edge.disconnect(callee);
        // Longer than any registration lasts here.
        edge.wait(700);
        let left = edge.core.statistics();
        prop_assert_eq!(left, Statistics::default());
        prop_assert_eq!(edge.core.branches.len() + edge.core.transactions.len() + edge.core.expiry_timers.len(), 0);
    }

    /// One INVITE to three devices; whatever order they and the caller act in, nothing panics, everything is tidied
    /// up, and the caller gets at least one final response, and not two refusals.
    #[test]
    fn every_interleaving_of_a_forked_call_ends(
        steps in prop::collection::vec((0_usize..3, prop_oneof![
            Just(100_u16), Just(180), Just(183), Just(200), Just(302), Just(404), Just(486), Just(487), Just(503), Just(603),
            Just(0), // the caller cancels
            Just(1), // time passes
            Just(2), // the device vanishes
        ]), 0..14),
    ) {
        let mut edge = TestEdge::new();
        let caller = edge.phone("101", 1);
        let phones = [edge.phone("102", 2), edge.phone("102", 3), edge.phone("102", 4)];
        let sent = edge.invite(caller, "102");
        let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
        let mut gone = [false; 3];
        for (who, what) in steps {
            match what {
                0 => {
                    let mut cancel = Request::new(Method::Cancel, sent.uri_text());
                    for header in [Header::Via, Header::MaxForwards, Header::From, Header::To, Header::CallId] {
                        cancel.append(header, sent.value(header).unwrap());
                    }
                    cancel.append(Header::CSeq, "2 CANCEL");
                    edge.send(caller, &cancel);
                }
                1 => edge.wait(20),
                2 => {
                    gone[who] = true;
                    edge.disconnect(phones[who]);
                }
                status if !gone[who] => {
                    let mut response = invites[who].response(status, "x", Some(&format!("t{who}")));
                    response.append(Header::Contact, &contact(phones[who]));
                    edge.reply(phones[who], &response);
                }
                _ => {}
            }
        }
        edge.wait(500);
        let statuses: Vec<u16> = edge
            .messages(caller)
            .iter()
            .filter_map(|message| match message {
                Message::Response(response) if response.cseq().unwrap().method == Method::Invite => Some(response.status()),
                _ => None,
            })
            .collect();
        let refusals = statuses.iter().filter(|status| **status >= 300).count();
        let answers = statuses.iter().filter(|status| (200..300).contains(*status)).count();
        prop_assert!(refusals + answers >= 1, "{statuses:?}");
        prop_assert!(refusals <= 1, "{statuses:?}");
        prop_assert_eq!(edge.core.statistics().requests, 0);
        prop_assert_eq!(edge.core.branches.len() + edge.core.transactions.len(), 0);
    }
}
