use super::*;

#[test]
fn a_phone_registers_by_digest_and_sees_its_contact() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    world.send(phone, &request);
    let challenge = world.response(phone);
    assert_eq!(challenge.status(), 401);
    let offers: Vec<&str> = challenge.values(Header::WwwAuthenticate).collect();
    assert!(offers[0].contains("algorithm=SHA-256") && offers[1].contains("algorithm=MD5"), "{offers:?}");
    assert!(offers.iter().all(|offer| offer.contains("realm=\"acme.sip.test\"") && !offer.contains("stale")));
    world.send(phone, &sign(&next(&request), &challenge, "101", "pw-101", 1));
    let ok = world.response(phone);
    assert_eq!(ok.status(), 200);
    let contact = ok.value(Header::Contact).unwrap();
    assert!(contact.starts_with("<sip:u1@1.invalid;transport=ws>") && contact.ends_with(";expires=600"), "{contact}");
    assert!(contact.contains("+sip.instance=\"<urn:uuid:1>\""), "{contact}");
    assert!(ok.lists(Header::Require, "outbound"));
    assert_eq!(world.core.statistics().contacts, 1);
}

#[test]
fn md5_serves_a_phone_that_knows_nothing_better() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    world.send(phone, &request);
    let mut challenge = world.response(phone);
    let md5 = challenge.values(Header::WwwAuthenticate).nth(1).unwrap().to_owned();
    challenge.set(Header::WwwAuthenticate, &md5);
    world.send(phone, &sign(&next(&request), &challenge, "101", "pw-101", 1));
    assert_eq!(world.response(phone).status(), 200);
}

#[test]
fn several_devices_of_an_extension_are_listed_and_a_reconnected_one_only_once() {
    let mut world = World::new();
    world.phone("101", 1);
    let second = world.connect("101", ACME, 2);
    assert_eq!(world.register(second).values(Header::Contact).count(), 2);
    let again = world.connect("101", ACME, 2);
    let ok = world.register(again);
    assert_eq!(ok.values(Header::Contact).count(), 2);
    // The old connection of the second device is noticed late, and must not take the new binding with it.
    world.disconnect(second);
    assert_eq!(world.core.statistics().contacts, 2);
    world.disconnect(again);
    assert_eq!(world.core.statistics().contacts, 1);
}

#[test]
fn a_phone_without_instance_is_known_by_its_uri() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    for _ in 0..2 {
        let mut request = world.registration(phone);
        request.set(Header::Contact, &contact(phone));
        world.send_signed(phone, &request);
        let ok = world.response(phone);
        assert_eq!(ok.values(Header::Contact).count(), 1);
        assert!(!ok.has(Header::Require));
    }
}

#[test]
fn too_short_an_expiry_is_refused_with_the_shortest_and_a_long_one_is_shortened() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let mut request = world.registration(phone);
    request.set(Header::Contact, &format!("{};expires=10", contact(phone)));
    world.send_signed(phone, &request);
    let brief = world.response(phone);
    assert_eq!((brief.status(), brief.min_expires().unwrap()), (423, Some(60)));
    let mut request = world.registration(phone);
    request.set(Header::Contact, &contact(phone));
    request.set(Header::Expires, "100000");
    world.send_signed(phone, &request);
    assert!(world.response(phone).value(Header::Contact).unwrap().ends_with(";expires=3600"));
}

#[test]
fn bindings_end_by_expiry_by_zero_by_star_and_with_their_connection() {
    let mut world = World::new();
    let count = |world: &World| world.core.statistics().contacts;
    world.phone("101", 1);
    world.wait(601);
    assert_eq!(count(&world), 0);

    let phone = world.phone("101", 1);
    let mut request = world.registration(phone);
    let zero = request.value(Header::Contact).unwrap().replace("expires=600", "expires=0");
    request.set(Header::Contact, &zero);
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 200);
    assert_eq!(count(&world), 0);

    let phone = world.phone("101", 1);
    world.phone("101", 2);
    let mut request = world.registration(phone);
    request.set(Header::Contact, "*");
    request.set(Header::Expires, "0");
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 200);
    assert_eq!(count(&world), 0);

    let phone = world.phone("101", 1);
    world.disconnect(phone);
    assert_eq!(count(&world), 0);
}

