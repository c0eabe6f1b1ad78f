//! Domains on a real store, with DNS and certificates simulated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tokio::sync::{Semaphore, broadcast};

use super::domain_state::DnsCheck;
use super::interfaces::{CertificateProvider, DomainResolver};
use super::{Domains, Recheck};
use crate::hostname::Hostname;
use crate::tenancy::{
    AuditSearch, Certificate, CertificateStage, Claim, ClaimPhase, Defaults, DomainLoss, DomainStatus, Names,
    NewTenant, OperatorChange, PlanChange, Platform, RecordObservation, Refusal, RequestContext, RoutingMatch,
    TenantId, TlsStatus, TransportDefaults,
};
use crate::timestamp::Timestamp;

/// DNS as a table of tokens by name and a set of names that point here.
#[derive(Default)]
struct Dns {
    tokens: Mutex<HashMap<Hostname, String>>,
    here: Mutex<BTreeSet<Hostname>>,
    broken: AtomicBool,
    checks: AtomicUsize,
    under_way: Mutex<HashMap<Hostname, usize>>,
    max_concurrent: AtomicUsize,
    /// Each check takes a permit from it, if set.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Dns {
    fn publish(&self, claim: &Claim) {
        self.tokens.lock().unwrap().insert(claim.domain.clone(), claim.token.clone());
        self.here.lock().unwrap().insert(claim.domain.clone());
    }

    fn answer(&self, domain: &Hostname, token: &str) -> DnsCheck {
        if self.broken.load(Ordering::SeqCst) {
            return DnsCheck { unsure: Some("nobody answers".into()), ..DnsCheck::default() };
        }
        let published = self.tokens.lock().unwrap().get(domain).cloned();
        let here = self.here.lock().unwrap().contains(domain);
        DnsCheck {
            txt: RecordObservation {
                matched: Some(published.as_deref() == Some(token)),
                observed: published.into_iter().collect(),
            },
            cname: RecordObservation { matched: Some(here), observed: Vec::new() },
            way: here.then_some(RoutingMatch::Cname),
            ..DnsCheck::default()
        }
    }
}

impl DomainResolver for Dns {
    fn check<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, DnsCheck> {
        async move {
            {
                let mut under_way = self.under_way.lock().unwrap();
                let same = under_way.entry(domain.clone()).or_default();
                *same += 1;
                assert_eq!(*same, 1, "one look at a name at a time");
                let all = under_way.values().sum();
                self.max_concurrent.fetch_max(all, Ordering::SeqCst);
            }
            let gate = self.gate.lock().unwrap().clone();
            match gate {
                Some(gate) => gate.acquire().await.unwrap().forget(),
                None => tokio::task::yield_now().await,
            }
            self.checks.fetch_add(1, Ordering::SeqCst);
            *self.under_way.lock().unwrap().get_mut(domain).unwrap() -= 1;
            self.answer(domain, token)
        }
        .boxed()
    }
}

struct Authority {
    automatic: bool,
    ordered: Mutex<BTreeSet<Hostname>>,
    retried: Mutex<Vec<Hostname>>,
    there: Mutex<HashMap<Hostname, Certificate>>,
    news: broadcast::Sender<Hostname>,
}

impl Authority {
    fn issues(&self, domain: &Hostname) {
        let expires_at = Some(Timestamp::now().after(Duration::from_hours(24 * 90)));
        let certificate = Certificate { stage: CertificateStage::Issued, problem: None, next_try_at: None, expires_at };
        self.reports(domain, certificate);
    }

    fn holds_back(&self, domain: &Hostname) {
        let problem = Some("Another server answers on port 80".to_owned());
        let next_try_at = Some(Timestamp::now().after(Duration::from_mins(5)));
        let stage = CertificateStage::Preflight;
        self.reports(domain, Certificate { stage, problem, next_try_at, expires_at: None });
    }

    fn reports(&self, domain: &Hostname, certificate: Certificate) {
        self.there.lock().unwrap().insert(domain.clone(), certificate);
        let _ = self.news.send(domain.clone());
    }

    fn is_ordered(&self, domain: &Hostname) -> bool {
        self.ordered.lock().unwrap().contains(domain)
    }
}

