#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::super::observation::{Caa, CaaRecord, CnameChain, HostAddresses};
use super::*;

const DOMAIN: &str = "phone.acme.com";
const INGRESS: &str = "in.bitcall.example";
const TIMEOUT: &str = "did not answer in time";

fn query() -> VerificationQuery {
    VerificationQuery {
        domain: DOMAIN.into(),
        token: "token".into(),
        ingress: INGRESS.into(),
        addresses: vec![],
        authorities: vec!["letsencrypt.org".into()],
        delegate: Some("phone.acme.com._acme.bitcall.example".into()),
    }
}

/// A server with the correct records.
fn correct(server: &str) -> ServerAnswers {
    ServerAnswers {
        server: server.into(),
        txt: Lookup::Found(vec!["token".into()]),
        chain: chain(&[INGRESS]),
        addresses: addresses(&["192.0.2.1", "2001:db8::1"]),
        caa: Lookup::Nothing,
        delegate: Lookup::Nothing,
    }
}

fn empty(server: &str) -> ServerAnswers {
    ServerAnswers {
        txt: Lookup::Nothing,
        chain: Lookup::Nothing,
        addresses: HostAddresses::default(),
        ..correct(server)
    }
}

fn dead(server: &str) -> ServerAnswers {
    let failed = || TIMEOUT.to_owned();
    ServerAnswers {
        server: server.into(),
        txt: Lookup::Failed(failed()),
        chain: Lookup::Failed(failed()),
        addresses: HostAddresses { v4: Lookup::Failed(failed()), v6: Lookup::Failed(failed()) },
        caa: Lookup::Failed(failed()),
        delegate: Lookup::Failed(failed()),
    }
}

/// Without a CNAME, with these addresses.
fn at(list: &[&str]) -> ServerAnswers {
    ServerAnswers { chain: Lookup::Nothing, addresses: addresses(list), ..correct("r1") }
}

fn chain(targets: &[&str]) -> Lookup<CnameChain> {
    let targets = targets.iter().map(ToString::to_string).collect();
    Lookup::Found(CnameChain { targets, ..CnameChain::default() })
}

fn addresses(all: &[&str]) -> HostAddresses {
    let (v4, v6): (Vec<IpAddr>, Vec<_>) = all.iter().map(|a| a.parse().unwrap()).partition(IpAddr::is_ipv4);
    let family = |found: Vec<IpAddr>| if found.is_empty() { Lookup::Nothing } else { Lookup::Found(found) };
    HostAddresses { v4: family(v4), v6: family(v6) }
}

fn observed(resolvers: Vec<ServerAnswers>, authorities: Vec<ServerAnswers>) -> Observation {
    Observation { resolvers, authorities, ingress: addresses(&["192.0.2.1", "2001:db8::1"]), failed: None }
}

fn findings_of(resolvers: Vec<ServerAnswers>, authorities: Vec<ServerAnswers>) -> Findings {
    evaluate(&observed(resolvers, authorities), &query())
}

#[test]
fn a_domain_with_correct_records_has_no_problem() {
    let expected = Findings {
        txt: RecordCheck { matched: Some(true), observed: vec!["token".into()] },
        cname: RecordCheck { matched: Some(true), observed: vec![INGRESS.into()] },
        way: Some(RouteKind::Cname),
        ..Findings::default()
    };
    assert_eq!(findings_of(vec![correct("r1"), correct("r2")], vec![correct("ns1"), correct("ns2")]), expected);
    assert_eq!(findings_of(vec![correct("r1")], vec![]), expected);
}

#[test]
fn a_domain_without_records_has_no_problem_yet() {
    let findings = findings_of(vec![empty("r1")], vec![empty("ns1")]);
    assert_eq!((findings.txt.matched, findings.cname.matched), (Some(false), Some(false)));
    assert_eq!((findings.problems, findings.unsure, findings.way), (vec![], None, None));
}

