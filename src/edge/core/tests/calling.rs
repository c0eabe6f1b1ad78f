use super::*;

/// A response of a callee with its Contact.
fn reply_of(phone: Phone, invite: &Request, status: u16) -> Response {
    let mut response = invite.response(status, "Whatever", Some(&format!("t{}", phone.device)));
    response.append(Header::Contact, &contact(phone));
    response
}

#[test]
fn an_invite_is_challenged_tried_and_rings_at_the_other_phone() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    edge.invite(caller, "102");
    assert_eq!(edge.summary(caller), ["100"]);
    let invite = edge.request(callee);
    assert_eq!(invite.uri_text(), "sip:u2@2.invalid;transport=ws");
    assert_eq!(invite.max_forwards().unwrap(), Some(69));
    assert!(!invite.has(Header::ProxyAuthorization), "the proof is not passed on");
    assert_eq!(invite.values(Header::Via).count(), 2);
    assert!(invite.vias().nth(1).unwrap().unwrap().received().is_some());
    assert!(invite.value(Header::RecordRoute).unwrap().ends_with("@acme.sip.test;transport=ws;lr>"));
    edge.reply(callee, &reply_of(callee, &invite, 180));
    let ringing = edge.response(caller);
    assert_eq!(ringing.status(), 180);
    assert_eq!(ringing.values(Header::Via).count(), 1, "ours is taken off");
    edge.reply(callee, &reply_of(callee, &invite, 200));
    let ok = edge.response(caller);
    assert_eq!((ok.status(), ok.has(Header::RecordRoute)), (200, true));
}

#[test]
fn what_a_proxy_need_not_change_arrives_byte_for_byte() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let mut request = edge.new_request(caller, Method::Invite, "sip:102@acme.sip.test");
    request.append("X-Queue", "a  b\t;  \"c,d\" <x>");
    request.append(Header::Subject, "Grüße ✓");
    request.append(Header::PAssertedIdentity, "<sip:boss@acme.sip.test>");
    request.set_body("application/sdp", b"v=0\r\nbinary \xff\xfe\0 too\r\n");
    edge.send_signed(caller, &request);
    edge.response(caller);
    let received = edge.inbox(callee).pop().unwrap();
    let find = |needle: &[u8]| received.windows(needle.len()).any(|window| window == needle);
    assert!(find(b"\r\nX-Queue: a  b\t;  \"c,d\" <x>\r\n"));
    assert!(find("\r\nSubject: Grüße ✓\r\n".as_bytes()));
    assert!(received.ends_with(b"\r\n\r\nv=0\r\nbinary \xff\xfe\0 too\r\n"));
    assert!(!find(b"P-Asserted-Identity"), "nobody asserts an identity but the edge");
}

#[test]
fn header_lines_in_unusual_spelling_are_forwarded_as_they_are() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let (_, ok) = edge.call(caller, callee);
    let n = edge.unique();
    let mut request = in_dialog(caller, Method::Info, &ok, 7, n);
    request.set_body("application/dtmf-relay", b"Signal=5\r\n");
    let mut text = String::from_utf8(request.to_bytes()).unwrap();
    text = text.replace("Call-ID: ", "i:   ").replace("\r\nCSeq:", "\r\nx-fold: one\r\n\t two\r\ncSEQ :");
    edge.raw(caller, text.as_bytes());
    let received = String::from_utf8(edge.inbox(callee).pop().unwrap()).unwrap();
    assert!(received.contains("\r\ni:   call-"), "{received}");
    assert!(received.contains("\r\nx-fold: one\r\n\t two\r\ncSEQ : 7 INFO\r\n"), "{received}");
}

