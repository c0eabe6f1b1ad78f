//! Publicly reachable addresses, and those of this machine.

use std::net::IpAddr;

/// The public addresses of this machine's interfaces, for a zone without configured ones.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).filter(is_global).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether an address is globally reachable by its range (RFC 6890).
pub(super) fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}