impl CertificateProvider for Authority {
    fn are_automatic(&self) -> bool {
        self.automatic
    }

    fn order(&self, domain: &Hostname, _: bool) {
        self.ordered.lock().unwrap().insert(domain.clone());
    }

    fn retry_preflight(&self, domain: &Hostname) {
        self.retried.lock().unwrap().push(domain.clone());
    }

    fn release<'a>(&'a self, domain: &'a Hostname) -> BoxFuture<'a, ()> {
        self.ordered.lock().unwrap().remove(domain);
        self.there.lock().unwrap().remove(domain);
        std::future::ready(()).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        let ordered = self.ordered.lock().unwrap();
        self.there.lock().unwrap().retain(|domain, _| ordered.contains(domain));
        std::future::ready(()).boxed()
    }

    fn certificate(&self, domain: &Hostname) -> Option<Certificate> {
        self.there.lock().unwrap().get(domain).cloned()
    }

    fn changes(&self) -> broadcast::Receiver<Hostname> {
        self.news.subscribe()
    }
}

struct TestDomains {
    _directory: tempfile::TempDir,
    platform: Platform,
    dns: Arc<Dns>,
    authority: Arc<Authority>,
    domains: Domains,
}

impl TestDomains {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(automatic: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = Names { base: None, ingress: "in.example".into(), public_host: "phone.example".into() };
        let defaults = Defaults {
            public_url: "https://phone.example".parse().unwrap(),
            edge_domain: "sip.example".into(),
            turn_lifetime: Duration::from_hours(12),
            transport: TransportDefaults::default(),
            names,
            at_local_names: false,
        };
        let platform = Platform::open(directory.path(), defaults).await.unwrap();
        let (news, _) = broadcast::channel(16);
        let authority = Authority {
            automatic,
            ordered: Mutex::default(),
            retried: Mutex::default(),
            there: Mutex::default(),
            news,
        };
        let (dns, authority) = (Arc::<Dns>::default(), Arc::new(authority));
        let domains = Domains::new(platform.clone(), dns.clone(), authority.clone());
        Self { _directory: directory, platform, dns, authority, domains }
    }

    /// With a tenant whose domain is verified and has no certificate yet.
    async fn with_verified() -> (Self, TenantId, Claim) {
        let setup = Self::new().await;
        let acme = setup.tenant("acme").await;
        let (claim, _) = setup.claim(&acme, "phone.acme.com").await.unwrap();
        setup.dns.publish(&claim);
        setup.domains.sync(&context(), &claim.domain).await.unwrap();
        (setup, acme, claim)
    }

    async fn tenant(&self, id: &str) -> TenantId {
        let new = NewTenant { plan_id: Some("enterprise".into()), ..NewTenant::named(id.parse().unwrap()) };
        self.platform.provision(&context(), new, |_| ()).await.unwrap();
        id.parse().unwrap()
    }

    async fn claim(&self, tenant: &TenantId, domain: &str) -> Result<(Claim, bool), Refusal> {
        let answered = Arc::new(Mutex::new(None));
        let domain = domain.parse().unwrap();
        let answer = |claim: &Claim, new: bool| *answered.lock().unwrap() = Some((claim.clone(), new));
        self.domains.claim(&context(), tenant, &domain, answer).await?;
        Ok(answered.lock().unwrap().take().unwrap())
    }

    fn now(&self, domain: &Hostname) -> Arc<Claim> {
        self.platform.claim_on(domain).unwrap()
    }

    /// Changes a stored claim directly.
    async fn set(&self, domain: &Hostname, change: impl Fn(&mut Claim)) {
        let rule = |claim: &Claim| {
            let mut claim = claim.clone();
            change(&mut claim);
            (claim, None, ())
        };
        self.platform.step_claim(&context(), domain, rule).await.unwrap().unwrap();
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let claims = || self.platform.claims();
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", claims()));
    }

    async fn actions(&self) -> Vec<String> {
        let search = AuditSearch { tenant: None, action: None, since: None, until: None, before: None, limit: 1000 };
        let page = self.platform.audit(&search).await.unwrap();
        let answered = page.entries.into_iter().rev().map(|(_, entry)| entry.action);
        answered.filter(|action| action.starts_with("domain.")).collect()
    }
}

fn context() -> RequestContext {
    RequestContext::of_bitcall()
}

