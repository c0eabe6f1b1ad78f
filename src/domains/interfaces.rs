//! The two services that a domain depends on: DNS checks and certificates. They are traits, so that the worker can be
//! tested without a network.

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::domain_state::DnsCheck;
use crate::hostname::Hostname;
use crate::tenancy::Certificate;

/// Checks the DNS records of domains.
pub trait DomainResolver: Send + Sync + 'static {
    /// Looks up all records that matter for a domain. Ends within seconds, even if no DNS server answers.
    fn check<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, DnsCheck>;
}

/// Orders certificates and renews them.
pub trait CertificateProvider: Send + Sync + 'static {
    /// Whether this server orders certificates itself.
    fn are_automatic(&self) -> bool;

    /// Orders a certificate for the domain and keeps it renewed. Idempotent. With a delegated challenge the certificate
    /// also covers the names below the domain.
    fn order(&self, domain: &Hostname, delegated: bool);

    /// Repeats the preflight check now if the domain's order is held back by it.
    fn retry_preflight(&self, domain: &Hostname);

    /// The domain needs no certificate any more.
    fn release<'a>(&'a self, domain: &'a Hostname) -> BoxFuture<'a, ()>;

    /// Removes certificates that were not ordered. Called after all orders were repeated at the start.
    fn sweep(&self) -> BoxFuture<'_, ()>;

    /// The state of the domain's certificate or of its order.
    fn certificate(&self, domain: &Hostname) -> Option<Certificate>;

    /// Receives the name of each domain whose certificate state has changed.
    fn changes(&self) -> broadcast::Receiver<Hostname>;
}
