#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

struct FixedChallenges;

impl Challenges for FixedChallenges {
    fn txt(&self, name: &str) -> Vec<String> {
        match name {
            "_acme-challenge.bitcall.example" => vec!["for-the-base".into(), "for-the-wildcard".into()],
            "_acme-challenge.one.bitcall.example" => vec!["for-one".into()],
            "phone.acme.com._acme.bitcall.example" => vec!["for-acme".into()],
            _ => vec![],
        }
    }
}

const NOW: u64 = 1_773_489_600;

fn settings() -> ZoneSettings {
    ZoneSettings {
        base: "bitcall.example".parse().unwrap(),
        nameservers: vec![
            "ns1.bitcall.example".parse().unwrap(),
            "b.ns.bitcall.example".parse().unwrap(),
            "ns.elsewhere.example".parse().unwrap(),
        ],
        hostmaster: Some(MailAddress { name: "dns.admin".into(), domain: "bitcall.example".parse().unwrap() }),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        authorities: vec!["letsencrypt.org".parse().unwrap()],
    }
}

fn ask(name: &str, kind: &str) -> ZoneAnswer {
    let zone = DnsZone::new(&settings(), Arc::new(FixedChallenges)).unwrap();
    let name = Name::from_ascii(name).unwrap();
    let kind = if kind == "IXFR" { RecordType::IXFR } else { kind.parse().unwrap() };
    zone.answer(&name, &LowerName::new(&name), kind, NOW)
}

/// Code, data of the answers, TTL of a negative answer.
fn response(name: &str, kind: &str) -> (ResponseCode, Vec<String>, Option<u32>) {
    let answer = ask(name, kind);
    assert_eq!(answer.answers.is_empty(), answer.authority.is_some(), "a negative answer has its SOA, no other has");
    assert!(answer.authoritative);
    assert!(answer.answers.iter().all(|record| record.name.to_ascii() == name), "the owner is spelled as asked");
    let data = answer.answers.iter().map(|record| record.data.to_string()).collect();
    (answer.code, data, answer.authority.map(|soa| soa.ttl))
}

fn records(name: &str, kind: &str) -> Vec<String> {
    let (code, data, _) = response(name, kind);
    assert_eq!(code, ResponseCode::NoError);
    assert!(!data.is_empty(), "{name} {kind}");
    data
}

#[test]
fn the_base_domain_has_soa_ns_address_and_caa_records() {
    let soa = "ns1.bitcall.example. dns\\.admin.bitcall.example. 1773489600 3600 600 1209600 60";
    assert_eq!(records("bitcall.example.", "SOA"), [soa]);
    assert_eq!(
        records("bitcall.example.", "NS"),
        ["ns1.bitcall.example.", "b.ns.bitcall.example.", "ns.elsewhere.example."]
    );
    assert_eq!(records("bitcall.example.", "A"), ["192.0.2.1"]);
    assert_eq!(records("bitcall.example.", "AAAA"), ["2001:db8::1"]);
    assert_eq!(records("bitcall.example.", "CAA"), ["0 issue \"letsencrypt.org\""]);
    let glue: Vec<_> = ask("bitcall.example.", "NS").additionals.iter().map(|g| g.name.to_ascii()).collect();
    assert_eq!(
        glue,
        ["ns1.bitcall.example.", "ns1.bitcall.example.", "b.ns.bitcall.example.", "b.ns.bitcall.example."]
    );
}

#[test]
fn every_name_below_the_base_leads_here_in_any_case() {
    for name in [
        "acme.bitcall.example.",
        "ACME.BitCall.Example.",
        "a.b.c.bitcall.example.",
        "*.bitcall.example.",
        "ns1.bitcall.example.",
        "b.ns.bitcall.example.",
    ] {
        assert_eq!(records(name, "A"), ["192.0.2.1"], "{name}");
        assert_eq!(records(name, "AAAA"), ["2001:db8::1"], "{name}");
    }
}

