//! The zone of the base domain: its names and their records, from the configuration and the published challenges. No
//! zone file is read, so that a change takes effect at once.
//!
//! By a wildcard (RFC 4592) every name below the base leads to this server, except those of the name servers and those
//! of ACME challenges:
//!
//! - `_acme-challenge.<name>`, for the base domain and any name below it;
//! - `<domain>._acme.<base>`, to which the owner of `<domain>` points `_acme-challenge.<domain>` by CNAME.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_server::proto::ProtoError;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::rdata::{CAA, HINFO, NS, SOA, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType};

use crate::config::MailAddress;
use crate::hostname::Hostname;

const ACME_CHALLENGE: &[u8] = b"_acme-challenge";
/// The label below which challenges of tenants' own domains are answered.
const DELEGATED: &[u8] = b"_acme";

/// Seconds. The addresses may change within minutes, the name servers rarely.
const ADDRESS_TTL: u32 = 300;
const ZONE_TTL: u32 = 3600;
const NEGATIVE_TTL: u32 = 60;
const CHALLENGE_TTL: u32 = 1;

/// The published ACME challenges.
pub trait Challenges: Send + Sync + 'static {
    /// The values of the TXT record at this name, which is in lower case and without a trailing dot (RFC 8555
    /// section 8.4). Called for every query, so that it must answer from memory.
    fn txt(&self, name: &str) -> Vec<String>;
}

/// No challenges.
impl Challenges for () {
    fn txt(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
}

/// The settings of a zone.
#[derive(Clone, Debug)]
pub struct ZoneSettings {
    pub base: Hostname,
    /// Hosts on which this zone is served. Empty: `ns1.<base>`.
    pub nameservers: Vec<Hostname>,
    /// The responsible person's mail address. None: `hostmaster@<base>`.
    pub hostmaster: Option<MailAddress>,
    /// The addresses of this server.
    pub addresses: Vec<IpAddr>,
    /// Issuer domain names for CAA records. Empty: no such record.
    pub authorities: Vec<Hostname>,
}

/// The zone of one base domain.
pub struct DnsZone {
    base: LowerName,
    /// The number of the base's labels.
    depth: usize,
    nameservers: Vec<Name>,
    /// The labels of name servers below the base, without the base's own.
    hosts: Vec<Vec<Box<[u8]>>>,
    responsible: Name,
    addresses: Vec<RData>,
    caa: Vec<RData>,
    challenges: Arc<dyn Challenges>,
}

/// The answer to a query.
#[derive(Debug, PartialEq)]
pub struct ZoneAnswer {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    /// The SOA of a negative answer (RFC 2308).
    pub authority: Option<Record>,
    pub additionals: Vec<Record>,
}

/// What kind of name it is in the zone.
enum Node {
    Base,
    /// A name server below the base.
    Host,
    /// Any other name.
    Wildcard,
    /// Holds what proves something to a certificate authority.
    Challenge,
    /// Nothing but names below it.
    EmptyNonTerminal,
    Missing,
}

impl DnsZone {
    pub fn new(settings: &ZoneSettings, challenges: Arc<dyn Challenges>) -> Result<Self, ProtoError> {
        let name = |text: &str| Name::from_ascii(format!("{text}."));
        let base = LowerName::new(&name(settings.base.as_str())?);
        let depth = base.iter().count();
        let nameservers = match settings.nameservers.as_slice() {
            [] => vec![name(&format!("ns1.{}", settings.base))?],
            named => named.iter().map(|host| name(host.as_str())).collect::<Result<_, _>>()?,
        };
        let hosts = nameservers.iter().filter(|host| base.zone_of(&LowerName::new(host)));
        let hosts = hosts.map(|host| labels(host, depth).map(Box::from).collect()).collect();
        let responsible = match &settings.hostmaster {
            // The first label is the local part, dots and all (RFC 1035 section 8).
            Some(address) => name(address.domain.as_str())?.prepend_label(address.name.as_bytes())?,
            None => name(&format!("hostmaster.{}", settings.base))?,
        };
        let address = |address: &IpAddr| match address {
            IpAddr::V4(v4) => RData::A((*v4).into()),
            IpAddr::V6(v6) => RData::AAAA((*v6).into()),
        };
        let caa = |authority: &Hostname| {
            let authority = Name::from_ascii(authority.as_str())?;
            Ok(RData::CAA(CAA::new_issue(false, Some(authority), vec![])))
        };
        Ok(Self {
            hosts,
            depth,
            base,
            nameservers,
            responsible,
            addresses: settings.addresses.iter().map(address).collect(),
            caa: settings.authorities.iter().map(caa).collect::<Result<_, ProtoError>>()?,
            challenges,
        })
    }

