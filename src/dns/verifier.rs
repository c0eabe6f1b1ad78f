//! Looks at a domain's DNS as it is now: through each resolver, and at the domain's own name servers. Every
//! lookup ends within seconds, as found, as nothing, or as failed; nothing is kept from one look to the next.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use tokio::sync::Semaphore;

use super::judge::judge;
use super::observation::{Addresses, Caa, Chain, Observation, Question, View};
use super::server::is_global;
use super::source::{Source, system_resolvers};
use super::{Findings, Lookup};
use crate::hostname::Hostname;

/// Domains that are looked at side by side; each takes a dozen sockets for a moment.
const AT_ONCE: usize = 32;
/// Of a zone's name servers; the others are copies.
pub(super) const MOST_AUTHORITIES: usize = 4;
/// More than any resolver follows.
const LONGEST_CHAIN: usize = 16;
const DNS: u16 = 53;

/// How long one lookup may take, TCP included.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// Asks and judges. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    settings: Arc<VerifierSettings>,
    places: Arc<Semaphore>,
    /// Where the domain's own name servers listen.
    port: u16,
}

/// What the verifier knows of this installation.
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    /// To ask. Empty: those of the system, read again for each look.
    pub resolvers: Vec<SocketAddr>,
    /// The host that domains point at: a name, or an address where this server has no name.
    pub ingress: String,
    /// Of this server, besides those that the ingress host has in DNS.
    pub addresses: Vec<IpAddr>,
    /// Names by which the certificate authorities in use stand in CAA records.
    pub authorities: Vec<String>,
    /// The domain whose zone this server serves itself, if it does.
    pub base: Option<Hostname>,
}

impl Verifier {
    pub fn new(settings: VerifierSettings) -> Self {
        Self { settings: Arc::new(settings), places: Arc::new(Semaphore::new(AT_ONCE)), port: DNS }
    }

    /// One look at `domain`, whose owner proves it by `token`.
    pub async fn look(&self, domain: &Hostname, token: &str) -> Findings {
        let question = self.question(domain, token);
        judge(&self.observe(&question).await, &question)
    }

    pub fn question(&self, domain: &Hostname, token: &str) -> Question {
        let settings = &self.settings;
        Question {
            domain: domain.to_string(),
            token: token.to_owned(),
            ingress: settings.ingress.clone(),
            addresses: settings.addresses.clone(),
            authorities: settings.authorities.clone(),
            delegate: settings.base.as_ref().map(|base| super::delegate(domain.as_str(), base)),
        }
    }

    /// Asks everybody at once; waits for its turn while many other domains are looked at.
    pub async fn observe(&self, question: &Question) -> Observation {
        let Ok(_place) = self.places.acquire().await else { return Observation::default() };
        let resolvers = match self.resolvers() {
            Ok(resolvers) => resolvers,
            Err(why) => return Observation { failed: Some(why), ..Observation::default() },
        };
        let (seen, authorities, ingress) = tokio::join!(
            join_all(resolvers.iter().map(|resolver| view(resolver, question))),
            self.authorities(&resolvers, question),
            ingress(&resolvers, &question.ingress),
        );
        Observation { resolvers: seen, authorities, ingress, failed: None }
    }

    /// The addresses of a host that the whole Internet could reach; none where they cannot be found.
    pub async fn public_addresses(&self, host: &Hostname) -> Vec<IpAddr> {
        let Ok(resolvers) = self.resolvers() else { return Vec::new() };
        let mut addresses = all_addresses(&resolvers, host.as_str()).await;
        addresses.retain(is_global);
        addresses
    }

    pub(super) fn resolvers(&self) -> Result<Vec<Source>, String> {
        let addresses = match self.settings.resolvers.as_slice() {
            [] => system_resolvers()?,
            configured => configured.to_vec(),
        };
        Ok(addresses.into_iter().map(Source::resolver).collect())
    }

    /// A zone's own server.
    pub(super) fn authority(&self, name: String, address: IpAddr) -> Source {
        Source::authority(name, SocketAddr::new(address, self.port))
    }

