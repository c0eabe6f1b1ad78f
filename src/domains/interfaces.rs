//! The two parties that a domain's life depends on: who asks DNS, and who gets
//! certificates. Behind traits, so that the worker is tested without a network.

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::domain_state::DnsCheck;
use crate::hostname::Hostname;
use crate::tenancy::Certificate;

/// Who asks DNS.
pub trait DomainResolver: Send + Sync + 'static {
    /// Asks for all that a domain needs. It ends within seconds, whatever DNS does.
    fn check<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, DnsCheck>;
}

/// Who gets certificates and keeps them new.
pub trait CertificateProvider: Send + Sync + 'static {
    /// Whether certificates are got at all.
    fn are_automatic(&self) -> bool;

    /// From now on there is to be one for the domain. Again is no harm.
    fn order(&self, domain: &Hostname, delegated: bool);

    /// Looks now whether the domain leads here, where its certificate is held back for that.
    fn retry_preflight(&self, domain: &Hostname);

    /// There need be none any more.
    fn release<'a>(&'a self, domain: &'a Hostname) -> BoxFuture<'a, ()>;

    /// Removes those that nobody wants. Called once all that are wanted have been told.
    fn sweep(&self) -> BoxFuture<'_, ()>;

    /// How the domain's is coming along.
    fn certificate(&self, domain: &Hostname) -> Option<Certificate>;

    /// The names of which there is news.
    fn changes(&self) -> broadcast::Receiver<Hostname>;
}
