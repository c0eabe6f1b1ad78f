//! The names under which tenants' phones are reached: `<label>.<base>`, which the
//! operator hands out, and domains of the tenants' own. Which names a tenant may
//! have is decided here, and which of them lead to it now.

use super::claim::{Claim, DomainStatus};
use super::plan::Entitlements;
use super::refusal::{InvalidValue, Refusal};
use super::tenant::Tenant;
use crate::hostname::{Hostname, Label};

/// `_bitcall-challenge.` must fit in front (RFC 1035 §2.3.4).
const MAX_DOMAIN: usize = 253 - super::claim::CHALLENGE.len() - 1;

#[rustfmt::skip] // one word per line would be as long as all the rest
const RESERVED: &[&str] = &[
    "abuse", "account", "accounts", "acme-challenge", "admin", "administrator", "api", "app", "apps", "assets",
    "auth", "autoconfig", "autodiscover", "billing", "bitcall", "blog", "broadcasthost", "careers", "cdn", "cert",
    "certs", "client", "clients", "cname", "community", "console", "contact", "control", "customers", "dashboard",
    "demo", "dev", "developer", "developers", "dns", "docs", "domain", "domains", "download", "downloads", "edge",
    "email", "example", "files", "forum", "ftp", "gateway", "git", "health", "help", "home", "host", "hostmaster",
    "http", "https", "id", "images", "imap", "info", "ingress", "internal", "invalid", "invoice", "isatap", "kb",
    "lb", "legal", "local", "localdomain", "localhost", "login", "logout", "mail", "mailer", "manage", "marketing",
    "media", "metrics", "monitor", "monitoring", "mta-sts", "my", "net", "network", "news", "noc", "noreply", "null",
    "oauth", "office", "ops", "origin", "panel", "partner", "partners", "password", "pay", "payment", "payments",
    "phone", "ping", "playground", "pop", "pop3", "portal", "postmaster", "pricing", "privacy", "proxy", "public",
    "register", "registrar", "relay", "root", "sales", "search", "secure", "security", "server", "service",
    "services", "shop", "sign-in", "signin", "signup", "sip", "sips", "site", "smtp", "sso", "staff", "stage",
    "staging", "static", "stats", "status", "store", "stun", "stuns", "support", "sysadmin", "system", "telnet",
    "tenant", "tenants", "test", "tls", "trunk", "trust", "turn", "turns", "undefined", "usenet", "user", "users",
    "uucp", "vpn", "webhook", "webhooks", "webmail", "webmaster", "webphone", "wiki", "wpad", "ws", "wss", "www",
];
const RESERVED_KINDS: &[&str] = &["mail", "mx", "ns", "pbx", "pop", "sip", "smtp", "stun", "turn", "www"];

/// What the operator has set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Tenants' subdomains are below it; without it there are none.
    pub base: Option<Hostname>,
    /// What tenants' own domains are pointed at by CNAME.
    pub ingress: String,
    /// Of the server's own address: never a tenant's.
    pub public_host: String,
}

impl Names {
    /// The full name of a subdomain.
    pub fn host_of(&self, label: &Label) -> Option<String> {
        Some(format!("{label}.{}", self.base.as_ref()?))
    }

    /// The label of a name directly below the base domain.
    pub fn label_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let label = host.strip_suffix(self.base.as_ref()?.as_str())?.strip_suffix('.')?;
        (!label.contains('.')).then_some(label)
    }

    /// Whether a tenant that is entitled so may have this subdomain, as far as no other has it.
    pub fn may_have_subdomain(&self, label: &Label, rights: &Entitlements) -> Result<(), Refusal> {
        if !rights.subdomain_access {
            return Err(Refusal::SubdomainNotAllowed);
        }
        let Some(host) = self.host_of(label) else {
            return Err(Refusal::NoBaseDomain);
        };
        if is_reserved(label) || self.are_ours(&host) {
            return Err(Refusal::SubdomainReserved(label.to_string()));
        }
        Ok(())
    }

    /// Whether a tenant that is entitled so may claim this domain, as far as no other has.
    pub fn may_claim(&self, domain: &Hostname, rights: &Entitlements) -> Result<(), Refusal> {
        if !rights.custom_domain_access {
            return Err(Refusal::CustomDomainNotAllowed);
        }
        let wrong = |why: &str| Err(InvalidValue::new(why).at("domain").into());
        if domain.has_one_label() {
            return wrong("must have at least two labels, as phone.example.com");
        }
        if domain.as_str().len() > MAX_DOMAIN {
            return wrong("is too long: its TXT record could have no name");
        }
        if self.base.as_ref().is_some_and(|base| domain == base || domain.is_below(base.as_str())) {
            return wrong("is below the operator's base domain; ask for a subdomain instead");
        }
        if self.are_ours(domain.as_str()) {
            return wrong("is this server's own name");
        }
        Ok(())
    }

    /// The names that lead to the tenant: those that it has, that are ready, and that its plan includes.
    pub fn leading_to(&self, tenant: &Tenant, claim: Option<&Claim>, rights: &Entitlements) -> Vec<String> {
        let subdomain = tenant.subdomain.as_ref().filter(|_| rights.subdomain_access);
        let subdomain = subdomain.and_then(|label| self.host_of(label));
        let custom = claim.filter(|claim| rights.custom_domain_access && claim.status == DomainStatus::Active);
        subdomain.into_iter().chain(custom.map(|claim| claim.domain.to_string())).collect()
    }

    /// The server's own names, and what they are below: nobody may answer for those.
    pub fn are_ours(&self, host: &str) -> bool {
        [&self.ingress, &self.public_host]
            .into_iter()
            .any(|own| own == host || own.strip_suffix(host).is_some_and(|rest| rest.ends_with('.')))
    }
}