    /// The views of the name servers of the closest zone above the domain; none where they cannot be found.
    async fn authorities(&self, resolvers: &[Source], question: &Question) -> Vec<View> {
        let servers = async {
            let mut zone = question.domain.as_str();
            while zone.contains('.') {
                match first_of(resolvers, |source| source.name_servers(zone)).await {
                    Lookup::Found(servers) => return servers,
                    Lookup::Nothing => zone = zone.split_once('.').map_or("", |(_, parent)| parent),
                    // The parent's servers would only send us back here.
                    Lookup::Failed(_) => break,
                }
            }
            Vec::new()
        };
        let servers = servers.await;
        let asked = servers.iter().take(MOST_AUTHORITIES).map(|name| async move {
            let address = address_of(resolvers, name).await?;
            let source = self.authority(name.clone(), address);
            Some(authority_view(&source, resolvers, question).await)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Through a resolver, which follows whatever is to be followed.
async fn view(source: &Source, question: &Question) -> View {
    let (challenge, acme) = (question.challenge(), question.acme_challenge());
    let (txt, chain, addresses, caa, delegate) = tokio::join!(
        source.txt(&challenge),
        chain(source, &[], &question.domain, &question.ingress),
        addresses(source, &question.domain),
        caa(source, question),
        source.cname(&acme),
    );
    View { server: source.name().to_owned(), txt, chain, addresses, caa, delegate }
}

/// At a name server of the domain's zone. It answers for that zone only: where the CNAME leads outside of
/// it, the resolvers are asked on.
async fn authority_view(source: &Source, resolvers: &[Source], question: &Question) -> View {
    let (challenge, acme) = (question.challenge(), question.acme_challenge());
    let (txt, chain, delegate) = tokio::join!(
        source.txt(&challenge),
        chain(source, resolvers, &question.domain, &question.ingress),
        source.cname(&acme),
    );
    let addresses = match &chain {
        Lookup::Found(chain) => match (chain.targets.last(), chain.endless) {
            (Some(last), false) if *last != question.ingress => both_families(resolvers, last).await,
            _ => Addresses::default(),
        },
        _ => addresses(source, &question.domain).await,
    };
    // Climbing the tree is the resolvers' business: the parents have other servers.
    let caa = Lookup::Failed("was not asked".to_owned());
    View { server: source.name().to_owned(), txt, chain, addresses, caa, delegate }
}

/// Follows CNAMEs from `domain`, the first one at `source`, the further ones at the first of `others` that
/// answers, where there are others. Stops at `goal`.
async fn chain(source: &Source, others: &[Source], domain: &str, goal: &str) -> Lookup<Chain> {
    let mut chain = Chain::default();
    let mut at = domain.to_owned();
    loop {
        let next = if chain.targets.is_empty() || others.is_empty() {
            source.cname(&at).await
        } else {
            first_of(others, |source| source.cname(&at)).await
        };
        match next {
            Lookup::Found(target) => {
                let known = target == domain || chain.targets.contains(&target);
                chain.targets.push(target.clone());
                if target == goal {
                    return Lookup::Found(chain);
                }
                if known || chain.targets.len() > LONGEST_CHAIN {
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

async fn addresses(source: &Source, name: &str) -> Addresses {
    let (v4, v6) = tokio::join!(source.addresses(name, RecordType::A), source.addresses(name, RecordType::AAAA));
    Addresses { v4, v6 }
}

/// The records of the domain, else of the closest parent that has any (RFC 8659 section 3).
async fn caa(source: &Source, question: &Question) -> Lookup<Caa> {
    if question.authorities.is_empty() {
        return Lookup::Nothing;
    }
    let mut at = question.domain.as_str();
    while !at.is_empty() {
        match source.caa(at).await {
            Lookup::Found(records) => return Lookup::Found(Caa { at: at.to_owned(), records }),
            Lookup::Failed(why) => return Lookup::Failed(why),
            Lookup::Nothing => at = at.split_once('.').map_or("", |(_, parent)| parent),
        }
    }
    Lookup::Nothing
}

/// What any resolver knows: a host's own addresses are the same for everybody.
async fn ingress(resolvers: &[Source], ingress: &str) -> Addresses {
    if ingress.parse::<IpAddr>().is_ok() {
        return Addresses::default();
    }
    both_families(resolvers, ingress).await
}

async fn both_families(resolvers: &[Source], name: &str) -> Addresses {
    let (v4, v6) = tokio::join!(
        first_of(resolvers, |source| source.addresses(name, RecordType::A)),
        first_of(resolvers, |source| source.addresses(name, RecordType::AAAA)),
    );
    Addresses { v4, v6 }
}

pub(super) async fn all_addresses(resolvers: &[Source], name: &str) -> Vec<IpAddr> {
    both_families(resolvers, name).await.all().collect()
}

pub(super) async fn address_of(resolvers: &[Source], name: &str) -> Option<IpAddr> {
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Lookup::Found(addresses) = first_of(resolvers, |source| source.addresses(name, kind)).await {
            return addresses.first().copied();
        }
    }
    None
}

/// The first answer that is one, else the last failure.
pub(super) async fn first_of<'s, T, F>(sources: &'s [Source], ask: impl Fn(&'s Source) -> F) -> Lookup<T>
where
    F: Future<Output = Lookup<T>>,
{
    let mut failure = Lookup::Failed("no resolver is configured".to_owned());
    for source in sources {
        match ask(source).await {
            Lookup::Failed(why) => failure = Lookup::Failed(format!("{why} ({})", source.name())),
            answer => return answer,
        }
    }
    failure
}

#[cfg(test)]
#[path = "verifier/tests.rs"]
mod tests;