#[test]
fn all_devices_ring_and_the_first_answer_silences_the_others() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phones = [edge.phone("102", 2), edge.phone("102", 3), edge.phone("102", 4)];
    edge.invite(caller, "102");
    let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
    // The third says nothing yet, so it cannot be told to stop before it does (RFC 3261 section 9.1).
    for i in [0, 1] {
        edge.reply(phones[i], &reply_of(phones[i], &invites[i], 180));
    }
    edge.reply(phones[0], &reply_of(phones[0], &invites[0], 200));
    assert_eq!(edge.summary(caller), ["100", "180", "180", "200"]);
    assert_eq!(edge.inbox(phones[0]).len(), 0);
    let cancel = edge.request(phones[1]);
    assert_eq!(cancel.method(), Method::Cancel);
    assert_eq!(cancel.via().unwrap().branch(), invites[1].via().unwrap().branch());
    assert!(cancel.value(Header::Reason).unwrap().contains("cause=200"), "answered elsewhere, not missed");
    assert_eq!(edge.inbox(phones[2]).len(), 0);
    edge.reply(phones[2], &reply_of(phones[2], &invites[2], 180));
    assert_eq!(edge.request(phones[2]).method(), Method::Cancel);
    for i in [1, 2] {
        edge.reply(phones[i], &reply_of(phones[i], &invites[i], 487));
        assert_eq!(edge.request(phones[i]).method(), Method::Ack);
    }
    assert_eq!(edge.inbox(caller).len(), 0, "the others' ends are not the caller's business");
    edge.wait(40);
    assert_eq!(edge.core.statistics().requests, 0);
}

#[test]
fn two_devices_that_answer_at_once_both_reach_the_caller() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phones = [edge.phone("102", 2), edge.phone("102", 3)];
    edge.invite(caller, "102");
    let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
    edge.inbox(caller);
    for i in [0, 1] {
        edge.reply(phones[i], &reply_of(phones[i], &invites[i], 200));
    }
    let answers = edge.messages(caller);
    assert_eq!(answers.len(), 2);
    // The caller keeps one and ends the other, each through its own Route.
    for (i, answer) in answers.iter().enumerate() {
        let Message::Response(ok) = answer else { panic!() };
        let n = edge.unique();
        edge.send(caller, &in_dialog(caller, Method::Ack, ok, 1, n));
        let got: Vec<String> = edge.summary(phones[i]).into_iter().filter(|m| m != "CANCEL").collect();
        assert_eq!(got, ["ACK"]);
    }
}

#[test]
fn when_nobody_takes_the_call_the_best_refusal_reaches_the_caller_and_every_device_gets_its_ack() {
    for (first, second, best) in [
        (486, 480, 486),
        (480, 486, 486),
        (404, 486, 486),
        (486, 302, 302),
        (500, 486, 486),
        (503, 503, 500),
        (486, 603, 603),
    ] {
        let mut edge = TestEdge::new();
        let caller = edge.phone("101", 1);
        let phones = [edge.phone("102", 2), edge.phone("102", 3)];
        edge.invite(caller, "102");
        edge.inbox(caller);
        let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
        edge.reply(phones[0], &reply_of(phones[0], &invites[0], first));
        assert_eq!(edge.request(phones[0]).method(), Method::Ack);
        assert_eq!(edge.inbox(caller).len(), 0, "the other one still rings");
        edge.reply(phones[1], &reply_of(phones[1], &invites[1], second));
        assert_eq!(edge.request(phones[1]).method(), Method::Ack);
        assert_eq!(edge.response(caller).status(), best, "{first} {second}");
    }
}

#[test]
fn declined_for_all_devices_stops_the_ringing_of_the_others() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phones = [edge.phone("102", 2), edge.phone("102", 3)];
    edge.invite(caller, "102");
    let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
    edge.reply(phones[1], &reply_of(phones[1], &invites[1], 180));
    edge.reply(phones[0], &reply_of(phones[0], &invites[0], 603));
    assert_eq!(edge.summary(phones[1]), ["CANCEL"]);
    edge.reply(phones[1], &reply_of(phones[1], &invites[1], 487));
    assert_eq!(edge.summary(caller), ["100", "180", "603"]);
}

#[test]
fn challenges_of_several_devices_are_all_passed_on() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phones = [edge.phone("102", 2), edge.phone("102", 3)];
    edge.invite(caller, "102");
    edge.inbox(caller);
    for (i, phone) in phones.iter().enumerate() {
        let invite = edge.request(*phone);
        let mut response = reply_of(*phone, &invite, 401);
        response.append(Header::WwwAuthenticate, &format!("Digest realm=\"r{i}\", nonce=\"n\""));
        edge.reply(*phone, &response);
    }
    assert_eq!(edge.response(caller).values(Header::WwwAuthenticate).count(), 2);
}

