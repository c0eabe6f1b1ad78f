//! Evaluates the answers of all servers for a domain. Pure.
//!
//! The domain's own name servers decide, because certificate authorities ask them, too; the resolvers decide where
//! those cannot be asked. A server without an answer has no vote, and a "no" needs half of the servers asked: one
//! broken server must not reject a domain.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::observation::{Observation, ServerAnswers, VerificationQuery};
use super::proxies::proxy_of;
use super::{DnsFinding, Findings, Lookup, RecordCheck, RouteKind};

/// Limits the values that are stored and shown: a zone may have any number.
const MAX_OBSERVED_VALUES: usize = 16;

/// Evaluates `observation` for `query`.
pub fn evaluate(observation: &Observation, query: &VerificationQuery) -> Findings {
    if let Some(why) = &observation.failed {
        return Findings { unsure: Some(why.clone()), ..Findings::default() };
    }
    let all = || observation.authorities.iter().chain(&observation.resolvers);
    let mut unsure = Vec::new();
    let mut problems = Vec::new();
    let mut conclude = |record: String, consensus: &Consensus<'_>| match consensus {
        Consensus::Yes(_) => Some(true),
        Consensus::No(_) => Some(false),
        Consensus::Split { with, without } => {
            unsure.push(format!("name servers do not agree about {record} yet"));
            problems.push(DnsFinding::Disagreement { record, with: with.clone(), without: without.clone() });
            None
        }
        Consensus::Unknown(why) => {
            unsure.push(format!("{record} could not be looked up: {why}"));
            None
        }
    };

    let proof = consensus(observation, |answers| vote_on_proof(answers, query));
    let txt = RecordCheck {
        matched: conclude(format!("TXT {}", query.challenge()), &proof),
        observed: distinct(all().flat_map(|answers| values(&answers.txt))),
    };

    let ours = OwnAddresses::of(observation, query);
    let routing = consensus(observation, |answers| vote_on_routing(answers, query, &ours));
    let cname = RecordCheck {
        matched: conclude(format!("CNAME {}", query.domain), &routing),
        observed: distinct(all().flat_map(route_values)),
    };
    let route = match &routing {
        Consensus::Yes(answers) => Some(route_kind(answers, query)),
        _ => None,
    };
    match &routing {
        Consensus::No(answers) => problems.extend(routing_problem(answers, query, &ours)),
        Consensus::Yes(_) | Consensus::Split { .. } | Consensus::Unknown(_) => {}
    }
    if ours.lost {
        problems.push(DnsFinding::IngressLost { ingress: query.ingress.clone() });
    }
    let delegated = consensus(observation, |answers| match (&answers.delegate, &query.delegate) {
        (Lookup::Failed(why), _) => Vote::Abstain(why.clone()),
        (Lookup::Found(target), Some(wanted)) if target == wanted => Vote::Yes,
        _ => Vote::No,
    });
    let challenge_delegated = matches!(delegated, Consensus::Yes(_));
    // With a delegated challenge a wildcard is ordered as well.
    let wildcard = || caa_problem(observation, query, true).filter(|_| challenge_delegated);
    problems.extend(caa_problem(observation, query, false).or_else(wildcard));
    // While the domain leads to another server, that is the problem to solve first.
    problems.extend(caa_failure(observation, query).filter(|_| matches!(routing, Consensus::Yes(_))));
    let unsure = (!unsure.is_empty()).then(|| unsure.join("; "));
    Findings { txt, cname, way: route, problems, unsure, challenge_delegated }
}

/// What one server's answers mean for one record.
enum Vote {
    Yes,
    No,
    /// It could not be asked, or its answer is not conclusive.
    Abstain(String),
}

enum Consensus<'o> {
    /// With the answers of the first such server.
    Yes(&'o ServerAnswers),
    No(&'o ServerAnswers),
    Split {
        with: Vec<String>,
        without: Vec<String>,
    },
    Unknown(String),
}

fn consensus(observation: &Observation, vote: impl Fn(&ServerAnswers) -> Vote) -> Consensus<'_> {
    let mut abstained = None;
    for servers in [&observation.authorities, &observation.resolvers] {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for answers in servers {
            match vote(answers) {
                Vote::Yes => yes.push(answers),
                Vote::No => no.push(answers),
                Vote::Abstain(why) => abstained = abstained.or_else(|| Some(format!("{} {why}", answers.server))),
            }
        }
        match (yes.first(), no.first()) {
            (Some(_), Some(_)) => {
                let names =
                    |servers: Vec<&ServerAnswers>| servers.into_iter().map(|answers| answers.server.clone()).collect();
                return Consensus::Split { with: names(yes), without: names(no) };
            }
            (Some(answers), None) => return Consensus::Yes(answers),
            (None, Some(answers)) if no.len() * 2 >= servers.len() => return Consensus::No(answers),
            _ => {}
        }
    }
    Consensus::Unknown(abstained.unwrap_or_else(|| "there is no server to ask".to_owned()))
}

fn vote_on_proof(answers: &ServerAnswers, query: &VerificationQuery) -> Vote {
    match &answers.txt {
        Lookup::Found(values) if values.contains(&query.token) => Vote::Yes,
        Lookup::Found(_) | Lookup::Nothing => Vote::No,
        Lookup::Failed(why) => Vote::Abstain(why.clone()),
    }
}