#[test]
fn negative_answers_follow_rfc_2308_and_4592() {
    use ResponseCode::{NXDomain, NoError};
    for (name, kind, code, ttl) in [
        ("bitcall.example.", "TXT", NoError, 60),
        ("acme.bitcall.example.", "MX", NoError, 60),
        ("acme.bitcall.example.", "CAA", NoError, 60),
        ("acme.bitcall.example.", "SOA", NoError, 60),
        ("ns.bitcall.example.", "A", NoError, 60),
        ("x.ns1.bitcall.example.", "A", NXDomain, 60),
        ("x.ns.bitcall.example.", "A", NXDomain, 60),
        ("x._acme-challenge.bitcall.example.", "TXT", NXDomain, 60),
        ("_acme.bitcall.example.", "TXT", NoError, 60),
        // A challenge may be published at any moment.
        ("_acme-challenge.other.bitcall.example.", "TXT", NoError, 1),
        ("other.com._acme.bitcall.example.", "TXT", NoError, 1),
        ("_acme-challenge.bitcall.example.", "A", NoError, 1),
    ] {
        assert_eq!(response(name, kind), (code, vec![], Some(ttl)), "{name} {kind}");
    }
    assert_eq!(ask("x.ns1.bitcall.example.", "A").authority.unwrap().name.to_ascii(), "bitcall.example.");
}

#[test]
fn challenges_are_answered_at_the_name_and_at_its_delegated_name() {
    assert_eq!(records("_acme-challenge.bitcall.example.", "TXT"), ["for-the-base", "for-the-wildcard"]);
    assert_eq!(records("_ACME-Challenge.one.bitcall.example.", "TXT"), ["for-one"]);
    assert_eq!(records("Phone.acme.com._acme.bitcall.example.", "TXT"), ["for-acme"]);
    assert_eq!(ask("_acme-challenge.bitcall.example.", "TXT").answers[0].ttl, 1);
    // Not a host name, so that there can be no order for it.
    assert_eq!(response("a\\.b._acme.bitcall.example.", "TXT").1, Vec::<String>::new());
}

#[test]
fn other_zones_and_transfers_are_refused() {
    for (name, kind) in [
        ("example.", "SOA"),
        (".", "NS"),
        ("acme.com.", "A"),
        ("notbitcall.example.", "A"),
        ("bitcall.example.", "AXFR"),
        ("bitcall.example.", "IXFR"),
    ] {
        let answer = ask(name, kind);
        assert_eq!((answer.code, answer.authoritative), (ResponseCode::Refused, false), "{name} {kind}");
        assert!(answer.answers.is_empty() && answer.authority.is_none());
    }
}

#[test]
fn any_is_answered_with_one_hinfo_record() {
    for name in ["bitcall.example.", "acme.bitcall.example.", "_acme-challenge.bitcall.example."] {
        assert_eq!(records(name, "ANY"), ["RFC8482 "]);
    }
    assert_eq!(response("x.ns1.bitcall.example.", "ANY").0, ResponseCode::NXDomain);
}

#[test]
fn a_zone_with_default_settings_is_complete() {
    let settings =
        ZoneSettings { nameservers: vec![], hostmaster: None, addresses: vec![], authorities: vec![], ..settings() };
    let zone = DnsZone::new(&settings, Arc::new(())).unwrap();
    let name = Name::from_ascii("bitcall.example.").unwrap();
    let ask = |kind: RecordType| zone.answer(&name, &LowerName::new(&name), kind, NOW);
    let soa = ask(RecordType::SOA).answers[0].data.to_string();
    assert!(soa.starts_with("ns1.bitcall.example. hostmaster.bitcall.example. "), "{soa}");
    assert_eq!(ask(RecordType::NS).answers.len(), 1);
    assert!(ask(RecordType::A).authority.is_some() && ask(RecordType::CAA).authority.is_some());
}
