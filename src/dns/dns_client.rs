//! Queries to one server, by hickory-resolver: by UDP first, and by TCP where the answer is truncated or could be
//! forged; without search list, hosts file or cache.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::Lookup;
use super::observation::{CaaRecord, NameServer};

/// How long one lookup may take, TCP included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);
const TIMED_OUT: &str = "did not answer in time";
const MAX_RECORDS: usize = 64;
const MAX_VALUE_BYTES: usize = 512;

/// A server, and how it is queried.
pub struct DnsClient {
    name: String,
    /// Whether only authoritative answers count.
    authoritative: bool,
    resolver: Result<TokioResolver, String>,
}

impl DnsClient {
    /// A recursive resolver.
    pub fn resolver(address: SocketAddr) -> Self {
        let name = if address.port() == 53 { address.ip().to_string() } else { address.to_string() };
        Self { name, authoritative: false, resolver: connect(address, true) }
    }

    /// A domain's own name server.
    pub fn authority(name: String, address: SocketAddr) -> Self {
        Self { name, authoritative: true, resolver: connect(address, false) }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of TXT records, each with its strings concatenated.
    pub async fn txt(&self, name: &str) -> Lookup<Vec<String>> {
        self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(bounded_text(&txt.txt_data.concat())),
            _ => None,
        })
        .await
    }

    /// The target of the CNAME at `name` itself; further ones are not followed.
    pub async fn cname(&self, name: &str) -> Lookup<String> {
        let wanted = absolute(name);
        let answer = self.records(name, RecordType::CNAME).await;
        let targets = collect(answer, |record| match &record.data {
            RData::CNAME(target) if Some(&record.name) == wanted.as_ref() => Some(plain(&target.0)),
            _ => None,
        });
        match targets {
            Lookup::Found(targets) => targets.into_iter().next().map_or(Lookup::Nothing, Lookup::Found),
            Lookup::Nothing => Lookup::Nothing,
            Lookup::Failed(why) => Lookup::Failed(why),
        }
    }

    /// `kind` is A or AAAA. A resolver follows CNAMEs.
    pub async fn addresses(&self, name: &str, kind: RecordType) -> Lookup<Vec<IpAddr>> {
        self.ask(name, kind, RData::ip_addr).await
    }

    /// The name servers of the zone whose apex is `zone`; [`Lookup::Nothing`] where that is no apex.
    pub async fn name_servers(&self, zone: &str) -> Lookup<Vec<String>> {
        let wanted = absolute(zone);
        collect(self.records(zone, RecordType::NS).await, |record| match &record.data {
            // Records at the target of a CNAME are another zone's.
            RData::NS(host) if Some(&record.name) == wanted.as_ref() => Some(plain(&host.0)),
            _ => None,
        })
    }

    /// The name servers in the parent zone's referral for `zone`, asked at one of the parent's servers;
    /// [`Lookup::Nothing`] where it answers that there is no delegation.
    pub async fn referral(&self, zone: &str) -> Lookup<Vec<NameServer>> {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Lookup::Failed(why.clone()),
        };
        let Some(name) = absolute(zone) else { return Lookup::Nothing };
        let of_zone = |record: &Record| match &record.data {
            RData::NS(host) if record.name == name => Some(plain(&host.0)),
            _ => None,
        };
        let Ok(answer) = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(name.clone(), RecordType::NS)).await
        else {
            return Lookup::Failed(TIMED_OUT.to_owned());
        };
        let not_parent = || Lookup::Failed("does not serve the zone above".to_owned());
        match answer {
            // A referral, or an answer where the server is authoritative for both zones.
            Ok(lookup) => {
                let message = lookup.message();
                let hosts = message.answers.iter().chain(&message.authorities).filter_map(of_zone);
                let hosts: Vec<NameServer> = hosts.map(|host| (host.clone(), glue(message, &host))).collect();
                if hosts.is_empty() { not_parent() } else { Lookup::Found(hosts) }
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.soa.is_some() => Lookup::Nothing,
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => not_parent(),
            Err(error) => Lookup::Failed(why(&error)),
        }
    }

    pub async fn caa(&self, name: &str) -> Lookup<Vec<CaaRecord>> {
        self.ask(name, RecordType::CAA, |data| match data {
            RData::CAA(caa) => Some(CaaRecord {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: bounded_text(&caa.value),
            }),
            _ => None,
        })
        .await
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Lookup<Vec<T>> {
        collect(self.records(name, kind).await, |record| read(&record.data))
    }

    async fn records(&self, name: &str, kind: RecordType) -> Lookup<Vec<Record>> {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Lookup::Failed(why.clone()),
        };
        let Some(name) = absolute(name) else { return Lookup::Nothing };
        let Ok(answer) = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(name, kind)).await else {
            return Lookup::Failed(TIMED_OUT.to_owned());
        };
        match answer {
            Ok(lookup) if self.authoritative && !lookup.message().metadata.authoritative => {
                Lookup::Failed("does not serve this zone".to_owned())
            }
            Ok(lookup) => Lookup::Found(lookup.answers().to_vec()),
            // A referral is no negative answer: that comes with the zone's SOA (RFC 2308 section 2.2).
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if self.authoritative && none.soa.is_none() => {
                Lookup::Failed("does not serve this zone".to_owned())
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Lookup::Nothing,
            Err(error) => Lookup::Failed(why(&error)),
        }
    }
}

