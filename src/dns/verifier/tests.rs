//! The verifier against servers that answer, lie, cut short, lead in circles and keep silent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CAA, CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::super::{Delegation, Problem, Way, ZoneSettings};
use super::*;

const TOKEN: &str = "the-token";
const INGRESS: &str = "in.bitcall.example";

/// How a server behaves for one name and type, or for all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    Silent,
    Fails(ResponseCode),
    /// Over UDP only the first bytes; over TCP all.
    Truncates,
    /// The same over TCP.
    AlwaysTruncates,
    /// With the number of another query, before the right answer.
    ForgedFirst,
    /// The question in lower case, whatever was asked.
    LosesCase,
    Garbage,
    /// A referral instead of an answer.
    Lame,
    /// A referral to this host, at this address.
    Refers(&'static str, &'static str),
}

#[derive(Clone, Default)]
struct Book {
    records: HashMap<(String, RecordType), Vec<RData>>,
    manners: HashMap<(String, RecordType), Manner>,
    whole: Option<Manner>,
    authority: bool,
}

impl Book {
    fn with(mut self, name: &str, data: RData) -> Self {
        self.records.entry((name.to_owned(), data.record_type())).or_default().push(data);
        self
    }

    fn manner(mut self, name: &str, kind: RecordType, manner: Manner) -> Self {
        self.manners.insert((name.to_owned(), kind), manner);
        self
    }

    fn whole(mut self, manner: Manner) -> Self {
        self.whole = Some(manner);
        self
    }

    fn without(mut self, name: &str, kind: RecordType) -> Self {
        self.records.remove(&(name.to_owned(), kind));
        self
    }

