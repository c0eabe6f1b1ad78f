//! The settings of server and verifier from the configuration.

use std::net::IpAddr;

use super::authorities::names_of;
use super::public_addresses::own_addresses;
use super::{VerifierSettings, ZoneSettings};
use crate::config::Config;
use crate::hostname::Hostname;

impl ZoneSettings {
    /// None: no zone is served. The error is a complete message with a hint.
    pub fn of(config: &Config) -> Result<Option<Self>, String> {
        let Some(base) = config.domains.base.clone().filter(|_| !config.dns.listen.is_empty()) else {
            return Ok(None);
        };
        let addresses = server_addresses(config);
        if addresses.is_empty() {
            return Err(
                "this machine has no public address of its own that the names of `domains.base` could lead to\n\
                        hint: `dns.addresses` names the address under which it is reached"
                    .to_owned(),
            );
        }
        Ok(Some(Self {
            base,
            nameservers: config.dns.nameservers.clone(),
            hostmaster: config.dns.hostmaster.clone(),
            addresses,
            authorities: authorities(config),
        }))
    }
}

impl VerifierSettings {
    /// `ingress`: the host that tenants point their domains at.
    pub fn of(config: &Config, ingress: String) -> Self {
        Self {
            resolvers: config.dns.resolvers.clone(),
            ingress,
            addresses: configured_addresses(config),
            authorities: authorities(config).iter().map(ToString::to_string).collect(),
            base: config.domains.base.clone().filter(|_| !config.dns.listen.is_empty()),
        }
    }
}

/// The addresses under which this server is reached: the configured ones, else this machine's own public ones.
pub fn server_addresses(config: &Config) -> Vec<IpAddr> {
    let configured = configured_addresses(config);
    if configured.is_empty() { own_addresses() } else { configured }
}

/// Issuer domain names for CAA records: those configured, else those of the ACME directories.
fn authorities(config: &Config) -> Vec<Hostname> {
    if !config.dns.caa.is_empty() {
        return config.dns.caa.clone();
    }
    names_of(config.acme.directories.iter().map(|directory| directory.0.as_str()))
}

fn configured_addresses(config: &Config) -> Vec<IpAddr> {
    let mut candidates = [&config.dns.addresses, &config.sip.media_addresses].into_iter();
    candidates.find(|addresses| !addresses.is_empty()).cloned().unwrap_or_default()
}
