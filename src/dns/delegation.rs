//! Evaluates what the servers of the parent zone answer for the base domain: whether it is delegated to this server, and
//! which records are missing. Pure.

use std::net::IpAddr;

use super::Lookup;
use super::observation::NameServer;
use super::zone::ZoneSettings;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// At least one of the name servers in the parent zone is this server.
    Here,
    /// One sentence: the current delegation, and the records to set.
    Elsewhere(String),
    /// It could not be looked up: why.
    Unknown(String),
}

/// `answer`: what the servers of the zone `parent` answer.
pub(super) fn evaluate(parent: &str, answer: &Lookup<Vec<NameServer>>, zone: &ZoneSettings) -> Delegation {
    let hosts = match answer {
        Lookup::Found(hosts) => hosts.as_slice(),
        Lookup::Nothing => &[],
        Lookup::Failed(why) => return Delegation::Unknown(why.clone()),
    };
    let ours = |address: &IpAddr| zone.addresses.contains(&address.to_canonical());
    if hosts.iter().any(|(_, addresses)| addresses.iter().any(ours)) {
        return Delegation::Here;
    }
    // The address of a host outside of the zone comes from another zone, whose lookup may just have failed.
    let outside = |host: &str| host != zone.base.as_str() && !host.ends_with(&format!(".{}", zone.base));
    if let Some((host, _)) = hosts.iter().find(|(host, addresses)| addresses.is_empty() && outside(host)) {
        return Delegation::Unknown(format!("the address of {host} could not be looked up"));
    }
    let current: Vec<_> = hosts.iter().map(|(host, addresses)| with_addresses(host, addresses)).collect();
    let current = if current.is_empty() { "nobody".to_owned() } else { current.join(", ") };
    let records = records(zone).join("`, `");
    Delegation::Elsewhere(format!(
        "DNS does not lead to this server for {}: the servers of {parent} name {current}. Have these records set in {parent}: `{records}`.",
        zone.base,
    ))
}

fn with_addresses(host: &str, addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { format!("{host} (no address)") } else { format!("{host} ({})", addresses.join(", ")) }
}

/// The records that delegate the zone, in zone file format.
fn records(zone: &ZoneSettings) -> Vec<String> {
    let base = &zone.base;
    let hosts: Vec<String> = match zone.nameservers.as_slice() {
        [] => vec![format!("ns1.{base}")],
        configured => configured.iter().map(ToString::to_string).collect(),
    };
    let mut records: Vec<_> = hosts.iter().map(|host| format!("{base}. NS {host}.")).collect();
    for host in hosts.iter().filter(|host| host.ends_with(&format!(".{base}"))) {
        records.extend(zone.addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => format!("{host}. A {v4}"),
            IpAddr::V6(v6) => format!("{host}. AAAA {v6}"),
        }));
    }
    records
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn zone() -> ZoneSettings {
        ZoneSettings {
            base: "bitcall.example.com".parse().unwrap(),
            nameservers: vec![],
            hostmaster: None,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            authorities: vec![],
        }
    }

    fn host(name: &str, addresses: &[&str]) -> NameServer {
        (name.to_owned(), addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn delegation_of(hosts: &[NameServer]) -> Delegation {
        evaluate("example.com", &Lookup::Found(hosts.to_vec()), &zone())
    }

    #[test]
    fn the_base_domain_is_delegated_if_one_name_server_is_this_one() {
        let other = || host("ns.elsewhere.net", &["198.51.100.1"]);
        assert_eq!(delegation_of(&[host("ns1.bitcall.example.com", &["192.0.2.1"])]), Delegation::Here);
        assert_eq!(delegation_of(&[other(), host("any.name.net", &["2001:db8::1"])]), Delegation::Here);
        let Delegation::Elsewhere(sentence) = delegation_of(&[other()]) else { panic!() };
        assert_eq!(
            sentence,
            "DNS does not lead to this server for bitcall.example.com: the servers of example.com name ns.elsewhere.net \
             (198.51.100.1). Have these records set in example.com: `bitcall.example.com. NS ns1.bitcall.example.com.`, \
             `ns1.bitcall.example.com. A 192.0.2.1`, `ns1.bitcall.example.com. AAAA 2001:db8::1`."
        );
        let Delegation::Elsewhere(sentence) = evaluate("example.com", &Lookup::Nothing, &zone()) else { panic!() };
        assert!(sentence.contains("name nobody"), "{sentence}");
        let Delegation::Elsewhere(sentence) = delegation_of(&[host("ns1.bitcall.example.com", &[])]) else { panic!() };
        assert!(sentence.contains("(no address)"), "without glue it cannot be reached: {sentence}");
    }

    #[test]
    fn a_failed_lookup_leaves_the_delegation_unknown() {
        let failed = Lookup::Failed("ns.example.com did not answer in time".to_owned());
        assert!(matches!(evaluate("example.com", &failed, &zone()), Delegation::Unknown(_)));
        assert!(matches!(delegation_of(&[host("ns.elsewhere.net", &[])]), Delegation::Unknown(_)));
    }
}