fn cancel_of(invite: &Request) -> Request {
    let mut cancel = Request::new(Method::Cancel, invite.uri_text());
    for header in [Header::Via, Header::MaxForwards, Header::From, Header::To, Header::CallId] {
        cancel.append(header, invite.value(header).unwrap());
    }
    cancel.append(Header::CSeq, &format!("{} CANCEL", invite.cseq().unwrap().number));
    cancel
}

#[test]
fn a_devices_ok_to_the_cancel_is_not_an_answer_to_the_call() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phone = edge.phone("102", 2);
    let sent = edge.invite(caller, "102");
    let invite = edge.request(phone);
    edge.reply(phone, &reply_of(phone, &invite, 180));
    edge.send(caller, &cancel_of(&sent));
    edge.inbox(caller);
    let cancel = edge.request(phone);
    edge.reply(phone, &reply_of(phone, &cancel, 200));
    assert!(edge.summary(caller).is_empty());
    edge.reply(phone, &reply_of(phone, &invite, 487));
    assert_eq!(edge.summary(caller), ["487"]);
}

#[test]
fn cancel_needs_no_password_reaches_every_device_and_ends_with_487() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let phones = [edge.phone("102", 2), edge.phone("102", 3)];
    let sent = edge.invite(caller, "102");
    let invites: Vec<Request> = phones.iter().map(|phone| edge.request(*phone)).collect();
    for i in [0, 1] {
        edge.reply(phones[i], &reply_of(phones[i], &invites[i], 180));
    }
    edge.inbox(caller);
    edge.send(caller, &cancel_of(&sent));
    assert_eq!(edge.summary(caller), ["200"]);
    for i in [0, 1] {
        assert_eq!(edge.summary(phones[i]), ["CANCEL"]);
        edge.reply(phones[i], &reply_of(phones[i], &invites[i], 487));
        assert_eq!(edge.summary(phones[i]), ["ACK"]);
    }
    assert_eq!(edge.summary(caller), ["487"]);
    let ack = String::from_utf8(cancel_of(&sent).to_bytes()).unwrap().replace("CANCEL", "ACK");
    edge.raw(caller, ack.as_bytes());
    edge.wait(1);
    assert_eq!(edge.core.statistics().requests, 0, "the ACK ends it");
    assert!(phones.iter().all(|phone| edge.inbox(*phone).is_empty()), "it is not passed on");
}

#[test]
fn an_answer_that_crosses_a_cancel_reaches_the_caller_who_ends_the_call() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let sent = edge.invite(caller, "102");
    let invite = edge.request(callee);
    edge.reply(callee, &reply_of(callee, &invite, 180));
    edge.inbox(caller);
    edge.send(caller, &cancel_of(&sent));
    assert_eq!(edge.summary(callee), ["CANCEL"]);
    edge.reply(callee, &reply_of(callee, &invite, 200));
    let messages = edge.messages(caller);
    let Message::Response(ok) = &messages[1] else { panic!() };
    assert_eq!(ok.status(), 200);
    let n = edge.unique();
    edge.send(caller, &in_dialog(caller, Method::Ack, ok, 2, n));
    edge.send(caller, &in_dialog(caller, Method::Bye, ok, 3, n + 1000));
    assert_eq!(edge.summary(callee), ["ACK", "BYE"]);
}

#[test]
fn a_cancel_before_the_first_sign_of_life_waits_for_it_and_gives_up_in_time() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let sent = edge.invite(caller, "102");
    edge.request(callee);
    edge.send(caller, &cancel_of(&sent));
    assert_eq!(edge.inbox(callee).len(), 0);
    edge.wait(33);
    assert_eq!(edge.summary(caller), ["100", "200", "487"]);
}

#[test]
fn a_cancel_of_nothing_is_told_so_also_from_another_connection() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let other = edge.phone("103", 3);
    let sent = edge.invite(caller, "102");
    edge.inbox(callee);
    edge.send(other, &cancel_of(&sent));
    assert_eq!(edge.summary(other), ["481"]);
    assert_eq!(edge.inbox(callee).len(), 0);
}

