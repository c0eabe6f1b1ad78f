use super::*;

#[test]
fn a_wrong_password_is_challenged_anew_without_stale() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let refused = guess(&mut edge, phone);
    assert_eq!(refused.status(), 401);
    assert!(!refused.value(Header::WwwAuthenticate).unwrap().contains("stale"));
    assert_eq!(edge.register(phone).status(), 200);
}

#[test]
fn after_ten_wrong_passwords_for_an_extension_from_a_network_lock_outs_double_and_no_other_phone_is_locked_out() {
    for (guesser, neighbour, other) in
        [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")]
    {
        let mut edge = TestEdge::new();
        for device in 0..10 {
            let phone = edge.connect_from(guesser, "101", ACME, device);
            assert_eq!(guess(&mut edge, phone).status(), 401);
        }
        let mut total = 0;
        for lock_out in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let phone = edge.connect_from(guesser, "101", ACME, 20);
            let refused = edge.register(phone);
            assert_eq!(refused.status(), 503, "the right password is not compared either");
            assert_eq!(refused.retry_after().unwrap(), Some(lock_out + 1));
            // Those who try something else, or from elsewhere, are compared.
            let neighbour = edge.connect_from(neighbour, "102", ACME, 30);
            assert_eq!(edge.register(neighbour).status(), 200);
            let other = edge.connect_from(other, "101", ACME, 31);
            assert_eq!(edge.register(other).status(), 200);
            for phone in [phone, neighbour, other] {
                edge.disconnect(phone);
            }
            edge.wait(u64::from(lock_out));
            let phone = edge.connect_from(guesser, "101", ACME, 21);
            assert_eq!(guess(&mut edge, phone).status(), 401, "one is compared after the lock-out");
            edge.disconnect(phone);
            total += lock_out;
        }
        assert!(total > 1000);
        edge.wait(300);
        let phone = edge.connect_from(guesser, "101", ACME, 22);
        assert_eq!(edge.register(phone).status(), 200);
    }
}

#[test]
fn whoever_is_locked_out_waits_for_the_answer_and_is_not_read_meanwhile() {
    let mut edge = TestEdge::with(EdgeLimits { refusal_delay: Duration::from_secs(4), ..EdgeLimits::default() });
    let phone = edge.connect("101", ACME, 1);
    for _ in 0..10 {
        assert_eq!(guess(&mut edge, phone).status(), 401);
    }
    for (lock_out, delay) in [(1, 1), (2, 2), (4, 4), (8, 4), (16, 4)] {
        let request = edge.registration(phone);
        edge.send_signed_with(phone, &request, "guess");
        assert_eq!(edge.inbox(phone).len(), 0);
        assert_eq!(edge.core.count_message(phone.connection, edge.now), Err(Duration::from_secs(delay)));
        edge.wait(delay);
        assert_eq!(edge.response(phone).status(), 503);
        assert_eq!(edge.core.count_message(phone.connection, edge.now), Ok(()));
        edge.wait(lock_out - delay);
        assert_eq!(guess(&mut edge, phone).status(), 401, "compared again, and wrong");
    }
}

#[test]
fn a_success_does_not_take_back_the_failures_of_another_extension() {
    let mut edge = TestEdge::new();
    for device in 0..10 {
        let own = edge.connect("102", ACME, 100 + device);
        assert_eq!(edge.register(own).status(), 200);
        edge.disconnect(own);
        let phone = edge.connect("101", ACME, device);
        assert_eq!(guess(&mut edge, phone).status(), 401);
    }
    let phone = edge.connect("101", ACME, 20);
    assert_eq!(guess(&mut edge, phone).status(), 503);
}

