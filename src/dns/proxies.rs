//! Networks of proxies that terminate TLS: the owner of a domain that leads there has left the provider's proxy on.

use std::net::IpAddr;

/// As published at cloudflare.com/ips, api.fastly.com/public-ip-list, Sucuri's and
/// Imperva's help pages.
const NETWORKS: &[(&str, &[&str])] = &[
    (
        "Cloudflare",
        &[
            "173.245.48.0/20",
            "103.21.244.0/22",
            "103.22.200.0/22",
            "103.31.4.0/22",
            "141.101.64.0/18",
            "108.162.192.0/18",
            "190.93.240.0/20",
            "188.114.96.0/20",
            "197.234.240.0/22",
            "198.41.128.0/17",
            "162.158.0.0/15",
            "104.16.0.0/13",
            "104.24.0.0/14",
            "172.64.0.0/13",
            "131.0.72.0/22",
            "2400:cb00::/32",
            "2606:4700::/32",
            "2803:f800::/32",
            "2405:b500::/32",
            "2405:8100::/32",
            "2a06:98c0::/29",
            "2c0f:f248::/32",
        ],
    ),
    (
        "Fastly",
        &[
            "23.235.32.0/20",
            "43.249.72.0/22",
            "103.244.50.0/24",
            "103.245.222.0/23",
            "103.245.224.0/24",
            "104.156.80.0/20",
            "140.248.64.0/18",
            "140.248.128.0/17",
            "146.75.0.0/17",
            "151.101.0.0/16",
            "157.52.64.0/18",
            "167.82.0.0/17",
            "167.82.128.0/20",
            "167.82.160.0/20",
            "167.82.224.0/20",
            "172.111.64.0/18",
            "185.31.16.0/22",
            "199.27.72.0/21",
            "199.232.0.0/16",
            "2a04:4e40::/32",
            "2a04:4e42::/32",
        ],
    ),
    ("Sucuri", &["192.88.134.0/23", "185.93.228.0/22", "66.248.200.0/22", "208.109.0.0/22", "2a02:fe80::/29"]),
    (
        "Imperva",
        &[
            "199.83.128.0/21",
            "198.143.32.0/19",
            "149.126.72.0/21",
            "103.28.248.0/22",
            "45.64.64.0/22",
            "185.11.124.0/22",
            "192.230.64.0/18",
            "107.154.0.0/16",
            "45.60.0.0/16",
            "45.223.0.0/16",
            "131.125.128.0/17",
            "2a02:e980::/29",
        ],
    ),
];

/// The provider of the proxy with this address.
pub fn proxy_of(address: IpAddr) -> Option<&'static str> {
    let (bits, family) = bits(address.to_canonical());
    NETWORKS.iter().flat_map(|(owner, networks)| networks.iter().map(move |network| (*owner, *network))).find_map(
        |(owner, network)| {
            let (start, length) = network.split_once('/')?;
            let (start, its_family) = self::bits(start.parse().ok()?);
            let shift = 128_u32.checked_sub(length.parse().ok()?)?;
            let same = its_family == family && bits.checked_shr(shift) == start.checked_shr(shift);
            same.then_some(owner)
        },
    )
}

/// Left-aligned bits, and the width of the family.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_network_has_no_host_bits_and_one_owner() {
        for (owner, networks) in NETWORKS {
            for network in *networks {
                let (start, length) = network.split_once('/').unwrap();
                let start: IpAddr = start.parse().unwrap();
                let length: u32 = length.parse().unwrap();
                let host_bits = bits(start).0.checked_shl(length).unwrap_or(0);
                assert_eq!(host_bits, 0, "{network} has bits behind its length");
                assert_eq!(proxy_of(start), Some(*owner), "{network}");
            }
        }
    }

    #[test]
    fn addresses_next_to_a_network_are_not_in_it() {
        for (address, owner) in [
            ("104.16.0.0", Some("Cloudflare")),
            ("104.23.255.255", Some("Cloudflare")),
            ("104.15.255.255", None),
            ("104.28.0.0", None),
            ("::ffff:104.16.1.1", Some("Cloudflare")),
            ("2606:4700:3033::ac43:1", Some("Cloudflare")),
            ("2606:4701::1", None),
            ("151.101.1.69", Some("Fastly")),
            ("192.0.2.1", None),
            ("::1", None),
            ("6810::1", None),
        ] {
            assert_eq!(proxy_of(address.parse().unwrap()), owner, "{address}");
        }
    }
}