#[test]
fn a_device_that_says_nothing_costs_408_and_one_that_rings_for_ever_is_stopped() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    edge.invite(caller, "102");
    edge.inbox(callee);
    edge.wait(33);
    assert_eq!(edge.summary(caller), ["100", "408"]);

    edge.invite(caller, "102");
    let invite = edge.request(callee);
    edge.reply(callee, &reply_of(callee, &invite, 180));
    edge.wait(100);
    // A sign of life puts timer C off.
    edge.reply(callee, &reply_of(callee, &invite, 180));
    edge.wait(180);
    assert_eq!(edge.inbox(callee).len(), 0);
    edge.wait(10);
    assert_eq!(edge.summary(callee), ["CANCEL"]);
    edge.reply(callee, &reply_of(callee, &invite, 487));
    assert_eq!(edge.summary(caller), ["100", "180", "180", "487"]);
}

#[test]
fn a_silent_device_costs_other_requests_nothing_but_their_answer() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    edge.phone("102", 2);
    let request = edge.new_request(caller, Method::Message, "sip:102@acme.sip.test");
    edge.send_signed(caller, &request);
    edge.wait(33);
    assert_eq!(edge.inbox(caller).len(), 0, "RFC 4320: no 408");
    assert_eq!(edge.core.statistics().requests, 0);
}

#[test]
fn who_is_not_there_is_unavailable_and_who_does_not_exist_is_not_found() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    for (user, status) in [("102", 480), ("101", 480), ("777", 404), ("", 404)] {
        let uri = if user.is_empty() { "sip:acme.sip.test".to_owned() } else { format!("sip:{user}@acme.sip.test") };
        let request = edge.new_request(caller, Method::Invite, &uri);
        edge.send_signed(caller, &request);
        assert_eq!(edge.response(caller).status(), status, "{user}");
    }
}

#[test]
fn calling_the_own_extension_rings_the_other_devices() {
    let mut edge = TestEdge::new();
    let desk = edge.phone("101", 1);
    let mobile = edge.phone("101", 2);
    edge.invite(desk, "101");
    assert_eq!(edge.request(mobile).method(), Method::Invite);
    assert_eq!(edge.summary(desk), ["100"]);
}

#[test]
fn a_device_with_two_flows_rings_once() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let first = edge.phone("102", 2);
    let second = edge.connect("102", ACME, 2);
    let mut request = edge.registration(second);
    let contact = request.value(Header::Contact).unwrap().replace("reg-id=1", "reg-id=2");
    request.set(Header::Contact, &contact);
    edge.send_signed(second, &request);
    assert_eq!(edge.response(second).values(Header::Contact).count(), 2);
    edge.invite(caller, "102");
    assert_eq!(edge.summary(second), ["INVITE"], "the newest flow");
    assert_eq!(edge.inbox(first).len(), 0);
}

#[test]
fn a_device_that_vanishes_while_ringing_is_unavailable() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    edge.invite(caller, "102");
    edge.disconnect(callee);
    assert_eq!(edge.summary(caller), ["100", "480"]);
}

#[test]
fn a_caller_who_vanishes_stops_the_ringing() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    edge.invite(caller, "102");
    let invite = edge.request(callee);
    edge.reply(callee, &reply_of(callee, &invite, 180));
    edge.disconnect(caller);
    assert_eq!(edge.summary(callee), ["CANCEL"]);
    edge.reply(callee, &reply_of(callee, &invite, 487));
    assert_eq!(edge.summary(callee), ["ACK"]);
    assert_eq!(edge.core.statistics().requests, 0);
}

#[test]
fn requests_inside_a_call_reach_the_other_phone_both_ways() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let bystander = edge.phone("102", 3);
    edge.disconnect(bystander);
    let (invite, ok) = edge.call(caller, callee);
    let methods = [
        Method::Info,
        Method::Invite,
        Method::Update,
        Method::Refer,
        Method::Prack,
        Method::Notify,
        Method::Options,
        Method::Bye,
    ];
    for (n, method) in methods.into_iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        edge.send(caller, &in_dialog(caller, method, &ok, 10 + n, 100 + n));
        let asked = edge.request(callee);
        assert_eq!(asked.method(), method);
        assert!(!asked.has(Header::Route), "our Route is taken off");
        assert_eq!(asked.uri_text(), "sip:u2@2.invalid;transport=ws");
        edge.reply(callee, &asked.response(200, "OK", None));
        assert_eq!(edge.summary(caller).last().map(String::as_str), Some("200"));

        edge.send(callee, &in_dialog_of_callee(callee, method, &invite, 100 + n));
        let asked = edge.request(caller);
        assert_eq!((asked.method(), asked.uri_text()), (method, "sip:u1@1.invalid;transport=ws"));
        edge.reply(caller, &asked.response(200, "OK", None));
        assert_eq!(edge.summary(callee).last().map(String::as_str), Some("200"));
    }
}