#[test]
fn refreshing_keeps_a_binding_alive() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    for _ in 0..5 {
        world.wait(400);
        assert_eq!(world.register(phone).status(), 200);
    }
    assert_eq!(world.core.statistics().contacts, 1);
    assert!(world.core.timers.len() < 5, "{}", world.core.timers.len());
}

#[test]
fn an_extension_has_room_for_so_many_devices_and_says_when_it_is_full() {
    let mut world = World::with(Limits { contacts_per_extension: 2, ..Limits::default() });
    let first = world.phone("101", 1);
    world.phone("101", 2);
    let third = world.connect("101", ACME, 3);
    assert_eq!(world.register(third).status(), 403);
    // Refreshing is no more room.
    assert_eq!(world.register(first).status(), 200);
    world.disconnect(first);
    assert_eq!(world.register(third).status(), 200);
}

#[test]
fn a_register_that_was_overtaken_changes_nothing() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.registration(phone);
    world.send_signed(phone, &request);
    assert_eq!(world.response(phone).status(), 200);
    let mut late = request.clone();
    late.set(Header::Via, "SIP/2.0/WSS 1.invalid;branch=z9hG4bKlate");
    late.set(Header::CSeq, "0 REGISTER");
    world.send_signed(phone, &late);
    assert_eq!(world.response(phone).status(), 500);
}

#[test]
fn the_keep_alive_is_answered_by_one_line_break() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    world.raw(phone, b"\r\n\r\n");
    assert_eq!(world.inbox(phone), [b"\r\n".to_vec()]);
    world.raw(phone, b"\r\n");
    assert_eq!(world.inbox(phone).len(), 0);
}

#[test]
fn options_to_the_edge_are_answered() {
    let mut world = World::new();
    let phone = world.connect("101", ACME, 1);
    let request = world.make(phone, Method::Options, "sip:acme.sip.test");
    world.send(phone, &request);
    let ok = world.response(phone);
    assert_eq!(ok.status(), 200);
    assert!(ok.lists(Header::Allow, "INVITE"));
}

#[test]
fn a_connection_that_never_signs_in_is_closed_and_one_that_has_is_not() {
    let mut world = World::new();
    let idle = world.connect("101", ACME, 1);
    let phone = world.phone("102", 2);
    world.wait(61);
    assert_eq!(world.closed.get(&idle.connection), Some(&CloseReason::NotSignedIn));
    assert_eq!(world.closed.get(&phone.connection), None);
}

#[test]
fn a_removed_extension_is_cut_off_at_once() {
    let mut world = World::new();
    let removed = world.phone("101", 1);
    let kept = world.phone("102", 2);
    world.tenants.removed.lock().unwrap().insert("101".to_owned());
    world.core.directory_changed();
    world.collect();
    assert_eq!(world.closed.get(&removed.connection), Some(&CloseReason::Revoked));
    assert_eq!(world.closed.get(&kept.connection), None);
    assert_eq!(world.core.statistics().contacts, 1);
}

#[test]
fn who_signed_in_by_a_password_that_is_no_longer_right_is_cut_off_and_nobody_else() {
    let mut world = World::new();
    let old = world.phone("101", 1);
    let other = world.phone("102", 2);
    // Signed in by a call, not by a registration.
    let caller = world.connect("101", ACME, 3);
    world.invite(caller, "102");
    world.tenants.passwords.lock().unwrap().insert("101", "reset");
    let new = world.connect("101", ACME, 4);
    let request = world.registration(new);
    world.send_signed_with(new, &request, "reset");
    world.core.directory_changed();
    world.collect();
    for cut in [old, caller] {
        assert_eq!(world.closed.get(&cut.connection), Some(&CloseReason::Revoked));
    }
    for kept in [other, new] {
        assert_eq!(world.closed.get(&kept.connection), None);
    }
    assert_eq!(world.core.statistics().contacts, 2);
}

#[test]
fn shutting_down_tells_everybody_to_go_and_lets_nobody_in() {
    let mut world = World::new();
    let phone = world.phone("101", 1);
    world.core.shutdown();
    world.collect();
    assert_eq!(world.closed.get(&phone.connection), Some(&CloseReason::GoingAway));
    assert_eq!(world.core.connected("192.0.2.1:1".parse().unwrap(), "192.0.2.1".parse().unwrap(), world.now), None);
}