#[test]
fn name_servers_decide_and_resolvers_only_where_those_do_not_answer() {
    // (resolvers, authorities) → (txt.matched, whether unsure)
    let (yes, no, none) = (correct, empty, dead);
    for (name, resolvers, authorities, matched, unsure) in [
        ("a cache is behind", vec![no("r")], vec![yes("a")], Some(true), false),
        ("a cache has what is gone", vec![yes("r")], vec![no("a")], Some(false), false),
        ("authorities silent, caches say yes", vec![yes("r")], vec![none("a")], Some(true), false),
        ("authorities silent, caches say no", vec![no("r")], vec![none("a")], Some(false), false),
        (
            "one of two authorities silent, the other says no",
            vec![yes("r")],
            vec![no("a"), none("b")],
            Some(false),
            false,
        ),
        (
            "two of three silent: the third is not enough for a no",
            vec![yes("r")],
            vec![no("a"), none("b"), none("c")],
            Some(true),
            false,
        ),
        ("but is enough for a yes", vec![none("r")], vec![yes("a"), none("b"), none("c")], Some(true), false),
        ("one cache of three answers no", vec![no("r"), none("s"), none("t")], vec![], None, true),
        ("nobody answers", vec![none("r")], vec![none("a")], None, true),
        ("authorities disagree", vec![yes("r")], vec![yes("a"), no("b")], None, true),
        ("caches disagree", vec![yes("r"), no("s")], vec![], None, true),
        ("nobody to ask", vec![], vec![], None, true),
    ] {
        let findings = findings_of(resolvers, authorities);
        assert_eq!(findings.txt.matched, matched, "{name}");
        assert_eq!(findings.cname.matched, matched, "{name}");
        assert_eq!(findings.unsure.is_some(), unsure, "{name}: {:?}", findings.unsure);
    }
}

#[test]
fn a_disagreement_names_the_servers_with_and_without_the_record() {
    let findings = findings_of(vec![], vec![correct("ns1"), ServerAnswers { txt: Lookup::Nothing, ..correct("ns2") }]);
    let expected = DnsFinding::Disagreement {
        record: "TXT _bitcall-challenge.phone.acme.com".into(),
        with: vec!["ns1".into()],
        without: vec!["ns2".into()],
    };
    assert_eq!((findings.problems, findings.cname.matched), (vec![expected], Some(true)));
}

#[test]
fn a_server_without_an_answer_is_named_with_the_reason() {
    let findings = findings_of(vec![dead("192.0.2.53")], vec![]);
    let unsure = findings.unsure.unwrap();
    for part in ["TXT _bitcall-challenge.phone.acme.com", "CNAME phone.acme.com", "192.0.2.53 did not answer in time"] {
        assert!(unsure.contains(part), "{unsure}");
    }
    let whole = Observation { failed: Some("no resolver".into()), ..Observation::default() };
    assert_eq!(evaluate(&whole, &query()).unsure.unwrap(), "no resolver");
}

#[test]
fn another_txt_value_does_not_match_and_is_shown() {
    let other = ServerAnswers { txt: Lookup::Found(vec!["old".into(), "Token".into()]), ..correct("r1") };
    let findings = findings_of(vec![other], vec![]);
    assert_eq!(findings.txt, RecordCheck { matched: Some(false), observed: vec!["old".into(), "Token".into()] });
}

#[test]
fn a_domain_leads_here_by_cname_or_addresses() {
    for (answers, way, observed) in [
        (
            ServerAnswers { chain: chain(&["a.example", INGRESS]), ..correct("r1") },
            RouteKind::Cname,
            vec!["a.example", INGRESS],
        ),
        (at(&["192.0.2.1"]), RouteKind::Flattened, vec!["192.0.2.1"]),
        (at(&["192.0.2.1", "2001:db8::1"]), RouteKind::Flattened, vec!["192.0.2.1", "2001:db8::1"]),
        (ServerAnswers { chain: chain(&["a.example"]), ..correct("r1") }, RouteKind::Flattened, vec!["a.example"]),
    ] {
        let findings = findings_of(vec![answers], vec![]);
        assert_eq!((findings.cname.matched, findings.way), (Some(true), Some(way)));
        assert_eq!(
            (findings.cname.observed, findings.problems),
            (observed.iter().map(ToString::to_string).collect(), vec![])
        );
    }
}

