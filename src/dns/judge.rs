//! From what servers answered to what that means. Pure: the same answers, the same findings.
//!
//! The domain's own name servers decide, because certificate authorities ask them, too; caches
//! decide where those cannot be asked. Whoever gave no answer has no vote, and a "no" needs half of
//! those who were asked: one broken server must not turn a domain away.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::observation::{Observation, Question, View};
use super::proxies::proxy_of;
use super::{Check, Findings, Lookup, Problem, Way};

/// Of the values that are kept to be shown: a zone may hold any number.
const MOST_SHOWN: usize = 16;

/// What `observation` says about `question`.
pub fn judge(observation: &Observation, question: &Question) -> Findings {
    if let Some(why) = &observation.failed {
        return Findings { unsure: Some(why.clone()), ..Findings::default() };
    }
    let all = || observation.authorities.iter().chain(&observation.resolvers);
    let mut unsure = Vec::new();
    let mut problems = Vec::new();
    let mut conclude = |record: String, verdict: &Verdict<'_>| match verdict {
        Verdict::Yes(_) => Some(true),
        Verdict::No(_) => Some(false),
        Verdict::Split { with, without } => {
            unsure.push(format!("name servers do not agree about {record} yet"));
            problems.push(Problem::Disagreement { record, with: with.clone(), without: without.clone() });
            None
        }
        Verdict::Unknown(why) => {
            unsure.push(format!("{record} could not be looked up: {why}"));
            None
        }
    };

    let proof = decide(observation, |view| proved(view, question));
    let txt = Check {
        matched: conclude(format!("TXT {}", question.challenge()), &proof),
        observed: each_once(all().flat_map(|view| found(&view.txt))),
    };

    let ours = Ours::of(observation, question);
    let lead = decide(observation, |view| leads_here(view, question, &ours));
    let cname = Check {
        matched: conclude(format!("CNAME {}", question.domain), &lead),
        observed: each_once(all().flat_map(shown)),
    };
    let way = match &lead {
        Verdict::Yes(view) => Some(way(view, question)),
        _ => None,
    };
    match &lead {
        Verdict::No(view) => problems.extend(astray(view, question, &ours)),
        Verdict::Yes(_) | Verdict::Split { .. } | Verdict::Unknown(_) => {}
    }
    if ours.lost {
        problems.push(Problem::IngressLost { ingress: question.ingress.clone() });
    }
    let delegated = decide(observation, |view| match (&view.delegate, &question.delegate) {
        (Lookup::Failed(why), _) => Vote::None(why.clone()),
        (Lookup::Found(target), Some(wanted)) if target == wanted => Vote::Yes,
        _ => Vote::No,
    });
    let challenge_delegated = matches!(delegated, Verdict::Yes(_));
    // With a delegated challenge a wildcard is ordered, too.
    let wildcard = || forbidden(observation, question, true).filter(|_| challenge_delegated);
    problems.extend(forbidden(observation, question, false).or_else(wildcard));
    // Where the domain leads elsewhere, that comes first.
    problems.extend(unknown(observation, question).filter(|_| matches!(lead, Verdict::Yes(_))));
    let unsure = (!unsure.is_empty()).then(|| unsure.join("; "));
    Findings { txt, cname, way, problems, unsure, challenge_delegated }
}

/// What one server's answers mean for one question.
enum Vote {
    Yes,
    No,
    /// It could not be asked, or what it says is not enough.
    None(String),
}

enum Verdict<'o> {
    /// With the first who says so.
    Yes(&'o View),
    No(&'o View),
    Split {
        with: Vec<String>,
        without: Vec<String>,
    },
    Unknown(String),
}

fn decide(observation: &Observation, vote: impl Fn(&View) -> Vote) -> Verdict<'_> {
    let mut silent = None;
    for views in [&observation.authorities, &observation.resolvers] {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for view in views {
            match vote(view) {
                Vote::Yes => yes.push(view),
                Vote::No => no.push(view),
                Vote::None(why) => silent = silent.or_else(|| Some(format!("{} {why}", view.server))),
            }
        }
        match (yes.first(), no.first()) {
            (Some(_), Some(_)) => {
                let names = |views: Vec<&View>| views.into_iter().map(|view| view.server.clone()).collect();
                return Verdict::Split { with: names(yes), without: names(no) };
            }
            (Some(view), None) => return Verdict::Yes(view),
            (None, Some(view)) if no.len() * 2 >= views.len() => return Verdict::No(view),
            _ => {}
        }
    }
    Verdict::Unknown(silent.unwrap_or_else(|| "there is no server to ask".to_owned()))
}

fn proved(view: &View, question: &Question) -> Vote {
    match &view.txt {
        Lookup::Found(values) if values.contains(&question.token) => Vote::Yes,
        Lookup::Found(_) | Lookup::Nothing => Vote::No,
        Lookup::Failed(why) => Vote::None(why.clone()),
    }
}