/// Many user agents put their last proof, made for the edge, on every further request of the call.
#[test]
fn neither_a_proof_nor_an_asserted_identity_reaches_the_other_phone_inside_a_call() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let (_, ok) = edge.call(caller, callee);
    for (n, method) in [Method::Ack, Method::Info, Method::Bye].into_iter().enumerate() {
        let mut request = in_dialog(caller, method, &ok, 1, 200 + u32::try_from(n).unwrap());
        request.append(Header::ProxyAuthorization, "Digest username=\"101\", response=\"c0ffee\"");
        request.append(Header::PAssertedIdentity, "<sip:boss@acme.sip.test>");
        request.append(Header::RemotePartyId, "<sip:boss@acme.sip.test>");
        edge.send(caller, &request);
        let received = edge.request(callee);
        assert_eq!(received.method(), method);
        for private in [Header::ProxyAuthorization, Header::PAssertedIdentity, Header::RemotePartyId] {
            assert!(!received.has(private), "{received:?}");
        }
    }
}

#[test]
fn a_call_goes_on_after_either_phone_has_reconnected() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let (invite, ok) = edge.call(caller, callee);

    edge.disconnect(callee);
    edge.send(caller, &in_dialog(caller, Method::Info, &ok, 10, 10));
    assert_eq!(edge.summary(caller), ["480"], "for the moment");
    let callee = edge.phone("102", 2);
    edge.send(caller, &in_dialog(caller, Method::Invite, &ok, 11, 11));
    assert_eq!(edge.request(callee).method(), Method::Invite);

    edge.disconnect(caller);
    let caller = edge.phone("101", 1);
    edge.send(callee, &in_dialog_of_callee(callee, Method::Bye, &invite, 12));
    let bye = edge.request(caller);
    assert_eq!(bye.method(), Method::Bye);
    edge.reply(caller, &bye.response(200, "OK", None));
    assert_eq!(edge.summary(callee), ["200"]);
}

#[test]
fn a_phone_that_has_lost_its_route_is_still_understood_by_the_remote_target() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let (_, ok) = edge.call(caller, callee);
    let mut bye = in_dialog(caller, Method::Bye, &ok, 10, 10);
    bye.remove(Header::Route);
    edge.send(caller, &bye);
    assert_eq!(edge.request(callee).method(), Method::Bye);
}

#[test]
fn a_caller_who_never_registered_can_call_and_be_hung_up_on() {
    let mut edge = TestEdge::new();
    let caller = edge.connect("101", ACME, 1);
    let callee = edge.phone("102", 2);
    let (invite, _) = edge.call(caller, callee);
    edge.send(callee, &in_dialog_of_callee(callee, Method::Bye, &invite, 1));
    assert_eq!(edge.request(caller).method(), Method::Bye);
    edge.disconnect(caller);
    edge.send(callee, &in_dialog_of_callee(callee, Method::Bye, &invite, 2));
    assert!(edge.summary(callee).contains(&"480".to_owned()));
}

#[test]
fn a_request_sent_twice_is_forwarded_once() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let signed = edge.invite(caller, "102");
    edge.send(caller, &signed);
    assert_eq!(edge.summary(callee), ["INVITE"]);
}

#[test]
fn timers_do_not_pile_up_while_a_phone_rings() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    edge.invite(caller, "102");
    let invite = edge.request(callee);
    for _ in 0..1000 {
        edge.reply(callee, &reply_of(callee, &invite, 180));
        edge.wait(1);
    }
    assert!(edge.core.timers.len() < 20, "{}", edge.core.timers.len());
}

#[test]
fn header_fields_in_a_contact_stay_off_the_request_line() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.connect("102", ACME, 2);
    let mut request = edge.registration(callee);
    request.set(Header::Contact, "<sip:u2@2.invalid;transport=ws?Subject=x>;expires=600");
    edge.send_signed(callee, &request);
    assert_eq!(edge.response(callee).status(), 200);
    edge.invite(caller, "102");
    assert_eq!(edge.request(callee).uri_text(), "sip:u2@2.invalid;transport=ws");
}
