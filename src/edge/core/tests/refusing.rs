use super::*;

#[test]
fn a_wrong_password_is_challenged_anew_without_stale_and_ends_after_ten_tries() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    for tries in 1..=10 {
        assert_eq!(world.closed.get(&phone.connection), None, "{tries}");
        let request = world.registration(phone);
        world.send_signed_with(phone, &request, "guess");
        let refused = world.response(phone);
        assert_eq!(refused.status(), 401);
        assert!(!refused.value(Header::WwwAuthenticate).unwrap().contains("stale"));
    }
    assert_eq!(world.closed.get(&phone.connection), Some(&CloseReason::TooManyFailures));
    // What it still sends is not heard.
    let request = world.registration(phone);
    world.send(phone, &request);
    assert_eq!(world.inbox(phone).len(), 0);
}

#[test]
fn after_ten_wrong_passwords_from_one_network_one_more_is_compared_each_second() {
    for (guesser, neighbour, other) in
        [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")]
    {
        let mut world = World::new();
        for device in 0..10 {
            let phone = world.connect_from(guesser, "101", ACME, device);
            let request = world.registration(phone);
            world.send_signed_with(phone, &request, "guess");
            assert_eq!(world.response(phone).status(), 401);
        }
        let phone = world.connect_from(neighbour, "102", ACME, 20);
        assert_eq!(world.register(phone).status(), 401, "not compared, so refused like a wrong one");
        let phone = world.connect_from(other, "101", ACME, 21);
        assert_eq!(world.register(phone).status(), 200);
        world.wait(1);
        let phone = world.connect_from(guesser, "101", ACME, 22);
        for _ in 0..20 {
            assert_eq!(world.register(phone).status(), 200, "what is right is not counted");
        }
        let request = world.registration(phone);
        world.send_signed_with(phone, &request, "guess");
        assert_eq!(world.response(phone).status(), 401);
        assert_eq!(world.register(phone).status(), 401, "one failure was replenished");
        world.wait(1);
        assert_eq!(world.register(phone).status(), 200);
    }
}

#[test]
fn an_unknown_extension_looks_like_a_wrong_password() {
    let mut world = World::new();
    let phone = world.connect("999", ACME, 1);
    let request = world.registration(phone);
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 401);
}

#[test]
fn a_replayed_answer_is_refused_as_stale_on_the_same_and_on_another_connection() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    let signed = world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 200);
    let thief = world.connect("101", ACME, 2);
    for connection in [phone, thief] {
        let mut replay = signed.clone();
        replay.set(Header::Via, "SIP/2.0/WSS 1.invalid;branch=z9hG4bKreplay");
        world.send(connection, &replay);
        let refused = world.response(connection);
        assert_eq!(refused.status(), 401);
        assert!(refused.value(Header::WwwAuthenticate).unwrap().contains("stale=true"));
    }
}

#[test]
fn a_nonce_serves_again_with_the_next_count_until_it_is_too_old() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    world.send(phone, &request);
    let challenge = world.response(phone);
    let first = sign(&next(&request), &challenge, "101", "pw-101", 1);
    world.send(phone, &first);
    assert_eq!(world.response(phone).status(), 200);
    let second = sign(&next(&first), &challenge, "101", "pw-101", 2);
    world.send(phone, &second);
    assert_eq!(world.response(phone).status(), 200);
    world.wait(601);
    world.send(phone, &sign(&next(&second), &challenge, "101", "pw-101", 3));
    let stale = world.response(phone);
    assert!(stale.value(Header::WwwAuthenticate).unwrap().contains("stale=true"));
}

#[test]
fn an_answer_made_for_another_request_uri_is_refused() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    world.send(phone, &request);
    let challenge = world.response(phone);
    let mut elsewhere = next(&request);
    elsewhere.set_uri("sip:elsewhere.test");
    let mut signed = sign(&elsewhere, &challenge, "101", "pw-101", 1);
    signed.set_uri("sip:acme.sip.test");
    world.send(phone, &signed);
    assert_eq!(world.response(phone).status(), 401);
}

#[test]
fn nobody_registers_for_another_extension() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let mut request = world.registration(phone);
    request.set(Header::To, "<sip:102@acme.sip.test>");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 403);
    assert_eq!(world.core.statistics().contacts, 0);
}

#[test]
fn a_domain_that_is_not_served_is_refused_without_a_challenge() {
    let mut world = World::new();
    let phone = world.connect("101", "elsewhere.test", 1);
    let request = world.registration(phone);
    world.send(phone, &request);
    assert_eq!(world.response(phone).status(), 404);
    let request = world.make(phone, Method::Invite, "sip:102@acme.sip.test");
    world.send(phone, &request);
    assert_eq!(world.response(phone).status(), 403);
}

