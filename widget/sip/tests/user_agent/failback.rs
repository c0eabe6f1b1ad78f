//! The way back to the first server: when it works again, and without costing a call.

use bitcall_sip::message::{Header, Request};
use bitcall_sip::ua::{Command, Event, Input, InviteOptions, OfferReason, Output, Registration, TransportId};

use crate::test_user_agent::{ANSWER, OFFER, TestUserAgent};

/// Registered at the second server, because the first one does not answer.
fn at_the_second_server() -> TestUserAgent {
    at_the_last_of(&["wss://a", "wss://b"])
}

fn at_the_last_of(servers: &[&str]) -> TestUserAgent {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let tried = servers.clone();
    let mut phone = TestUserAgent::with(|config| {
        config.servers = servers;
        // No refresh comes in between.
        config.timers.register_expires_seconds = 86_400;
    });
    phone.command(Command::Register);
    for _ in 1..tried.len() {
        connects(&mut phone);
        phone.connect_fails();
    }
    connects(&mut phone);
    assert_eq!(Some(&phone.connect()), tried.last());
    phone.accept_register();
    phone.drain();
    phone
}

/// Waits for the next attempt to connect.
fn connects(phone: &mut TestUserAgent) {
    phone.wait_for(|output| matches!(output, Output::Connect { .. }));
}

/// The first server is back: opens the connection to it. Returns the one that was in use, and the REGISTER.
fn first_server_opens(phone: &mut TestUserAgent) -> (TransportId, Request) {
    connects(phone);
    let previous = phone.transport.unwrap();
    assert_eq!(phone.connect(), "wss://a");
    (previous, phone.request("REGISTER"))
}

fn accept(phone: &mut TestUserAgent, register: &Request) {
    let contact = register.value(Header::Contact).unwrap().to_owned();
    phone.reply(register, 200, |response| response.append(Header::Contact, &contact));
}

fn closed(outputs: &[Output]) -> Vec<TransportId> {
    let closed = outputs.iter().filter_map(|output| match output {
        Output::CloseTransport { id } => Some(*id),
        _ => None,
    });
    closed.collect()
}

fn registrations(outputs: Vec<Output>) -> Vec<Registration> {
    let told = outputs.into_iter().filter_map(|output| match output {
        Output::Event(Event::Registration(state)) => Some(state),
        _ => None,
    });
    told.collect()
}

fn registered_at(server: &str) -> Registration {
    Registration::Registered { server: server.into(), session: None }
}

#[test]
fn the_first_server_is_used_again_once_it_accepts_the_registration() {
    let mut phone = at_the_second_server();
    let (previous, register) = first_server_opens(&mut phone);
    assert_eq!(closed(&phone.drain()), [], "the present connection is kept until then");
    accept(&mut phone, &register);
    let outputs = phone.drain();
    assert_eq!(closed(&outputs), [previous]);
    assert_eq!(registrations(outputs), [registered_at("wss://a")], "it was registered all the time");
    phone.wait(3_600_000);
    assert!(!phone.connects(), "there is no better server");
}

#[test]
fn a_first_server_that_stays_away_is_looked_for_less_and_less_often() {
    let mut phone = at_the_second_server();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let begin = phone.now;
        connects(&mut phone);
        pauses.push(phone.now.since(begin));
        assert_eq!(phone.connect_fails(), "wss://a");
        assert_eq!(registrations(phone.drain()), [], "the registration is not touched");
    }
    assert!((30_000..=60_000).contains(&pauses[0]), "{pauses:?}");
    assert!((60_000..=120_000).contains(&pauses[1]), "{pauses:?}");
    assert!(pauses[5..].iter().all(|pause| (300_000..=600_000).contains(pause)), "{pauses:?}");
}

#[test]
fn a_first_server_that_opens_connections_but_does_not_work_costs_nothing() {
    for status in [None, Some(503), Some(403), Some(404)] {
        let mut phone = at_the_second_server();
        let (previous, register) = first_server_opens(&mut phone);
        let second = phone.transport.unwrap();
        match status {
            None => phone.wait(12_000),
            Some(status) => phone.reply(&register, status, |_| {}),
        }
        let mut outputs = phone.drain();
        let sent = outputs.pop();
        assert_eq!(closed(&outputs), [second], "{status:?}");
        assert_eq!(registrations(outputs), [], "{status:?}: it was registered all the time");
        // Where both share their bindings, the other REGISTER may have moved ours.
        let Some(Output::Send { id, bytes }) = sent else { panic!("{sent:?}") };
        assert!(id == previous && bytes.starts_with(b"REGISTER "), "{status:?}");
        phone.transport = Some(previous);
        phone.wait(12_000);
        assert!(phone.outputs_close(), "an unanswered REGISTER counts there as before");
    }
}

#[test]
fn a_better_server_than_the_present_one_is_used_where_the_first_is_still_away() {
    let mut phone = at_the_last_of(&["wss://a", "wss://b", "wss://c"]);
    connects(&mut phone);
    assert_eq!(phone.connect_fails(), "wss://a");
    assert_eq!(phone.connect(), "wss://b", "at once");
    phone.accept_register();
    phone.drain();
    let (_, register) = first_server_opens(&mut phone);
    accept(&mut phone, &register);
    assert_eq!(registrations(phone.drain()), [registered_at("wss://a")]);
}

