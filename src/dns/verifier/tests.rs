//! The verifier against servers with correct, forged, truncated, circular and missing answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CAA, CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::super::{Delegation, DnsFinding, RouteKind, ZoneSettings};
use super::*;

const TOKEN: &str = "the-token";
const INGRESS: &str = "in.bitcall.example";

/// How a server behaves for one name and type, or for all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ReplyBehavior {
    Honest,
    Silent,
    Fails(ResponseCode),
    /// Over UDP only the first bytes; over TCP all.
    Truncates,
    /// The same over TCP.
    AlwaysTruncates,
    /// With the id of another query, before the correct answer.
    ForgedFirst,
    /// The question in lower case, whatever its case in the query.
    LosesCase,
    Garbage,
    /// A referral instead of an answer.
    Lame,
    /// A referral to this host, at this address.
    Refers(&'static str, &'static str),
}

#[derive(Clone, Default)]
struct ZoneFixture {
    records: HashMap<(String, RecordType), Vec<RData>>,
    behaviors: HashMap<(String, RecordType), ReplyBehavior>,
    whole: Option<ReplyBehavior>,
    authority: bool,
}

impl ZoneFixture {
    fn with(mut self, name: &str, data: RData) -> Self {
        self.records.entry((name.to_owned(), data.record_type())).or_default().push(data);
        self
    }

    fn behavior(mut self, name: &str, kind: RecordType, behavior: ReplyBehavior) -> Self {
        self.behaviors.insert((name.to_owned(), kind), behavior);
        self
    }

    fn whole(mut self, behavior: ReplyBehavior) -> Self {
        self.whole = Some(behavior);
        self
    }

    fn without(mut self, name: &str, kind: RecordType) -> Self {
        self.records.remove(&(name.to_owned(), kind));
        self
    }

    /// The responses, in this order; empty for a timeout.
    fn answers(&self, query: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let Ok(asked) = Message::from_vec(query) else { return vec![] };
        let question = asked.queries[0].clone();
        let name = question.name().to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        let kind = question.query_type();
        let behavior =
            self.behaviors.get(&(name.clone(), kind)).copied().or(self.whole).unwrap_or(ReplyBehavior::Honest);
        let mut message = asked.clone().into_response();
        message.metadata.message_type = MessageType::Response;
        message.metadata.authoritative = self.authority;
        message.metadata.recursion_available = !self.authority;
        let soa = || {
            let zone = Name::from_ascii("example.").unwrap();
            Record::from_rdata(zone.clone(), 60, RData::SOA(SOA::new(zone.clone(), zone, 1, 1, 1, 1, 60)))
        };
        let mut at = name;
        for _ in 0..8 {
            let owner = Name::from_ascii(format!("{at}.")).unwrap();
            let owner = if owner == *question.name() { question.name().clone() } else { owner };
            let data = |kind| self.records.get(&(at.clone(), kind)).cloned().unwrap_or_default();
            let found = data(kind);
            if !found.is_empty() {
                message.add_answers(found.into_iter().map(|data| Record::from_rdata(owner.clone(), 60, data)));
                break;
            }
            // A resolver follows CNAMEs, an authority answers with the first one.
            let Some(RData::CNAME(target)) = data(RecordType::CNAME).pop() else { break };
            message.add_answer(Record::from_rdata(owner, 60, RData::CNAME(target.clone())));
            at = target.0.to_ascii().trim_end_matches('.').to_owned();
        }
        if message.answers.is_empty() {
            message.add_authority(soa());
        }
        match behavior {
            ReplyBehavior::Honest => vec![message.to_vec().unwrap()],
            ReplyBehavior::Silent => vec![],
            ReplyBehavior::Fails(code) => {
                let mut error = Message::error_msg(asked.metadata.id, asked.metadata.op_code, code);
                error.add_query(question);
                vec![error.to_vec().unwrap()]
            }
            ReplyBehavior::Truncates if tcp => vec![message.to_vec().unwrap()],
            ReplyBehavior::Truncates | ReplyBehavior::AlwaysTruncates => {
                message.answers.clear();
                message.metadata.truncation = true;
                vec![message.to_vec().unwrap()]
            }
            ReplyBehavior::ForgedFirst => {
                let mut forged = message.clone();
                forged.metadata.id = asked.metadata.id.wrapping_add(1);
                forged.answers.clear();
                vec![forged.to_vec().unwrap(), message.to_vec().unwrap()]
            }
            ReplyBehavior::LosesCase => {
                let lower = question.name().to_lowercase();
                message.queries[0].set_name(lower);
                vec![message.to_vec().unwrap()]
            }
            ReplyBehavior::Garbage => vec![[&query[..2], &[0x80; 30]].concat()],
            ReplyBehavior::Refers(host, address) => {
                message.answers.clear();
                message.authorities.clear();
                message.metadata.authoritative = false;
                let zone = question.name().clone();
                message.add_authority(Record::from_rdata(zone, 60, RData::NS(NS(self::name(host)))));
                message.add_additional(Record::from_rdata(self::name(host), 60, a(address)));
                vec![message.to_vec().unwrap()]
            }
            ReplyBehavior::Lame => {
                message.answers.clear();
                message.authorities.clear();
                message.metadata.authoritative = false;
                let elsewhere = RData::NS(NS(Name::from_ascii("ns.elsewhere.example.").unwrap()));
                message.add_authority(Record::from_rdata(Name::from_ascii("com.").unwrap(), 60, elsewhere));
                vec![message.to_vec().unwrap()]
            }
        }
    }
}