#[test]
fn a_network_that_tries_many_extensions_is_locked_out_but_for_those_that_have_signed_in_from_it() {
    let mut edge = TestEdge::new();
    let colleague = edge.connect("103", ACME, 1);
    assert_eq!(edge.register(colleague).status(), 200);
    edge.disconnect(colleague);
    let guesser = edge.connect("101", ACME, 2);
    for n in 0..100 {
        let name: &'static str = Box::leak(format!("guess{n}").into_boxed_str());
        assert_eq!(guess(&mut edge, Phone { user: name, ..guesser }).status(), 401, "{n}");
    }
    assert_eq!(edge.register(Phone { user: "102", ..guesser }).status(), 503, "not compared");
    let colleague = edge.connect("103", ACME, 3);
    assert_eq!(edge.register(colleague).status(), 200);
    let elsewhere = edge.connect_from("192.0.2.77", "102", ACME, 4);
    assert_eq!(edge.register(elsewhere).status(), 200);
}

#[test]
fn an_extension_that_is_tried_from_many_networks_is_compared_once_a_second_and_still_from_its_own() {
    let mut edge = TestEdge::new();
    let owner = edge.connect("101", ACME, 1);
    assert_eq!(edge.register(owner).status(), 200);
    for n in 0..100 {
        let phone = edge.connect_from(&format!("198.51.100.{n}"), "101", ACME, 2);
        assert_eq!(guess(&mut edge, phone).status(), 401, "{n}");
    }
    let phone = edge.connect_from("203.0.113.1", "101", ACME, 3);
    assert_eq!(guess(&mut edge, phone).status(), 503);
    assert_eq!(edge.register(owner).status(), 200);
    edge.wait(1);
    assert_eq!(guess(&mut edge, phone).status(), 401);
}

#[test]
fn a_phone_that_is_signed_in_is_not_locked_out_by_guesses_for_its_extension_from_its_own_network() {
    let mut edge = TestEdge::new();
    let owner = edge.phone("101", 1);
    let guesser = edge.connect("101", ACME, 2);
    for _ in 0..10 {
        assert_eq!(guess(&mut edge, guesser).status(), 401);
    }
    assert_eq!(guess(&mut edge, guesser).status(), 503);
    assert_eq!(edge.register(owner).status(), 200);
    assert_eq!(guess(&mut edge, guesser).status(), 503, "its success takes back no failure");
}

#[test]
fn while_a_tenant_is_tried_from_very_many_networks_each_of_them_waits_and_whoever_has_not_failed_does_not() {
    let mut edge = TestEdge::new();
    let names: Vec<&'static str> = (0..30).map(|n| &*Box::leak(format!("guess{n}").into_boxed_str())).collect();
    let guess_from = |edge: &mut TestEdge, n: usize| {
        let phone = edge.connect_from(&format!("198.51.{}.{}", n / 250, n % 250), names[n % names.len()], ACME, 1);
        let status = guess(edge, phone).status();
        edge.disconnect(phone);
        status
    };
    for n in 0..300 {
        assert_eq!(guess_from(&mut edge, n), 401, "{n}");
    }
    assert_eq!(guess_from(&mut edge, 299), 503, "it has failed");
    assert_eq!(guess_from(&mut edge, 300), 401, "it has not");
    for domain in [ACME, OTHER] {
        let newcomer = edge.connect_from("203.0.113.1", "101", domain, 2);
        assert_eq!(edge.register(newcomer).status(), 200);
    }
    // Another tenant's phones that mistype are not made to wait for it.
    let other = edge.connect_from("198.51.0.1", "101", OTHER, 3);
    assert_eq!(guess(&mut edge, other).status(), 401);
    assert_eq!(edge.register(other).status(), 200);
}

fn guess(edge: &mut TestEdge, phone: Phone) -> Response {
    let request = edge.registration(phone);
    edge.send_signed_with(phone, &request, "guess");
    edge.response(phone)
}

#[test]
fn an_unknown_extension_looks_like_a_wrong_password() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("999", ACME, 1);
    let request = edge.registration(phone);
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 401);
}

