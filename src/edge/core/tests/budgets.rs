//! What one address, extension or tenant may hold of what all share, and that others never pay for it.

use super::*;

fn other_tenants_phone(edge: &mut TestEdge, user: &'static str, device: u32) -> Phone {
    let phone = edge.connect_from("198.51.100.7", user, OTHER, device);
    assert_eq!(edge.register(phone).status(), 200);
    phone
}

/// Whether a new call of the other tenant rings.
fn other_tenant_calls(edge: &mut TestEdge, caller: Phone, callee: Phone) {
    edge.invite(caller, callee.user);
    assert_eq!(edge.summary(caller), ["100"]);
    assert_eq!(edge.request(callee).method(), Method::Invite);
}

#[test]
fn requests_in_flight_are_counted_for_the_extension_over_all_its_connections_and_after_they_are_lost() {
    let mut edge = TestEdge::with(EdgeLimits { requests_per_extension: 3, ..EdgeLimits::default() });
    let callee = edge.phone("102", 9);
    let callers = [edge.phone("101", 1), edge.phone("101", 2)];
    let mut ringing = Vec::new();
    for caller in [callers[0], callers[1], callers[0]] {
        edge.invite(caller, "102");
        assert_eq!(edge.summary(caller), ["100"]);
        ringing.push(edge.request(callee));
    }
    for caller in callers {
        edge.invite(caller, "102");
        let refused = edge.response(caller);
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.reason_phrase(), "Too Many Requests in Flight of This Extension");
        assert_eq!(refused.retry_after().unwrap(), Some(5));
    }
    for caller in callers {
        edge.disconnect(caller);
    }
    let again = edge.phone("101", 3);
    edge.invite(again, "102");
    assert_eq!(edge.response(again).status(), 503, "until the phone that rings has heard the CANCEL");
    edge.inbox(callee);
    for invite in ringing {
        edge.reply(callee, &invite.response(487, "Request Terminated", Some("t")));
    }
    edge.wait(40);
    edge.inbox(callee);
    edge.invite(again, "102");
    assert_eq!(edge.summary(again), ["100"]);
}

#[test]
fn a_tenant_that_fills_its_share_of_requests_in_flight_costs_another_none() {
    let limits = EdgeLimits { requests: 30, requests_per_extension: 8, ..EdgeLimits::default() };
    let mut edge = TestEdge::with(limits);
    let (caller, callee) = (other_tenants_phone(&mut edge, "101", 11), other_tenants_phone(&mut edge, "102", 12));
    let phones = [edge.phone("101", 1), edge.phone("102", 2), edge.phone("103", 3)];
    let mut accepted = 0;
    for phone in phones {
        edge.inbox(phone);
        for _ in 0..8 {
            edge.invite(phone, if phone.user == "101" { "102" } else { "101" });
            accepted += usize::from(edge.summary(phone).contains(&"100".to_owned()));
        }
    }
    assert_eq!(accepted, 10, "a third");
    edge.inbox(phones[2]);
    edge.invite(phones[2], "101");
    let refused = edge.response(phones[2]);
    assert_eq!((refused.status(), refused.reason_phrase()), (503, "Too Many Requests in Flight of This Tenant"));
    other_tenant_calls(&mut edge, caller, callee);
}

#[test]
fn an_extension_signs_in_on_so_many_connections_and_the_next_is_told_to_wait() {
    let mut edge = TestEdge::with(EdgeLimits { connections_per_extension: 2, ..EdgeLimits::default() });
    let first = edge.phone("101", 1);
    edge.phone("101", 2);
    let third = edge.connect("101", ACME, 3);
    let refused = edge.register(third);
    assert_eq!((refused.status(), refused.reason_phrase()), (503, "Too Many Connections of This Extension"));
    assert_eq!(refused.retry_after().unwrap(), Some(60));
    let request = edge.new_request(third, Method::Invite, "sip:102@acme.sip.test");
    edge.send_signed(third, &request);
    assert_eq!(edge.response(third).status(), 503, "nor by an INVITE");
    assert_eq!(edge.register(first).status(), 200, "those that are there stay");
    edge.phone("102", 4);
    edge.disconnect(first);
    assert_eq!(edge.register(third).status(), 200);
}

#[test]
fn a_connection_that_changes_hands_counts_for_its_new_extension_only() {
    let mut edge = TestEdge::with(EdgeLimits { connections_per_extension: 1, ..EdgeLimits::default() });
    let phone = edge.connect("101", ACME, 1);
    let options = edge.new_request(phone, Method::Options, "sip:103@acme.sip.test");
    edge.send_signed(phone, &options);
    edge.inbox(phone);
    assert_eq!(edge.register(Phone { user: "102", ..phone }).status(), 200);
    edge.phone("101", 2);
    let third = edge.connect("102", ACME, 3);
    assert_eq!(edge.register(third).status(), 503);
}