/// A server that ends when this is dropped.
struct StubServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl StubServer {
    async fn serve(fixture: ZoneFixture) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let fixture = Arc::new(fixture);
        let mut tasks = JoinSet::new();
        let over_udp = fixture.clone();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                for answer in over_udp.answers(&buffer[..length], false) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let fixture = fixture.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await.unwrap();
                        for answer in fixture.answers(&query, true) {
                            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

fn txt(value: &str) -> RData {
    RData::TXT(TXT::new(vec![value.to_owned()]))
}

fn a(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    }
}

/// The records that the owner of phone.acme.com has to publish.
fn correct() -> ZoneFixture {
    ZoneFixture::default().with("_bitcall-challenge.phone.acme.com", txt(TOKEN)).with("phone.acme.com", cname(INGRESS))
}

/// The same at a resolver, with the zones around it.
fn world(domain: ZoneFixture) -> ZoneFixture {
    domain
        .with(INGRESS, a("192.0.2.1"))
        .with(INGRESS, a("2001:db8::1"))
        .with("acme.com", RData::NS(NS(name("ns1.acme.com"))))
        .with("ns1.acme.com", a("127.0.0.1"))
}

fn authority(domain: ZoneFixture) -> ZoneFixture {
    ZoneFixture { authority: true, ..domain }
}

/// One check by these resolvers, with this server as the domain's own; without it there is no NS record.
async fn verify(resolvers: Vec<ZoneFixture>, own: Option<ZoneFixture>) -> Findings {
    let mut servers = Vec::new();
    for fixture in resolvers {
        let fixture = if own.is_some() { fixture } else { fixture.without("acme.com", RecordType::NS) };
        servers.push(StubServer::serve(fixture).await);
    }
    let own = match own {
        Some(fixture) => Some(StubServer::serve(fixture).await),
        None => None,
    };
    let settings = VerifierSettings {
        resolvers: servers.iter().map(|server| server.address).collect(),
        ingress: INGRESS.into(),
        addresses: vec![],
        authorities: vec!["letsencrypt.org".into()],
        base: Some("bitcall.example".parse().unwrap()),
    };
    let port = own.as_ref().map_or(DNS_PORT, |server| server.address.port());
    let verifier = Verifier { port, ..Verifier::new(settings) };
    let begun = Instant::now();
    let findings = verifier.verify(&"phone.acme.com".parse().unwrap(), TOKEN).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    findings
}

fn matched(findings: &Findings) -> (Option<bool>, Option<bool>) {
    (findings.txt.matched, findings.cname.matched)
}

const BOTH_MATCHED: (Option<bool>, Option<bool>) = (Some(true), Some(true));

#[tokio::test]
async fn correct_records_match_by_resolvers_and_name_servers() {
    let expected = Findings {
        txt: super::super::RecordCheck { matched: Some(true), observed: vec![TOKEN.into()] },
        cname: super::super::RecordCheck { matched: Some(true), observed: vec![INGRESS.into()] },
        way: Some(RouteKind::Cname),
        ..Findings::default()
    };
    assert_eq!(verify(vec![world(correct()), world(correct())], Some(authority(correct()))).await, expected);
    assert_eq!(verify(vec![world(correct())], None).await, expected);
    let silent = authority(correct()).whole(ReplyBehavior::Silent);
    assert_eq!(verify(vec![world(correct())], Some(silent)).await, expected, "name servers out of reach");
}

#[tokio::test]
async fn name_servers_decide_before_stale_resolvers() {
    let findings = verify(vec![world(ZoneFixture::default())], Some(authority(correct()))).await;
    assert_eq!(matched(&findings), BOTH_MATCHED, "{findings:?}");
    let findings = verify(vec![world(correct())], Some(authority(ZoneFixture::default()))).await;
    assert_eq!(matched(&findings), (Some(false), Some(false)), "what is gone is gone: {findings:?}");
}

#[tokio::test]
async fn truncated_answers_are_repeated_over_tcp() {
    let cut = |fixture: ZoneFixture| fixture.whole(ReplyBehavior::Truncates);
    assert_eq!(matched(&verify(vec![cut(world(correct()))], Some(cut(authority(correct())))).await), BOTH_MATCHED);
    let findings = verify(vec![world(correct()).whole(ReplyBehavior::AlwaysTruncates)], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(findings.unsure.as_ref().unwrap().contains("cut its answer short"), "{findings:?}");
}

#[tokio::test]
async fn no_error_is_taken_for_a_negative_answer() {
    for behavior in [
        ReplyBehavior::Fails(ResponseCode::ServFail),
        ReplyBehavior::Fails(ResponseCode::Refused),
        ReplyBehavior::Fails(ResponseCode::FormErr),
        ReplyBehavior::Fails(ResponseCode::NotImp),
        ReplyBehavior::Garbage,
    ] {
        let findings = verify(vec![world(correct()).whole(behavior)], None).await;
        assert_eq!(matched(&findings), (None, None), "{behavior:?}");
        assert!(findings.unsure.is_some() && findings.problems.is_empty(), "{findings:?}");
        // Another resolver that answers is enough.
        assert_eq!(
            matched(&verify(vec![world(correct()).whole(behavior), world(correct())], None).await),
            BOTH_MATCHED,
            "{behavior:?}"
        );
    }
}

#[tokio::test]
async fn a_timeout_ends_in_time_and_is_no_negative_answer() {
    let findings = verify(vec![world(correct()).whole(ReplyBehavior::Silent)], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(findings.unsure.unwrap().contains("did not answer in time"));
}

#[tokio::test]
async fn a_timeout_for_one_record_does_not_affect_the_other() {
    let fixture =
        world(correct()).behavior("_bitcall-challenge.phone.acme.com", RecordType::TXT, ReplyBehavior::Silent);
    let findings = verify(vec![fixture], None).await;
    assert_eq!(matched(&findings), (None, Some(true)));
    assert!(findings.unsure.unwrap().starts_with("TXT _bitcall-challenge.phone.acme.com"));
}

#[tokio::test]
async fn forged_answers_are_ignored() {
    assert_eq!(matched(&verify(vec![world(correct()).whole(ReplyBehavior::ForgedFirst)], None).await), BOTH_MATCHED);
    assert_eq!(
        matched(&verify(vec![world(correct()).whole(ReplyBehavior::LosesCase)], None).await),
        BOTH_MATCHED,
        "asked again over TCP"
    );
}

#[tokio::test]
async fn one_wrong_resolver_decides_nothing() {
    let liar = world(ZoneFixture::default().with("phone.acme.com", a("198.51.100.7")));
    let findings = verify(vec![world(correct()), liar.clone()], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(matches!(findings.problems[0], DnsFinding::Disagreement { .. }), "{findings:?}");
    assert_eq!(matched(&verify(vec![world(correct()), liar], Some(authority(correct()))).await), BOTH_MATCHED);
}

#[tokio::test]
async fn answers_of_a_lame_name_server_do_not_count() {
    let lame = authority(ZoneFixture::default()).whole(ReplyBehavior::Lame);
    assert_eq!(matched(&verify(vec![world(correct())], Some(lame)).await), BOTH_MATCHED);
    let pretender = ZoneFixture { authority: false, ..correct() };
    let findings = verify(vec![world(ZoneFixture::default())], Some(pretender)).await;
    assert_eq!(matched(&findings), (Some(false), Some(false)), "without the authority bit: {findings:?}");
}

#[tokio::test]
async fn cname_chains_are_followed_and_circles_reported() {
    let own = ZoneFixture::default().with("phone.acme.com", cname("a.other.net"));
    let long = own.clone().with("a.other.net", cname("b.other.net")).with("b.other.net", cname(INGRESS));
    let findings = verify(vec![world(long)], Some(authority(own.clone()))).await;
    assert_eq!((findings.cname.matched, findings.way), (Some(true), Some(RouteKind::Cname)), "{findings:?}");
    assert_eq!(findings.cname.observed, ["a.other.net", "b.other.net", INGRESS]);

    let circle = own.clone().with("a.other.net", cname("phone.acme.com"));
    let findings = verify(vec![world(circle)], Some(authority(own.clone()))).await;
    assert_eq!(findings.cname.matched, Some(false));
    assert!(matches!(&findings.problems[0], DnsFinding::Loop { .. }), "{findings:?}");

    let mut endless = own.clone();
    for step in 0..40 {
        let at = if step == 0 { "a.other.net".to_owned() } else { format!("n{step}.other.net") };
        endless = endless.with(&at, cname(&format!("n{}.other.net", step + 1)));
    }
    let findings = verify(vec![world(endless)], None).await;
    assert!(matches!(&findings.problems[0], DnsFinding::Loop { .. }), "{findings:?}");

    let broken =
        world(own.clone()).behavior("a.other.net", RecordType::CNAME, ReplyBehavior::Fails(ResponseCode::ServFail));
    assert_eq!(verify(vec![broken], Some(authority(own))).await.cname.matched, None);
}

#[tokio::test]
async fn flattened_stale_and_proxied_addresses_are_distinguished() {
    let at = |addresses: &[&str]| {
        addresses.iter().fold(ZoneFixture::default(), |fixture, at| fixture.with("phone.acme.com", a(at)))
    };
    let found = async |addresses: &[&str]| verify(vec![world(at(addresses))], Some(authority(at(addresses)))).await;
    assert_eq!(found(&["192.0.2.1", "2001:db8::1"]).await.way, Some(RouteKind::Flattened));
    assert_eq!(found(&["192.0.2.1"]).await.way, Some(RouteKind::Flattened));
    let stale = found(&["192.0.2.1", "2001:db8::bad"]).await;
    assert!(stale.problems[0].sentence().contains("the AAAA record 2001:db8::bad"), "{stale:?}");
    let proxied = found(&["104.16.1.1"]).await;
    assert!(matches!(&proxied.problems[0], DnsFinding::Proxied { by, .. } if by == "Cloudflare"), "{proxied:?}");
    let half = world(at(&["192.0.2.1"])).behavior(
        "phone.acme.com",
        RecordType::AAAA,
        ReplyBehavior::Fails(ResponseCode::ServFail),
    );
    assert_eq!(verify(vec![half], None).await.cname.matched, None);
}

#[tokio::test]
async fn caa_is_looked_up_at_all_parent_domains() {
    let forbids = || RData::CAA(CAA::new_issue(false, Some(name("digicert.com")), vec![]));
    let findings = verify(vec![world(correct()).with("acme.com", forbids())], None).await;
    let expected =
        "The CAA records of acme.com allow only digicert.com: add `acme.com. CAA 0 issue \"letsencrypt.org\"`.";
    assert_eq!(findings.problems.iter().map(DnsFinding::sentence).collect::<Vec<_>>(), [expected]);
    let allows = RData::CAA(CAA::new_issue(false, Some(name("letsencrypt.org")), vec![]));
    let closer = world(correct()).with("acme.com", forbids()).without(INGRESS, RecordType::CNAME);
    let closer = closer.with(INGRESS, allows);
    assert_eq!(verify(vec![closer], None).await.problems, vec![], "the CNAME's target has its own, which count first");
    let failing = world(correct()).behavior("acme.com", RecordType::CAA, ReplyBehavior::Fails(ResponseCode::ServFail));
    let problems = verify(vec![failing], None).await.problems;
    assert!(
        matches!(problems.as_slice(), [DnsFinding::CaaUnknown { why, .. }] if why.contains("SERVFAIL")),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_delegated_challenge_is_recognised() {
    let delegated = |to: &str| correct().with("_acme-challenge.phone.acme.com", cname(to));
    for (to, expected) in [("phone.acme.com._acme.bitcall.example", true), ("other.com._acme.bitcall.example", false)] {
        let findings = verify(vec![world(delegated(to))], Some(authority(delegated(to)))).await;
        assert_eq!(findings.challenge_delegated, expected, "{to}");
    }
}

/// The delegation of a zone below acme.com whose servers answer as in `parent`.
async fn delegation(parent: ZoneFixture) -> Delegation {
    let parent = StubServer::serve(authority(parent)).await;
    let resolver = StubServer::serve(world(correct())).await;
    let settings = VerifierSettings {
        resolvers: vec![resolver.address],
        ingress: INGRESS.into(),
        addresses: vec![],
        authorities: vec![],
        base: None,
    };
    let verifier = Verifier { port: parent.address.port(), ..Verifier::new(settings) };
    let zone = ZoneSettings {
        base: "phones.acme.com".parse().unwrap(),
        nameservers: vec![],
        hostmaster: None,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        authorities: vec![],
    };
    verifier.delegation(&zone).await
}

#[tokio::test]
async fn the_parent_zone_decides_whether_the_base_domain_is_delegated() {
    let refers = |host, address| {
        ZoneFixture::default().behavior("phones.acme.com", RecordType::NS, ReplyBehavior::Refers(host, address))
    };
    assert_eq!(delegation(refers("ns1.phones.acme.com", "192.0.2.1")).await, Delegation::Here);
    let elsewhere = delegation(refers("ns1.phones.acme.com", "198.51.100.7")).await;
    let Delegation::Elsewhere(sentence) = elsewhere else { panic!("{elsewhere:?}") };
    for part in ["acme.com name ns1.phones.acme.com (198.51.100.7)", "`ns1.phones.acme.com. A 192.0.2.1`"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    let nobody = delegation(ZoneFixture::default()).await;
    assert!(matches!(&nobody, Delegation::Elsewhere(sentence) if sentence.contains("nobody")), "{nobody:?}");
    for behavior in [ReplyBehavior::Silent, ReplyBehavior::Fails(ResponseCode::ServFail), ReplyBehavior::Lame] {
        let unknown = delegation(ZoneFixture::default().whole(behavior)).await;
        assert!(matches!(unknown, Delegation::Unknown(_)), "{behavior:?}: {unknown:?}");
    }
}
