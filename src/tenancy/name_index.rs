//! Which tenant has which name, in memory. Whether a name also leads to its
//! tenant is another question, answered by [`super::names`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::claim::Claim;
use super::id::TenantId;
use super::names::Names;
use super::tenant::Tenant;
use crate::hostname::{Hostname, Label};
use crate::store::Revision;

#[derive(Default)]
pub struct NameIndex {
    subdomains: HashMap<Label, TenantId>,
    /// Claimed ones; what has become of them is in `claims`.
    custom_domains: BTreeMap<Hostname, TenantId>,
    claims: HashMap<TenantId, (Revision, Arc<Claim>)>,
}

impl NameIndex {
    /// Takes in the names of a tenant, except those whose present holder `is_later`. The claim on a
    /// domain that it has no more is dropped.
    pub fn keep(&mut self, tenant: &Tenant, is_later: impl Fn(&TenantId) -> bool) {
        let Tenant { id, subdomain, custom_domain, .. } = tenant;
        if let Some(label) = subdomain
            && !self.subdomains.get(label).is_some_and(&is_later)
        {
            self.subdomains.insert(label.clone(), id.clone());
        }
        if let Some(domain) = custom_domain
            && !self.custom_domains.get(domain).is_some_and(&is_later)
        {
            self.custom_domains.insert(domain.clone(), id.clone());
        }
        if self.claim(id).is_some_and(|claim| custom_domain.as_ref() != Some(&claim.domain)) {
            self.claims.remove(id);
        }
    }

    /// Takes a tenant's names out, unless they are another's by now.
    pub fn forget(&mut self, tenant: &Tenant) {
        if let Some(label) = &tenant.subdomain
            && self.subdomains.get(label) == Some(&tenant.id)
        {
            self.subdomains.remove(label);
        }
        if let Some(domain) = &tenant.custom_domain
            && self.custom_domains.get(domain) == Some(&tenant.id)
        {
            self.custom_domains.remove(domain);
        }
    }

    /// Takes out everything of a tenant that is gone.
    pub fn remove(&mut self, tenant: &Tenant) {
        self.forget(tenant);
        self.claims.remove(&tenant.id);
    }

    /// Swaps in a claim, unless a later revision of it is here already.
    pub fn put_claim(&mut self, claim: Arc<Claim>, revision: Revision) {
        if self.claims.get(&claim.tenant).is_none_or(|(known, _)| *known <= revision) {
            self.claims.insert(claim.tenant.clone(), (revision, claim));
        }
    }

    /// Takes out a tenant's claim that is gone, unless a later one is here.
    pub fn forget_claim(&mut self, tenant: &TenantId, seen: Revision) {
        if self.claims.get(tenant).is_some_and(|(known, _)| *known == seen) {
            self.claims.remove(tenant);
        }
    }

    /// The claim on a domain, and the revision of its record.
    pub fn claim_on(&self, domain: &Hostname) -> Option<&(Revision, Arc<Claim>)> {
        let claim = self.claims.get(self.custom_domains.get(domain)?);
        claim.filter(|(_, claim)| claim.domain == *domain)
    }

    pub fn claim(&self, tenant: &TenantId) -> Option<&Arc<Claim>> {
        self.claims.get(tenant).map(|(_, claim)| claim)
    }