#[test]
fn a_replayed_answer_is_refused_as_stale_on_the_same_and_on_another_connection() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    let signed = edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 200);
    let thief = edge.connect("101", ACME, 2);
    for connection in [phone, thief] {
        let mut replay = signed.clone();
        replay.set(Header::Via, "SIP/2.0/WSS 1.invalid;branch=z9hG4bKreplay");
        edge.send(connection, &replay);
        let refused = edge.response(connection);
        assert_eq!(refused.status(), 401);
        assert!(refused.value(Header::WwwAuthenticate).unwrap().contains("stale=true"));
    }
}

#[test]
fn a_nonce_serves_again_with_the_next_count_until_it_is_too_old() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    edge.send(phone, &request);
    let challenge = edge.response(phone);
    let first = sign(&next(&request), &challenge, "101", "pw-101", 1);
    edge.send(phone, &first);
    assert_eq!(edge.response(phone).status(), 200);
    let second = sign(&next(&first), &challenge, "101", "pw-101", 2);
    edge.send(phone, &second);
    assert_eq!(edge.response(phone).status(), 200);
    edge.wait(601);
    edge.send(phone, &sign(&next(&second), &challenge, "101", "pw-101", 3));
    let stale = edge.response(phone);
    assert!(stale.value(Header::WwwAuthenticate).unwrap().contains("stale=true"));
}

#[test]
fn an_answer_made_for_another_request_uri_is_refused() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    edge.send(phone, &request);
    let challenge = edge.response(phone);
    let mut elsewhere = next(&request);
    elsewhere.set_uri("sip:elsewhere.test");
    let mut signed = sign(&elsewhere, &challenge, "101", "pw-101", 1);
    signed.set_uri("sip:acme.sip.test");
    edge.send(phone, &signed);
    assert_eq!(edge.response(phone).status(), 401);
}

#[test]
fn nobody_registers_for_another_extension() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let mut request = edge.registration(phone);
    request.set(Header::To, "<sip:102@acme.sip.test>");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 403);
    assert_eq!(edge.core.statistics().contacts, 0);
}

#[test]
fn a_domain_that_is_not_served_is_refused_without_a_challenge() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", "elsewhere.test", 1);
    let request = edge.registration(phone);
    edge.send(phone, &request);
    assert_eq!(edge.response(phone).status(), 404);
    let request = edge.new_request(phone, Method::Invite, "sip:102@acme.sip.test");
    edge.send(phone, &request);
    assert_eq!(edge.response(phone).status(), 403);
}

#[test]
fn an_unauthenticated_request_is_not_relayed() {
    let mut edge = TestEdge::new();
    let callee = edge.phone("102", 2);
    let stranger = edge.connect("101", ACME, 1);
    for method in [Method::Invite, Method::Message, Method::Options, Method::Subscribe, Method::Bye] {
        let request = edge.new_request(stranger, method, "sip:102@acme.sip.test");
        edge.send(stranger, &request);
        assert_eq!(edge.response(stranger).status(), 407, "{method}");
    }
    assert_eq!(edge.inbox(callee).len(), 0);
}

#[test]
fn an_unauthenticated_request_cannot_enter_a_dialog() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let (_, ok) = edge.call(caller, callee);
    let stranger = edge.connect("101", ACME, 66);
    let n = edge.unique();
    edge.send(stranger, &in_dialog(stranger, Method::Bye, &ok, 5, n));
    assert_eq!(edge.response(stranger).status(), 407);
    edge.send(stranger, &in_dialog(stranger, Method::Ack, &ok, 5, n));
    assert_eq!(edge.inbox(callee).len(), 0);
}

#[test]
fn calls_do_not_cross_from_tenant_to_tenant() {
    let mut edge = TestEdge::new();
    let callee = edge.phone("102", 2);
    let foreign = edge.connect("101", OTHER, 1);
    assert_eq!(edge.register(foreign).status(), 200);
    let request = edge.new_request(foreign, Method::Invite, "sip:102@acme.sip.test");
    edge.send_signed(foreign, &request);
    assert_eq!(edge.response(foreign).status(), 403);
    // Nor by the Route of a dialog of the other tenant.
    let caller = edge.phone("101", 3);
    let (_, ok) = edge.call(caller, callee);
    let n = edge.unique();
    edge.send(foreign, &in_dialog(foreign, Method::Bye, &ok, 5, n));
    assert_eq!(edge.response(foreign).status(), 481);
    edge.send(foreign, &in_dialog(foreign, Method::Ack, &ok, 5, n));
    assert_eq!(edge.inbox(callee).len(), 0);
}