fn on(plan: &str) -> OperatorChange {
    OperatorChange { plan: PlanChange { plan_id: Some(plan.into()), status: None }, ..OperatorChange::default() }
}

#[tokio::test]
async fn a_verified_domain_becomes_active_when_its_certificate_is_issued() {
    let setup = TestDomains::new().await;
    let acme = setup.tenant("acme").await;
    let (claim, new) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(new && claim.next_check_at.is_some() && claim.expires_at.is_some());
    tokio::spawn(setup.domains.clone().run());
    setup.dns.publish(&claim);
    let Recheck::Done(seen) = setup.domains.recheck(&context(), &acme).await.unwrap() else { panic!() };
    assert_eq!((seen.status, seen.phase), (DomainStatus::Verified, ClaimPhase::Verified));
    assert!(setup.authority.is_ordered(&claim.domain));
    assert!(setup.platform.hosts(&setup.platform.tenant(&acme).unwrap()).is_empty());
    setup.authority.issues(&claim.domain);
    setup.until("active", |setup| setup.now(&claim.domain).status == DomainStatus::Active).await;
    assert_eq!(setup.now(&claim.domain).tls_status, TlsStatus::Active);
    assert_eq!(setup.platform.hosts(&setup.platform.tenant(&acme).unwrap()), ["phone.acme.com"]);
    assert_eq!(setup.actions().await, ["domain.claim", "domain.verify", "domain.active"]);
}

#[tokio::test]
async fn a_recheck_repeats_the_preflight_of_a_held_back_order() {
    let (setup, acme, claim) = TestDomains::with_verified().await;
    tokio::spawn(setup.domains.clone().run());
    setup.authority.holds_back(&claim.domain);
    setup.until("held back", |setup| setup.now(&claim.domain).phase == ClaimPhase::Preflight).await;
    assert_eq!(*setup.authority.retried.lock().unwrap(), []);
    assert!(matches!(setup.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Done(_)));
    assert_eq!(*setup.authority.retried.lock().unwrap(), std::slice::from_ref(&claim.domain));
}

