//! Everything that speaks DNS: the authoritative server for the base domain, and the verifier
//! that looks at what tenants publish for domains of their own.
//!
//! Both are pure in the middle: [`DnsZone`] and [`message`] turn a datagram into its answer, [`evaluation`] turns
//! what was observed into [`Findings`]; sockets and lookups stand around them.

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
pub use dns_sockets::DnsSockets;
use findings::Lookup;
pub use findings::{DnsFinding, Findings, RecordCheck, RouteKind};
pub use server::DnsServer;
pub use verifier::{Verifier, VerifierSettings};
pub use zone::{Challenges, DnsZone, ZoneSettings};

use crate::hostname::Hostname;

/// Where `_acme-challenge.<domain>` is pointed at by CNAME, so that the zone of `base` answers it.
pub fn delegate(domain: &str, base: &Hostname) -> String {
    format!("{domain}._acme.{base}")
}
