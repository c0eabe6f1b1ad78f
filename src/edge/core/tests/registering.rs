use super::*;

#[test]
fn a_phone_registers_by_digest_and_sees_its_contact() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    edge.send(phone, &request);
    let challenge = edge.response(phone);
    assert_eq!(challenge.status(), 401);
    let offers: Vec<&str> = challenge.values(Header::WwwAuthenticate).collect();
    assert!(offers[0].contains("algorithm=SHA-256") && offers[1].contains("algorithm=MD5"), "{offers:?}");
    assert!(offers.iter().all(|offer| offer.contains("realm=\"acme.sip.test\"") && !offer.contains("stale")));
    edge.send(phone, &sign(&next(&request), &challenge, "101", "pw-101", 1));
    let ok = edge.response(phone);
    assert_eq!(ok.status(), 200);
    let contact = ok.value(Header::Contact).unwrap();
    assert!(contact.starts_with("<sip:u1@1.invalid;transport=ws>") && contact.ends_with(";expires=600"), "{contact}");
    assert!(contact.contains("+sip.instance=\"<urn:uuid:1>\""), "{contact}");
    assert!(ok.lists(Header::Require, "outbound"));
    assert_eq!(edge.core.statistics().contacts, 1);
}

#[test]
fn md5_serves_a_phone_that_knows_nothing_better() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    edge.send(phone, &request);
    let mut challenge = edge.response(phone);
    let md5 = challenge.values(Header::WwwAuthenticate).nth(1).unwrap().to_owned();
    challenge.set(Header::WwwAuthenticate, &md5);
    edge.send(phone, &sign(&next(&request), &challenge, "101", "pw-101", 1));
    assert_eq!(edge.response(phone).status(), 200);
}

#[test]
fn several_devices_of_an_extension_are_listed_and_a_reconnected_one_only_once() {
    let mut edge = TestEdge::new();
    edge.phone("101", 1);
    let second = edge.connect("101", ACME, 2);
    assert_eq!(edge.register(second).values(Header::Contact).count(), 2);
    let again = edge.connect("101", ACME, 2);
    let ok = edge.register(again);
    assert_eq!(ok.values(Header::Contact).count(), 2);
    // The old connection of the second device is noticed late, and must not take the new binding with it.
    edge.disconnect(second);
    assert_eq!(edge.core.statistics().contacts, 2);
    edge.disconnect(again);
    assert_eq!(edge.core.statistics().contacts, 1);
}

#[test]
fn a_phone_without_instance_is_known_by_its_uri() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    for _ in 0..2 {
        let mut request = edge.registration(phone);
        request.set(Header::Contact, &contact(phone));
        edge.send_signed(phone, &request);
        let ok = edge.response(phone);
        assert_eq!(ok.values(Header::Contact).count(), 1);
        assert!(!ok.has(Header::Require));
    }
}

#[test]
fn too_short_an_expiry_is_refused_with_the_shortest_and_a_long_one_is_shortened() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let mut request = edge.registration(phone);
    request.set(Header::Contact, &format!("{};expires=10", contact(phone)));
    edge.send_signed(phone, &request);
    let brief = edge.response(phone);
    assert_eq!((brief.status(), brief.min_expires().unwrap()), (423, Some(60)));
    let mut request = edge.registration(phone);
    request.set(Header::Contact, &contact(phone));
    request.set(Header::Expires, "100000");
    edge.send_signed(phone, &request);
    assert!(edge.response(phone).value(Header::Contact).unwrap().ends_with(";expires=3600"));
}

#[test]
fn bindings_end_by_expiry_by_zero_by_star_and_with_their_connection() {
    let mut edge = TestEdge::new();
    let count = |edge: &TestEdge| edge.core.statistics().contacts;
    edge.phone("101", 1);
    edge.wait(601);
    assert_eq!(count(&edge), 0);

    let phone = edge.phone("101", 1);
    let mut request = edge.registration(phone);
    let zero = request.value(Header::Contact).unwrap().replace("expires=600", "expires=0");
    request.set(Header::Contact, &zero);
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 200);
    assert_eq!(count(&edge), 0);

    let phone = edge.phone("101", 1);
    edge.phone("101", 2);
    let mut request = edge.registration(phone);
    request.set(Header::Contact, "*");
    request.set(Header::Expires, "0");
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 200);
    assert_eq!(count(&edge), 0);

    let phone = edge.phone("101", 1);
    edge.disconnect(phone);
    assert_eq!(count(&edge), 0);
}

