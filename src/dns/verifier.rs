//! Checks a domain's current DNS records by each resolver, and at the domain's own name servers. Every lookup ends within
//! seconds; nothing is cached between checks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use tokio::sync::Semaphore;

use super::dns_client::{DnsClient, system_resolvers};
use super::evaluation::evaluate;
use super::observation::{Caa, CnameChain, HostAddresses, Observation, ServerAnswers, VerificationQuery};
use super::public_addresses::{is_global, own_addresses};
use super::{Findings, Lookup};
use crate::hostname::Hostname;

/// Domains that are checked at the same time; each takes a dozen sockets for a moment.
const MAX_CONCURRENT_VERIFICATIONS: usize = 32;
/// Name servers of a zone that are asked; all of them should have the same records.
pub(super) const MAX_NAME_SERVERS: usize = 4;
/// More than common resolvers follow.
const MAX_CNAME_TARGETS: usize = 16;
const DNS_PORT: u16 = 53;

/// Looks up and evaluates. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    settings: Arc<VerifierSettings>,
    /// Empty: those of the system, read again for each check.
    resolvers: Arc<ArcSwap<Vec<SocketAddr>>>,
    permits: Arc<Semaphore>,
    /// The port of domains' own name servers.
    port: u16,
}

/// The settings of this installation.
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    /// Empty: those of the system, read again for each check.
    pub resolvers: Vec<SocketAddr>,
    /// The host that domains point at: a name, or an address where this server has no name.
    pub ingress: String,
    /// Addresses of this server besides those that the ingress host has in DNS.
    pub addresses: Vec<IpAddr>,
    /// Issuer domain names in CAA records of the certificate authorities in use.
    pub authorities: Vec<String>,
    /// The domain whose zone this server serves itself, if it does.
    pub base: Option<Hostname>,
}