/// This server's addresses, as far as they are known.
struct OwnAddresses {
    addresses: BTreeSet<IpAddr>,
    /// Why some may be unknown.
    incomplete: Option<String>,
    /// The ingress host is a name without any address.
    lost: bool,
}

impl OwnAddresses {
    fn of(observation: &Observation, query: &VerificationQuery) -> Self {
        let literal = query.ingress.parse().ok();
        let known = query.addresses.iter().copied().chain(literal);
        let ingress = &observation.ingress;
        Self {
            addresses: ingress.all().chain(known).map(|address| address.to_canonical()).collect(),
            incomplete: ingress.failure().map(|why| format!("cannot tell, because {} {why}", query.ingress)),
            lost: literal.is_none() && ingress.failure().is_none() && ingress.all().next().is_none(),
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }
}

fn vote_on_routing(answers: &ServerAnswers, query: &VerificationQuery, ours: &OwnAddresses) -> Vote {
    match &answers.chain {
        Lookup::Failed(why) => return Vote::Abstain(why.clone()),
        Lookup::Found(chain) if chain.targets.contains(&query.ingress) => return Vote::Yes,
        Lookup::Found(chain) if chain.endless => return Vote::No,
        Lookup::Found(chain) => {
            if let Some(why) = &chain.broken {
                return Vote::Abstain(why.clone());
            }
        }
        Lookup::Nothing => {}
    }
    if let Some(why) = answers.addresses.failure() {
        return Vote::Abstain(why.to_owned());
    }
    let mut foreign = answers.addresses.all().filter(|address| !ours.has(*address)).peekable();
    match (&ours.incomplete, foreign.peek()) {
        // It could be one of those that are unknown.
        (Some(why), Some(_)) => Vote::Abstain(why.clone()),
        (None, Some(_)) => Vote::No,
        (_, None) if answers.addresses.all().next().is_none() => Vote::No,
        (_, None) => Vote::Yes,
    }
}

fn route_kind(answers: &ServerAnswers, query: &VerificationQuery) -> RouteKind {
    match &answers.chain {
        Lookup::Found(chain) if chain.targets.contains(&query.ingress) => RouteKind::Cname,
        _ => RouteKind::Flattened,
    }
}

/// Why a domain does not lead here. None where it has no record at all, which is no mistake yet.
fn routing_problem(answers: &ServerAnswers, query: &VerificationQuery, ours: &OwnAddresses) -> Option<DnsFinding> {
    let (domain, ingress) = (query.domain.clone(), query.ingress.clone());
    let targets = match &answers.chain {
        Lookup::Found(chain) if chain.endless => {
            return Some(DnsFinding::Loop { domain, through: chain.targets.clone(), ingress });
        }
        Lookup::Found(chain) => chain.targets.as_slice(),
        _ => &[],
    };
    let (own, foreign): (Vec<_>, Vec<_>) = answers.addresses.all().partition(|address| ours.has(*address));
    if !own.is_empty() {
        return Some(DnsFinding::StaleAddress { domain, addresses: foreign });
    }
    if let Some(by) = foreign.first().and_then(|first| proxy_of(*first))
        && foreign.iter().all(|address| proxy_of(*address) == Some(by))
    {
        return Some(DnsFinding::Proxied { domain, by: by.to_owned(), addresses: foreign, ingress });
    }
    let to: Vec<_> = match targets.last() {
        Some(target) => vec![target.clone()],
        None => foreign.iter().map(ToString::to_string).collect(),
    };
    (!to.is_empty()).then_some(DnsFinding::PointsElsewhere { domain, to, ingress })
}

/// A problem only if every resolver with an answer has it: one stale cache forbids nothing.
fn caa_problem(observation: &Observation, query: &VerificationQuery, wildcard: bool) -> Option<DnsFinding> {
    let authority = query.authorities.first()?;
    let mut problem = None;
    for answers in &observation.resolvers {
        let caa = match &answers.caa {
            Lookup::Failed(_) => continue,
            Lookup::Nothing => return None,
            Lookup::Found(caa) => caa,
        };
        let allows = caa.allowed(wildcard)?;
        if allows.iter().any(|name| query.authorities.contains(name)) {
            return None;
        }
        let (at, authority) = (caa.at.clone(), authority.clone());
        problem.get_or_insert(DnsFinding::CaaForbids { at, allows, authority, wildcard });
    }
    problem
}

/// The problem that no resolver could look up CAA.
fn caa_failure(observation: &Observation, query: &VerificationQuery) -> Option<DnsFinding> {
    let mut failure = None;
    for answers in &observation.resolvers {
        match &answers.caa {
            Lookup::Failed(why) => failure = failure.or_else(|| Some(format!("{} {why}", answers.server))),
            Lookup::Nothing | Lookup::Found(_) => return None,
        }
    }
    failure.map(|why| DnsFinding::CaaUnknown { domain: query.domain.clone(), why })
}

fn route_values(answers: &ServerAnswers) -> Vec<String> {
    match &answers.chain {
        Lookup::Found(chain) => chain.targets.clone(),
        _ => answers.addresses.all().map(|address| address.to_string()).collect(),
    }
}

fn values(lookup: &Lookup<Vec<String>>) -> Vec<String> {
    match lookup {
        Lookup::Found(values) => values.clone(),
        Lookup::Nothing | Lookup::Failed(_) => Vec::new(),
    }
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for value in values {
        if distinct.len() < MAX_OBSERVED_VALUES && !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

#[cfg(test)]
#[path = "evaluation/tests.rs"]
mod tests;