#[test]
fn a_third_extension_of_the_same_tenant_does_not_enter_a_dialog_by_its_route() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let third = edge.phone("103", 3);
    let (invite, ok) = edge.call(caller, callee);
    for method in [Method::Bye, Method::Invite, Method::Info] {
        let n = edge.unique();
        edge.send(third, &in_dialog(third, method, &ok, 5, n));
        assert_eq!(edge.response(third).status(), 481, "{method}");
        let n = edge.unique();
        edge.send(third, &in_dialog_of_callee(third, method, &invite, n));
        assert_eq!(edge.response(third).status(), 481, "{method}");
    }
    let n = edge.unique();
    edge.send(third, &in_dialog(third, Method::Ack, &ok, 5, n));
    assert_eq!((edge.inbox(caller).len(), edge.inbox(callee).len()), (0, 0));
    let n = edge.unique();
    edge.send(caller, &in_dialog(caller, Method::Bye, &ok, 5, n));
    assert_eq!(edge.request(callee).method(), Method::Bye);
}

#[test]
fn requests_to_foreign_hosts_are_refused() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let request = edge.new_request(phone, Method::Invite, "sip:bob@example.com");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 403);
    let mut request = edge.new_request(phone, Method::Invite, "sip:102@acme.sip.test");
    request.append(Header::Route, "<sip:proxy.example.com;lr>");
    edge.send(phone, &request);
    assert_eq!(edge.response(phone).status(), 403);
    let request = edge.new_request(phone, Method::Invite, "tel:+4930123");
    edge.send(phone, &request);
    assert_eq!(edge.response(phone).status(), 416);
}

#[test]
fn a_from_of_another_extension_gets_403() {
    let mut edge = TestEdge::new();
    let target = edge.phone("103", 3);
    for phone in [edge.phone("101", 1), edge.connect("101", ACME, 2)] {
        let mut request = edge.new_request(phone, Method::Invite, "sip:103@acme.sip.test");
        request.set(Header::From, "<sip:102@acme.sip.test>;tag=x");
        edge.send_signed(phone, &request);
        assert_eq!(edge.response(phone).status(), 403);
    }
    assert_eq!(edge.inbox(target).len(), 0);
}

#[test]
fn one_connection_does_not_speak_for_two_extensions_at_a_time() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let second = Phone { user: "102", device: 2, ..phone };
    assert_eq!(edge.register(second).status(), 403);
}

#[test]
fn max_forwards_zero_gets_483() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let mut request = edge.new_request(phone, Method::Invite, "sip:102@acme.sip.test");
    request.set(Header::MaxForwards, "0");
    edge.send(phone, &request);
    assert_eq!(edge.response(phone).status(), 483);
}

#[test]
fn an_unknown_proxy_require_gets_420_and_is_named() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    let mut request = edge.new_request(phone, Method::Invite, "sip:102@acme.sip.test");
    request.append(Header::ProxyRequire, "sec-agree");
    edge.send(phone, &request);
    let refused = edge.response(phone);
    assert_eq!((refused.status(), refused.value(Header::Unsupported)), (420, Some("sec-agree")));
}

#[test]
fn a_response_from_somebody_who_was_not_asked_is_dropped() {
    let mut edge = TestEdge::new();
    let caller = edge.phone("101", 1);
    let callee = edge.phone("102", 2);
    let other = edge.phone("103", 3);
    edge.invite(caller, "102");
    edge.inbox(caller);
    let invite = edge.request(callee);
    edge.reply(other, &invite.response(200, "OK", Some("hijack")));
    assert_eq!(edge.inbox(caller).len(), 0);
}