impl Verifier {
    pub fn new(mut settings: VerifierSettings) -> Self {
        Self {
            resolvers: Arc::new(ArcSwap::from_pointee(std::mem::take(&mut settings.resolvers))),
            settings: Arc::new(settings),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_VERIFICATIONS)),
            port: DNS_PORT,
        }
    }

    /// Lookups ask these from now on, also those of the clones.
    pub fn set_resolvers(&self, resolvers: Vec<SocketAddr>) {
        self.resolvers.store(Arc::new(resolvers));
    }

    /// Checks `domain`, whose owner proves ownership by `token`.
    pub async fn verify(&self, domain: &Hostname, token: &str) -> Findings {
        let query = self.query(domain, token);
        evaluate(&self.observe(&query).await, &query)
    }

    pub fn query(&self, domain: &Hostname, token: &str) -> VerificationQuery {
        let settings = &self.settings;
        VerificationQuery {
            domain: domain.to_string(),
            token: token.to_owned(),
            ingress: settings.ingress.clone(),
            addresses: settings.addresses.clone(),
            authorities: settings.authorities.clone(),
            delegate: settings.base.as_ref().map(|base| super::delegate(domain.as_str(), base)),
        }
    }

    /// Asks all servers at once, after waiting while the maximum of other domains are checked.
    pub async fn observe(&self, query: &VerificationQuery) -> Observation {
        let Ok(_permit) = self.permits.acquire().await else { return Observation::default() };
        let resolvers = match self.resolvers() {
            Ok(resolvers) => resolvers,
            Err(why) => return Observation { failed: Some(why), ..Observation::default() },
        };
        let (resolver_answers, authorities, ingress) = tokio::join!(
            join_all(resolvers.iter().map(|resolver| answers_of_resolver(resolver, query))),
            self.authorities(&resolvers, query),
            ingress(&resolvers, &query.ingress),
        );
        Observation { resolvers: resolver_answers, authorities, ingress, failed: None }
    }

    /// The public addresses of a host: none are found of one that has only others.
    pub async fn public_addresses(&self, host: &Hostname) -> Lookup<Vec<IpAddr>> {
        let resolvers = match self.resolvers() {
            Ok(resolvers) => resolvers,
            Err(why) => return Lookup::Failed(why),
        };
        let HostAddresses { v4, v6 } = both_families(&resolvers, host.as_str()).await;
        match (v4, v6) {
            (Lookup::Nothing, Lookup::Nothing) => Lookup::Nothing,
            (Lookup::Failed(why), other) | (other, Lookup::Failed(why)) if !matches!(other, Lookup::Found(_)) => {
                Lookup::Failed(why)
            }
            (v4, v6) => Lookup::Found(HostAddresses { v4, v6 }.all().filter(is_global).collect()),
        }
    }

    /// The addresses under which this server is reached, where they are known.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        if self.settings.addresses.is_empty() { own_addresses() } else { self.settings.addresses.clone() }
    }

    pub(super) fn resolvers(&self) -> Result<Vec<DnsClient>, String> {
        let addresses = match self.resolvers.load().as_slice() {
            [] => system_resolvers()?,
            configured => configured.to_vec(),
        };
        Ok(addresses.into_iter().map(DnsClient::resolver).collect())
    }

    /// A zone's own name server.
    pub(super) fn authority(&self, name: String, address: IpAddr) -> DnsClient {
        DnsClient::authority(name, SocketAddr::new(address, self.port))
    }

    /// The answers of the name servers of the zone that the domain is in; empty where they cannot be looked up.
    async fn authorities(&self, resolvers: &[DnsClient], query: &VerificationQuery) -> Vec<ServerAnswers> {
        let servers = async {
            let mut zone = query.domain.as_str();
            while zone.contains('.') {
                match first_of(resolvers, |client| client.name_servers(zone)).await {
                    Lookup::Found(servers) => return servers,
                    Lookup::Nothing => zone = zone.split_once('.').map_or("", |(_, parent)| parent),
                    // The parent zone's servers would only refer to these servers.
                    Lookup::Failed(_) => break,
                }
            }
            Vec::new()
        };
        let servers = servers.await;
        let asked = servers.iter().take(MAX_NAME_SERVERS).map(|name| async move {
            let address = address_of(resolvers, name).await?;
            let client = self.authority(name.clone(), address);
            Some(answers_of_authority(&client, resolvers, query).await)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// From a resolver, which follows CNAMEs itself.
async fn answers_of_resolver(client: &DnsClient, query: &VerificationQuery) -> ServerAnswers {
    let (challenge, acme) = (query.challenge(), query.acme_challenge());
    let (txt, chain, addresses, caa, delegate) = tokio::join!(
        client.txt(&challenge),
        chain(client, &[], &query.domain, &query.ingress),
        addresses(client, &query.domain),
        caa(client, query),
        client.cname(&acme),
    );
    ServerAnswers { server: client.name().to_owned(), txt, chain, addresses, caa, delegate }
}

/// From a name server of the domain's zone. It answers for that zone only: where a CNAME leads out of it, the resolvers
/// are asked for the rest.
async fn answers_of_authority(client: &DnsClient, resolvers: &[DnsClient], query: &VerificationQuery) -> ServerAnswers {
    let (challenge, acme) = (query.challenge(), query.acme_challenge());
    let (txt, chain, delegate) = tokio::join!(
        client.txt(&challenge),
        chain(client, resolvers, &query.domain, &query.ingress),
        client.cname(&acme),
    );
    let addresses = match &chain {
        Lookup::Found(chain) => match (chain.targets.last(), chain.endless) {
            (Some(last), false) if *last != query.ingress => both_families(resolvers, last).await,
            _ => HostAddresses::default(),
        },
        _ => addresses(client, &query.domain).await,
    };
    // CAA records of parent domains are on other servers, so that only resolvers are asked.
    let caa = Lookup::Failed("was not asked".to_owned());
    ServerAnswers { server: client.name().to_owned(), txt, chain, addresses, caa, delegate }
}

/// Follows CNAMEs from `domain`: the first one at `client`, the further ones at the first of `others` that answers, if
/// there are others. Stops at `goal`.
async fn chain(client: &DnsClient, others: &[DnsClient], domain: &str, goal: &str) -> Lookup<CnameChain> {
    let mut chain = CnameChain::default();
    let mut at = domain.to_owned();
    loop {
        let next = if chain.targets.is_empty() || others.is_empty() {
            client.cname(&at).await
        } else {
            first_of(others, |client| client.cname(&at)).await
        };
        match next {
            Lookup::Found(target) => {
                let known = target == domain || chain.targets.contains(&target);
                chain.targets.push(target.clone());
                if target == goal {
                    return Lookup::Found(chain);
                }
                if known || chain.targets.len() > MAX_CNAME_TARGETS {
                    chain.endless = true;
                    return Lookup::Found(chain);
                }
                at = target;
            }
            Lookup::Nothing if chain.targets.is_empty() => return Lookup::Nothing,
            Lookup::Failed(why) if chain.targets.is_empty() => return Lookup::Failed(why),
            Lookup::Nothing => return Lookup::Found(chain),
            Lookup::Failed(why) => {
                chain.broken = Some(why);
                return Lookup::Found(chain);
            }
        }
    }
}

async fn addresses(client: &DnsClient, name: &str) -> HostAddresses {
    let (v4, v6) = tokio::join!(client.addresses(name, RecordType::A), client.addresses(name, RecordType::AAAA));
    HostAddresses { v4, v6 }
}

/// The records of the domain, else of the closest parent that has any (RFC 8659 section 3).
async fn caa(client: &DnsClient, query: &VerificationQuery) -> Lookup<Caa> {
    if query.authorities.is_empty() {
        return Lookup::Nothing;
    }
    let mut at = query.domain.as_str();
    while !at.is_empty() {
        match client.caa(at).await {
            Lookup::Found(records) => return Lookup::Found(Caa { at: at.to_owned(), records }),
            Lookup::Failed(why) => return Lookup::Failed(why),
            Lookup::Nothing => at = at.split_once('.').map_or("", |(_, parent)| parent),
        }
    }
    Lookup::Nothing
}

/// The addresses of the ingress host, from the first resolver that answers.
async fn ingress(resolvers: &[DnsClient], ingress: &str) -> HostAddresses {
    if ingress.parse::<IpAddr>().is_ok() {
        return HostAddresses::default();
    }
    both_families(resolvers, ingress).await
}

async fn both_families(resolvers: &[DnsClient], name: &str) -> HostAddresses {
    let (v4, v6) = tokio::join!(
        first_of(resolvers, |client| client.addresses(name, RecordType::A)),
        first_of(resolvers, |client| client.addresses(name, RecordType::AAAA)),
    );
    HostAddresses { v4, v6 }
}

pub(super) async fn all_addresses(resolvers: &[DnsClient], name: &str) -> Vec<IpAddr> {
    both_families(resolvers, name).await.all().collect()
}

pub(super) async fn address_of(resolvers: &[DnsClient], name: &str) -> Option<IpAddr> {
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Lookup::Found(addresses) = first_of(resolvers, |client| client.addresses(name, kind)).await {
            return addresses.first().copied();
        }
    }
    None
}

/// The first answer, else the last failure.
pub(super) async fn first_of<'s, T, F>(sources: &'s [DnsClient], ask: impl Fn(&'s DnsClient) -> F) -> Lookup<T>
where
    F: Future<Output = Lookup<T>>,
{
    let mut failure = Lookup::Failed("no resolver is configured".to_owned());
    for client in sources {
        match ask(client).await {
            Lookup::Failed(why) => failure = Lookup::Failed(format!("{why} ({})", client.name())),
            answer => return answer,
        }
    }
    failure
}

#[cfg(test)]
#[path = "verifier/tests.rs"]
mod tests;
