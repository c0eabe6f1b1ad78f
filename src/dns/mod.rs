//! DNS: the authoritative server for the base domain, and the verifier that checks the records of tenants' own domains.
//!
//! The cores are pure: [`DnsZone`] and [`message`] turn a query into its response, [`evaluation`] turns the answers of
//! lookups into [`Findings`]. Sockets and lookups are in modules of their own.

mod authorities;
mod delegation;
mod delegation_check;
mod dns_client;
mod dns_sockets;
mod evaluation;
mod findings;
mod message;
mod observation;
mod proxies;
mod public_addresses;
mod response_limiter;
mod server;
mod settings;
mod udp_socket;
mod verifier;
mod zone;

pub use delegation::Delegation;
pub use dns_sockets::{BindError, DnsSockets, PassedSockets};
pub use findings::{DnsFinding, Findings, Lookup, RecordCheck, RouteKind};
pub use server::DnsServer;
pub use settings::server_addresses;
pub use verifier::{Verifier, VerifierSettings};
pub use zone::{Challenges, DnsZone, ZoneSettings};

use crate::hostname::Hostname;

/// The target of the CNAME at `_acme-challenge.<domain>` by which the zone of `base` answers its challenges.
pub fn delegate(domain: &str, base: &Hostname) -> String {
    format!("{domain}._acme.{base}")
}