#[test]
fn a_wrong_route_is_reported_by_its_kind() {
    let domain = || DOMAIN.to_owned();
    let ingress = || INGRESS.to_owned();
    let list = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    let elsewhere =
        |to: &str| DnsFinding::PointsElsewhere { domain: domain(), to: vec![to.into()], ingress: ingress() };
    let endless = CnameChain { targets: vec!["a.b".into(), domain()], endless: true, broken: None };
    for (answers, expected) in [
        (at(&["198.51.100.7"]), elsewhere("198.51.100.7")),
        (
            ServerAnswers { chain: chain(&["a.b"]), addresses: addresses(&["198.51.100.7"]), ..correct("r1") },
            elsewhere("a.b"),
        ),
        (
            ServerAnswers { chain: chain(&["a.b", "c.d"]), addresses: HostAddresses::default(), ..correct("r1") },
            elsewhere("c.d"),
        ),
        (
            at(&["192.0.2.1", "2001:db8::bad"]),
            DnsFinding::StaleAddress { domain: domain(), addresses: list(&["2001:db8::bad"]) },
        ),
        (
            at(&["104.16.1.1", "2606:4700::1"]),
            DnsFinding::Proxied {
                domain: domain(),
                by: "Cloudflare".into(),
                addresses: list(&["104.16.1.1", "2606:4700::1"]),
                ingress: ingress(),
            },
        ),
        (
            ServerAnswers { chain: Lookup::Found(endless), addresses: HostAddresses::default(), ..correct("r1") },
            DnsFinding::Loop { domain: domain(), through: vec!["a.b".into(), domain()], ingress: ingress() },
        ),
    ] {
        let findings = findings_of(vec![answers.clone()], vec![]);
        assert_eq!((findings.cname.matched, findings.way), (Some(false), None), "{answers:?}");
        assert_eq!(findings.problems, vec![expected]);
    }
}

#[test]
fn one_unknown_address_family_leaves_the_route_undecided() {
    let half = |v4: &[&str]| {
        let v6 = Lookup::Failed(TIMEOUT.into());
        ServerAnswers { addresses: HostAddresses { v6, ..addresses(v4) }, ..at(&[]) }
    };
    for answers in [half(&["192.0.2.1"]), half(&["198.51.100.7"]), half(&[])] {
        let findings = findings_of(vec![answers], vec![]);
        assert_eq!((findings.cname.matched, findings.way), (None, None));
        assert!(findings.unsure.is_some());
    }
    let broken = CnameChain { targets: vec!["a.b".into()], endless: false, broken: Some(TIMEOUT.into()) };
    let findings = findings_of(vec![ServerAnswers { chain: Lookup::Found(broken), ..empty("r1") }], vec![]);
    assert_eq!(findings.cname.matched, None);
}

#[test]
fn a_failed_lookup_of_the_ingress_host_is_no_problem_of_a_domain() {
    let mut observation = observed(vec![at(&["198.51.100.7"])], vec![]);
    observation.ingress.v4 = Lookup::Failed(TIMEOUT.into());
    assert_eq!(evaluate(&observation, &query()).cname.matched, None);
    let configured = VerificationQuery { addresses: vec!["198.51.100.7".parse().unwrap()], ..query() };
    assert_eq!(
        evaluate(&observation, &configured).way,
        Some(RouteKind::Flattened),
        "what is configured is known without DNS"
    );

    observation.ingress = HostAddresses::default();
    let findings = evaluate(&observation, &query());
    assert!(
        findings.problems.contains(&DnsFinding::IngressLost { ingress: INGRESS.into() }),
        "{:?}",
        findings.problems
    );
    let literal = VerificationQuery { ingress: "198.51.100.7".into(), ..query() };
    let findings = evaluate(&observation, &literal);
    assert_eq!((findings.way, findings.problems), (Some(RouteKind::Flattened), vec![]));
}

