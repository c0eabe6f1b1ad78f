//! Texts for the owner of a domain: what to do now, in one sentence.

use crate::tenancy::{Certificate, Claim, ClaimPhase, DomainLoss, LostDomain, TlsStatus};
use crate::timestamp::Timestamp;

/// `ingress` is what the domain's CNAME record must name.
pub fn next_action(claim: &Claim, ingress: &str) -> String {
    match claim.phase {
        ClaimPhase::DnsPending | ClaimPhase::DnsPartial => {
            format!("{}, then ask for a recheck.", missing(claim, ingress))
        }
        ClaimPhase::Paused => {
            format!("{}, then ask for a recheck: until then it is hardly looked at.", missing(claim, ingress))
        }
        ClaimPhase::Verified => "Nothing: the domain is proved, and its certificate comes next.".into(),
        ClaimPhase::Preflight if claim.certificate.as_ref().is_some_and(Certificate::held_back) => {
            let why = sentence(&claim.last_error, "Another server answers for the domain.");
            with_retry(claim, why, |retry| format!("It is looked at again at {retry}, and at once after a recheck."))
        }
        ClaimPhase::Preflight | ClaimPhase::Ordering | ClaimPhase::Challenge | ClaimPhase::Finalizing => {
            "Nothing: the certificate is on its way.".into()
        }
        ClaimPhase::Renewing => "Nothing: the domain is in use, and its certificate is being renewed.".into(),
        ClaimPhase::Active => active(claim, ingress),
        ClaimPhase::Backoff => {
            let why = sentence(&claim.last_error, "The last try for a certificate failed.");
            with_retry(claim, why, |retry| format!("It is tried again at {retry}."))
        }
        ClaimPhase::Moved => {
            let wrong = problem(claim).unwrap_or_else(|| points(claim, ingress));
            format!("{wrong}: it is served for a few days more, and not after that.")
        }
        ClaimPhase::Blocked => {
            let why = sentence(&claim.last_error, "Ask the operator of this server.");
            match claim.barred {
                Some(_) => why,
                None => with_retry(claim, why, |retry| format!("It is tried again at {retry}.")),
            }
        }
    }
}

/// Adds when the order is tried again, if that is known.
fn with_retry(claim: &Claim, why: String, again: impl Fn(Timestamp) -> String) -> String {
    match claim.certificate.as_ref().and_then(|certificate| certificate.next_try_at) {
        Some(retry) => format!("{why} {}", again(retry)),
        None => why,
    }
}

/// For a tenant that claims no domain.
pub fn next_action_without(lost: Option<&LostDomain>) -> String {
    match lost {
        None => "Choose a domain.".into(),
        Some(_) => "Choose a domain, or claim the same one again.".into(),
    }
}

/// Why the tenant lost its domain.
pub fn loss(lost: &LostDomain) -> String {
    let LostDomain { domain, why, at } = lost;
    match why {
        DomainLoss::Expired => format!("the claim on {domain} ended at {at}: its TXT record was not seen in time"),
        DomainLoss::Superseded => format!("{domain} went to another tenant at {at}, who proved it by its TXT record"),
    }
}

/// The record that an owner must publish to prove a domain.
pub fn proof(host: &str, token: &str) -> String {
    format!("TXT record {host} with the value \"{token}\"")
}

fn active(claim: &Claim, ingress: &str) -> String {
    if claim.activated_by_hand_at.is_some() {
        return format!("Nothing at once: the operator has activated the domain by hand. {}.", missing(claim, ingress));
    }
    if claim.away.is_some() {
        return format!("{}: at the last look it did not lead here.", points(claim, ingress));
    }
    if claim.tls_status == TlsStatus::External {
        return "Nothing: the domain is in use; its certificate is not got by this server.".into();
    }
    let of_certificate = claim.certificate.as_ref().and_then(|certificate| certificate.problem.as_deref());
    match of_certificate.map(str::to_owned).or_else(|| problem(claim)) {
        Some(problem) => sentence(&problem, ""),
        None => "Nothing: the domain is in use.".into(),
    }
}

/// Which of the two records is missing, or wrong.
fn missing(claim: &Claim, ingress: &str) -> String {
    let [proved, leads_here] = [&claim.txt, &claim.cname].map(|seen| seen.matched == Some(true));
    let text = proof(&claim.challenge_host(), &claim.token);
    match (proved, leads_here, problem(claim)) {
        (true, _, Some(problem)) => problem,
        (true, _, None) => points(claim, ingress),
        (false, true, _) => format!("Create the {text}"),
        (false, false, Some(problem)) => format!("Create the {text}; {}", lower(&problem)),
        (false, false, None) => format!("Create the {text} and the CNAME record {}", pointer(claim, ingress)),
    }
}

fn points(claim: &Claim, ingress: &str) -> String {
    format!("Create the CNAME record {}", pointer(claim, ingress))
}

fn pointer(claim: &Claim, ingress: &str) -> String {
    let Claim { domain, .. } = claim;
    // The top of a zone can hold no CNAME (RFC 1034 §3.6.2).
    let instead =
        if domain.as_str().matches('.').count() == 1 { ", or what your provider has in its place" } else { "" };
    format!("{domain} with the value {ingress} (DNS only, no proxy{instead})")
}

/// The first problem, without its full stop.
fn problem(claim: &Claim) -> Option<String> {
    claim.problems.first().map(|problem| problem.message.trim_end_matches('.').to_owned())
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn sentence(text: &str, otherwise: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    capital.map_or_else(|| otherwise.to_owned(), |text| format!("{text}."))
}