    /// What is sent back, in this order; nothing: silence.
    fn answers(&self, query: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let Ok(asked) = Message::from_vec(query) else { return vec![] };
        let question = asked.queries[0].clone();
        let name = question.name().to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        let kind = question.query_type();
        let manner = self.manners.get(&(name.clone(), kind)).copied().or(self.whole).unwrap_or(Manner::Honest);
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
            // A resolver follows, an authority names the first step.
            let Some(RData::CNAME(target)) = data(RecordType::CNAME).pop() else { break };
            message.add_answer(Record::from_rdata(owner, 60, RData::CNAME(target.clone())));
            at = target.0.to_ascii().trim_end_matches('.').to_owned();
        }
        if message.answers.is_empty() {
            message.add_authority(soa());
        }
        match manner {
            Manner::Honest => vec![message.to_vec().unwrap()],
            Manner::Silent => vec![],
            Manner::Fails(code) => {
                let mut error = Message::error_msg(asked.metadata.id, asked.metadata.op_code, code);
                error.add_query(question);
                vec![error.to_vec().unwrap()]
            }
            Manner::Truncates if tcp => vec![message.to_vec().unwrap()],
            Manner::Truncates | Manner::AlwaysTruncates => {
                message.answers.clear();
                message.metadata.truncation = true;
                vec![message.to_vec().unwrap()]
            }
            Manner::ForgedFirst => {
                let mut forged = message.clone();
                forged.metadata.id = asked.metadata.id.wrapping_add(1);
                forged.answers.clear();
                vec![forged.to_vec().unwrap(), message.to_vec().unwrap()]
            }
            Manner::LosesCase => {
                let lower = question.name().to_lowercase();
                message.queries[0].set_name(lower);
                vec![message.to_vec().unwrap()]
            }
            Manner::Garbage => vec![[&query[..2], &[0x80; 30]].concat()],
            Manner::Refers(host, address) => {
                message.answers.clear();
                message.authorities.clear();
                message.metadata.authoritative = false;
                let zone = question.name().clone();
                message.add_authority(Record::from_rdata(zone, 60, RData::NS(NS(self::name(host)))));
                message.add_additional(Record::from_rdata(self::name(host), 60, a(address)));
                vec![message.to_vec().unwrap()]
            }
            Manner::Lame => {
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

/// A server that is gone with the value.
struct Stub {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Stub {
    async fn serve(book: Book) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let book = Arc::new(book);
        let mut tasks = JoinSet::new();
        let over_udp = book.clone();
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
                let book = book.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await.unwrap();
                        for answer in book.answers(&query, true) {
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

/// What the owner of phone.acme.com is told to publish.
fn right() -> Book {
    Book::default().with("_bitcall-challenge.phone.acme.com", txt(TOKEN)).with("phone.acme.com", cname(INGRESS))
}

/// The same in a resolver, with what surrounds it.
fn world(domain: Book) -> Book {
    domain
        .with(INGRESS, a("192.0.2.1"))
        .with(INGRESS, a("2001:db8::1"))
        .with("acme.com", RData::NS(NS(name("ns1.acme.com"))))
        .with("ns1.acme.com", a("127.0.0.1"))
}

fn authority(domain: Book) -> Book {
    Book { authority: true, ..domain }
}

/// One look, through these resolvers, with this server as the domain's own; without one nobody knows of any.
async fn look(resolvers: Vec<Book>, own: Option<Book>) -> Findings {
    let mut stubs = Vec::new();
    for book in resolvers {
        let book = if own.is_some() { book } else { book.without("acme.com", RecordType::NS) };
        stubs.push(Stub::serve(book).await);
    }
    let own = match own {
        Some(book) => Some(Stub::serve(book).await),
        None => None,
    };
    let settings = VerifierSettings {
        resolvers: stubs.iter().map(|stub| stub.address).collect(),
        ingress: INGRESS.into(),
        addresses: vec![],
        authorities: vec!["letsencrypt.org".into()],
        base: Some("bitcall.example".parse().unwrap()),
    };
    let port = own.as_ref().map_or(DNS, |stub| stub.address.port());
    let verifier = Verifier { port, ..Verifier::new(settings) };
    let begun = Instant::now();
    let findings = verifier.look(&"phone.acme.com".parse().unwrap(), TOKEN).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    findings
}

fn matched(findings: &Findings) -> (Option<bool>, Option<bool>) {
    (findings.txt.matched, findings.cname.matched)
}

const BOTH: (Option<bool>, Option<bool>) = (Some(true), Some(true));

#[tokio::test]
async fn what_is_right_is_found_right_by_resolvers_and_name_servers() {
    let expected = Findings {
        txt: super::super::Check { matched: Some(true), observed: vec![TOKEN.into()] },
        cname: super::super::Check { matched: Some(true), observed: vec![INGRESS.into()] },
        way: Some(Way::Cname),
        ..Findings::default()
    };
    assert_eq!(look(vec![world(right()), world(right())], Some(authority(right()))).await, expected);
    assert_eq!(look(vec![world(right())], None).await, expected);
    let silent = authority(right()).whole(Manner::Silent);
    assert_eq!(look(vec![world(right())], Some(silent)).await, expected, "name servers out of reach");
}

#[tokio::test]
async fn the_name_servers_know_before_the_caches() {
    let findings = look(vec![world(Book::default())], Some(authority(right()))).await;
    assert_eq!(matched(&findings), BOTH, "{findings:?}");
    let findings = look(vec![world(right())], Some(authority(Book::default()))).await;
    assert_eq!(matched(&findings), (Some(false), Some(false)), "what is gone is gone: {findings:?}");
}

#[tokio::test]
async fn truncated_answers_are_asked_for_again_over_tcp() {
    let cut = |book: Book| book.whole(Manner::Truncates);
    assert_eq!(matched(&look(vec![cut(world(right()))], Some(cut(authority(right())))).await), BOTH);
    let findings = look(vec![world(right()).whole(Manner::AlwaysTruncates)], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(findings.unsure.as_ref().unwrap().contains("cut its answer short"), "{findings:?}");
}

#[tokio::test]
async fn errors_of_every_kind_are_never_a_no() {
    for manner in [
        Manner::Fails(ResponseCode::ServFail),
        Manner::Fails(ResponseCode::Refused),
        Manner::Fails(ResponseCode::FormErr),
        Manner::Fails(ResponseCode::NotImp),
        Manner::Garbage,
    ] {
        let findings = look(vec![world(right()).whole(manner)], None).await;
        assert_eq!(matched(&findings), (None, None), "{manner:?}");
        assert!(findings.unsure.is_some() && findings.problems.is_empty(), "{findings:?}");
        // Another resolver that answers is enough.
        assert_eq!(matched(&look(vec![world(right()).whole(manner), world(right())], None).await), BOTH, "{manner:?}");
    }
}

#[tokio::test]
async fn silence_ends_in_time_and_is_never_a_no() {
    let findings = look(vec![world(right()).whole(Manner::Silent)], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(findings.unsure.unwrap().contains("did not answer in time"));
}

#[tokio::test]
async fn a_silent_record_leaves_the_other_one_certain() {
    let book = world(right()).manner("_bitcall-challenge.phone.acme.com", RecordType::TXT, Manner::Silent);
    let findings = look(vec![book], None).await;
    assert_eq!(matched(&findings), (None, Some(true)));
    assert!(findings.unsure.unwrap().starts_with("TXT _bitcall-challenge.phone.acme.com"));
}

#[tokio::test]
async fn forged_answers_are_not_believed() {
    assert_eq!(matched(&look(vec![world(right()).whole(Manner::ForgedFirst)], None).await), BOTH);
    assert_eq!(matched(&look(vec![world(right()).whole(Manner::LosesCase)], None).await), BOTH, "asked again over TCP");
}

#[tokio::test]
async fn one_liar_among_resolvers_decides_nothing() {
    let liar = world(Book::default().with("phone.acme.com", a("198.51.100.7")));
    let findings = look(vec![world(right()), liar.clone()], None).await;
    assert_eq!(matched(&findings), (None, None));
    assert!(matches!(findings.problems[0], Problem::Disagreement { .. }), "{findings:?}");
    assert_eq!(matched(&look(vec![world(right()), liar], Some(authority(right()))).await), BOTH);
}

#[tokio::test]
async fn a_name_server_that_does_not_serve_the_zone_has_no_say() {
    let lame = authority(Book::default()).whole(Manner::Lame);
    assert_eq!(matched(&look(vec![world(right())], Some(lame)).await), BOTH);
    let pretender = Book { authority: false, ..right() };
    let findings = look(vec![world(Book::default())], Some(pretender)).await;
    assert_eq!(matched(&findings), (Some(false), Some(false)), "without the authority bit: {findings:?}");
}

#[tokio::test]
async fn chains_are_followed_to_their_end_and_circles_are_told() {
    let own = Book::default().with("phone.acme.com", cname("a.other.net"));
    let long = own.clone().with("a.other.net", cname("b.other.net")).with("b.other.net", cname(INGRESS));
    let findings = look(vec![world(long)], Some(authority(own.clone()))).await;
    assert_eq!((findings.cname.matched, findings.way), (Some(true), Some(Way::Cname)), "{findings:?}");
    assert_eq!(findings.cname.observed, ["a.other.net", "b.other.net", INGRESS]);

    let circle = own.clone().with("a.other.net", cname("phone.acme.com"));
    let findings = look(vec![world(circle)], Some(authority(own.clone()))).await;
    assert_eq!(findings.cname.matched, Some(false));
    assert!(matches!(&findings.problems[0], Problem::Loop { .. }), "{findings:?}");

    let mut endless = own.clone();
    for step in 0..40 {
        let at = if step == 0 { "a.other.net".to_owned() } else { format!("n{step}.other.net") };
        endless = endless.with(&at, cname(&format!("n{}.other.net", step + 1)));
    }
    let findings = look(vec![world(endless)], None).await;
    assert!(matches!(&findings.problems[0], Problem::Loop { .. }), "{findings:?}");

    let broken = world(own.clone()).manner("a.other.net", RecordType::CNAME, Manner::Fails(ResponseCode::ServFail));
    assert_eq!(look(vec![broken], Some(authority(own))).await.cname.matched, None);
}

#[tokio::test]
async fn flattened_stale_and_proxied_addresses_are_told_apart() {
    let at = |addresses: &[&str]| addresses.iter().fold(Book::default(), |book, at| book.with("phone.acme.com", a(at)));
    let found = async |addresses: &[&str]| look(vec![world(at(addresses))], Some(authority(at(addresses)))).await;
    assert_eq!(found(&["192.0.2.1", "2001:db8::1"]).await.way, Some(Way::Flattened));
    assert_eq!(found(&["192.0.2.1"]).await.way, Some(Way::Flattened));
    let stale = found(&["192.0.2.1", "2001:db8::bad"]).await;
    assert!(stale.problems[0].sentence().contains("the AAAA record 2001:db8::bad"), "{stale:?}");
    let proxied = found(&["104.16.1.1"]).await;
    assert!(matches!(&proxied.problems[0], Problem::Proxied { by, .. } if by == "Cloudflare"), "{proxied:?}");
    let half =
        world(at(&["192.0.2.1"])).manner("phone.acme.com", RecordType::AAAA, Manner::Fails(ResponseCode::ServFail));
    assert_eq!(look(vec![half], None).await.cname.matched, None);
}

#[tokio::test]
async fn caa_is_looked_for_up_to_the_top() {
    let forbids = || RData::CAA(CAA::new_issue(false, Some(name("digicert.com")), vec![]));
    let findings = look(vec![world(right()).with("acme.com", forbids())], None).await;
    let expected =
        "The CAA records of acme.com allow only digicert.com: add `acme.com. CAA 0 issue \"letsencrypt.org\"`.";
    assert_eq!(findings.problems.iter().map(Problem::sentence).collect::<Vec<_>>(), [expected]);
    let allows = RData::CAA(CAA::new_issue(false, Some(name("letsencrypt.org")), vec![]));
    let closer = world(right()).with("acme.com", forbids()).without(INGRESS, RecordType::CNAME);
    let closer = closer.with(INGRESS, allows);
    assert_eq!(look(vec![closer], None).await.problems, vec![], "the CNAME's target has its own, which count first");
    let failing = world(right()).manner("acme.com", RecordType::CAA, Manner::Fails(ResponseCode::ServFail));
    let problems = look(vec![failing], None).await.problems;
    assert!(
        matches!(problems.as_slice(), [Problem::CaaUnknown { why, .. }] if why.contains("SERVFAIL")),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_delegated_challenge_is_seen() {
    let delegated = |to: &str| right().with("_acme-challenge.phone.acme.com", cname(to));
    for (to, expected) in [("phone.acme.com._acme.bitcall.example", true), ("other.com._acme.bitcall.example", false)] {
        let findings = look(vec![world(delegated(to))], Some(authority(delegated(to)))).await;
        assert_eq!(findings.challenge_delegated, expected, "{to}");
    }
}

/// What the servers of acme.com, as they are in `parent`, say of a zone below it.
async fn delegation(parent: Book) -> Delegation {
    let parent = Stub::serve(authority(parent)).await;
    let resolver = Stub::serve(world(right())).await;
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
async fn whether_the_base_is_delegated_is_what_the_zone_above_says() {
    let refers =
        |host, address| Book::default().manner("phones.acme.com", RecordType::NS, Manner::Refers(host, address));
    assert_eq!(delegation(refers("ns1.phones.acme.com", "192.0.2.1")).await, Delegation::Here);
    let elsewhere = delegation(refers("ns1.phones.acme.com", "198.51.100.7")).await;
    let Delegation::Elsewhere(sentence) = elsewhere else { panic!("{elsewhere:?}") };
    for part in ["acme.com name ns1.phones.acme.com (198.51.100.7)", "`ns1.phones.acme.com. A 192.0.2.1`"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    let nobody = delegation(Book::default()).await;
    assert!(matches!(&nobody, Delegation::Elsewhere(sentence) if sentence.contains("nobody")), "{nobody:?}");
    for manner in [Manner::Silent, Manner::Fails(ResponseCode::ServFail), Manner::Lame] {
        let unknown = delegation(Book::default().whole(manner)).await;
        assert!(matches!(unknown, Delegation::Unknown(_)), "{manner:?}: {unknown:?}");
    }
}