/// Names that people, mail and machines expect the operator behind (RFC 2142 and common use), and
/// numbered ones of a kind, as `ns1`.
fn is_reserved(label: &Label) -> bool {
    let name = label.as_str();
    RESERVED.contains(&name) || RESERVED_KINDS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::tenancy::plan;

    fn names() -> Names {
        Names {
            base: Some("bitcall.example".parse().unwrap()),
            ingress: "in.eu.bitcall.example".into(),
            public_host: "phone.example".into(),
        }
    }

    fn rights() -> Entitlements {
        plan::seeds().into_iter().find(|plan| plan.id == "enterprise").unwrap().entitlements
    }

    fn subdomain(text: &str) -> Result<(), Refusal> {
        names().may_have_subdomain(&text.parse().unwrap(), &rights())
    }

    fn claim(text: &str) -> Result<(), Refusal> {
        names().may_claim(&text.parse().unwrap(), &rights())
    }

    #[test]
    fn reserved_names_are_refused_in_every_spelling() {
        // The last one: the ingress is below it.
        for name in ["www", "WWW", "api", "ns", "ns1", "ns27", "mx2", "eu"] {
            assert!(matches!(subdomain(name), Err(Refusal::SubdomainReserved(_))), "{name}");
        }
        for name in ["acme-corp", "answers1", "wwwacme", "7", "bücher"] {
            assert!(subdomain(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_reserved_list_is_in_order_so_that_nothing_stands_in_it_twice() {
        assert!(RESERVED.is_sorted() && RESERVED.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_label_is_read_from_names_directly_below_the_base_only() {
        let names = names();
        assert_eq!(names.label_of("acme.bitcall.example"), Some("acme"));
        for other in ["bitcall.example", "a.b.bitcall.example", "evilbitcall.example", "acme.example", ""] {
            assert_eq!(names.label_of(other), None, "{other}");
        }
    }

    #[test]
    fn domains_of_others_may_be_claimed_and_the_operators_own_may_not() {
        for good in ["phone.acme.com", "acme.com", "a.b.c.acme.co.uk", "bitcall.example.com", "x.phone.example"] {
            assert!(claim(good).is_ok(), "{good}: {:?}", claim(good));
        }
        for bad in ["acme", "bitcall.example", "x.bitcall.example", "a.b.bitcall.example", "phone.example"] {
            assert!(matches!(claim(bad), Err(Refusal::Validation(_))), "{bad}");
        }
        let long = format!("{}.{}.{}.{}.com", "a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(50));
        assert!(matches!(claim(&long), Err(Refusal::Validation(_))), "no room for the TXT record's name");
    }

    #[test]
    fn without_the_right_or_the_base_there_are_no_names() {
        let none = Entitlements { subdomain_access: false, custom_domain_access: false, ..rights() };
        let label: Label = "acme".parse().unwrap();
        assert!(matches!(names().may_have_subdomain(&label, &none), Err(Refusal::SubdomainNotAllowed)));
        assert!(matches!(
            names().may_claim(&"phone.acme.com".parse().unwrap(), &none),
            Err(Refusal::CustomDomainNotAllowed)
        ));
        let baseless = Names { base: None, ..names() };
        assert!(matches!(baseless.may_have_subdomain(&label, &rights()), Err(Refusal::NoBaseDomain)));
    }
}
