//! Everything that speaks DNS: the authoritative server for the base domain, and the verifier
//! that looks at what tenants publish for domains of their own.
//!
//! Both are pure in the middle: [`Zone`] and [`message`] turn a datagram into its answer, [`judge`] turns
//! what was observed into [`Findings`]; sockets and lookups stand around them.

mod authorities;
mod delegation;
mod findings;
mod judge;
mod message;
mod observation;
mod port;
mod proxies;
mod rate;
mod server;
mod settings;
mod sockets;
mod source;
mod verifier;
mod zone;

pub use delegation::Delegation;
use findings::Lookup;
pub use findings::{Check, Findings, Problem, Way};
pub use server::Server;
pub use sockets::Sockets;
pub use verifier::{Verifier, VerifierSettings};
pub use zone::{Challenges, Zone, ZoneSettings};

use crate::hostname::Hostname;

/// Where `_acme-challenge.<domain>` is pointed at by CNAME, so that the zone of `base` answers it.
pub fn delegate(domain: &str, base: &Hostname) -> String {
    format!("{domain}._acme.{base}")
}