/// The addresses of a host in the additional section.
fn glue(message: &Message, host: &str) -> Vec<IpAddr> {
    let of_host = message.additionals.iter().filter(|record| plain(&record.name) == host);
    of_host.filter_map(|record| record.data.ip_addr()).collect()
}

/// The resolvers of `/etc/resolv.conf`, without duplicates.
pub fn system_resolvers() -> Result<Vec<SocketAddr>, String> {
    let (config, _) = read_system_conf().map_err(|error| format!("/etc/resolv.conf cannot be read: {error}"))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for server in config.name_servers() {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        let address = SocketAddr::new(server.ip, port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("/etc/resolv.conf names no resolver".to_owned()) } else { Ok(addresses) }
}

fn connect(address: SocketAddr, recursive: bool) -> Result<TokioResolver, String> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.into());
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(2);
    options.attempts = 1;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    options.num_concurrent_reqs = 1;
    options.recursion_desired = recursive;
    // A forged answer has to guess the case; a server that does not preserve it is asked again over TCP.
    options.case_randomization = true;
    let config = ResolverConfig::from_name_servers(vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().map_err(|error| format!("cannot be asked: {error}"))
}

fn collect<T>(answer: Lookup<Vec<Record>>, read: impl Fn(&Record) -> Option<T>) -> Lookup<Vec<T>> {
    match answer {
        Lookup::Found(records) => {
            let values: Vec<T> = records.iter().filter_map(read).take(MAX_RECORDS).collect();
            if values.is_empty() { Lookup::Nothing } else { Lookup::Found(values) }
        }
        Lookup::Nothing => Lookup::Nothing,
        Lookup::Failed(why) => Lookup::Failed(why),
    }
}

/// The reason, as the end of a sentence that begins with the server.
fn why(error: &NetError) -> String {
    match error {
        NetError::Timeout => TIMED_OUT.to_owned(),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => "failed to find out (SERVFAIL)".to_owned(),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => "refuses to answer (REFUSED)".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("answered with an error ({code})"),
        NetError::Io(error) => format!("could not be reached: {error}"),
        NetError::Truncated => "cut its answer short, also over TCP".to_owned(),
        other => format!("gave no usable answer: {other}"),
    }
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// In lower case and without a trailing dot, for comparison.
fn plain(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

/// A published value as text of bounded length.
fn bounded_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_VALUE_BYTES)]).into_owned()
}
