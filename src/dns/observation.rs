//! What was asked about a domain, and what each server answered: the facts, before any judgement.

use std::net::IpAddr;

use super::Lookup;

/// Tags whose meaning is known, those among them that do not matter for a plain name included
/// (RFC 8659 section 4, RFC 9495 for `issuemail`).
const KNOWN_TAGS: [&str; 5] = ["issue", "issuewild", "iodef", "issuemail", "issuevmc"];

/// What is to be found out about one domain.
#[derive(Clone, Debug)]
pub struct VerificationQuery {
    /// In the form of [`Hostname`](crate::hostname::Hostname): lower case, no dot at the end.
    pub domain: String,
    /// The value that proves ownership, at `_bitcall-challenge.<domain>`.
    pub token: String,
    /// The host that domains point at: a name, or an address where this server has no name.
    pub ingress: String,
    /// Addresses of this server, besides those that the ingress host has in DNS.
    pub addresses: Vec<IpAddr>,
    /// Names by which the certificate authorities in use stand in CAA records. Empty: CAA does not matter.
    pub authorities: Vec<String>,
    /// Where `_acme-challenge.<domain>` is answered by this server's own zone; none without such a zone.
    pub delegate: Option<String>,
}

impl VerificationQuery {
    /// Where the proof of ownership is published.
    pub fn challenge(&self) -> String {
        format!("_bitcall-challenge.{}", self.domain)
    }

    /// Where certificate authorities look for theirs (RFC 8555 section 8.4).
    pub fn acme_challenge(&self) -> String {
        format!("_acme-challenge.{}", self.domain)
    }
}

/// Everything that was answered.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// By the resolvers: what the world sees, caches included.
    pub resolvers: Vec<ServerAnswers>,
    /// By the domain's own name servers: what the world will see.
    pub authorities: Vec<ServerAnswers>,
    /// Of the ingress host.
    pub ingress: HostAddresses,
    /// Why no server could be asked at all.
    pub failed: Option<String>,
}

/// What one server answered.
#[derive(Clone, Debug)]
pub struct ServerAnswers {
    /// For people: its name or its address.
    pub server: String,
    pub txt: Lookup<Vec<String>>,
    pub chain: Lookup<CnameChain>,
    /// Of the domain itself; [`Lookup::Nothing`] in both families where there is a CNAME.
    pub addresses: HostAddresses,
    /// The records that decide (RFC 8659 section 3), and the name that has them.
    pub caa: Lookup<Caa>,
    /// Where `_acme-challenge.<domain>` leads by CNAME.
    pub delegate: Lookup<String>,
}

/// CNAMEs, in the order in which they were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CnameChain {
    /// The targets, without the domain itself.
    pub targets: Vec<String>,
    /// A name came twice, or there were too many.
    pub endless: bool,
    /// Why the last target could not be followed further.
    pub broken: Option<String>,
}

/// Both families, which fail and go stale apart from each other.
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
    /// All that were found.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [&self.v4, &self.v6]
            .into_iter()
            .flat_map(|family| match family {
                Lookup::Found(addresses) => addresses.as_slice(),
                _ => &[],
            })
            .copied()
    }

    /// Why one of the families could not be asked.
    pub fn failure(&self) -> Option<&str> {
        [&self.v4, &self.v6].into_iter().find_map(|family| match family {
            Lookup::Failed(why) => Some(why.as_str()),
            _ => None,
        })
    }
}

/// A host that the zone above names for the zone, and its addresses as far as they are known.
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
        // What nobody understands and must not be ignored forbids everything (section 4.1).
        let unknown = |record: &&CaaRecord| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str());
        if self.records.iter().any(|record| unknown(&record)) {
            return Some(Vec::new());
        }
        let tagged = |tag: &str| self.records.iter().filter(|record| record.tag == tag).collect::<Vec<_>>();
        let wild = if wildcard { tagged("issuewild") } else { Vec::new() };
        // For wildcards it stands in the place of all the others.
        let issue = if wild.is_empty() { tagged("issue") } else { wild };
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