#[test]
fn a_stranger_is_not_relayed() {
    let mut world = World::new();
    let callee = world.phone("102", 2);
    let stranger = world.connect("101", ACME, 1);
    for method in [Method::Invite, Method::Message, Method::Options, Method::Subscribe, Method::Bye] {
        let request = world.make(stranger, method, "sip:102@acme.sip.test");
        world.send(stranger, &request);
        assert_eq!(world.response(stranger).status(), 407, "{method}");
    }
    assert_eq!(world.inbox(callee).len(), 0);
}

#[test]
fn a_stranger_cannot_reach_into_a_dialog() {
    let mut world = World::new();
    let caller = world.phone("101", 1);
    let callee = world.phone("102", 2);
    let (_, ok) = world.call(caller, callee);
    let stranger = world.connect("101", ACME, 66);
    let n = world.unique();
    world.send(stranger, &in_dialog(stranger, Method::Bye, &ok, 5, n));
    assert_eq!(world.response(stranger).status(), 407);
    world.send(stranger, &in_dialog(stranger, Method::Ack, &ok, 5, n));
    assert_eq!(world.inbox(callee).len(), 0);
}

#[test]
fn calls_do_not_cross_from_tenant_to_tenant() {
    let mut world = World::new();
    let callee = world.phone("102", 2);
    let foreign = world.connect("101", OTHER, 1);
    assert_eq!(world.register(foreign).status(), 200);
    let request = world.make(foreign, Method::Invite, "sip:102@acme.sip.test");
    world.send_signed(foreign, &request);
    assert_eq!(world.response(foreign).status(), 403);
    // Nor by the Route of a dialog of the other tenant.
    let caller = world.phone("101", 3);
    let (_, ok) = world.call(caller, callee);
    let n = world.unique();
    world.send(foreign, &in_dialog(foreign, Method::Bye, &ok, 5, n));
    assert_eq!(world.response(foreign).status(), 404);
    world.send(foreign, &in_dialog(foreign, Method::Ack, &ok, 5, n));
    assert_eq!(world.inbox(callee).len(), 0);
}

#[test]
fn nothing_goes_to_foreign_hosts() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let request = world.make(phone, Method::Invite, "sip:bob@example.com");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 403);
    let mut request = world.make(phone, Method::Invite, "sip:102@acme.sip.test");
    request.append(Header::Route, "<sip:proxy.example.com;lr>");
    world.send(phone, &request);
    assert_eq!(world.response(phone).status(), 403);
    let request = world.make(phone, Method::Invite, "tel:+4930123");
    world.send(phone, &request);
    assert_eq!(world.response(phone).status(), 416);
}

#[test]
fn nobody_calls_under_another_name() {
    let mut world = World::new();
    let target = world.phone("103", 3);
    for phone in [world.phone("101", 1), world.connect("101", ACME, 2)] {
        let mut request = world.make(phone, Method::Invite, "sip:103@acme.sip.test");
        request.set(Header::From, "<sip:102@acme.sip.test>;tag=x");
        world.send_signed(phone, &request);
        assert_eq!(world.response(phone).status(), 403);
    }
    assert_eq!(world.inbox(target).len(), 0);
}

#[test]
fn one_connection_does_not_speak_for_two_extensions_at_a_time() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let second = Phone { user: "102", device: 2, ..phone };
    assert_eq!(world.register(second).status(), 403);
}

#[test]
fn hops_run_out() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let mut request = world.make(phone, Method::Invite, "sip:102@acme.sip.test");
    request.set(Header::MaxForwards, "0");
    world.send(phone, &request);
    assert_eq!(world.response(phone).status(), 483);
}

#[test]
fn unknown_demands_on_the_proxy_are_named() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    let mut request = world.make(phone, Method::Invite, "sip:102@acme.sip.test");
    request.append(Header::ProxyRequire, "sec-agree");
    world.send(phone, &request);
    let refused = world.response(phone);
    assert_eq!((refused.status(), refused.value(Header::Unsupported)), (420, Some("sec-agree")));
}

#[test]
fn requests_in_flight_are_bounded_per_connection() {
    let mut world = World::with(Limits { requests_per_connection: 2, ..Limits::default() });
    let caller = world.phone("101", 1);
    world.phone("102", 2);
    for _ in 0..2 {
        world.invite(caller, "102");
        assert_eq!(world.summary(caller), ["100"]);
    }
    world.invite(caller, "102");
    assert_eq!(world.response(caller).status(), 503);
}

#[test]
fn a_response_from_somebody_who_was_not_asked_is_dropped() {
    let mut world = World::new();
    let caller = world.phone("101", 1);
    let callee = world.phone("102", 2);
    let other = world.phone("103", 3);
    world.invite(caller, "102");
    world.inbox(caller);
    let invite = world.asked(callee);
    world.reply(other, &invite.response(200, "OK", Some("hijack")));
    assert_eq!(world.inbox(caller).len(), 0);
}
