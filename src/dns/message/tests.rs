#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use hickory_server::proto::op::{Message, Query};
use hickory_server::proto::rr::{Name, RecordType};
use proptest::prelude::*;

use super::super::zone::{Challenges, ZoneSettings};
use super::*;

struct FixedChallenges;

impl Challenges for FixedChallenges {
    fn txt(&self, name: &str) -> Vec<String> {
        let count = if name == "_acme-challenge.many.bitcall.example" { 40 } else { 1 };
        (0..count).map(|n| format!("{n:043}")).collect()
    }
}

fn zone() -> DnsZone {
    let settings = ZoneSettings {
        base: "bitcall.example".parse().unwrap(),
        nameservers: vec![],
        hostmaster: None,
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        authorities: vec![],
    };
    DnsZone::new(&settings, Arc::new(FixedChallenges)).unwrap()
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16, version: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(version).set_dnssec_ok(true);
    message.set_edns(edns);
    message
}

fn bytes(message: &Message, transport: DnsTransport) -> Vec<u8> {
    let from = "198.51.100.7:5353".parse().unwrap();
    respond(&zone(), message.to_vec().unwrap(), from, transport, 1_773_489_600).unwrap()
}

fn ask(message: &Message, transport: DnsTransport) -> Message {
    Message::from_vec(&bytes(message, transport)).unwrap()
}

#[test]
fn a_response_repeats_the_question_and_is_authoritative() {
    let asked = query("AcMe.bitcall.example.", RecordType::A);
    let answer = ask(&asked, DnsTransport::Udp);
    assert_eq!((answer.metadata.id, answer.metadata.message_type), (4711, MessageType::Response));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired && !answer.metadata.recursion_available);
    assert!(answer.queries[0].name().eq_case(asked.queries[0].name()), "spelled as asked (0x20)");
    assert_eq!(answer.answers.len(), 1);
    assert!(answer.edns.is_none(), "no OPT for who sent none (RFC 6891 section 7)");
}

#[test]
fn edns_is_answered_with_the_own_payload_size_and_version_0() {
    let answer = ask(&with_edns(query("bitcall.example.", RecordType::SOA), 4096, 0), DnsTransport::Udp);
    let edns = answer.edns.clone().unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
    let answer = ask(&with_edns(query("bitcall.example.", RecordType::SOA), 4096, 1), DnsTransport::Udp);
    // 16 has two names; hickory reads it by the other one (RFC 6895 section 2.3).
    assert_eq!((u16::from(answer.metadata.response_code), answer.answers.len()), (16, 0));
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[test]
fn a_response_too_long_for_udp_is_truncated_and_complete_over_tcp() {
    let plain = query("_acme-challenge.many.bitcall.example.", RecordType::TXT);
    for (asked, limit) in
        [(plain.clone(), 512), (with_edns(plain.clone(), 4096, 0), 1232), (with_edns(plain.clone(), 100, 0), 512)]
    {
        let sent = bytes(&asked, DnsTransport::Udp);
        assert!(sent.len() <= limit, "{} > {limit}", sent.len());
        let answer = Message::from_vec(&sent).unwrap();
        assert!(answer.metadata.truncation && answer.answers.is_empty());
        assert_eq!(answer.edns.is_some(), asked.edns.is_some(), "the OPT record stays");
    }
    let answer = ask(&plain, DnsTransport::Tcp);
    assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 40));
}

#[test]
fn messages_that_are_no_query_get_an_error_code_or_no_response() {
    let from = "198.51.100.7:5353".parse().unwrap();
    let code_of = |bytes: Vec<u8>| {
        let answer = respond(&zone(), bytes, from, DnsTransport::Udp, 0)?;
        assert!(answer.len() <= 64, "nothing to amplify");
        Some(Message::from_vec(&answer).unwrap().metadata.response_code)
    };
    let good = query("bitcall.example.", RecordType::A);
    let mut two = good.clone();
    two.add_query(good.queries[0].clone());
    let mut update = good.clone();
    update.metadata.op_code = OpCode::Update;
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut response = good.clone();
    response.metadata.message_type = MessageType::Response;
    let mut cut = good.to_vec().unwrap();
    cut.truncate(cut.len() - 3);
    for (message, code) in [
        (two.to_vec().unwrap(), Some(ResponseCode::FormErr)),
        (update.to_vec().unwrap(), Some(ResponseCode::NotImp)),
        (chaos.to_vec().unwrap(), Some(ResponseCode::Refused)),
        (query("acme.com.", RecordType::A).to_vec().unwrap(), Some(ResponseCode::Refused)),
        (query("bitcall.example.", RecordType::AXFR).to_vec().unwrap(), Some(ResponseCode::Refused)),
        (cut, Some(ResponseCode::FormErr)),
        (vec![0; 12], Some(ResponseCode::FormErr)),
        (response.to_vec().unwrap(), None),
        (vec![0; 11], None),
        (vec![], None),
    ] {
        assert_eq!(code_of(message.clone()), code, "{message:?}");
    }
}

#[test]
fn a_truncated_response_repeats_the_question() {
    let asked = with_edns(query("a.bitcall.example.", RecordType::A), 1232, 0);
    let response = Message::from_vec(&truncated(&asked.to_vec().unwrap()).unwrap()).unwrap();
    assert!(response.metadata.truncation && response.metadata.message_type == MessageType::Response);
    assert_eq!((response.metadata.id, &response.queries), (4711, &asked.queries));
    assert_eq!(truncated(&[0x80; 40]), None, "a response gets nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes get a small response or none.
    #[test]
    fn random_bytes_get_a_small_response_or_none(garbage in prop::collection::vec(any::<u8>(), 0..600)) {
        harmless(&garbage)?;
    }

    /// Bytes that begin like a query.
    #[test]
    fn damaged_queries_get_a_small_response_or_none(
        name in "[a-z_*-]{0,20}(\\.[a-z_-]{1,20}){0,4}",
        kind in any::<u16>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let Ok(name) = Name::from_ascii(format!("{name}.bitcall.example.")) else { return Ok(()) };
        let mut message = with_edns(query("bitcall.example.", RecordType::from(kind)), 1232, 0);
        message.queries[0].set_name(name);
        let mut bytes = message.to_vec().unwrap();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        harmless(&bytes)?;
    }
}

fn harmless(query: &[u8]) -> Result<(), TestCaseError> {
    let from = "198.51.100.7:5353".parse().unwrap();
    let _ = truncated(query);
    for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
        if let Some(answer) = respond(&zone(), query.to_vec(), from, transport, 0) {
            prop_assert!(transport == DnsTransport::Tcp || answer.len() <= 1232);
            prop_assert_eq!(&answer[..2], &query[..2]);
            prop_assert!(answer[2] & 0x80 != 0);
        }
    }
    Ok(())
}
