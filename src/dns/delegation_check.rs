//! Asks the servers of the zone above the base domain whether they delegate it to this server.

use std::time::Duration;

use super::delegation::{self, Delegation};
use super::verifier::{MAX_NAME_SERVERS, address_of, all_addresses, first_of};
use super::{Lookup, Verifier, ZoneSettings};

/// Delegations are changed by people, and resolvers keep the old one for hours.
const CHECK_INTERVAL: Duration = Duration::from_mins(30);

impl Verifier {
    /// Asks the servers of the zone above for `zone`.
    pub async fn delegation(&self, zone: &ZoneSettings) -> Delegation {
        let resolvers = match self.resolvers() {
            Ok(resolvers) => resolvers,
            Err(why) => return Delegation::Unknown(why),
        };
        let base = zone.base.as_str();
        let mut above = base;
        let (above, servers) = loop {
            above = above.split_once('.').map_or("", |(_, above)| above);
            if above.is_empty() {
                return Delegation::Unknown(format!("no zone above {base} is known"));
            }
            match first_of(&resolvers, |client| client.name_servers(above)).await {
                Lookup::Found(servers) => break (above, servers),
                Lookup::Nothing => {}
                Lookup::Failed(why) => return Delegation::Unknown(format!("NS {above} could not be looked up: {why}")),
            }
        };
        let mut found = Lookup::Failed("its servers have no address".to_owned());
        for name in servers.into_iter().take(MAX_NAME_SERVERS) {
            let Some(address) = address_of(&resolvers, &name).await else { continue };
            found = match self.authority(name.clone(), address).referral(base).await {
                Lookup::Failed(why) => Lookup::Failed(format!("{name} {why}")),
                answer => answer,
            };
            if !matches!(found, Lookup::Failed(_)) {
                break;
            }
        }
        if let Lookup::Found(hosts) = &mut found {
            for (host, addresses) in hosts.iter_mut().filter(|(_, addresses)| addresses.is_empty()) {
                *addresses = all_addresses(&resolvers, host).await;
            }
        }
        delegation::evaluate(above, &found, zone)
    }

    /// Says in the log how the base domain is delegated, until it leads here.
    pub async fn watch_delegation(self, zone: ZoneSettings) {
        let base = &zone.base;
        let mut logged = None;
        loop {
            let found = self.delegation(&zone).await;
            if logged.as_ref() != Some(&found) {
                match &found {
                    Delegation::Here => tracing::info!(%base, "the base domain is delegated to this server"),
                    Delegation::Elsewhere(sentence) => tracing::warn!(%base, "{sentence}"),
                    Delegation::Unknown(why) => {
                        tracing::info!(%base, why, "whether the base domain is delegated to this server cannot be told");
                    }
                }
            }
            if found == Delegation::Here {
                return;
            }
            logged = Some(found);
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}
