//! The result of a DNS check of a domain, for the domain's life cycle and for its owner.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The result of one lookup. A failed lookup is never a negative answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lookup<T> {
    Found(T),
    /// The name or the record does not exist.
    Nothing,
    /// Why it failed, as the end of a sentence that begins with the server.
    Failed(String),
}

/// One record that the owner publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCheck {
    /// None: it could not be looked up, or the servers do not agree yet.
    pub matched: Option<bool>,
    /// The current values in DNS, without duplicates.
    pub observed: Vec<String>,
}

/// How a domain leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// By a CNAME, directly or through further ones.
    Cname,
    /// By addresses that are the ingress host's: what DNS providers make of a CNAME at a zone's apex.
    Flattened,
}

/// The result of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// The proof of ownership at `_bitcall-challenge.<domain>`.
    pub txt: RecordCheck,
    /// Whether the domain leads here, by CNAME or by addresses.
    pub cname: RecordCheck,
    /// None: it does not lead here, or that could not be looked up.
    pub way: Option<RouteKind>,
    /// What the owner has to change, the most pressing first.
    pub problems: Vec<DnsFinding>,
    /// Which lookups failed, and why. Nothing may be concluded from their missing answers.
    pub unsure: Option<String>,
    /// `_acme-challenge.<domain>` is a CNAME to this server's zone, so that DNS-01 is possible.
    pub challenge_delegated: bool,
}

/// One problem in a domain's DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum DnsFinding {
    /// Some addresses lead here, these do not.
    StaleAddress { domain: String, addresses: Vec<IpAddr> },
    /// The domain leads to a proxy, which ends TLS itself.
    Proxied { domain: String, by: String, addresses: Vec<IpAddr>, ingress: String },
    /// RFC 8659 section 4: the certificate authority would refuse. `at` is the name whose records decide.
    /// `wildcard`: only the names below the domain, which a wildcard certificate would cover.
    CaaForbids { at: String, allows: Vec<String>, authority: String, wildcard: bool },
    /// CAA could not be looked up: why. Certificates are ordered nevertheless.
    CaaUnknown { domain: String, why: String },
    /// The domain leads to another host (a name), or to other addresses.
    PointsElsewhere { domain: String, to: Vec<String>, ingress: String },
    /// CNAMEs in a circle, or more of them than resolvers follow.
    Loop { domain: String, through: Vec<String>, ingress: String },
    /// Servers of one group have different answers. `record` is the one looked up, such as "TXT _bitcall-challenge.a.b".
    Disagreement { record: String, with: Vec<String>, without: Vec<String> },
    /// The ingress host has no address, which the operator has to correct.
    IngressLost { ingress: String },
}

impl DnsFinding {
    /// One sentence for the owner: what is wrong, and the exact record to change.
    pub fn sentence(&self) -> String {
        match self {
            Self::StaleAddress { domain, addresses } => format!(
                "{domain} also has {} {}, which {} not this server's: remove {}.",
                records(addresses),
                list(addresses),
                if addresses.len() == 1 { "is" } else { "are" },
                if addresses.len() == 1 { "it" } else { "them" },
            ),
            Self::Proxied { domain, by, ingress, .. } => format!(
                "{domain} leads to {by}'s proxy: switch the proxy off for this record (DNS only), so that it is {}.",
                wanted(domain, ingress),
            ),
            Self::CaaForbids { at, allows, authority, wildcard } => {
                let allowed = match allows.as_slice() {
                    [] => "no certificate authority at all".to_owned(),
                    some => format!("only {}", some.join(", ")),
                };
                if *wildcard {
                    format!(
                        "The CAA records of {at} allow {allowed} for the names below a domain: add `{at}. CAA 0 issuewild \"{authority}\"`, or remove the CNAME of the domain's _acme-challenge to do without those names."
                    )
                } else {
                    format!("The CAA records of {at} allow {allowed}: add `{at}. CAA 0 issue \"{authority}\"`.")
                }
            }
            Self::CaaUnknown { domain, why } => format!(
                "The CAA records of {domain} could not be looked up ({why}): a certificate authority that cannot read them either refuses."
            ),
            Self::PointsElsewhere { domain, to, ingress } => {
                format!("{domain} leads to {}: change it to {}.", to.join(", "), wanted(domain, ingress))
            }
            Self::Loop { domain, through, ingress } => format!(
                "The CNAME of {domain} leads in a circle ({}): change it to {}.",
                through.join(" → "),
                wanted(domain, ingress),
            ),
            Self::Disagreement { record, with, without } => format!(
                "Name servers do not agree about {record} yet: {} {} it, {} {}; wait until all have it, or correct those.",
                with.join(", "),
                if with.len() == 1 { "has" } else { "have" },
                without.join(", "),
                if without.len() == 1 { "has not" } else { "have not" },
            ),
            Self::IngressLost { ingress } => format!(
                "{ingress}, the host that domains point at, has no address in DNS: whoever runs this server must add one."
            ),
        }
    }
}