#[test]
fn one_network_takes_at_most_half_of_the_connections() {
    let mut edge = TestEdge::with(EdgeLimits { connections: 20, ..EdgeLimits::default() });
    let mut connect = |address: &str| {
        let source = address.parse().unwrap();
        edge.core.connected(SocketAddr::new(source, 1), source, edge.now).is_some()
    };
    let taken = (0..20).filter(|n| connect(&format!("2001:db8:0:1::{n}"))).count();
    assert_eq!(taken, 10, "one /64 is one network");
    assert!(connect("2001:db8:0:2::1"));
    assert!(connect("192.0.2.1"));
}

#[test]
fn echo_calls_are_counted_for_the_extension_and_the_tenant_and_another_tenant_still_gets_one() {
    let limits = EdgeLimits { echo_calls: 12, echo_calls_per_extension: 2, ..EdgeLimits::default() };
    let mut edge = TestEdge::with(limits);
    let mut reasons = Vec::new();
    for (device, user) in ["101", "102", "103"].into_iter().enumerate() {
        let phone = edge.phone(user, u32::try_from(device).unwrap());
        for _ in 0..3 {
            edge.invite(phone, "*43");
            let last = edge.messages(phone).pop();
            if let Some(Message::Response(response)) = last {
                reasons.push((response.status(), response.reason_phrase().to_owned()));
            }
        }
    }
    let (tried, of_extension) = ((100, "Trying"), (486, "Too Many Calls to the Echo of This Extension"));
    let of_tenant = (486, "Too Many Calls to the Echo of This Tenant");
    let expected = [tried, tried, of_extension, tried, tried, of_extension, of_tenant, of_tenant, of_tenant];
    assert_eq!(reasons, expected.map(|(status, reason)| (status, reason.to_owned())));
    let other = other_tenants_phone(&mut edge, "101", 11);
    edge.invite(other, "*43");
    assert_eq!(edge.summary(other), ["100"]);
    edge.wait(40);
    assert_eq!(edge.core.statistics().echo_calls, 0);
    edge.inbox(other);
    edge.invite(other, "*43");
    assert_eq!(edge.summary(other), ["100"]);
}

#[test]
fn a_phone_that_does_not_read_is_not_closed_for_what_others_send_and_gets_more_once_it_reads() {
    let mut edge = TestEdge::with(EdgeLimits { unsent_bytes: 20_000, ..EdgeLimits::default() });
    let slow = edge.phone("102", 2);
    let (_, ok) = {
        let caller = edge.phone("101", 1);
        edge.call(caller, slow)
    };
    edge.unread.insert(slow.connection);
    let caller = edge.phone("101", 3);
    let neighbour = edge.phone("103", 4);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let mut message = edge.new_request(neighbour, Method::Message, "sip:102@acme.sip.test");
        message.set_body("text/plain", &[b'x'; 4_000]);
        edge.send_signed(neighbour, &message);
        statuses.extend(edge.messages(neighbour).iter().map(|message| match message {
            Message::Response(response) => (response.status(), response.retry_after().unwrap()),
            Message::Request(request) => panic!("{request:?}"),
        }));
        // Nor by ACKs, which get no answer.
        let n = edge.unique();
        let mut ack = in_dialog(caller, Method::Ack, &ok, 1, n);
        ack.set_body("text/plain", &[b'x'; 4_000]);
        edge.send(caller, &ack);
    }
    assert_eq!(statuses.last(), Some(&(480, Some(5))));
    assert_eq!(edge.closed, HashMap::new());
    let received: usize = edge.inbox(slow).iter().map(Vec::len).sum();
    assert!(received > 4_000 && received <= 10_000, "{received}");

    edge.unread.clear();
    edge.core.written(slow.connection, received);
    edge.invite(neighbour, "102");
    assert_eq!(edge.request(slow).method(), Method::Invite);
}

#[test]
fn a_phone_that_asks_and_does_not_read_the_answers_is_closed() {
    let mut edge = TestEdge::with(EdgeLimits { unsent_bytes: 20_000, ..EdgeLimits::default() });
    let phone = edge.phone("101", 1);
    edge.unread.insert(phone.connection);
    for _ in 0..100 {
        let request = edge.new_request(phone, Method::Options, "sip:acme.sip.test");
        edge.send(phone, &request);
    }
    assert_eq!(edge.closed.get(&phone.connection), Some(&CloseReason::TooSlow));
    let waiting: usize = edge.inbox(phone).iter().map(Vec::len).sum();
    assert!(waiting <= 20_000, "{waiting}");
}
