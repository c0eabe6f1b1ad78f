//! A DNS resolver that answers the records that the test has published, and no others.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CAA, CNAME, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

pub struct Resolver {
    address: SocketAddr,
    zone: Arc<Mutex<ZoneRecords>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct ZoneRecords {
    records: HashMap<(String, RecordType), Vec<RData>>,
    /// Names whose servers cannot be reached.
    failing: HashSet<String>,
    /// Only for these records.
    failing_for: HashSet<(String, RecordType)>,
    /// A zone, and the server that answers for all of it that is not in the zone.
    delegated: Option<(String, SocketAddr)>,
}

impl Resolver {
    /// Knows nothing yet.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Arc::<Mutex<ZoneRecords>>::default());
        let server = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { address, zone, server }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the records that were there.
    pub fn txt(&self, name: &str, value: &str) {
        self.publish(name, RecordType::TXT, vec![RData::TXT(TXT::new(vec![value.to_owned()]))]);
    }

    pub fn cname(&self, name: &str, target: &str) {
        self.publish(name, RecordType::CNAME, vec![RData::CNAME(CNAME(rooted(target)))]);
    }

    pub fn addresses(&self, name: &str, addresses: &[&str]) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address.parse().unwrap() {
                IpAddr::V4(address) => v4.push(RData::A(address.into())),
                IpAddr::V6(address) => v6.push(RData::AAAA(address.into())),
            }
        }
        self.publish(name, RecordType::A, v4);
        self.publish(name, RecordType::AAAA, v6);
    }

    /// Only this authority may certify the name and those below it.
    pub fn caa(&self, name: &str, authority: &str) {
        let caa = CAA::new_issue(false, Some(rooted(authority)), vec![]);
        self.publish(name, RecordType::CAA, vec![RData::CAA(caa)]);
    }

    pub fn remove(&self, name: &str, kind: RecordType) {
        self.publish(name, kind, vec![]);
    }

    pub fn fails(&self, name: &str, fails: bool) {
        let failing = &mut self.zone.lock().unwrap().failing;
        if fails {
            failing.insert(name.to_owned())
        } else {
            failing.remove(name)
        };
    }

    /// Queries for this record type are answered with SERVFAIL, others are not.
    pub fn fails_for(&self, name: &str, kind: RecordType, fails: bool) {
        let failing = &mut self.zone.lock().unwrap().failing_for;
        let what = (name.to_owned(), kind);
        if fails {
            failing.insert(what)
        } else {
            failing.remove(&what)
        };
    }

    /// Delegates a zone to another server.
    pub fn delegate(&self, zone: &str, server: &str) {
        self.zone.lock().unwrap().delegated = Some((zone.to_owned(), server.parse().unwrap()));
    }

    fn publish(&self, name: &str, kind: RecordType, data: Vec<RData>) {
        self.zone.lock().unwrap().records.insert((name.to_owned(), kind), data);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<ZoneRecords>>) {
    let mut query = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else { continue };
        let Ok(asked) = Message::from_vec(&query[..length]) else { continue };
        let (mut answer, elsewhere) = zone.lock().unwrap().answer(&asked);
        if let Some((name, server)) = elsewhere {
            let mut further = asked.clone();
            further.queries[0].set_name(name);
            if let Some(found) = ask(server, &further).await {
                answer.add_answers(found.answers);
            } else {
                answer.metadata.response_code = ResponseCode::ServFail;
            }
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
    }
}

async fn ask(server: SocketAddr, query: &Message) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), server).await.ok()?;
    let mut answer = [0; 1500];
    let length = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut answer)).await.ok()?.ok()?;
    Message::from_vec(&answer[..length]).ok()
}

impl ZoneRecords {
    /// The answer, and the delegated server to ask for the rest.
    fn answer(&self, asked: &Message) -> (Message, Option<(Name, SocketAddr)>) {
        let question = asked.queries[0].clone();
        let mut message = asked.clone().into_response();
        message.metadata.recursion_available = true;
        let mut owner = question.name().clone();
        let mut at = plain(&owner);
        if self.failing.contains(&at) || self.failing_for.contains(&(at.clone(), question.query_type())) {
            message.metadata.response_code = ResponseCode::ServFail;
            return (message, None);
        }
        for _ in 0..8 {
            let data = |kind| self.records.get(&(at.clone(), kind)).cloned().unwrap_or_default();
            let found = data(question.query_type());
            if !found.is_empty() {
                message.add_answers(found.into_iter().map(|data| Record::from_rdata(owner.clone(), 60, data)));
                break;
            }
            let Some(RData::CNAME(target)) = data(RecordType::CNAME).pop() else {
                let theirs = self.delegated.as_ref().filter(|(zone, _)| at.ends_with(&format!(".{zone}")));
                if let Some((_, server)) = theirs {
                    return (message, Some((owner, *server)));
                }
                break;
            };
            message.add_answer(Record::from_rdata(owner, 60, RData::CNAME(target.clone())));
            owner = target.0;
            at = plain(&owner);
        }
        if message.answers.is_empty() {
            let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1);
            message.add_authority(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
        }
        (message, None)
    }
}

fn rooted(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

fn plain(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}
