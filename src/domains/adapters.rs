//! The implementations of [`super::interfaces`]: the verifier of [`crate::dns`] for DNS checks, and [`crate::certs`] or
//! [`NoCertificates`] for certificates.

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::broadcast;

use super::domain_state::DnsCheck;
use super::interfaces::{CertificateProvider, DomainResolver};
use crate::certs::{Certs, Progress, Wanted};
use crate::dns::{self, Verifier};
use crate::hostname::Hostname;
use crate::tenancy::{Certificate, DnsProblem, RecordObservation, RoutingMatch};

impl DomainResolver for Verifier {
    fn check<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, DnsCheck> {
        async move { to_dns_check(Self::verify(self, domain, token).await) }.boxed()
    }
}

fn to_dns_check(findings: dns::Findings) -> DnsCheck {
    let check = |check: dns::RecordCheck| RecordObservation { matched: check.matched, observed: check.observed };
    DnsCheck {
        txt: check(findings.txt),
        cname: check(findings.cname),
        way: findings.way.map(|way| match way {
            dns::RouteKind::Cname => RoutingMatch::Cname,
            dns::RouteKind::Flattened => RoutingMatch::Flattened,
        }),
        problems: findings.problems.iter().map(problem).collect(),
        unsure: findings.unsure,
        challenge_delegated: findings.challenge_delegated,
    }
}

fn problem(problem: &dns::DnsFinding) -> DnsProblem {
    let (kind, blocks) = match problem {
        // A certificate authority or a browser may choose this address.
        dns::DnsFinding::StaleAddress { .. } => ("stale_address", true),
        dns::DnsFinding::Proxied { .. } => ("proxied", true),
        dns::DnsFinding::CaaForbids { .. } => ("caa_forbids", true),
        dns::DnsFinding::CaaUnknown { .. } => ("caa_unknown", false),
        dns::DnsFinding::PointsElsewhere { .. } => ("points_elsewhere", false),
        dns::DnsFinding::Loop { .. } => ("loop", false),
        dns::DnsFinding::Disagreement { .. } => ("disagreement", false),
        dns::DnsFinding::IngressLost { .. } => ("ingress_lost", false),
    };
    DnsProblem { kind: kind.to_owned(), message: problem.sentence(), blocks }
}

impl CertificateProvider for Certs {
    fn are_automatic(&self) -> bool {
        true
    }

    fn order(&self, domain: &Hostname, delegated: bool) {
        // DNS-01 also proves wildcards (RFC 8555 section 8.4), so the names below the domain are included.
        Self::want(self, Wanted { name: domain.clone(), wildcard: delegated, delegated });
    }

    fn retry_preflight(&self, domain: &Hostname) {
        Self::retry_preflight(self, domain);
    }

    fn release<'a>(&'a self, domain: &'a Hostname) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = Self::release(self, domain).await {
                tracing::warn!(%domain, %error, "the certificate of a domain that is gone is still there");
            }
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        async move {
            match Self::sweep(self).await {
                Ok(removed) => {
                    for name in removed {
                        tracing::info!(%name, "certificate removed: nobody needs it any more");
                    }
                }
                Err(error) => tracing::warn!(%error, "certificates that nobody needs are still there"),
            }
        }
        .boxed()
    }

    fn certificate(&self, domain: &Hostname) -> Option<Certificate> {
        self.progress(domain).map(to_certificate)
    }

    fn changes(&self) -> broadcast::Receiver<Hostname> {
        self.changes()
    }
}

fn to_certificate(progress: Progress) -> Certificate {
    Certificate {
        stage: progress.stage,
        problem: progress.problem.map(|problem| problem.message),
        next_try_at: progress.next_try_at,
        expires_at: progress.certificate.map(|facts| facts.not_after),
    }
}

/// A provider that orders nothing: the certificates come from the administrator's files or belong to a TLS proxy in
/// front, or the server that orders them is not running now.
pub struct NoCertificates {
    automatic: bool,
    news: broadcast::Sender<Hostname>,
}

impl NoCertificates {
    /// For a server that orders no certificates.
    pub fn at_all() -> Self {
        Self { automatic: false, news: broadcast::Sender::new(1) }
    }

    /// For a command line that works on the store of a stopped server. When the server starts, it orders what the claims
    /// need.
    pub fn at_present() -> Self {
        Self { automatic: true, ..Self::at_all() }
    }
}

impl CertificateProvider for NoCertificates {
    fn are_automatic(&self) -> bool {
        self.automatic
    }

    fn order(&self, _: &Hostname, _: bool) {}

    fn retry_preflight(&self, _: &Hostname) {}

    fn release<'a>(&'a self, _: &'a Hostname) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn certificate(&self, _: &Hostname) -> Option<Certificate> {
        None
    }

    fn changes(&self) -> broadcast::Receiver<Hostname> {
        self.news.subscribe()
    }
}