/// The record that leads `domain` here, as a zone file has it.
fn wanted(domain: &str, ingress: &str) -> String {
    match ingress.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("`{domain}. A {address}`"),
        Ok(IpAddr::V6(address)) => format!("`{domain}. AAAA {address}`"),
        Err(_) => format!("`{domain}. CNAME {ingress}.`"),
    }
}

fn records(addresses: &[IpAddr]) -> &'static str {
    match (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6)) {
        (true, true) => "the A and AAAA records",
        (false, true) if addresses.len() == 1 => "the AAAA record",
        (false, true) => "the AAAA records",
        _ if addresses.len() == 1 => "the A record",
        _ => "the A records",
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_problem_names_the_record_to_change() {
        let domain = || "phone.acme.com".to_owned();
        let ingress = || "in.bitcall.example".to_owned();
        let address = || vec!["2001:db8::1".parse().unwrap()];
        for (problem, says) in [
            (
                DnsFinding::StaleAddress { domain: domain(), addresses: address() },
                "phone.acme.com also has the AAAA record 2001:db8::1, which is not this server's: remove it.",
            ),
            (
                DnsFinding::Proxied {
                    domain: domain(),
                    by: "Cloudflare".into(),
                    addresses: address(),
                    ingress: ingress(),
                },
                "phone.acme.com leads to Cloudflare's proxy: switch the proxy off for this record (DNS only), so that \
                 it is `phone.acme.com. CNAME in.bitcall.example.`.",
            ),
            (
                DnsFinding::CaaForbids {
                    at: "acme.com".into(),
                    allows: vec!["digicert.com".into()],
                    authority: "letsencrypt.org".into(),
                    wildcard: false,
                },
                "The CAA records of acme.com allow only digicert.com: add `acme.com. CAA 0 issue \"letsencrypt.org\"`.",
            ),
            (
                DnsFinding::CaaForbids {
                    at: "acme.com".into(),
                    allows: vec![],
                    authority: "letsencrypt.org".into(),
                    wildcard: true,
                },
                "The CAA records of acme.com allow no certificate authority at all for the names below a domain: add \
                 `acme.com. CAA 0 issuewild \"letsencrypt.org\"`, or remove the CNAME of the domain's _acme-challenge \
                 to do without those names.",
            ),
            (
                DnsFinding::PointsElsewhere { domain: domain(), to: vec!["198.51.100.7".into()], ingress: ingress() },
                "phone.acme.com leads to 198.51.100.7: change it to `phone.acme.com. CNAME in.bitcall.example.`.",
            ),
            (
                DnsFinding::PointsElsewhere { domain: domain(), to: vec!["a.b".into()], ingress: "192.0.2.1".into() },
                "phone.acme.com leads to a.b: change it to `phone.acme.com. A 192.0.2.1`.",
            ),
            (
                DnsFinding::Loop { domain: domain(), through: vec!["a.b".into(), domain()], ingress: ingress() },
                "The CNAME of phone.acme.com leads in a circle (a.b → phone.acme.com): change it to \
                 `phone.acme.com. CNAME in.bitcall.example.`.",
            ),
            (
                DnsFinding::Disagreement {
                    record: "TXT _bitcall-challenge.phone.acme.com".into(),
                    with: vec!["ns1.acme.com".into()],
                    without: vec!["ns2.acme.com".into()],
                },
                "Name servers do not agree about TXT _bitcall-challenge.phone.acme.com yet: ns1.acme.com has it, \
                 ns2.acme.com has not; wait until all have it, or correct those.",
            ),
        ] {
            assert_eq!(problem.sentence(), says);
        }
    }
}