#[tokio::test]
async fn a_second_recheck_is_refused_with_the_time_it_is_allowed_again() {
    let setup = TestDomains::new().await;
    let acme = setup.tenant("acme").await;
    assert!(matches!(setup.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Nothing));
    setup.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(matches!(setup.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Done(_)));
    let Recheck::TooSoon(moment) = setup.domains.recheck(&context(), &acme).await.unwrap() else { panic!() };
    assert!(moment > Timestamp::now());
    assert_eq!(setup.dns.checks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn due_checks_run_concurrently_up_to_the_limit_and_never_twice_for_a_domain() {
    let setup = TestDomains::new().await;
    let mut claims = Vec::new();
    for number in 0..80 {
        let tenant = setup.tenant(&format!("t{number}")).await;
        let (claim, _) = setup.claim(&tenant, &format!("phone{number}.acme.com")).await.unwrap();
        setup.set(&claim.domain, |claim| claim.next_check_at = Some(Timestamp(0))).await;
        claims.push(claim);
    }
    let gate = Arc::new(Semaphore::new(0));
    *setup.dns.gate.lock().unwrap() = Some(Arc::clone(&gate));
    tokio::spawn(setup.domains.clone().run());
    setup.until("as many as may be", |setup| setup.dns.max_concurrent.load(Ordering::SeqCst) == 32).await;
    // Some of these domains are being checked already: their second check waits.
    let asked = join_all(claims.iter().map(async |claim| setup.domains.sync(&context(), &claim.domain).await));
    gate.add_permits(1000);
    assert!(asked.await.iter().all(|looked| looked.as_ref().is_ok_and(Option::is_some)));
    let looked_at = |claim: &Claim| claim.next_check_at.unwrap() > Timestamp::now();
    setup.until("all", |setup| claims.iter().all(|claim| looked_at(&setup.now(&claim.domain)))).await;
    assert!(setup.dns.checks.load(Ordering::SeqCst) >= 112, "80 that were asked for, and the 32 before them");
    assert_eq!(setup.dns.max_concurrent.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_sync_of_all_domains_checks_every_domain() {
    let setup = TestDomains::with(false).await;
    tokio::spawn(setup.domains.clone().run());
    let mut claims = Vec::new();
    for number in 0..50 {
        let tenant = setup.tenant(&format!("t{number}")).await;
        let (claim, _) = setup.claim(&tenant, &format!("phone{number}.acme.com")).await.unwrap();
        setup.dns.publish(&claim);
        claims.push(claim);
    }
    assert_eq!(setup.domains.sync_all(), 50);
    let active =
        |setup: &TestDomains| claims.iter().all(|claim| setup.now(&claim.domain).status == DomainStatus::Active);
    setup.until("all active", active).await;
    assert!(claims.iter().all(|claim| setup.now(&claim.domain).tls_status == TlsStatus::External));
}

#[tokio::test]
async fn failed_lookups_do_not_change_the_status() {
    let setup = TestDomains::with(false).await;
    let acme = setup.tenant("acme").await;
    let (claim, _) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    setup.dns.publish(&claim);
    setup.domains.sync(&context(), &claim.domain).await.unwrap();
    setup.dns.broken.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let seen = setup.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
        assert_eq!((seen.status, seen.phase, seen.away), (DomainStatus::Active, ClaimPhase::Active, None));
        assert_eq!(seen.unsure.as_deref(), Some("nobody answers"));
    }
}

#[tokio::test]
async fn a_restart_repeats_certificate_orders_and_reads_certificates_issued_meanwhile() {
    let (setup, _, claim) = TestDomains::with_verified().await;
    setup.authority.ordered.lock().unwrap().clear();
    setup.authority.issues(&claim.domain);
    let again = Domains::new(setup.platform.clone(), setup.dns.clone(), setup.authority.clone());
    tokio::spawn(again.run());
    setup.until("active", |setup| setup.now(&claim.domain).status == DomainStatus::Active).await;
    assert!(setup.authority.is_ordered(&claim.domain));
}

#[tokio::test]
async fn releasing_a_domain_releases_its_certificate() {
    let (setup, acme, claim) = TestDomains::with_verified().await;
    tokio::spawn(setup.domains.clone().run());
    setup.until("wanted", |setup| setup.authority.is_ordered(&claim.domain)).await;
    // Once the certificate is in the claim, the worker has read the claim.
    setup.authority.issues(&claim.domain);
    setup.until("active", |setup| setup.now(&claim.domain).status == DomainStatus::Active).await;
    setup.platform.release_domain(&context(), &acme).await.unwrap();
    setup.until("released", |setup| !setup.authority.is_ordered(&claim.domain)).await;
}

#[tokio::test]
async fn a_tenant_that_proves_a_domain_takes_it_over_from_an_unproved_claim() {
    let setup = TestDomains::with(false).await;
    let (squatter, owner) = (setup.tenant("squatter").await, setup.tenant("owner").await);
    let (claimed, _) = setup.claim(&squatter, "phone.acme.com").await.unwrap();
    let refused = setup.claim(&owner, "phone.acme.com").await.unwrap_err();
    assert!(matches!(refused, Refusal::CustomDomainUnproved { .. }), "{refused:?}");
    let token = setup.platform.claim_token(&owner, &claimed.domain).unwrap();
    assert!(refused.to_string().contains(&token) && token != claimed.token, "it says what to publish: {refused}");
    setup.dns.broken.store(true, Ordering::SeqCst);
    assert!(setup.claim(&owner, "phone.acme.com").await.is_err(), "what cannot be asked proves nothing");
    setup.dns.broken.store(false, Ordering::SeqCst);

    setup.dns.tokens.lock().unwrap().insert(claimed.domain.clone(), token);
    let (won, new) = setup.claim(&owner, "phone.acme.com").await.unwrap();
    assert!(new && won.tenant == owner && won.verified_at.is_some() && won.phase == ClaimPhase::DnsPartial, "{won:?}");
    assert_eq!(*setup.now(&claimed.domain), won);
    assert!(setup.platform.claim(&squatter).unwrap().is_none());
    let lost = setup.platform.tenant(&squatter).unwrap().tenant.lost_domain.clone().unwrap();
    assert_eq!((lost.domain, lost.why), (claimed.domain.clone(), DomainLoss::Superseded));
    let refused = setup.claim(&squatter, "phone.acme.com").await.unwrap_err();
    assert!(matches!(refused, Refusal::CustomDomainInUse(_)), "what is proved stays: {refused:?}");
    assert_eq!(setup.actions().await, ["domain.claim", "domain.supersede", "domain.claim"]);
}

#[tokio::test]
async fn concurrent_takeovers_of_a_domain_leave_one_claim() {
    for _ in 0..10 {
        let setup = TestDomains::with(false).await;
        let squatter = setup.tenant("squatter").await;
        let (claimed, _) = setup.claim(&squatter, "phone.acme.com").await.unwrap();
        let one = setup.tenant("one").await;
        let token = setup.platform.claim_token(&one, &claimed.domain).unwrap();
        setup.dns.tokens.lock().unwrap().insert(claimed.domain.clone(), token);
        let claims = join_all((0..4).map(|_| setup.claim(&one, "phone.acme.com"))).await;
        assert!(claims.iter().any(Result::is_ok), "{claims:?}");
        assert_eq!(setup.now(&claimed.domain).tenant, one);
    }
}

#[tokio::test]
async fn an_unproved_claim_expires_and_the_tenant_sees_why() {
    let setup = TestDomains::new().await;
    let acme = setup.tenant("acme").await;
    let (claim, _) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    setup.set(&claim.domain, |claim| claim.expires_at = Some(Timestamp(1))).await;
    setup.dns.broken.store(true, Ordering::SeqCst);
    assert!(setup.domains.sync(&context(), &claim.domain).await.unwrap().is_some(), "not in the dark");
    setup.dns.broken.store(false, Ordering::SeqCst);
    assert!(setup.domains.sync(&context(), &claim.domain).await.unwrap().is_none());
    assert!(setup.platform.claim(&acme).unwrap().is_none() && setup.platform.claim_on(&claim.domain).is_none());
    let lost = setup.platform.tenant(&acme).unwrap().tenant.lost_domain.clone().unwrap();
    assert_eq!((lost.why, lost.domain.as_str()), (DomainLoss::Expired, "phone.acme.com"));
    let (again, new) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(new && again.token == claim.token, "what was published meanwhile is good");
    assert!(setup.platform.tenant(&acme).unwrap().tenant.lost_domain.is_none());
    assert_eq!(setup.actions().await, ["domain.claim", "domain.expire", "domain.claim"]);
}

#[tokio::test]
async fn the_domain_of_a_tenant_without_the_plan_is_neither_checked_nor_served() {
    let setup = TestDomains::with(false).await;
    let acme = setup.tenant("acme").await;
    let (claim, _) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    setup.dns.publish(&claim);
    setup.domains.sync(&context(), &claim.domain).await.unwrap();
    setup.platform.change_as_operator(&context(), &acme, on("pro")).await.unwrap();
    let refused = setup.domains.recheck(&context(), &acme).await.err().unwrap();
    assert!(matches!(refused, Refusal::CustomDomainNotAllowed));
    let barred = setup.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
    assert_eq!(barred.phase, ClaimPhase::Blocked);
    assert_eq!(setup.dns.checks.load(Ordering::SeqCst), 1);
    assert!(setup.platform.hosts(&setup.platform.tenant(&acme).unwrap()).is_empty());
    setup.platform.change_as_operator(&context(), &acme, on("enterprise")).await.unwrap();
    let back = setup.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
    assert_eq!((back.status, back.phase), (DomainStatus::Active, ClaimPhase::Active));
}

#[tokio::test]
async fn activation_by_hand_is_idempotent() {
    let setup = TestDomains::with(false).await;
    let acme = setup.tenant("acme").await;
    let (claim, _) = setup.claim(&acme, "phone.acme.com").await.unwrap();
    for _ in 0..2 {
        let active = setup.domains.activate(&context(), &claim.domain).await.unwrap().unwrap();
        assert_eq!(active.status, DomainStatus::Active);
    }
    assert_eq!(setup.platform.hosts(&setup.platform.tenant(&acme).unwrap()), ["phone.acme.com"]);
    assert_eq!(setup.actions().await, ["domain.claim", "domain.activate"]);
    assert!(setup.domains.activate(&context(), &"nobody.example".parse().unwrap()).await.unwrap().is_none());
}