#[test]
fn caa_follows_rfc_8659() {
    let record = |tag: &str, value: &str, critical| CaaRecord { critical, tag: tag.into(), value: value.into() };
    let issue = |value: &str| record("issue", value, false);
    for (records, allows) in [
        (vec![issue("letsencrypt.org")], None),
        (vec![issue(" LetsEncrypt.org ; validationmethods=http-01")], None),
        (vec![issue("digicert.com"), issue("letsencrypt.org")], None),
        (vec![record("iodef", "mailto:a@b", false)], None),
        (vec![record("issuewild", ";", false)], None),
        (vec![record("tbs", "x", false)], None),
        (vec![issue("digicert.com")], Some(vec!["digicert.com"])),
        (vec![issue(";")], Some(vec![])),
        (vec![issue("")], Some(vec![])),
        (vec![issue("letsencrypt.org"), record("tbs", "x", true)], Some(vec![])),
    ] {
        let caa = Lookup::Found(Caa { at: "acme.com".into(), records: records.clone() });
        let findings = findings_of(vec![ServerAnswers { caa, ..correct("r1") }], vec![]);
        let expected = allows.map(|allows| DnsFinding::CaaForbids {
            at: "acme.com".into(),
            allows: allows.iter().map(ToString::to_string).collect(),
            authority: "letsencrypt.org".into(),
            wildcard: false,
        });
        assert_eq!(findings.problems, Vec::from_iter(expected), "{records:?}");
    }
    let forbids = || Lookup::Found(Caa { at: "acme.com".into(), records: vec![issue(";")] });
    let answers = |caa| ServerAnswers { caa, ..correct("r1") };
    let failed = || Lookup::Failed(TIMEOUT.into());
    assert_eq!(
        findings_of(vec![answers(forbids()), answers(Lookup::Nothing)], vec![]).problems,
        vec![],
        "one cache is behind"
    );
    let unknown = DnsFinding::CaaUnknown { domain: DOMAIN.into(), why: format!("r1 {TIMEOUT}") };
    let findings = findings_of(vec![answers(failed())], vec![]);
    assert_eq!(findings.problems, [unknown], "a failed lookup forbids nothing, but is told");
    assert_eq!((findings.txt.matched, findings.cname.matched, findings.unsure), (Some(true), Some(true), None));
    let elsewhere = ServerAnswers { caa: failed(), ..at(&["198.51.100.7"]) };
    assert_eq!(findings_of(vec![elsewhere], vec![]).problems.len(), 1, "there are more pressing things");
    assert_eq!(findings_of(vec![answers(failed()), answers(forbids())], vec![]).problems.len(), 1);
    let any = VerificationQuery { authorities: vec![], ..query() };
    assert_eq!(evaluate(&observed(vec![answers(forbids())], vec![]), &any).problems, vec![]);
}

#[test]
fn issuewild_takes_precedence_over_issue_for_wildcards() {
    let record = |tag: &str, value: &str| CaaRecord { critical: false, tag: tag.into(), value: value.into() };
    let (le, other) = ("letsencrypt.org", "digicert.com");
    let delegated = || Lookup::Found("phone.acme.com._acme.bitcall.example".to_owned());
    for (records, wildcard) in [
        (vec![record("issue", le)], None),
        (vec![record("issue", le), record("issuewild", other)], Some(true)),
        (vec![record("issue", le), record("issuewild", ";")], Some(true)),
        (vec![record("issuewild", ";")], Some(true)),
        (vec![record("issuewild", le)], None),
        (vec![record("issue", other), record("issuewild", le)], Some(false)),
        (vec![record("issue", other)], Some(false)),
    ] {
        let caa = || Lookup::Found(Caa { at: "acme.com".into(), records: records.clone() });
        let about = |problems: &[DnsFinding]| match problems {
            [] => None,
            [DnsFinding::CaaForbids { wildcard, .. }] => Some(*wildcard),
            other => panic!("{other:?}"),
        };
        let findings = findings_of(vec![ServerAnswers { caa: caa(), delegate: delegated(), ..correct("r1") }], vec![]);
        assert_eq!(about(&findings.problems), wildcard, "{records:?}");
        let plain = findings_of(vec![ServerAnswers { caa: caa(), ..correct("r1") }], vec![]);
        assert_eq!(about(&plain.problems), wildcard.filter(|wildcard| !wildcard), "without a wildcard: {records:?}");
    }
}