#[test]
fn no_call_is_left_at_the_present_server() {
    let mut phone = at_the_second_server();
    phone.outgoing_call();
    phone.wait(600_000);
    assert!(!phone.connects(), "a call is up");
    phone.hang_up("c");
    let bye = phone.request("BYE");
    phone.reply(&bye, 200, |_| {});
    let begin = phone.now;
    let (_, register) = first_server_opens(&mut phone);
    assert_eq!(phone.now, begin, "at once when it is over");
    accept(&mut phone, &register);
}

#[test]
fn a_call_that_comes_while_the_first_server_is_tried_keeps_the_present_connection() {
    let mut phone = at_the_second_server();
    connects(&mut phone);
    let present = phone.transport;
    phone.incoming();
    phone.response(180);
    phone.connect();
    let second = std::mem::replace(&mut phone.transport, present).unwrap();
    assert_eq!(closed(&phone.drain()), [second]);
    phone.wait(60_000);
    assert!(!phone.connects(), "the call is not over");
}

#[test]
fn what_the_present_server_sends_is_answered_there_until_the_first_has_accepted() {
    let mut phone = at_the_second_server();
    let (previous, register) = first_server_opens(&mut phone);
    let second = phone.transport.replace(previous).unwrap();
    phone.incoming();
    phone.request("REGISTER");
    phone.response(180);
    assert_eq!(closed(&phone.drain()), [second]);
    // The first one's answer comes too late.
    let late = register.response(200, "OK", Some("far"));
    phone.input(Input::Received { id: second, bytes: late.to_bytes() });
    assert_eq!(registrations(phone.drain()), []);
}

#[test]
fn a_call_that_is_placed_meanwhile_goes_over_the_present_connection() {
    let mut phone = at_the_second_server();
    let (previous, _) = first_server_opens(&mut phone);
    let second = phone.transport.replace(previous).unwrap();
    phone.command(Command::Invite {
        call: "c".into(),
        target: "bob".into(),
        options: InviteOptions::default(),
        sdp: Some(OFFER.into()),
    });
    let outputs = phone.drain();
    assert_eq!(closed(&outputs), [second]);
    let sent = outputs.iter().rev().find_map(|output| match output {
        Output::Send { id, bytes } => Some((*id, bytes.starts_with(b"INVITE "))),
        _ => None,
    });
    assert_eq!(sent, Some((previous, true)));
}

#[test]
fn either_connection_may_be_lost_meanwhile() {
    let mut phone = at_the_second_server();
    let (previous, register) = first_server_opens(&mut phone);
    phone.input(Input::TransportClosed { id: previous, reason: "test".into() });
    assert!(matches!(registrations(phone.drain())[..], [Registration::Reconnecting { .. }]));
    accept(&mut phone, &register);
    assert_eq!(registrations(phone.drain()), [registered_at("wss://a")]);

    let mut phone = at_the_second_server();
    let (previous, _) = first_server_opens(&mut phone);
    phone.lose_connection();
    phone.transport = Some(previous);
    phone.accept_register();
    assert_eq!(registrations(phone.drain()), [], "it was registered all the time");
}

#[test]
fn a_call_that_has_lost_its_server_comes_back_with_it() {
    let servers = ["wss://a", "wss://b"].map(String::from).to_vec();
    let mut phone = TestUserAgent::with(|config| config.servers = servers);
    phone.register();
    phone.outgoing_call();
    phone.lose_connection();
    connects(&mut phone);
    assert_eq!(phone.connect_fails(), "wss://a");
    connects(&mut phone);
    assert_eq!(phone.connect(), "wss://b");
    phone.accept_register();
    let lost = phone.now;
    let reinvites = |phone: &mut TestUserAgent| {
        phone.event(|event| matches!(event, Event::OfferNeeded { reason: OfferReason::Recovery, .. }).then_some(()));
        phone.command(Command::Reinvite { call: "c".into(), sdp: OFFER.into() });
        phone.request("INVITE")
    };
    // Its dialog leads through the first server, which the second one does not reach.
    reinvites(&mut phone);
    let (previous, register) = first_server_opens(&mut phone);
    assert!(phone.now.since(lost) <= 5_000, "the person waits");
    accept(&mut phone, &register);
    let reinvite = reinvites(&mut phone);
    phone.reply_sdp(&reinvite, 200, ANSWER);
    phone.request("ACK");
    phone.emits(&Event::Attached { call: "c".into() });
    assert_eq!(closed(&phone.drain()), [previous]);
    phone.wait(200_000);
    phone.emits_no(|event| matches!(event, Event::Ended { .. }));
}

#[test]
fn without_a_network_nothing_is_tried_and_with_a_new_one_at_once() {
    let mut phone = at_the_second_server();
    phone.input(Input::Offline);
    phone.wait(600_000);
    assert!(!phone.connects());
    phone.input(Input::Online);
    assert!(phone.connects());
}

#[test]
fn a_sign_out_closes_both_connections() {
    let mut phone = at_the_second_server();
    connects(&mut phone);
    phone.command(Command::Unregister);
    phone.accept_register();
    assert_eq!(closed(&phone.drain()).len(), 2);
    assert_eq!(phone.next(), None);

    let mut phone = at_the_second_server();
    let (previous, _) = first_server_opens(&mut phone);
    phone.transport = Some(previous);
    phone.command(Command::Unregister);
    let second_is_closed = closed(&phone.drain());
    assert_eq!(second_is_closed.len(), 1);
    phone.wait(3_500);
    assert_eq!(closed(&phone.drain()), [previous]);
    assert_eq!(phone.next(), None);
}
