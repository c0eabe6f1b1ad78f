//! From the configuration to what server and verifier need to know.

use std::net::IpAddr;

use super::server::own_addresses;
use super::{VerifierSettings, ZoneSettings};
use crate::config::Config;

impl ZoneSettings {
    /// None: no zone is served. The error is a whole message, with what to do.
    pub fn of(config: &Config) -> Result<Option<Self>, String> {
        let Some(base) = config.domains.base.clone().filter(|_| !config.dns.listen.is_empty()) else {
            return Ok(None);
        };
        let mut addresses = configured_addresses(config);
        if addresses.is_empty() {
            addresses = own_addresses();
        }
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
            authorities: config.dns.caa.clone(),
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
            authorities: config.dns.caa.iter().map(ToString::to_string).collect(),
            base: config.domains.base.clone().filter(|_| !config.dns.listen.is_empty()),
        }
    }
}

fn configured_addresses(config: &Config) -> Vec<IpAddr> {
    let named = [&config.dns.addresses, &config.sip.media_addresses].into_iter().find(|named| !named.is_empty());
    named.cloned().unwrap_or_default()
}