#[test]
fn a_delegated_challenge_must_lead_to_this_servers_zone() {
    let answers = |delegate| ServerAnswers { delegate, ..correct("r1") };
    let ours = || Lookup::Found("phone.acme.com._acme.bitcall.example".to_owned());
    for (delegate, expected) in [
        (ours(), true),
        (Lookup::Found("x._acme.bitcall.example".into()), false),
        (Lookup::Nothing, false),
        (Lookup::Failed(TIMEOUT.into()), false),
    ] {
        assert_eq!(findings_of(vec![answers(delegate)], vec![]).challenge_delegated, expected);
    }
    let none = VerificationQuery { delegate: None, ..query() };
    assert!(!evaluate(&observed(vec![answers(ours())], vec![]), &none).challenge_delegated);
}

fn any_view() -> impl Strategy<Value = ServerAnswers> {
    let txt = prop_oneof![
        Just(Lookup::Found(vec!["token".to_owned()])),
        Just(Lookup::Found(vec!["other".to_owned()])),
        Just(Lookup::Nothing),
        Just(Lookup::Failed(TIMEOUT.to_owned())),
    ];
    let chain = prop_oneof![
        Just(chain(&[INGRESS])),
        Just(chain(&["a.b"])),
        Just(Lookup::Nothing),
        Just(Lookup::Failed(TIMEOUT.to_owned())),
    ];
    let family = |ours: &'static str, foreign: &'static str| {
        prop_oneof![
            Just(Lookup::Found(vec![ours.parse().unwrap()])),
            Just(Lookup::Found(vec![foreign.parse().unwrap()])),
            Just(Lookup::Nothing),
            Just(Lookup::Failed(TIMEOUT.to_owned())),
        ]
    };
    (txt, chain, family("192.0.2.1", "198.51.100.7"), family("2001:db8::1", "2001:db8::bad")).prop_map(
        |(txt, chain, v4, v6)| ServerAnswers { txt, chain, addresses: HostAddresses { v4, v6 }, ..correct("r1") },
    )
}

proptest! {
    /// Failed lookups never change an answer.
    #[test]
    fn failed_lookups_never_lead_to_a_no(views in prop::collection::vec(any_view(), 1..4), authorities in prop::collection::vec(any_view(), 0..4)) {
        let before = findings_of(views.clone(), authorities.clone());
        let silence = |mut views: Vec<ServerAnswers>, which: usize| { views[which] = dead("r1"); views };
        for which in 0..views.len() {
            let after = findings_of(silence(views.clone(), which), authorities.clone());
            if before.txt.matched == Some(true) {
                prop_assert_ne!(after.txt.matched, Some(false));
            }
            if before.cname.matched == Some(true) {
                prop_assert_ne!(after.cname.matched, Some(false));
            }
        }
        let all_dead = findings_of(vec![dead("r1"); views.len()], vec![dead("a"); authorities.len()]);
        prop_assert_eq!((all_dead.txt.matched, all_dead.cname.matched), (None, None));
    }

    #[test]
    fn every_conclusion_has_an_answer_for_it(views in prop::collection::vec(any_view(), 0..4), authorities in prop::collection::vec(any_view(), 0..4)) {
        let findings = findings_of(views.clone(), authorities.clone());
        let any = |test: fn(&ServerAnswers) -> bool| views.iter().chain(&authorities).any(test);
        if findings.txt.matched == Some(true) {
            prop_assert!(any(|answers| matches!(&answers.txt, Lookup::Found(values) if values[0] == "token")));
        }
        prop_assert_eq!(findings.way.is_some(), findings.cname.matched == Some(true));
        prop_assert_eq!(findings.unsure.is_some(), findings.txt.matched.is_none() || findings.cname.matched.is_none());
        for problem in &findings.problems {
            prop_assert!(problem.sentence().contains(DOMAIN));
        }
    }
}