    /// `name` as in the query, `lower` in lower case. `now` is in seconds since 1970 and is the zone's serial, which so
    /// never decreases and need not be stored.
    pub fn answer(&self, name: &Name, lower: &LowerName, kind: RecordType, now: u64) -> ZoneAnswer {
        if !self.base.zone_of(lower) || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return ZoneAnswer {
                code: ResponseCode::Refused,
                authoritative: false,
                answers: Vec::new(),
                authority: None,
                additionals: Vec::new(),
            };
        }
        let labels: Vec<&[u8]> = labels(lower, self.depth).collect();
        let node = self.node(&labels);
        let mut additionals = Vec::new();
        let records: Vec<(u32, RData)> = match (&node, kind) {
            (Node::Missing | Node::EmptyNonTerminal, _) => Vec::new(),
            // A synthesized HINFO record (RFC 8482 section 4.2).
            (_, RecordType::ANY) => vec![(ADDRESS_TTL, RData::HINFO(HINFO::new("RFC8482".into(), String::new())))],
            (Node::Base, RecordType::SOA) => vec![(ZONE_TTL, self.soa(now))],
            (Node::Base, RecordType::NS) => {
                additionals = self.glue();
                self.nameservers.iter().map(|host| (ZONE_TTL, RData::NS(NS(host.clone())))).collect()
            }
            (Node::Base, RecordType::CAA) => self.caa.iter().map(|caa| (ADDRESS_TTL, caa.clone())).collect(),
            (Node::Base | Node::Host | Node::Wildcard, RecordType::A | RecordType::AAAA) => {
                let of_kind = self.addresses.iter().filter(|address| address.record_type() == kind);
                of_kind.map(|address| (ADDRESS_TTL, address.clone())).collect()
            }
            (Node::Challenge, RecordType::TXT) => {
                let values = text(lower).map(|name| self.challenges.txt(&name)).unwrap_or_default();
                values.into_iter().map(|value| (CHALLENGE_TTL, RData::TXT(TXT::new(vec![value])))).collect()
            }
            _ => Vec::new(),
        };
        let answers: Vec<_> =
            records.into_iter().map(|(ttl, data)| Record::from_rdata(name.clone(), ttl, data)).collect();
        let negative = answers.is_empty().then(|| {
            // A challenge may be published at any moment, so that its absence must not be cached for long.
            let ttl = if matches!(node, Node::Challenge) { CHALLENGE_TTL } else { NEGATIVE_TTL };
            Record::from_rdata(Name::from(&self.base), ttl, self.soa(now))
        });
        ZoneAnswer {
            code: if matches!(node, Node::Missing) { ResponseCode::NXDomain } else { ResponseCode::NoError },
            authoritative: true,
            answers,
            authority: negative,
            additionals,
        }
    }

    /// `labels` are those before the base's, from the left, in lower case.
    fn node(&self, labels: &[&[u8]]) -> Node {
        let (Some(first), Some(last)) = (labels.first(), labels.last()) else { return Node::Base };
        if *first == ACME_CHALLENGE {
            return Node::Challenge;
        }
        if *last == DELEGATED {
            return if labels.len() == 1 { Node::EmptyNonTerminal } else { Node::Challenge };
        }
        // A wildcard does not apply below an existing name (RFC 4592 section 3.3.1).
        if *last == ACME_CHALLENGE {
            return Node::Missing;
        }
        let mut below_existing = false;
        for host in &self.hosts {
            let shared = host.iter().rev().zip(labels.iter().rev()).take_while(|(a, b)| ***a == ***b).count();
            if shared == labels.len() {
                return if host.len() == shared { Node::Host } else { Node::EmptyNonTerminal };
            }
            below_existing |= shared > 0;
        }
        if below_existing { Node::Missing } else { Node::Wildcard }
    }

    fn soa(&self, now: u64) -> RData {
        // Wraps in 2106, as serials may (RFC 1982).
        let serial = u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default();
        let primary = self.nameservers.first().cloned().unwrap_or_else(|| Name::from(&self.base));
        let (refresh, retry, expire) = (3600, 600, 1_209_600);
        RData::SOA(SOA::new(primary, self.responsible.clone(), serial, refresh, retry, expire, NEGATIVE_TTL))
    }

    /// Address records of the name servers below the base.
    fn glue(&self) -> Vec<Record> {
        let inside = self.nameservers.iter().filter(|host| self.base.zone_of(&LowerName::new(host)));
        inside
            .flat_map(|host| {
                let address = |data: &RData| Record::from_rdata(host.clone(), ADDRESS_TTL, data.clone());
                self.addresses.iter().map(address).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The labels of `name` without its last `depth` ones.
fn labels(name: &Name, depth: usize) -> impl Iterator<Item = &[u8]> {
    name.iter().take(name.iter().count().saturating_sub(depth))
}

/// A name as text; none where a label has other characters than those of host names and `_`.
fn text(name: &Name) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut text = String::with_capacity(name.len());
    for label in name {
        if !label.iter().all(plain) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
    }
    Some(text)
}

#[cfg(test)]
#[path = "zone/tests.rs"]
mod tests;