#[test]
fn refreshing_keeps_a_binding_alive() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    for _ in 0..5 {
        edge.wait(400);
        assert_eq!(edge.register(phone).status(), 200);
    }
    assert_eq!(edge.core.statistics().contacts, 1);
    assert!(edge.core.timers.len() < 5, "{}", edge.core.timers.len());
}

#[test]
fn contacts_over_the_limit_of_an_extension_get_403() {
    let mut edge = TestEdge::with(EdgeLimits { contacts_per_extension: 2, ..EdgeLimits::default() });
    let first = edge.phone("101", 1);
    edge.phone("101", 2);
    let third = edge.connect("101", ACME, 3);
    assert_eq!(edge.register(third).status(), 403);
    // Refreshing is no more room.
    assert_eq!(edge.register(first).status(), 200);
    edge.disconnect(first);
    assert_eq!(edge.register(third).status(), 200);
}

#[test]
fn a_register_that_was_overtaken_changes_nothing() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.registration(phone);
    edge.send_signed(phone, &request);
    assert_eq!(edge.response(phone).status(), 200);
    let mut late = request.clone();
    late.set(Header::Via, "SIP/2.0/WSS 1.invalid;branch=z9hG4bKlate");
    late.set(Header::CSeq, "0 REGISTER");
    edge.send_signed(phone, &late);
    assert_eq!(edge.response(phone).status(), 500);
}

#[test]
fn a_double_crlf_keep_alive_is_answered_with_one_crlf() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    edge.raw(phone, b"\r\n\r\n");
    assert_eq!(edge.inbox(phone), [b"\r\n".to_vec()]);
    edge.raw(phone, b"\r\n");
    assert_eq!(edge.inbox(phone).len(), 0);
}

#[test]
fn options_to_the_edge_are_answered() {
    let mut edge = TestEdge::new();
    let phone = edge.connect("101", ACME, 1);
    let request = edge.new_request(phone, Method::Options, "sip:acme.sip.test");
    edge.send(phone, &request);
    let ok = edge.response(phone);
    assert_eq!(ok.status(), 200);
    assert!(ok.lists(Header::Allow, "INVITE"));
}

#[test]
fn a_connection_that_never_signs_in_is_closed_and_one_that_has_is_not() {
    let mut edge = TestEdge::new();
    let idle = edge.connect("101", ACME, 1);
    let phone = edge.phone("102", 2);
    edge.wait(61);
    assert_eq!(edge.closed.get(&idle.connection), Some(&CloseReason::NotSignedIn));
    assert_eq!(edge.closed.get(&phone.connection), None);
}

#[test]
fn the_connection_of_a_removed_extension_is_closed() {
    let mut edge = TestEdge::new();
    let removed = edge.phone("101", 1);
    let kept = edge.phone("102", 2);
    edge.tenants.removed.lock().unwrap().insert("101".to_owned());
    edge.core.directory_changed();
    edge.collect();
    assert_eq!(edge.closed.get(&removed.connection), Some(&CloseReason::Revoked));
    assert_eq!(edge.closed.get(&kept.connection), None);
    assert_eq!(edge.core.statistics().contacts, 1);
}

#[test]
fn connections_signed_in_with_an_old_password_are_closed_and_no_others() {
    let mut edge = TestEdge::new();
    let old = edge.phone("101", 1);
    let other = edge.phone("102", 2);
    // Signed in by a call, not by a registration.
    let caller = edge.connect("101", ACME, 3);
    edge.invite(caller, "102");
    edge.tenants.passwords.lock().unwrap().insert("101", "reset");
    let new = edge.connect("101", ACME, 4);
    let request = edge.registration(new);
    edge.send_signed_with(new, &request, "reset");
    edge.core.directory_changed();
    edge.collect();
    for cut in [old, caller] {
        assert_eq!(edge.closed.get(&cut.connection), Some(&CloseReason::Revoked));
    }
    for kept in [other, new] {
        assert_eq!(edge.closed.get(&kept.connection), None);
    }
    assert_eq!(edge.core.statistics().contacts, 2);
}

#[test]
fn shutdown_closes_every_connection_and_admits_none() {
    let mut edge = TestEdge::new();
    let phone = edge.phone("101", 1);
    edge.core.shutdown();
    edge.collect();
    assert_eq!(edge.closed.get(&phone.connection), Some(&CloseReason::GoingAway));
    assert_eq!(edge.core.connected("192.0.2.1:1".parse().unwrap(), "192.0.2.1".parse().unwrap(), edge.now), None);
}