/// This server's addresses, as far as they are known.
struct Ours {
    addresses: BTreeSet<IpAddr>,
    /// Why some may be missing.
    incomplete: Option<String>,
    /// The ingress host is a name without any address.
    lost: bool,
}

impl Ours {
    fn of(observation: &Observation, question: &Question) -> Self {
        let literal = question.ingress.parse().ok();
        let known = question.addresses.iter().copied().chain(literal);
        let ingress = &observation.ingress;
        Self {
            addresses: ingress.all().chain(known).map(|address| address.to_canonical()).collect(),
            incomplete: ingress.failure().map(|why| format!("cannot tell, because {} {why}", question.ingress)),
            lost: literal.is_none() && ingress.failure().is_none() && ingress.all().next().is_none(),
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }
}

fn leads_here(view: &View, question: &Question, ours: &Ours) -> Vote {
    match &view.chain {
        Lookup::Failed(why) => return Vote::None(why.clone()),
        Lookup::Found(chain) if chain.targets.contains(&question.ingress) => return Vote::Yes,
        Lookup::Found(chain) if chain.endless => return Vote::No,
        Lookup::Found(chain) => {
            if let Some(why) = &chain.broken {
                return Vote::None(why.clone());
            }
        }
        Lookup::Nothing => {}
    }
    if let Some(why) = view.addresses.failure() {
        return Vote::None(why.to_owned());
    }
    let mut foreign = view.addresses.all().filter(|address| !ours.has(*address)).peekable();
    match (&ours.incomplete, foreign.peek()) {
        // It could be one of those that are missing.
        (Some(why), Some(_)) => Vote::None(why.clone()),
        (None, Some(_)) => Vote::No,
        (_, None) if view.addresses.all().next().is_none() => Vote::No,
        (_, None) => Vote::Yes,
    }
}

fn way(view: &View, question: &Question) -> Way {
    match &view.chain {
        Lookup::Found(chain) if chain.targets.contains(&question.ingress) => Way::Cname,
        _ => Way::Flattened,
    }
}

/// Why a domain does not lead here; nothing where it has no record at all: that is no mistake yet.
fn astray(view: &View, question: &Question, ours: &Ours) -> Option<Problem> {
    let (domain, ingress) = (question.domain.clone(), question.ingress.clone());
    let targets = match &view.chain {
        Lookup::Found(chain) if chain.endless => {
            return Some(Problem::Loop { domain, through: chain.targets.clone(), ingress });
        }
        Lookup::Found(chain) => chain.targets.as_slice(),
        _ => &[],
    };
    let (own, foreign): (Vec<_>, Vec<_>) = view.addresses.all().partition(|address| ours.has(*address));
    if !own.is_empty() {
        return Some(Problem::StaleAddress { domain, addresses: foreign });
    }
    if let Some(by) = foreign.first().and_then(|first| proxy_of(*first))
        && foreign.iter().all(|address| proxy_of(*address) == Some(by))
    {
        return Some(Problem::Proxied { domain, by: by.to_owned(), addresses: foreign, ingress });
    }
    let to: Vec<_> = match targets.last() {
        Some(target) => vec![target.clone()],
        None => foreign.iter().map(ToString::to_string).collect(),
    };
    (!to.is_empty()).then_some(Problem::PointsElsewhere { domain, to, ingress })
}

/// Only what every resolver that could look says: a cache that is behind forbids nothing.
fn forbidden(observation: &Observation, question: &Question, wildcard: bool) -> Option<Problem> {
    let authority = question.authorities.first()?;
    let mut problem = None;
    for view in &observation.resolvers {
        let caa = match &view.caa {
            Lookup::Failed(_) => continue,
            Lookup::Nothing => return None,
            Lookup::Found(caa) => caa,
        };
        let allows = caa.allowed(wildcard)?;
        if allows.iter().any(|name| question.authorities.contains(name)) {
            return None;
        }
        let (at, authority) = (caa.at.clone(), authority.clone());
        problem.get_or_insert(Problem::CaaForbids { at, allows, authority, wildcard });
    }
    problem
}

/// No resolver could look CAA up.
fn unknown(observation: &Observation, question: &Question) -> Option<Problem> {
    let mut failure = None;
    for view in &observation.resolvers {
        match &view.caa {
            Lookup::Failed(why) => failure = failure.or_else(|| Some(format!("{} {why}", view.server))),
            Lookup::Nothing | Lookup::Found(_) => return None,
        }
    }
    failure.map(|why| Problem::CaaUnknown { domain: question.domain.clone(), why })
}

fn shown(view: &View) -> Vec<String> {
    match &view.chain {
        Lookup::Found(chain) => chain.targets.clone(),
        _ => view.addresses.all().map(|address| address.to_string()).collect(),
    }
}

fn found(lookup: &Lookup<Vec<String>>) -> Vec<String> {
    match lookup {
        Lookup::Found(values) => values.clone(),
        Lookup::Nothing | Lookup::Failed(_) => Vec::new(),
    }
}

fn each_once(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if seen.len() < MOST_SHOWN && !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
#[path = "judge/tests.rs"]
mod tests;
