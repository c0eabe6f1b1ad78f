//! The DNS records that lead the names of this server to it, for whoever has their zones.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::config::Config;
use crate::dns;
use crate::hostname::Hostname;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct DnsRecord {
    /// With the dot at the end.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// None: an address of this server that is not known here.
    pub value: Option<String>,
}

impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("<this server's public IPv4 address; the same with AAAA for IPv6>");
        write!(f, "{}  {}  {value}", self.name, self.kind)
    }
}

/// Those for `public_url`, the ingress host and the base domain: a delegation where this server has the base's zone, else
/// a wildcard.
pub fn dns_records(config: &Config) -> Result<Vec<DnsRecord>, String> {
    let addresses = dns::server_addresses(config);
    let base = config.domains.base.as_ref();
    let serves_zone = !config.dns.listen.is_empty();
    let mut records = Vec::new();
    let url = config.public_url().map_err(|problem| format!("`public_url` {problem}"))?;
    let public = url.host().parse::<Hostname>().ok().filter(|name| !name.has_one_label());
    let ingress = config.domains.ingress.clone().filter(|ingress| Some(ingress) != public.as_ref());
    for name in public.into_iter().chain(ingress) {
        let is_below =
            |base: &Hostname| name.as_str().strip_suffix(base.as_str()).is_some_and(|rest| rest.ends_with('.'));
        let is_base = base == Some(&name);
        let comes_with_base = base.is_some_and(is_below) || (is_base && serves_zone);
        if !comes_with_base {
            records.extend(leading_here(name.as_str(), &addresses));
        }
    }
    let Some(base) = base else { return Ok(records) };
    if !serves_zone {
        records.extend(leading_here(&format!("*.{base}"), &addresses));
        return Ok(records);
    }
    let nameservers = match config.dns.nameservers.as_slice() {
        [] => vec![format!("ns1.{base}")],
        named => named.iter().map(ToString::to_string).collect(),
    };
    for server in &nameservers {
        records.push(DnsRecord { name: format!("{base}."), kind: "NS", value: Some(format!("{server}.")) });
    }
    // Glue (RFC 1034 section 4.2.1).
    let own = nameservers.iter().filter(|server| server.ends_with(&format!(".{base}")));
    records.extend(own.flat_map(|server| leading_here(server, &addresses)));
    Ok(records)
}

fn leading_here(name: &str, addresses: &[IpAddr]) -> Vec<DnsRecord> {
    let record = |kind, value| DnsRecord { name: format!("{name}."), kind, value };
    if addresses.is_empty() {
        return vec![record("A", None)];
    }
    let kind = |address: &IpAddr| if address.is_ipv4() { "A" } else { "AAAA" };
    addresses.iter().map(|address| record(kind(address), Some(address.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::path::Path;

    use super::*;

    fn records(config: &str) -> Vec<String> {
        let config = format!("{config}\n[sip]\nmedia_addresses = ['203.0.113.5', '2001:db8::5']");
        let config = Config::parse(&config, Path::new("/")).unwrap();
        dns_records(&config).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_name_of_this_server_has_its_records() {
        let public = "public_url = 'https://phone.example.com'\n";
        let here = ["phone.example.com.  A  203.0.113.5", "phone.example.com.  AAAA  2001:db8::5"];
        assert_eq!(records(public), here);
        let with_base = records(&format!("{public}[domains]\nbase = 'bitcall.example'"));
        assert_eq!(with_base[..2], here);
        assert_eq!(with_base[2..], ["*.bitcall.example.  A  203.0.113.5", "*.bitcall.example.  AAAA  2001:db8::5"]);
        let below = records("public_url = 'https://phone.bitcall.example'\n[domains]\nbase = 'bitcall.example'");
        assert_eq!(below, with_base[2..], "the wildcard is enough");
        let zone =
            "[domains]\nbase = 'bitcall.example'\ningress = 'in.bitcall.example'\n[dns]\nlisten = '203.0.113.5:53'";
        assert_eq!(
            records(&format!("{public}{zone}"))[2..],
            [
                "bitcall.example.  NS  ns1.bitcall.example.",
                "ns1.bitcall.example.  A  203.0.113.5",
                "ns1.bitcall.example.  AAAA  2001:db8::5",
            ]
        );
        assert_eq!(records("public_url = 'https://localhost'"), [""; 0], "not in the public DNS");
    }
}