    /// In the order of their domains.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<Claim>> {
        self.custom_domains.values().filter_map(|tenant| self.claim(tenant))
    }

    /// Who has the full name `host`.
    pub fn holder(&self, names: &Names, host: &str) -> Option<&TenantId> {
        match names.label_of(host) {
            Some(label) => self.subdomains.get(label),
            None => self.custom_domains.get(host),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::tenancy::claim::DomainStatus;
    use crate::tenancy::effective::Defaults;
    use crate::tenancy::plan;
    use crate::tenancy::settings::Settings;
    use crate::tenancy::snapshot::Snapshot;
    use crate::tenancy::tenant::PlanStatus;
    use crate::tenancy::tenant_state::TenantState;
    use crate::tenancy::transport::TransportDefaults;
    use crate::timestamp::Timestamp;

    struct TestPlatform(Snapshot);

    impl TestPlatform {
        fn new() -> Self {
            let names = Names {
                base: Some("bitcall.example".parse().unwrap()),
                ingress: "in.example".into(),
                public_host: "phone.example".into(),
            };
            let defaults = Defaults {
                public_url: "https://phone.example/".parse().unwrap(),
                edge_domain: "sip.example".into(),
                names,
                transport: TransportDefaults::default(),
                turn_lifetime: std::time::Duration::from_hours(12),
                at_local_names: false,
            };
            let mut snapshot = Snapshot::new(defaults);
            for plan in plan::seeds() {
                snapshot.put_plan(plan);
            }
            Self(snapshot)
        }

        fn put(&mut self, tenant: Tenant, revision: u64) {
            let state = TenantState::new(tenant, Revision(revision), self.0.defaults());
            self.0.put_tenant(state);
        }

        fn at(&self, host: &str) -> Option<&str> {
            self.0.on_host(host).map(|state| state.tenant.id.as_str())
        }
    }

    fn tenant(id: &str, subdomain: Option<&str>, custom_domain: Option<&str>) -> Tenant {
        Tenant {
            id: id.parse().unwrap(),
            enabled: true,
            plan_id: "enterprise".into(),
            plan_status: PlanStatus::Active,
            settings: Settings::default(),
            subdomain: subdomain.map(|label| label.parse().unwrap()),
            custom_domain: custom_domain.map(|domain| domain.parse().unwrap()),
            lost_domain: None,
            api_keys: Vec::new(),
            revoked_keys: Vec::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn claim(id: &str, domain: &str, status: DomainStatus) -> Claim {
        let claim = Claim::new(id.parse().unwrap(), domain.parse().unwrap(), "token".into(), Timestamp(0));
        Claim { status, ..claim }
    }

    #[test]
    fn a_custom_domain_leads_to_its_tenant_while_it_is_active_and_part_of_the_plan() {
        let mut test = TestPlatform::new();
        test.put(tenant("acme", None, Some("phone.acme.com")), 1);
        test.0.put_claim(Arc::new(claim("acme", "phone.acme.com", DomainStatus::Pending)), Revision(1));
        assert_eq!(test.at("phone.acme.com"), None);
        test.0.put_claim(Arc::new(claim("acme", "phone.acme.com", DomainStatus::Active)), Revision(2));
        test.0.put_claim(Arc::new(claim("acme", "phone.acme.com", DomainStatus::Pending)), Revision(1));
        assert_eq!(test.at("phone.acme.com"), Some("acme"), "an older revision changes nothing");
        test.put(Tenant { plan_id: "pro".into(), ..tenant("acme", None, Some("phone.acme.com")) }, 3);
        assert_eq!(test.at("phone.acme.com"), None, "not in this plan");
        test.put(tenant("acme", None, Some("phone.acme.com")), 4);
        assert_eq!(test.at("phone.acme.com"), Some("acme"), "the claim was kept");
        test.put(tenant("acme", None, None), 5);
        test.0.put_claim(Arc::new(claim("acme", "phone.acme.com", DomainStatus::Active)), Revision(6));
        assert!(
            test.at("phone.acme.com").is_none() && test.0.claims().next().is_none(),
            "given up, it does not come back"
        );
    }

    #[test]
    fn a_name_that_changes_hands_is_the_later_holders_in_whatever_order_memory_hears_of_it() {
        // `a` had it from 1 and let go in 3, `b` has it from 4.
        let news = [("a", Some("x"), 1), ("a", None, 3), ("b", Some("x"), 4)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut test = TestPlatform::new();
            for (id, subdomain, revision) in order.map(|index| news[index]) {
                test.put(tenant(id, subdomain, None), revision);
            }
            assert_eq!(test.at("x.bitcall.example"), Some("b"), "{order:?}");
        }
    }
}
