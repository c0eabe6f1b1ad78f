//! The parties as they are: the verifier of [`crate::dns`], and those who get certificates, or none.

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::broadcast;

use super::life::Look;
use super::outside::{Certificates, Eyes};
use crate::dns::{self, Verifier};
use crate::hostname::Hostname;
use crate::tenancy::{Certificate, DnsProblem, Seen, Way};

impl Eyes for Verifier {
    fn look<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, Look> {
        async move { seen(Self::look(self, domain, token).await) }.boxed()
    }
}

fn seen(findings: dns::Findings) -> Look {
    let check = |check: dns::Check| Seen { matched: check.matched, observed: check.observed };
    Look {
        txt: check(findings.txt),
        cname: check(findings.cname),
        way: findings.way.map(|way| match way {
            dns::Way::Cname => Way::Cname,
            dns::Way::Flattened => Way::Flattened,
        }),
        problems: findings.problems.iter().map(problem).collect(),
        unsure: findings.unsure,
        challenge_delegated: findings.challenge_delegated,
    }
}

fn problem(problem: &dns::Problem) -> DnsProblem {
    let (kind, blocks) = match problem {
        // An authority, or a browser, may take just this address.
        dns::Problem::StaleAddress { .. } => ("stale_address", true),
        dns::Problem::Proxied { .. } => ("proxied", true),
        dns::Problem::CaaForbids { .. } => ("caa_forbids", true),
        dns::Problem::PointsElsewhere { .. } => ("points_elsewhere", false),
        dns::Problem::Loop { .. } => ("loop", false),
        dns::Problem::Disagreement { .. } => ("disagreement", false),
        dns::Problem::IngressLost { .. } => ("ingress_lost", false),
    };
    DnsProblem { kind: kind.to_owned(), message: problem.sentence(), blocks }
}

/// Who gets no certificates: they come from the administrator's files, or whoever ends TLS has them.
pub struct NoCertificates {
    news: broadcast::Sender<Hostname>,
}

impl NoCertificates {
    /// Where this server gets none.
    pub fn at_all() -> Self {
        Self { news: broadcast::Sender::new(1) }
    }
}

impl Certificates for NoCertificates {
    fn are_automatic(&self) -> bool {
        false
    }

    fn want(&self, _: &Hostname, _: bool) {}

    fn release<'a>(&'a self, _: &'a Hostname) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn of(&self, _: &Hostname) -> Option<Certificate> {
        None
    }

    fn news(&self) -> broadcast::Receiver<Hostname> {
        self.news.subscribe()
    }
}
