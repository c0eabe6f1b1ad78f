//! Asks the servers of the parent zone whether they delegate the base domain to this server.

use std::time::Duration;

use super::delegation::{self, Delegation};
use super::verifier::{MAX_NAME_SERVERS, address_of, all_addresses, first_of};
use super::{Lookup, Verifier, ZoneSettings};

/// People change delegations, and resolvers cache the old one for hours.
const CHECK_INTERVAL: Duration = Duration::from_mins(30);

impl Verifier {
    /// Asks the servers of the parent zone for `zone`.
    pub async fn delegation(&self, zone: &ZoneSettings) -> Delegation {
        let resolvers = match self.resolvers() {
            Ok(resolvers) => resolvers,
            Err(why) => return Delegation::Unknown(why),
        };
        let base = zone.base.as_str();
        let mut parent = base;
        let (parent, servers) = loop {
            parent = parent.split_once('.').map_or("", |(_, parent)| parent);
            if parent.is_empty() {
                return Delegation::Unknown(format!("no zone above {base} is known"));
            }
            match first_of(&resolvers, |client| client.name_servers(parent)).await {
                Lookup::Found(servers) => break (parent, servers),
                Lookup::Nothing => {}
                Lookup::Failed(why) => {
                    return Delegation::Unknown(format!("NS {parent} could not be looked up: {why}"));
                }
            }
        };
        let mut answer = Lookup::Failed("its servers have no address".to_owned());
        for name in servers.into_iter().take(MAX_NAME_SERVERS) {
            let Some(address) = address_of(&resolvers, &name).await else { continue };
            answer = match self.authority(name.clone(), address).referral(base).await {
                Lookup::Failed(why) => Lookup::Failed(format!("{name} {why}")),
                other => other,
            };
            if !matches!(answer, Lookup::Failed(_)) {
                break;
            }
        }
        if let Lookup::Found(hosts) = &mut answer {
            for (host, addresses) in hosts.iter_mut().filter(|(_, addresses)| addresses.is_empty()) {
                *addresses = all_addresses(&resolvers, host).await;
            }
        }
        delegation::evaluate(parent, &answer, zone)
    }

    /// Logs the delegation of the base domain at each change, until it is to this server.
    pub async fn watch_delegation(self, zone: ZoneSettings) {
        let base = &zone.base;
        let mut logged = None;
        loop {
            let delegation = self.delegation(&zone).await;
            if logged.as_ref() != Some(&delegation) {
                match &delegation {
                    Delegation::Here => tracing::info!(%base, "the base domain is delegated to this server"),
                    Delegation::Elsewhere(sentence) => tracing::warn!(%base, "{sentence}"),
                    Delegation::Unknown(why) => {
                        tracing::info!(%base, why, "whether the base domain is delegated to this server cannot be told");
                    }
                }
            }
            if delegation == Delegation::Here {
                return;
            }
            logged = Some(delegation);
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}
