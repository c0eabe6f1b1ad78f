//! What is looked up for a domain, and what each server answered, before it is evaluated.

use std::net::IpAddr;

use super::Lookup;

/// Property tags whose meaning is known, also those that do not matter for host names (RFC 8659 section 4, RFC 9495 for
/// `issuemail`).
const KNOWN_TAGS: [&str; 5] = ["issue", "issuewild", "iodef", "issuemail", "issuevmc"];

/// What to verify of one domain.
#[derive(Clone, Debug)]
pub struct VerificationQuery {
    /// In the form of [`Hostname`](crate::hostname::Hostname): lower case, no trailing dot.
    pub domain: String,
    /// The value that proves ownership, at `_bitcall-challenge.<domain>`.
    pub token: String,
    /// The host that domains point at: a name, or an address where this server has no name.
    pub ingress: String,
    /// Addresses of this server, besides those that the ingress host has in DNS.
    pub addresses: Vec<IpAddr>,
    /// Issuer domain names in CAA records of the certificate authorities in use. Empty: CAA is not checked.
    pub authorities: Vec<String>,
    /// The name in this server's own zone to which `_acme-challenge.<domain>` can be delegated; none without a zone.
    pub delegate: Option<String>,
}

impl VerificationQuery {
    /// The name of the TXT record that proves ownership.
    pub fn challenge(&self) -> String {
        format!("_bitcall-challenge.{}", self.domain)
    }

    /// The name of DNS-01 challenges (RFC 8555 section 8.4).
    pub fn acme_challenge(&self) -> String {
        format!("_acme-challenge.{}", self.domain)
    }
}

/// The answers of all servers.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Of the resolvers, which may be cached.
    pub resolvers: Vec<ServerAnswers>,
    /// Of the domain's own name servers, which are current.
    pub authorities: Vec<ServerAnswers>,
    /// Of the ingress host.
    pub ingress: HostAddresses,
    /// Why no server could be asked.
    pub failed: Option<String>,
}

/// The answers of one server.
#[derive(Clone, Debug)]
pub struct ServerAnswers {
    /// Its name or address, for messages.
    pub server: String,
    pub txt: Lookup<Vec<String>>,
    pub chain: Lookup<CnameChain>,
    /// Of the domain itself; [`Lookup::Nothing`] in both families where there is a CNAME.
    pub addresses: HostAddresses,
    /// The relevant record set (RFC 8659 section 3), and the name that has it.
    pub caa: Lookup<Caa>,
    /// The CNAME target of `_acme-challenge.<domain>`.
    pub delegate: Lookup<String>,
}

/// CNAMEs, in the order in which they were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CnameChain {
    /// The targets, without the domain itself.
    pub targets: Vec<String>,
    /// It contains a name twice, or too many names.
    pub endless: bool,
    /// Why the last target could not be followed further.
    pub broken: Option<String>,
}

/// The addresses of both families, which are looked up separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddresses {
    pub v4: Lookup<Vec<IpAddr>>,
    pub v6: Lookup<Vec<IpAddr>>,
}

impl Default for HostAddresses {
    fn default() -> Self {
        Self { v4: Lookup::Nothing, v6: Lookup::Nothing }
    }
}

impl HostAddresses {
    /// The addresses of both families.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [&self.v4, &self.v6]
            .into_iter()
            .flat_map(|family| match family {
                Lookup::Found(addresses) => addresses.as_slice(),
                _ => &[],
            })
            .copied()
    }

    /// Why the lookup of a family failed.
    pub fn failure(&self) -> Option<&str> {
        [&self.v4, &self.v6].into_iter().find_map(|family| match family {
            Lookup::Failed(why) => Some(why.as_str()),
            _ => None,
        })
    }
}

/// A name server in a referral, and its addresses as far as they are known.
pub type NameServer = (String, Vec<IpAddr>);

/// A set of CAA records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    pub at: String,
    pub records: Vec<CaaRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaRecord {
    pub critical: bool,
    /// In lower case.
    pub tag: String,
    pub value: String,
}

impl Caa {
    /// The authorities that may issue for a plain name, or for a wildcard; none: any may (RFC 8659 sections 4.2
    /// and 4.3).
    pub fn allowed(&self, wildcard: bool) -> Option<Vec<String>> {
        // An unknown critical property forbids issuance (section 4.1).
        let unknown = |record: &&CaaRecord| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str());
        if self.records.iter().any(|record| unknown(&record)) {
            return Some(Vec::new());
        }
        let tagged = |tag: &str| self.records.iter().filter(|record| record.tag == tag).collect::<Vec<_>>();
        let issuewild = if wildcard { tagged("issuewild") } else { Vec::new() };
        // For wildcards, issuewild takes precedence over issue (section 4.3).
        let issue = if issuewild.is_empty() { tagged("issue") } else { issuewild };
        if issue.is_empty() {
            return None;
        }
        let name = |record: &CaaRecord| {
            let name =
                record.value.split(';').next().unwrap_or_default().trim().trim_end_matches('.').to_ascii_lowercase();
            (!name.is_empty()).then_some(name)
        };
        Some(issue.into_iter().filter_map(name).collect())
    }
}
